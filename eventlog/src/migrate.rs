//! Creating the log and bringing it up to date: schemas, tables, and on PostgreSQL the login role that owns nothing.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

use crate::sql::{self, Cell, Conn, Kind};
use crate::tables::Head;
use crate::{Failure, connect, log, scram};

/// One step of one schema. Once applied, its text must never change: the next step is a new version.
#[derive(Clone, Copy, Debug)]
pub struct Migration<'a> {
    /// `log`, `vault`, `guard` or `read`. The text names its tables without a schema.
    pub schema: &'a str,
    pub version: i64,
    pub ddl: &'a str,
}

/// The role a server logs in with.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    pub role: &'a str,
    pub password: &'a str,
    /// Whether a role that is there already gets this password too: running servers log in with the one it has.
    pub replace: bool,
}

const SCHEMAS: [&str; 4] = ["log", "vault", "guard", "read"];

const POSTGRES: [Migration<'static>; 2] = [
    Migration { schema: "log", version: 1, ddl: include_str!("../../migrations/log/postgres.sql") },
    Migration { schema: "vault", version: 1, ddl: include_str!("../../migrations/vault/postgres.sql") },
];

const SQLITE: [Migration<'static>; 2] = [
    Migration { schema: "log", version: 1, ddl: include_str!("../../migrations/log/sqlite.sql") },
    Migration { schema: "vault", version: 1, ddl: include_str!("../../migrations/vault/sqlite.sql") },
];

/// The schemas of the log itself.
pub(crate) fn own(postgres: bool) -> &'static [Migration<'static>] {
    if postgres { &POSTGRES } else { &SQLITE }
}

/// Any number that nobody else uses: two migrations at once take turns.
const MIGRATION_LOCK: i64 = 0x6775_696c_6468_616c;

