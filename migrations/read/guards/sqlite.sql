-- Guards: read models that can say no. Lives in log.db, beside the log.
--
-- An amount is text of 29 digits, moved up by 10^28, so that the order of the texts is the order of the amounts:
-- zero is '10000000000000000000000000000'.

create table treasury_balances (
    treasury         text not null,
    currency         text not null,
    scale            integer not null,
    balance          text not null,
    held             text not null,
    -- The lowest ever, event by event: a violation inside a batch cannot hide behind a good last value.
    lowest_balance   text not null,
    lowest_held      text not null,
    lowest_available text not null,
    primary key (treasury, currency),
    constraint scale_in_range check (scale between 0 and 18),
    constraint balance_is_an_amount check (length(balance) = 29 and balance not glob '*[^0-9]*'),
    constraint held_is_an_amount check (length(held) = 29 and held not glob '*[^0-9]*'),
    constraint balance_not_negative check (balance >= '10000000000000000000000000000'),
    constraint held_not_negative check (held >= '10000000000000000000000000000'),
    constraint held_within_balance check (held <= balance),
    constraint balance_never_negative check (lowest_balance >= '10000000000000000000000000000'),
    constraint held_never_negative check (lowest_held >= '10000000000000000000000000000'),
    constraint available_never_negative check (lowest_available >= '10000000000000000000000000000')
) strict, without rowid;

create table postings (
    movement text not null,
    leg      integer not null,
    currency text not null,
    account  text not null,
    amount   text not null,
    position integer not null,
    primary key (movement, leg),
    constraint amount_is_an_amount check (length(amount) = 29 and amount not glob '*[^0-9]*')
) strict, without rowid;

-- A movement is in `movement_sums` exactly while its legs do not sum to zero, and every row there refers to a table that
-- stays empty: COMMIT is refused as long as one movement is out of balance.
create table movements_out_of_balance (
    movement text not null primary key check (false)
) strict, without rowid;

create table movement_sums (
    movement text not null,
    currency text not null,
    -- The sum is high * 10^15 + low, with 0 <= low < 10^15: exact where one 64-bit integer would overflow.
    high     integer not null,
    low      integer not null,
    primary key (movement, currency),
    constraint legs_sum_to_zero foreign key (movement) references movements_out_of_balance (movement)
        deferrable initially deferred
) strict, without rowid;

create trigger legs_are_summed after insert on postings
begin
    insert into movement_sums (movement, currency, high, low)
    values (
        new.movement,
        new.currency,
        cast(substr(new.amount, 1, 14) as integer) - 10000000000000,
        cast(substr(new.amount, 15) as integer)
    )
    on conflict (movement, currency) do update set
        high = high + excluded.high + (low + excluded.low) / 1000000000000000,
        low = (low + excluded.low) % 1000000000000000;
    delete from movement_sums
    where movement = new.movement and currency = new.currency and high = 0 and low = 0;
end;

create table guild_members (
    guild           text not null,
    member          text not null,
    kind            text not null,
    joined_position integer not null,
    status          text not null check (status in ('active', 'suspended', 'left', 'removed')),
    city_suspended  integer not null check (city_suspended in (0, 1)),
    primary key (guild, member, kind, joined_position)
) strict, without rowid;

create table unique_claims (
    scope    text not null,
    key      text not null,
    value    text not null,
    position integer not null,
    primary key (scope, key)
) strict, without rowid;

-- Holds a row only inside the transaction that puts rebuilt tables in place.
create table guard_rebuild (running integer not null primary key check (running = 1)) strict;

create trigger postings_are_not_updated before update on postings when not exists (select 1 from guard_rebuild)
begin
    select raise(abort, 'postings only grow: update is refused');
end;
create trigger postings_are_not_deleted before delete on postings when not exists (select 1 from guard_rebuild)
begin
    select raise(abort, 'postings only grow: delete is refused');
end;
create trigger claims_are_not_updated before update on unique_claims when not exists (select 1 from guard_rebuild)
begin
    select raise(abort, 'unique_claims only grow: update is refused');
end;
create trigger claims_are_not_deleted before delete on unique_claims when not exists (select 1 from guard_rebuild)
begin
    select raise(abort, 'unique_claims only grow: delete is refused');
end;
