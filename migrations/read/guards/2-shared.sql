-- One living grant per holder, kind and ref; those that ended keep their rows until they are pruned.
create unique index one_living_grant on capability_grants (holder_kind, holder, kind, reference)
    where status in ('active', 'stale');