/// Creates or updates a PostgreSQL log as its owner, in one transaction, with `extra` for the schemas the log does not know.
/// Running it again changes nothing. Without a login role only the owner can use the log (`--dev`). Answers whether the login role has
/// the given password now: one that was there already keeps its own, unless it is to be replaced.
pub async fn migrate_postgres(
    owner_url: &str,
    origin: &str,
    login: Option<Login<'_>>,
    extra: &[Migration<'_>],
) -> Result<bool, Failure> {
    let options = owner_url.parse::<PgConnectOptions>().map_err(|error| Failure::system("the owner's URL", error))?;
    let options = options.application_name("guildhall migrate").disable_statement_logging();
    let mut conn = Conn::from(options.connect().await?);
    conn.begin().await?;
    sql::query(&mut conn, "select pg_advisory_xact_lock($1)::text", &[Kind::Text], &[Cell::Int(MIGRATION_LOCK)])
        .await?;
    for schema in SCHEMAS {
        conn.script(&format!("create schema if not exists {schema}")).await?;
    }
    conn.script(
        "create table if not exists log.migrations (schema text not null, version bigint not null, checksum bytea not null, \
         applied_at timestamptz not null default now(), primary key (schema, version))",
    )
    .await?;
    refuse_newer(&mut conn, &POSTGRES).await?;
    refuse_newer(&mut conn, extra).await?;
    for migration in POSTGRES.iter().chain(extra) {
        step(&mut conn, migration).await?;
    }
    conn.script("set local search_path to guard, log, vault, read").await?;
    settle_origin(&mut conn, origin).await?;
    let mut given = false;
    if let Some(login) = login {
        given = create_role(&mut conn, login).await?;
        grant(&mut conn, login.role).await?;
    }
    conn.commit().await?;
    Ok(given)
}

/// Creates or updates `dir/log.db` with log, vault and, from `extra`, the guards. Running it again changes nothing.
pub async fn init_sqlite(dir: &Path, origin: &str, extra: &[Migration<'_>]) -> Result<(), Failure> {
    let created = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    created.map_err(|error| Failure::system("the data directory", error))?;
    let mut conn = connect::sqlite_writer(dir, true).await?;
    conn.begin().await?;
    conn.script(
        "create table if not exists migrations (schema text not null, version integer not null, checksum blob not null, \
         applied_at text not null default current_timestamp, primary key (schema, version)) strict",
    )
    .await?;
    refuse_newer(&mut conn, &SQLITE).await?;
    refuse_newer(&mut conn, extra).await?;
    let behind = |versions: Vec<(&str, i64, i64)>| versions.into_iter().any(|(_, found, known)| found < known);
    let is_behind = behind(versions(&mut conn, &SQLITE).await?) || behind(versions(&mut conn, extra).await?);
    // Nobody's tables change under their feet.
    let _alone = if is_behind { Some(log::lock(dir.join(log::WRITER_LOCK))?) } else { None };
    for migration in SQLITE.iter().chain(extra) {
        step(&mut conn, migration).await?;
    }
    settle_origin(&mut conn, origin).await?;
    conn.commit().await?;
    Ok(())
}

/// Applies one migration, unless it was applied before with the same text.
async fn step(conn: &mut Conn, migration: &Migration<'_>) -> Result<(), Failure> {
    let Migration { schema, version, ddl } = *migration;
    if !SCHEMAS.contains(&schema) {
        return Err(Failure::Contradiction(format!("there is no schema {schema:?}")));
    }
    let table = table(conn);
    let checksum = Cell::Bytes(blake3::hash(ddl.as_bytes()).as_bytes().to_vec());
    let key = [Cell::Text(schema.to_owned()), Cell::Int(version)];
    let applied = format!("select checksum from {table} where schema = $1 and version = $2");
    if let Some(row) = sql::query(conn, &applied, &[Kind::Bytes], &key).await?.pop() {
        if row.first() == Some(&checksum) {
            return Ok(());
        }
        return Err(Failure::MigrationChanged { schema: schema.to_owned(), version });
    }
    if conn.is_postgres() {
        // New tables go to the first schema that exists.
        conn.script(&format!("set local search_path to {schema}, guard, log, vault, read")).await?;
    }
    conn.script(ddl).await?;
    let [schema, version] = key;
    let insert = format!("insert into {table} (schema, version, checksum) values ($1, $2, $3)");
    sql::execute(conn, &insert, &[schema, version, checksum]).await?;
    Ok(())
}

fn table(conn: &Conn) -> &'static str {
    if conn.is_postgres() { "log.migrations" } else { "migrations" }
}

/// Refuses to work on a schema that a newer version has migrated: what it means is not known here.
async fn refuse_newer(conn: &mut Conn, carried: &[Migration<'_>]) -> Result<(), Failure> {
    for (schema, found, known) in versions(conn, carried).await? {
        if found > known {
            return Err(Failure::NewerSchema { schema: schema.to_owned(), version: found });
        }
    }
    Ok(())
}

/// Refuses schemas that are not exactly at the version carried.
pub(crate) async fn check_versions(conn: &mut Conn, carried: &[Migration<'_>]) -> Result<(), Failure> {
    refuse_newer(conn, carried).await?;
    for (schema, found, known) in versions(conn, carried).await? {
        if found < known {
            return Err(Failure::OldSchema { schema: schema.to_owned(), version: found, needed: known });
        }
    }
    Ok(())
}

/// Each carried schema with the version that the database has, 0 for none, and the newest one carried.
async fn versions<'a>(conn: &mut Conn, carried: &[Migration<'a>]) -> Result<Vec<(&'a str, i64, i64)>, Failure> {
    let applied = format!("select schema, max(version) from {} group by schema", table(conn));
    let applied = sql::query(conn, &applied, &[Kind::Text, Kind::Int], &[]).await?;
    let of = |schema: &str| {
        let cells = applied.iter().find(|row| row[0] == Cell::Text(schema.to_owned())).map(|row| &row[1]);
        if let Some(Cell::Int(version)) = cells { *version } else { 0 }
    };
    let mut known = BTreeMap::new();
    for migration in carried {
        let newest = known.entry(migration.schema).or_insert(0);
        *newest = migration.version.max(*newest);
    }
    Ok(known.into_iter().map(|(schema, newest)| (schema, of(schema), newest)).collect())
}

/// Gives a new log its name; an old one keeps its own.
async fn settle_origin(conn: &mut Conn, origin: &str) -> Result<(), Failure> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"./-".contains(&byte);
    if origin.is_empty() || origin.len() > 128 || !origin.bytes().all(fits) {
        return Err(Failure::Contradiction(format!("{origin:?} is no origin: [a-z0-9./-], 1 to 128 characters")));
    }
    let new = "insert into head (origin, size, at, epoch) select $1, 0, 0, 0 where not exists (select 1 from head)";
    sql::execute(conn, new, &[Cell::Text(origin.to_owned())]).await?;
    let Head { origin: found, .. } = log::head(conn).await?;
    if found != origin {
        return Err(Failure::WrongOrigin { expected: origin.to_owned(), found });
    }
    Ok(())
}

