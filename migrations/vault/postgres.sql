-- The vault: what people typed, encrypted. Deletable, and cannot be rebuilt. Runs inside schema `vault`.

create table subject_keys (
    subject text collate "C" not null primary key,
    wrapped bytea not null
);

create table payloads (
    digest     bytea not null primary key check (octet_length(digest) = 32), -- SHA-256 of the ciphertext
    -- A payload under a key that was erased meanwhile is refused: nobody could open or erase it.
    subject    text collate "C" not null references subject_keys (subject),
    ciphertext bytea not null
);
create index payloads_by_subject on payloads (subject);
