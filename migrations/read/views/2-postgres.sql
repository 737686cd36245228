-- Capabilities, living and ended, until they are pruned. A null in verify_at: there is no source to ask.
create table inventory (
    grant_id        text collate "C" not null,
    holder          text collate "C" not null,
    holder_kind     text collate "C" not null,
    kind            text collate "C" not null,
    reference       text collate "C" not null,
    source          text collate "C" not null,
    scope           text collate "C" not null,
    delegable       bigint not null,
    granted_by      text collate "C",
    granted_at      bigint not null,
    position        bigint not null,
    expires_at      bigint,
    parent_holder   text collate "C",
    parent          text collate "C",
    details         text collate "C",
    status          text collate "C" not null,
    verified_at     bigint,
    failed_attempts bigint not null,
    last_error      text collate "C",
    verify_at       bigint,
    ended_at        bigint,
    ended_by        text collate "C",
    reason          text collate "C",
    primary key (grant_id)
);

-- What happened to each grant, for ever.
create table grant_history (
    grant_id   text collate "C" not null,
    position   bigint not null,
    at         bigint not null,
    event      text collate "C" not null,
    data       text collate "C" not null,
    actor_kind text collate "C" not null,
    actor      text collate "C" not null,
    command    text collate "C" not null,
    primary key (grant_id, position)
);

-- Who may grant from an imported source by hand.
create table capability_sources (
    source text collate "C" not null,
    owner  text collate "C",
    primary key (source)
);

-- Whether an action reads or writes. What is not here writes.
create table capability_actions (
    kind   text collate "C" not null,
    action text collate "C" not null,
    effect text collate "C" not null,
    primary key (kind, action)
);

-- Not a view, and not made again: how often capabilities were used lately, which the log does not say.
create table capability_uses (
    grant_id text collate "C" not null,
    uses     text not null,
    primary key (grant_id)
);

