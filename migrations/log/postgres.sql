-- The log: what happened, in order, for ever. Runs inside schema `log`.

create table entries (
    position bigint not null primary key check (position >= 0),
    stream   text collate "C" not null check (stream <> ''),
    version  bigint not null check (version >= 0),
    prev     bytea not null check (octet_length(prev) = 32),
    hash     bytea not null check (octet_length(hash) = 32),
    -- The exact bytes that were hashed; never jsonb, which would reorder them.
    bytes    bytea not null check (octet_length(bytes) between 1 and 1048576),
    constraint entries_stream_version unique (stream, version)
);

-- One row, the only authority on what comes next: whoever holds its lock writes.
create table head (
    origin text collate "C" not null primary key,
    size   bigint not null check (size >= 0),
    at     bigint not null,           -- microseconds since 1970, never going backwards
    epoch  bigint not null default 0
);
create unique index head_is_one_row on head ((true));

create table receipts (
    principal text collate "C" not null,
    key       text collate "C" not null,
    digest    bytea not null check (octet_length(digest) = 32),
    command   text collate "C" not null,
    answer    bytea not null,
    at        bigint not null,
    primary key (principal, key)
);
create index receipts_by_age on receipts (at);

-- Every function here names what it means in full: a session's search_path cannot put another table in its way.
create function refuse_change() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'log.% only grows: % is refused', tg_table_name, lower(tg_op)
        using errcode = 'restrict_violation', table = tg_table_name;
end
$$;

create trigger entries_are_for_ever before update or delete or truncate on entries
    for each statement execute function refuse_change();
create trigger head_stays before delete or truncate on head
    for each statement execute function refuse_change();
create trigger receipts_do_not_change before update or truncate on receipts
    for each statement execute function refuse_change();

-- Both run after the whole statement, so one statement must bring entries and the head's move together: what is committed never
-- has an entry beyond the head, which would block the next append for ever, nor a head beyond its entries.
create function entries_follow_head() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    -- By the maximum, which is found by the index in any session and with any plan.
    if (select max(position) from log.entries) >= (select size from log.head) then
        raise exception 'log.entries only grows together with log.head'
            using errcode = 'restrict_violation', table = tg_table_name;
    end if;
    return null;
end
$$;

-- A generic plan: planning the count anew each time would cost four times as much as counting.
create function head_grows() returns trigger language plpgsql
    set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
    -- Five seconds: more than two servers' clocks may differ, and little enough not to stop everybody for long.
    latest constant bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint + 5000000;
begin
    if new.size < old.size or new.at < old.at or new.at > greatest(old.at, latest)
        or new.epoch not in (old.epoch, old.epoch + 1) or new.origin <> old.origin then
        raise exception 'log.head only grows' using errcode = 'restrict_violation', table = tg_table_name;
    end if;
    -- Positions are unique: as many entries as there are positions means that none is missing.
    if new.size > old.size and new.size - old.size
        <> (select count(*) from log.entries where position >= old.size and position < new.size) then
        raise exception 'log.head only grows over entries that are there'
            using errcode = 'restrict_violation', table = tg_table_name;
    end if;
    return null;
end
$$;

create function receipts_are_kept() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select 1 from gone where at > (extract(epoch from clock_timestamp()) * 1000000)::bigint - 86400000000) then
        raise exception 'log.receipts keeps every receipt for a day: delete is refused'
            using errcode = 'restrict_violation', table = tg_table_name;
    end if;
    return null;
end
$$;

create trigger entries_follow_head after insert on entries
    for each statement execute function entries_follow_head();
create trigger head_grows after update on head
    for each row execute function head_grows();
create trigger receipts_are_kept after delete on receipts
    referencing old table as gone for each statement execute function receipts_are_kept();

-- Always: also for a session that replays as a replica would.
alter table entries enable always trigger entries_are_for_ever;
alter table entries enable always trigger entries_follow_head;
alter table head enable always trigger head_stays;
alter table head enable always trigger head_grows;
alter table receipts enable always trigger receipts_do_not_change;
alter table receipts enable always trigger receipts_are_kept;
