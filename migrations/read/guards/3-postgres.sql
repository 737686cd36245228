-- Scores as they were computed last. Decimals of nine places, as the log has them.
create table reputation_scores (
    row_id     text collate "C" not null,
    holder     text collate "C" not null,
    figure     text collate "C" not null,
    scope      text collate "C",
    value      text collate "C" not null,
    decay_rate text collate "C" not null,
    evidence   bigint not null,
    as_of      bigint not null,
    primary key (row_id),
    check (evidence > 0)
);

-- Ratings, likewise.
create table reputation_ratings (
    row_id      text collate "C" not null,
    holder      text collate "C" not null,
    figure      text collate "C" not null,
    scope       text collate "C",
    mu          text collate "C" not null,
    phi         text collate "C" not null,
    sigma       text collate "C" not null,
    lower_bound text collate "C" not null,
    upper_bound text collate "C" not null,
    as_of       bigint not null,
    primary key (row_id)
);

