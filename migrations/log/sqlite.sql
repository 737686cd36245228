-- The log: what happened, in order, for ever. Lives in log.db, beside the guards.

create table entries (
    position integer not null primary key check (position >= 0),
    stream   text not null check (stream <> ''),
    version  integer not null check (version >= 0),
    prev     blob not null check (length(prev) = 32),
    hash     blob not null check (length(hash) = 32),
    -- The exact bytes that were hashed.
    bytes    blob not null,
    constraint entries_stream_version unique (stream, version)
) strict;

-- One row, the only authority on what comes next.
create table head (
    origin text not null primary key,
    size   integer not null check (size >= 0),
    at     integer not null,          -- microseconds since 1970, never going backwards
    epoch  integer not null default 0
) strict, without rowid;
create unique index head_is_one_row on head ((1));

create table receipts (
    principal text not null,
    key       text not null,
    digest    blob not null check (length(digest) = 32),
    command   text not null,
    answer    blob not null,
    at        integer not null,
    primary key (principal, key)
) strict, without rowid;
create index receipts_by_age on receipts (at);

-- `insert or replace` deletes without firing delete triggers, so a taken position is refused before it.
create trigger entries_are_not_replaced before insert on entries
    when exists (select 1 from entries where position = new.position or (stream = new.stream and version = new.version))
begin
    select raise(abort, 'log.entries only grows: replace is refused');
end;
create trigger entries_are_not_updated before update on entries
begin
    select raise(abort, 'log.entries only grows: update is refused');
end;
create trigger entries_are_not_deleted before delete on entries
begin
    select raise(abort, 'log.entries only grows: delete is refused');
end;
create trigger head_is_not_replaced before insert on head when exists (select 1 from head)
begin
    select raise(abort, 'log.head only grows: a second row is refused');
end;
create trigger head_stays before delete on head
begin
    select raise(abort, 'log.head only grows: delete is refused');
end;
create trigger head_grows before update on head
    when new.size < old.size or new.at < old.at or new.epoch < old.epoch or new.origin <> old.origin
begin
    select raise(abort, 'log.head only grows');
end;
