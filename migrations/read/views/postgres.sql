-- Views: everything that can be thrown away and made again from the log. Runs inside schema `read`.

-- How far the views are: the number of entries folded into them, which is the next position.
-- Moved with them in one transaction.
create table view_position (
    name text collate "C" not null,
    size bigint not null,
    primary key (name)
);

-- Currencies the city knows.
create table currencies (
    currency      text collate "C" not null,
    scale         bigint not null,
    registered_at bigint not null,
    position      bigint not null,
    primary key (currency)
);

-- Roles: a tier and what it permits.
create table roles (
    role         text collate "C" not null,
    tier         text collate "C" not null,
    actions      text collate "C" not null,
    mfa_required bigint not null,
    position     bigint not null,
    primary key (role)
);

-- Who lives here. Names are commitments; the texts are in the vault.
create table citizens (
    citizen       text collate "C" not null,
    kind          text collate "C" not null,
    name          text collate "C" not null,
    status        text collate "C" not null,
    operator      text collate "C",
    model_family  text collate "C",
    instructions  text collate "C",
    roles         text collate "C" not null,
    attestations  text collate "C" not null,
    registered_at bigint not null,
    position      bigint not null,
    primary key (citizen)
);

-- API keys, without what would let anybody check or guess one.
create table keys (
    key        text collate "C" not null,
    citizen    text collate "C" not null,
    actions    text collate "C",
    issued_at  bigint not null,
    expires_at bigint,
    replaces   text collate "C",
    revoked_at bigint,
    position   bigint not null,
    primary key (key)
);

-- Guilds, living and dissolved.
create table guild_directory (
    guild            text collate "C" not null,
    slug             text collate "C" not null,
    kind             text collate "C" not null,
    name             text collate "C" not null,
    status           text collate "C" not null,
    leaderless       bigint not null,
    parent           text collate "C",
    proposed_parent  text collate "C",
    charter_version  bigint not null,
    charter_digest   text collate "C",
    charter_location text collate "C",
    ranks            text collate "C" not null,
    governance       text collate "C" not null,
    dissolution      text collate "C",
    founded_at       bigint not null,
    position         bigint not null,
    primary key (guild)
);

-- Memberships, living and ended: one row for every time of joining.
create table guild_roster (
    guild           text collate "C" not null,
    member          text collate "C" not null,
    kind            text collate "C" not null,
    joined_position bigint not null,
    rank            text collate "C" not null,
    scopes          text collate "C",
    status          text collate "C" not null,
    city_suspended  bigint not null,
    joined_at       bigint not null,
    ended_at        bigint,
    primary key (guild, member, kind, joined_position)
);

-- Proposals, open and ended, with the votes as they stand.
create table proposals (
    proposal   text collate "C" not null,
    guild      text collate "C" not null,
    proposer   text collate "C" not null,
    class      text collate "C" not null,
    action     text collate "C" not null,
    command    text collate "C" not null,
    status     text collate "C" not null,
    code       text collate "C",
    votes      text collate "C" not null,
    hold       text collate "C",
    currency   text collate "C",
    amount     numeric(38, 0),
    opened_at  bigint not null,
    expires_at bigint not null,
    ended_at   bigint,
    position   bigint not null,
    primary key (proposal)
);

-- Every governed action that took effect, and on what ground.
create table governance_log (
    guild      text collate "C" not null,
    position   bigint not null,
    at         bigint not null,
    action     text collate "C" not null,
    class      text collate "C" not null,
    decided_by text collate "C" not null,
    ground     text collate "C" not null,
    actor_kind text collate "C" not null,
    actor      text collate "C" not null,
    command    text collate "C" not null,
    currency   text collate "C",
    amount     numeric(38, 0),
    primary key (guild, position)
);

-- Whose treasury it is, and whether money may leave it.
create table treasuries (
    treasury        text collate "C" not null,
    owner_kind      text collate "C" not null,
    owner           text collate "C" not null,
    frozen_by_city  bigint not null,
    frozen_by_owner bigint not null,
    settled_until   bigint,
    auto_accept     text collate "C" not null,
    opened_at       bigint not null,
    closed_at       bigint,
    position        bigint not null,
    primary key (treasury)
);

-- What each treasury has and holds.
create table account_balances (
    treasury text collate "C" not null,
    currency text collate "C" not null,
    scale    bigint not null,
    balance  numeric(38, 0) not null,
    held     numeric(38, 0) not null,
    position bigint not null,
    primary key (treasury, currency)
);

-- One line per event that moves or sets aside money, with what was there afterwards.
create table treasury_statement (
    treasury     text collate "C" not null,
    position     bigint not null,
    currency     text collate "C" not null,
    scale        bigint not null,
    at           bigint not null,
    effective_at bigint not null,
    kind         text collate "C" not null,
    amount       numeric(38, 0) not null,
    held_change  numeric(38, 0) not null,
    balance      numeric(38, 0) not null,
    held         numeric(38, 0) not null,
    movement     text collate "C",
    counterparty text collate "C",
    source       text collate "C",
    mandate      text collate "C",
    hold         text collate "C",
    memo         text collate "C",
    reference    text collate "C",
    command      text collate "C" not null,
    primary key (treasury, position)
);

-- Money set aside, open and ended.
create table holds (
    hold       text collate "C" not null,
    treasury   text collate "C" not null,
    currency   text collate "C" not null,
    scale      bigint not null,
    amount     numeric(38, 0) not null,
    captured   numeric(38, 0) not null,
    remaining  numeric(38, 0) not null,
    legs       text collate "C" not null,
    status     text collate "C" not null,
    proposal   text collate "C",
    purpose    text collate "C",
    expires_at bigint not null,
    placed_at  bigint not null,
    ended_at   bigint,
    position   bigint not null,
    primary key (hold)
);

-- Transfers between treasuries that were offered, and what became of them.
create table transfers (
    offer      text collate "C" not null,
    sender     text collate "C" not null,
    receiver   text collate "C" not null,
    currency   text collate "C" not null,
    scale      bigint not null,
    amount     numeric(38, 0) not null,
    status     text collate "C" not null,
    mandate    text collate "C",
    memo       text collate "C",
    expires_at bigint not null,
    offered_at bigint not null,
    ended_at   bigint,
    position   bigint not null,
    primary key (offer)
);

-- Per currency: all treasuries together, the outside world, and how many movements.
-- Sums are decimal text: they may exceed what one treasury can have.
create table conservation (
    currency   text collate "C" not null,
    scale      bigint not null,
    treasuries text collate "C" not null,
    external   text collate "C" not null,
    movements  bigint not null,
    position   bigint not null,
    primary key (currency)
);
