-- How often capabilities were used lately, which the log does not say. Lives in uses.db.
create table if not exists capability_uses (
    grant_id text not null,
    uses     text not null,
    primary key (grant_id)
) strict, without rowid;
