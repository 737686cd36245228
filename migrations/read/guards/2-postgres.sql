-- Capabilities. What an importer, a role or somebody granted, by its id.
create table capability_grants (
    grant_id    text collate "C" not null,
    holder_kind text collate "C" not null check (holder_kind in ('human', 'agent', 'service', 'squad', 'guild')),
    holder      text collate "C" not null,
    kind        text collate "C" not null,
    reference   text collate "C" not null,
    status      text collate "C" not null check (status in ('active', 'stale', 'revoked', 'expired', 'orphaned')),
    primary key (grant_id)
);