/// Creates the login role, or takes everything it should not have away, its memberships first of all. Answers whether it has this
/// password now.
async fn create_role(conn: &mut Conn, login: Login<'_>) -> Result<bool, Failure> {
    let Login { role, password, replace } = login;
    if !is_plain_name(role) {
        return Err(Failure::Contradiction(format!("{role:?} is no plain role name: [a-z_][a-z0-9_]*")));
    }
    const KNOWN: &str =
        "select (rolsuper or rolname = current_user)::int, rolcanlogin::int, rolcreatedb::int, rolcreaterole::int,
        rolreplication::int from pg_roles where rolname = $1";
    let known = sql::query(conn, KNOWN, &[Kind::Int; 5], &[Cell::Text(role.to_owned())]).await?;
    let given = known.is_empty() || replace;
    let mut options = Vec::new();
    match known.first().map(Vec::as_slice) {
        None => options.push("login nosuperuser nocreatedb nocreaterole noreplication".to_owned()),
        Some([Cell::Int(1), ..]) => return Err(Failure::Owner { role: role.to_owned() }),
        // Only what is otherwise: an owner who is no superuser may say no more about a role than they have to.
        Some([_, has @ ..]) => {
            let wanted = [("login", 1), ("nocreatedb", 0), ("nocreaterole", 0), ("noreplication", 0)];
            let otherwise = wanted.iter().zip(has).filter(|((_, wanted), has)| **has != Cell::Int(*wanted));
            options.extend(otherwise.map(|((option, _), _)| (*option).to_owned()));
        }
        Some(_) => return Err(Failure::Database("the server does not tell what a role may".to_owned())),
    }
    if given {
        options.push(format!("password {}", literal(&scram::verifier(password)?)));
    }
    if !options.is_empty() {
        let verb = if known.is_empty() { "create" } else { "alter" };
        conn.script(&format!("{verb} role \"{role}\" {}", options.join(" "))).await?;
    }
    strip_memberships(conn, role).await?;
    Ok(given)
}

/// As a member of another role it could do what that one can.
async fn strip_memberships(conn: &mut Conn, role: &str) -> Result<(), Failure> {
    // Since version 16 every grantor's grant is one of its own.
    const REVOKES: &str = "select format('revoke %I from %I', g.rolname, m.rolname)
            || case when current_setting('server_version_num')::int >= 160000 then format(' granted by %I', b.rolname) else '' end
        from pg_auth_members as a join pg_roles as m on m.oid = a.member join pg_roles as g on g.oid = a.roleid
            left join pg_roles as b on b.oid = a.grantor
        where m.rolname = $1";
    let name = [Cell::Text(role.to_owned())];
    for row in sql::query(conn, REVOKES, &[Kind::Text], &name).await? {
        if let Some(Cell::Text(revoke)) = row.first() {
            conn.script(revoke).await?;
        }
    }
    if sql::query(conn, REVOKES, &[Kind::Text], &name).await?.is_empty() {
        return Ok(());
    }
    Err(Failure::Owner { role: role.to_owned() })
}

