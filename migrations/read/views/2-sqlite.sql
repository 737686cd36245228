-- Capabilities, living and ended, until they are pruned. A null in verify_at: there is no source to ask.
create table inventory (
    grant_id        text not null,
    holder          text not null,
    holder_kind     text not null,
    kind            text not null,
    reference       text not null,
    source          text not null,
    scope           text not null,
    delegable       integer not null,
    granted_by      text,
    granted_at      integer not null,
    position        integer not null,
    expires_at      integer,
    parent_holder   text,
    parent          text,
    details         text,
    status          text not null,
    verified_at     integer,
    failed_attempts integer not null,
    last_error      text,
    verify_at       integer,
    ended_at        integer,
    ended_by        text,
    reason          text,
    primary key (grant_id)
) strict, without rowid;

-- What happened to each grant, for ever.
create table grant_history (
    grant_id   text not null,
    position   integer not null,
    at         integer not null,
    event      text not null,
    data       text not null,
    actor_kind text not null,
    actor      text not null,
    command    text not null,
    primary key (grant_id, position)
) strict, without rowid;

-- Who may grant from an imported source by hand.
create table capability_sources (
    source text not null,
    owner  text,
    primary key (source)
) strict, without rowid;

-- Whether an action reads or writes. What is not here writes.
create table capability_actions (
    kind   text not null,
    action text not null,
    effect text not null,
    primary key (kind, action)
) strict, without rowid;

