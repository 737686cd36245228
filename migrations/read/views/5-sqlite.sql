-- What no import brings back, and of which ended grant somebody said so.
create table withholdings (
    holder    text not null,
    kind      text not null,
    reference text not null,
    source    text not null,
    grant_id  text not null,
    primary key (holder, kind, reference, source)
) strict, without rowid;
