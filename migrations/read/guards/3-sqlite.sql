-- Scores as they were computed last. Decimals of nine places, as the log has them.
create table reputation_scores (
    row_id     text not null,
    holder     text not null,
    figure     text not null,
    scope      text,
    value      text not null,
    decay_rate text not null,
    evidence   integer not null,
    as_of      integer not null,
    primary key (row_id),
    check (evidence > 0)
) strict, without rowid;

-- Ratings, likewise.
create table reputation_ratings (
    row_id      text not null,
    holder      text not null,
    figure      text not null,
    scope       text,
    mu          text not null,
    phi         text not null,
    sigma       text not null,
    lower_bound text not null,
    upper_bound text not null,
    as_of       integer not null,
    primary key (row_id)
) strict, without rowid;

