-- Citizens of whom something was attested, and when their figures were computed last.
create table reputation_holders (
    holder      text not null,
    evidence    integer not null,
    first_at    integer not null,
    last_at     integer not null,
    violated_at integer,
    as_of       integer,
    outdated    integer not null,
    primary key (holder)
) strict, without rowid;

