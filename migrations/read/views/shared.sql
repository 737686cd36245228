
insert into view_position (name, size) values ('views', 0);

create index citizens_by_operator on citizens (operator) where operator is not null;
create index keys_by_citizen on keys (citizen, key);
create unique index guilds_by_slug on guild_directory (slug);
create index guilds_by_parent on guild_directory (parent, slug) where parent is not null;
create index roster_by_member on guild_roster (member, guild);
create index proposals_by_guild on proposals (guild, status, proposal);
create index treasuries_by_owner on treasuries (owner);
create index statement_by_currency on treasury_statement (treasury, currency, position);
create index statement_by_time on treasury_statement (treasury, at);
create index holds_by_treasury on holds (treasury, status, hold);
create index transfers_by_sender on transfers (sender, status, offer);
create index transfers_by_receiver on transfers (receiver, status, offer);
-- What the expiry worker looks for.
create index proposals_by_expiry on proposals (expires_at) where status = 'open';
create index holds_by_expiry on holds (expires_at) where status = 'open';
create index transfers_by_expiry on transfers (expires_at) where status = 'offered';
