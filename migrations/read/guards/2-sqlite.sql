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

-- A movement that is out of balance stays so for all to see.
create trigger sums_stay before delete on movement_sums
    when (old.high <> 0 or old.low <> 0) and not exists (select 1 from guard_rebuild)
begin
    select raise(abort, 'refused: legs_sum_to_zero');
end;
create trigger sums_are_made_by_postings before update on movement_sums
    when new.movement <> old.movement or new.currency <> old.currency
begin
    select raise(abort, 'refused: legs_sum_to_zero');
end;