/// Exactly what a server needs, and first of all nothing; to everybody else nothing at all.
async fn grant(conn: &mut Conn, role: &str) -> Result<(), Failure> {
    let grants = format!(
        "do $$ begin
             if to_regnamespace('public') is not null then revoke create on schema public from public; end if;
         end $$;
         revoke all on all tables in schema log, vault, guard, read from public;
         revoke all on schema log, vault, guard, read from public;
         revoke all on all tables in schema log, vault, guard, read from \"{role}\";
         revoke all on schema log, vault, guard, read from \"{role}\";
         grant usage on schema log, vault, guard, read to \"{role}\";
         grant select (schema, version) on log.migrations to \"{role}\";
         grant select, insert on log.entries to \"{role}\";
         grant select, update (size, at, epoch) on log.head to \"{role}\";
         grant select, insert, delete on log.receipts to \"{role}\";
         grant select, insert, delete on vault.subject_keys, vault.payloads to \"{role}\";
         grant select, insert, update, delete on all tables in schema guard to \"{role}\";
         grant select, insert, update, delete, truncate on all tables in schema read to \"{role}\";
         grant usage on all sequences in schema guard, read to \"{role}\";"
    );
    conn.script(&grants).await?;
    Ok(())
}

/// What the role of this connection lacks of what [`grant`] gave it, as `INSERT on log.entries`. On SQLite there are no roles.
pub(crate) async fn missing_privileges(conn: &mut Conn) -> Result<Vec<String>, Failure> {
    const MISSING: &str = "
        select wanted.what || ' on ' || wanted.place from (
            select place, what from (values ('log.entries', 'SELECT'), ('log.entries', 'INSERT'), ('log.head', 'SELECT'),
                    ('log.receipts', 'SELECT'), ('log.receipts', 'INSERT'), ('log.receipts', 'DELETE'),
                    ('vault.subject_keys', 'SELECT'), ('vault.subject_keys', 'INSERT'),
                    ('vault.payloads', 'SELECT'), ('vault.payloads', 'INSERT')) as named (place, what)
            union all
            select schemaname || '.' || tablename, what from pg_tables,
                unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as what where schemaname in ('guard', 'read')
        ) as wanted where not coalesce(has_table_privilege(to_regclass(wanted.place), wanted.what), false)
        union all
        select 'UPDATE (' || name || ') on log.head' from unnest(array['size', 'at', 'epoch']) as name
            where not has_column_privilege('log.head', name, 'UPDATE')
        union all
        select 'USAGE on schema ' || nspname from pg_namespace
            where nspname in ('log', 'vault', 'guard', 'read') and not has_schema_privilege(oid, 'USAGE')";
    if !conn.is_postgres() {
        return Ok(Vec::new());
    }
    // Without the schema not even the names can be asked about.
    let schema = "select has_schema_privilege('log', 'USAGE')::int";
    if sql::query(conn, schema, &[Kind::Int], &[]).await? != [[Cell::Int(1)]] {
        return Ok(vec!["USAGE on schema log".to_owned()]);
    }
    let rows = sql::query(conn, MISSING, &[Kind::Text], &[]).await?;
    Ok(rows
        .into_iter()
        .flatten()
        .filter_map(|cell| if let Cell::Text(text) = cell { Some(text) } else { None })
        .collect())
}

fn is_plain_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.len() <= 63
}

/// A string literal that is read the same way whatever `standard_conforming_strings` says.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_cannot_leave_its_literal() {
        assert_eq!(literal(r"a'; drop table x; --\"), r"E'a\'; drop table x; --\\'");
    }

    #[test]
    fn role_names_are_plain() {
        assert!(is_plain_name("guildhall_app2"));
        for name in ["", "2x", "a\"b", "A", "a b"] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
