
-- One living membership per guild, kind and member; those who left keep their rows.
create unique index one_living_membership on guild_members (guild, kind, member) where status in ('active', 'suspended');
