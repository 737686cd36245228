-- Citizens of whom something was attested, and when their figures were computed last.
create table reputation_holders (
    holder      text collate "C" not null,
    evidence    bigint not null,
    first_at    bigint not null,
    last_at     bigint not null,
    violated_at bigint,
    as_of       bigint,
    outdated    bigint not null,
    primary key (holder)
);

