create index inventory_by_holder on inventory (holder, kind, reference);
create index inventory_by_capability on inventory (kind, reference, grant_id);
create index inventory_by_source on inventory (source, grant_id);
-- What the workers look for.
create index inventory_to_verify on inventory (verify_at) where verify_at is not null;
create index inventory_to_expire on inventory (expires_at) where status in ('active', 'stale') and expires_at is not null;
create index inventory_to_prune on inventory (ended_at) where ended_at is not null;
create index inventory_stuck on inventory (failed_attempts) where failed_attempts > 10;
