-- Views: everything that can be thrown away and made again from the log. Lives in views.db.
-- Amounts are text as in the guards.

-- How far the views are: the number of entries folded into them, which is the next position.
-- Moved with them in one transaction.
create table view_position (
    name text not null,
    size integer not null,
    primary key (name)
) strict, without rowid;

-- Currencies the city knows.
create table currencies (
    currency      text not null,
    scale         integer not null,
    registered_at integer not null,
    position      integer not null,
    primary key (currency)
) strict, without rowid;

-- Roles: a tier and what it permits.
create table roles (
    role         text not null,
    tier         text not null,
    actions      text not null,
    mfa_required integer not null,
    position     integer not null,
    primary key (role)
) strict, without rowid;

-- Who lives here. Names are commitments; the texts are in the vault.
create table citizens (
    citizen       text not null,
    kind          text not null,
    name          text not null,
    status        text not null,
    operator      text,
    model_family  text,
    instructions  text,
    roles         text not null,
    attestations  text not null,
    registered_at integer not null,
    position      integer not null,
    primary key (citizen)
) strict, without rowid;

-- API keys, without what would let anybody check or guess one.
create table keys (
    key        text not null,
    citizen    text not null,
    actions    text,
    issued_at  integer not null,
    expires_at integer,
    replaces   text,
    revoked_at integer,
    position   integer not null,
    primary key (key)
) strict, without rowid;

-- Guilds, living and dissolved.
create table guild_directory (
    guild            text not null,
    slug             text not null,
    kind             text not null,
    name             text not null,
    status           text not null,
    leaderless       integer not null,
    parent           text,
    proposed_parent  text,
    charter_version  integer not null,
    charter_digest   text,
    charter_location text,
    ranks            text not null,
    governance       text not null,
    dissolution      text,
    founded_at       integer not null,
    position         integer not null,
    primary key (guild)
) strict, without rowid;

-- Memberships, living and ended: one row for every time of joining.
create table guild_roster (
    guild           text not null,
    member          text not null,
    kind            text not null,
    joined_position integer not null,
    rank            text not null,
    scopes          text,
    status          text not null,
    city_suspended  integer not null,
    joined_at       integer not null,
    ended_at        integer,
    primary key (guild, member, kind, joined_position)
) strict, without rowid;

-- Proposals, open and ended, with the votes as they stand.
create table proposals (
    proposal   text not null,
    guild      text not null,
    proposer   text not null,
    class      text not null,
    action     text not null,
    command    text not null,
    status     text not null,
    code       text,
    votes      text not null,
    hold       text,
    currency   text,
    amount     text,
    opened_at  integer not null,
    expires_at integer not null,
    ended_at   integer,
    position   integer not null,
    primary key (proposal)
) strict, without rowid;

-- Every governed action that took effect, and on what ground.
create table governance_log (
    guild      text not null,
    position   integer not null,
    at         integer not null,
    action     text not null,
    class      text not null,
    decided_by text not null,
    ground     text not null,
    actor_kind text not null,
    actor      text not null,
    command    text not null,
    currency   text,
    amount     text,
    primary key (guild, position)
) strict, without rowid;

-- Whose treasury it is, and whether money may leave it.
create table treasuries (
    treasury        text not null,
    owner_kind      text not null,
    owner           text not null,
    frozen_by_city  integer not null,
    frozen_by_owner integer not null,
    settled_until   integer,
    auto_accept     text not null,
    opened_at       integer not null,
    closed_at       integer,
    position        integer not null,
    primary key (treasury)
) strict, without rowid;

-- What each treasury has and holds.
create table account_balances (
    treasury text not null,
    currency text not null,
    scale    integer not null,
    balance  text not null,
    held     text not null,
    position integer not null,
    primary key (treasury, currency)
) strict, without rowid;

-- One line per event that moves or sets aside money, with what was there afterwards.
create table treasury_statement (
    treasury     text not null,
    position     integer not null,
    currency     text not null,
    scale        integer not null,
    at           integer not null,
    effective_at integer not null,
    kind         text not null,
    amount       text not null,
    held_change  text not null,
    balance      text not null,
    held         text not null,
    movement     text,
    counterparty text,
    source       text,
    mandate      text,
    hold         text,
    memo         text,
    reference    text,
    command      text not null,
    primary key (treasury, position)
) strict, without rowid;

-- Money set aside, open and ended.
create table holds (
    hold       text not null,
    treasury   text not null,
    currency   text not null,
    scale      integer not null,
    amount     text not null,
    captured   text not null,
    remaining  text not null,
    legs       text not null,
    status     text not null,
    proposal   text,
    purpose    text,
    expires_at integer not null,
    placed_at  integer not null,
    ended_at   integer,
    position   integer not null,
    primary key (hold)
) strict, without rowid;

-- Transfers between treasuries that were offered, and what became of them.
create table transfers (
    offer      text not null,
    sender     text not null,
    receiver   text not null,
    currency   text not null,
    scale      integer not null,
    amount     text not null,
    status     text not null,
    mandate    text,
    memo       text,
    expires_at integer not null,
    offered_at integer not null,
    ended_at   integer,
    position   integer not null,
    primary key (offer)
) strict, without rowid;

-- Per currency: all treasuries together, the outside world, and how many movements.
-- Sums are decimal text: they may exceed what one treasury can have.
create table conservation (
    currency   text not null,
    scale      integer not null,
    treasuries text not null,
    external   text not null,
    movements  integer not null,
    position   integer not null,
    primary key (currency)
) strict, without rowid;
