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

-- A rebuild removes and inserts; not even it changes a row.
create or replace function refuse_rewriting() returns trigger language plpgsql set search_path from current as $$
begin
    if tg_op = 'UPDATE' or not exists (select 1 from guard_rebuild) then
        raise exception '% only grows: % is refused', tg_table_name, lower(tg_op)
            using errcode = 'restrict_violation', table = tg_table_name, constraint = tg_table_name || '_only_grow';
    end if;
    return null;
end
$$;

