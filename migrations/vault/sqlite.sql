-- The vault: what people typed, encrypted. Deletable, and cannot be rebuilt.

create table subject_keys (
    subject text not null primary key,
    wrapped blob not null
) strict, without rowid;

create table payloads (
    digest     blob not null primary key check (length(digest) = 32), -- SHA-256 of the ciphertext
    -- A payload under a key that was erased meanwhile is refused: nobody could open it, and nobody would erase it.
    subject    text not null references subject_keys (subject),
    ciphertext blob not null
) strict;
create index payloads_by_subject on payloads (subject);
