-- The log: what happened, in order, for ever. Runs inside schema `log`.

create table entries (
    position bigint not null primary key check (position >= 0),
    stream   text collate "C" not null check (stream <> ''),
    version  bigint not null check (version >= 0),
    prev     bytea not null check (octet_length(prev) = 32),
    hash     bytea not null check (octet_length(hash) = 32),
    -- The exact bytes that were hashed; never jsonb, which would reorder them.
    bytes    bytea not null,
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

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'log.% only grows: % is refused', tg_table_name, lower(tg_op)
        using errcode = 'restrict_violation', table = tg_table_name;
end
$$;

create trigger entries_are_for_ever before update or delete or truncate on entries
    for each statement execute function refuse_change();
create trigger head_stays before delete or truncate on head
    for each statement execute function refuse_change();

create function head_grows() returns trigger language plpgsql as $$
begin
    if new.size < old.size or new.at < old.at or new.epoch < old.epoch or new.origin <> old.origin then
        raise exception 'log.head only grows' using errcode = 'restrict_violation', table = tg_table_name;
    end if;
    return new;
end
$$;

create trigger head_grows before update on head
    for each row execute function head_grows();
-- Always: also for a session that replays as a replica would.
alter table entries enable always trigger entries_are_for_ever;
alter table head enable always trigger head_stays;
alter table head enable always trigger head_grows;
