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


-- What holds a movement to its sum is a foreign key, and those can be switched off: whoever did gets nothing in.
create trigger postings_need_foreign_keys before insert on postings
    when (select foreign_keys from pragma_foreign_keys) = 0
begin
    select raise(abort, 'refused: legs_sum_to_zero needs pragma foreign_keys = on');
end;
