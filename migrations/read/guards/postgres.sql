-- Guards: read models that can say no. Runs inside schema `guard`.

create table treasury_balances (
    treasury         text collate "C" not null,
    currency         text collate "C" not null,
    scale            bigint not null,
    balance          numeric(38, 0) not null,
    held             numeric(38, 0) not null,
    -- The lowest ever, event by event: a violation inside a batch cannot hide behind a good last value.
    lowest_balance   numeric(38, 0) not null,
    lowest_held      numeric(38, 0) not null,
    lowest_available numeric(38, 0) not null,
    primary key (treasury, currency),
    constraint scale_in_range check (scale between 0 and 18),
    constraint balance_not_negative check (balance >= 0),
    constraint held_not_negative check (held >= 0),
    constraint held_within_balance check (held <= balance),
    constraint balance_never_negative check (lowest_balance >= 0),
    constraint held_never_negative check (lowest_held >= 0),
    constraint available_never_negative check (lowest_available >= 0)
);

create table postings (
    movement text collate "C" not null,
    leg      bigint not null,
    currency text collate "C" not null,
    account  text collate "C" not null,
    amount   numeric(38, 0) not null,
    position bigint not null,
    primary key (movement, leg)
);

create table guild_members (
    guild           text collate "C" not null,
    member          text collate "C" not null,
    kind            text collate "C" not null,
    joined_position bigint not null,
    status          text collate "C" not null check (status in ('active', 'suspended', 'left', 'removed')),
    city_suspended  bigint not null check (city_suspended in (0, 1)),
    primary key (guild, member, kind, joined_position)
);

create table unique_claims (
    scope    text collate "C" not null,
    key      text collate "C" not null,
    value    text collate "C" not null,
    position bigint not null,
    primary key (scope, key)
);

-- Holds a row only inside the transaction that puts rebuilt tables in place.
create table guard_rebuild (running bigint not null primary key check (running = 1));

create function legs_sum_to_zero() returns trigger language plpgsql as $$
declare
    offender text;
begin
    select movement into offender from inserted group by movement, currency having sum(amount) <> 0 limit 1;
    if found then
        raise exception 'the legs of movement % do not sum to zero', offender
            using errcode = 'check_violation', table = 'postings', constraint = 'legs_sum_to_zero';
    end if;
    return null;
end
$$;
create trigger legs_sum_to_zero after insert on postings
    referencing new table as inserted for each statement execute function legs_sum_to_zero();

create function refuse_rewriting() returns trigger language plpgsql set search_path from current as $$
begin
    if not exists (select 1 from guard_rebuild) then
        raise exception '% only grows: % is refused', tg_table_name, lower(tg_op)
            using errcode = 'restrict_violation', table = tg_table_name, constraint = tg_table_name || '_only_grow';
    end if;
    return null;
end
$$;
create trigger postings_only_grow before update or delete or truncate on postings
    for each statement execute function refuse_rewriting();
create trigger claims_only_grow before update or delete or truncate on unique_claims
    for each statement execute function refuse_rewriting();
