-- The log: what happened, in order, for ever. Lives in log.db, beside the guards.

create table entries (
    position integer not null primary key check (position >= 0),
    stream   text not null check (stream <> ''),
    version  integer not null check (version >= 0),
    prev     blob not null check (length(prev) = 32),
    hash     blob not null check (length(hash) = 32),
    -- The exact bytes that were hashed.
    bytes    blob not null check (length(bytes) between 1 and 1048576),
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
    -- Five seconds: more than two clocks may differ, and little enough not to stop everybody for long.
    when new.size < old.size or new.at < old.at or new.at > max(old.at, (unixepoch('subsec') + 5) * 1000000)
        or new.epoch not in (old.epoch, old.epoch + 1) or new.origin <> old.origin
begin
    select raise(abort, 'log.head only grows');
end;
-- Positions are unique: as many entries as there are positions means that none is missing. Nothing here can hold entries and head
-- together at the commit, so readers stop at the head, and an entry beyond it is found by the next move.
create trigger head_grows_over_entries before update on head
    when new.size - old.size <> (select count(*) from entries where position >= old.size and position < new.size)
        or exists (select 1 from entries where position >= new.size)
begin
    select raise(abort, 'log.head only grows over entries that are there');
end;

create trigger receipts_are_not_replaced before insert on receipts
    when exists (select 1 from receipts where principal = new.principal and key = new.key)
begin
    select raise(abort, 'log.receipts only grows: replace is refused');
end;
create trigger receipts_are_not_updated before update on receipts
begin
    select raise(abort, 'log.receipts only grows: update is refused');
end;
create trigger receipts_are_kept before delete on receipts
    when old.at > (unixepoch('subsec') - 86400) * 1000000
begin
    select raise(abort, 'log.receipts keeps every receipt for a day: delete is refused');
end;
