-- Capabilities. What an importer, a role or somebody granted, by its id.
create table capability_grants (
    grant_id    text not null,
    holder_kind text not null check (holder_kind in ('human', 'agent', 'service', 'squad', 'guild')),
    holder      text not null,
    kind        text not null,
    reference   text not null,
    status      text not null check (status in ('active', 'stale', 'revoked', 'expired', 'orphaned')),
    primary key (grant_id)
) strict, without rowid;

