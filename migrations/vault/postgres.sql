-- The vault: what people typed, encrypted. Deletable, and cannot be rebuilt. Runs inside schema `vault`.

create table subject_keys (
    subject text collate "C" not null primary key,
    wrapped bytea not null
);

create table payloads (
    digest     bytea not null primary key check (octet_length(digest) = 32), -- SHA-256 of the ciphertext
    subject    text collate "C" not null,
    ciphertext bytea not null
);
create index payloads_by_subject on payloads (subject);

-- A payload under a key that was erased meanwhile is refused: nobody could open it, and nobody would erase it. Not a foreign key,
-- which looks up and locks the key of every row: this asks once for the whole batch, and writers take turns anyway.
create function payloads_have_keys() returns trigger language plpgsql
    set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
    if exists (select 1 from sealed
        where not exists (select 1 from vault.subject_keys where subject_keys.subject = sealed.subject)) then
        raise exception 'a payload belongs to a subject that has no key'
            using errcode = 'foreign_key_violation', table = tg_table_name, constraint = 'payloads_have_keys';
    end if;
    return null;
end
$$;
create trigger payloads_have_keys after insert on payloads
    referencing new table as sealed for each statement execute function payloads_have_keys();
