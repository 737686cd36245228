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

-- A movement's sum is forgotten only when its postings do sum to zero, whatever the sum itself says.
create trigger sums_stay before delete on movement_sums
    when (
        select sum(cast(substr(amount, 1, 14) as integer) - 10000000000000)
                + sum(cast(substr(amount, 15) as integer)) / 1000000000000000 <> 0
            or sum(cast(substr(amount, 15) as integer)) % 1000000000000000 <> 0
        from postings where movement = old.movement and currency = old.currency
    )
begin
    select raise(abort, 'refused: legs_sum_to_zero');
end;
create trigger sums_are_made_by_postings before update on movement_sums
    when new.movement <> old.movement or new.currency <> old.currency
begin
    select raise(abort, 'refused: legs_sum_to_zero');
end;

-- REPLACE removes the row that is in its way and asks no trigger.
create trigger postings_are_not_replaced before insert on postings
    when exists (select 1 from postings where movement = new.movement and leg = new.leg)
begin
    select raise(abort, 'UNIQUE constraint failed: postings.movement, postings.leg');
end;
create trigger claims_are_not_replaced before insert on unique_claims
    when exists (select 1 from unique_claims where scope = new.scope and key = new.key)
begin
    select raise(abort, 'UNIQUE constraint failed: unique_claims.scope, unique_claims.key');
end;

-- A rebuild removes and inserts; not even it changes a row.
drop trigger postings_are_not_updated;
create trigger postings_are_not_updated before update on postings
begin
    select raise(abort, 'postings only grow: update is refused');
end;
drop trigger claims_are_not_updated;
create trigger claims_are_not_updated before update on unique_claims
begin
    select raise(abort, 'unique_claims only grow: update is refused');
end;
