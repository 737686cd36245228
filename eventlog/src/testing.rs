//! Throw-away PostgreSQL databases for tests: one server per process or per run, one database per test.
//!
//! The server listens on a unix socket only. `GUILDHALL_TEST_PG=/socket/dir` reuses a running one (nextest starts a process per
//! test); otherwise the first test of a process starts its own, and a watchdog ends it when the process does, however it ends.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use crate::{Location, LogConfig, Login, Migration, init_sqlite, migrate_postgres};

/// The login role of every test database.
pub const ROLE: &str = "guildhall_test";
/// The origin of every test log.
pub const ORIGIN: &str = "test/log";

const MISSING: &str = "PostgreSQL is needed for this test: apt-get install -y postgresql";
const TEMPLATE_LOCK: i64 = 7_204_117;

/// The schema of a guard that tests can trip: accounts with a unique slug and a balance that cannot be negative.
pub const GUARDS_POSTGRES: Migration<'static> = Migration {
    schema: "guard",
    version: 1,
    ddl: "create table accounts (id text collate \"C\" not null primary key, slug text collate \"C\", \
          amount numeric(38,0) not null constraint amount_not_negative check (amount >= 0), \
          constraint accounts_slug unique (slug))",
};

/// The same for SQLite.
pub const GUARDS_SQLITE: Migration<'static> = Migration {
    schema: "guard",
    version: 1,
    ddl: "create table accounts (id text not null primary key, slug text, \
          amount text not null constraint amount_not_negative check (amount >= '10000000000000000000000000000'), \
          constraint accounts_slug unique (slug)) strict",
};

/// A database of its own for one test.
pub struct TestDatabase {
    pub name: String,
    /// As superuser.
    pub owner_url: String,
    /// As the role that owns nothing.
    pub url: String,
}

impl TestDatabase {
    /// How a server would open the log in it.
    pub fn config(&self) -> LogConfig {
        config(Location::Postgres { url: self.url.clone() })
    }

    /// A new database with everything that is in this one, which nobody may be using.
    pub async fn copy(&self) -> TestDatabase {
        let server = server();
        let name = unique_name("c");
        let mut admin = connect(&server_url(server, "postgres", "postgres")).await;
        let sql = format!("create database {name} template {}", self.name);
        // The last sessions need a moment to go.
        for attempt in 0.. {
            match admin.execute(sqlx::raw_sql(AssertSqlSafe(sql.as_str()))).await {
                Ok(_) => break,
                Err(error) => assert!(attempt < 100, "{sql}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        close(admin).await;
        TestDatabase { owner_url: server_url(server, &name, "postgres"), url: server_url(server, &name, ROLE), name }
    }
}

/// A migrated log in a new database, with `extra` for guards and views.
pub async fn postgres(extra: &[Migration<'_>]) -> TestDatabase {
    let server = server();
    let template = template(server, extra).await;
    let name = unique_name("t");
    let mut admin = connect(&server_url(server, "postgres", "postgres")).await;
    execute(&mut admin, &format!("create database {name} template {template}")).await;
    close(admin).await;
    TestDatabase { owner_url: server_url(server, &name, "postgres"), url: server_url(server, &name, ROLE), name }
}

/// A new, empty database without any schema.
pub async fn empty_postgres() -> TestDatabase {
    let server = server();
    let name = unique_name("e");
    let mut admin = connect(&server_url(server, "postgres", "postgres")).await;
    execute(&mut admin, &format!("create database {name}")).await;
    close(admin).await;
    TestDatabase { owner_url: server_url(server, &name, "postgres"), url: server_url(server, &name, ROLE), name }
}

/// A log in a new temporary directory, which goes when the first value is dropped.
pub async fn sqlite(extra: &[Migration<'_>]) -> (tempfile::TempDir, LogConfig) {
    let home = tempfile::tempdir().expect("a temporary directory can be made");
    let dir = home.path().join("data");
    init_sqlite(&dir, ORIGIN, extra).await.expect("a new directory can be initialised");
    (home, config(Location::Sqlite { dir }))
}

fn config(location: Location) -> LogConfig {
    LogConfig { location, origin: ORIGIN.to_owned(), allow_unsafe: false, allow_owner: false, create: false }
}

/// The template database with these migrations, made once per server.
async fn template(socket_dir: &Path, extra: &[Migration<'_>]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(include_bytes!("../../migrations/log/postgres.sql"));
    hasher.update(include_bytes!("../../migrations/vault/postgres.sql"));
    // Grants are made there.
    hasher.update(include_bytes!("migrate.rs"));
    for migration in extra {
        hasher.update(migration.schema.as_bytes()).update(migration.ddl.as_bytes());
    }
    let name = format!("template_{}", &hasher.finalize().to_hex()[..16]);
    let mut admin = connect(&server_url(socket_dir, "postgres", "postgres")).await;
    // Several test processes may share the server; the lock goes with the connection.
    execute(&mut admin, &format!("do $$ begin perform pg_advisory_lock({TEMPLATE_LOCK}); end $$")).await;
    if !exists(&mut admin, &name).await {
        let building = unique_name("b");
        execute(&mut admin, &format!("create database {building}")).await;
        let login = Login { role: ROLE, password: "trusted", replace: true };
        let url = server_url(socket_dir, &building, "postgres");
        migrate_postgres(&url, ORIGIN, Some(login), extra).await.expect("a new database can be migrated");
        rename(&mut admin, &building, &name).await;
    }
    close(admin).await;
    name
}

async fn exists(admin: &mut PgConnection, name: &str) -> bool {
    let row = admin
        .fetch_one(sqlx::query::<sqlx::Postgres>("select count(*) from pg_database where datname = $1").bind(name))
        .await;
    row.expect("pg_database can be read").get::<i64, _>(0) > 0
}

/// A database cannot be renamed while the migration's session is still saying goodbye.
async fn rename(admin: &mut PgConnection, from: &str, to: &str) {
    let sql = format!("alter database {from} rename to {to}");
    for _ in 0..50 {
        if admin.execute(sqlx::raw_sql(AssertSqlSafe(sql.as_str()))).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the template database is still in use: {sql}");
}

/// Opens a connection for direct SQL.
pub async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap_or_else(|error| panic!("cannot connect to {url}: {error}"))
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    let done = connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn close(connection: PgConnection) {
    connection.close().await.expect("a connection can be closed");
}

fn server_url(socket_dir: &Path, database: &str, user: &str) -> String {
    format!("postgres:///{database}?host={}&user={user}", socket_dir.display())
}

fn unique_name(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let moment = jiff::Timestamp::now().as_microsecond();
    format!("{prefix}_{}_{number}_{moment}", std::process::id())
}

/// The socket directory of the server in use.
fn server() -> &'static Path {
    static SERVER: OnceLock<(PathBuf, Option<Child>)> = OnceLock::new();
    let (dir, _watchdog) = SERVER.get_or_init(|| match std::env::var_os("GUILDHALL_TEST_PG") {
        Some(dir) => (PathBuf::from(dir), None),
        None => {
            let (dir, watchdog) = start();
            (dir, Some(watchdog))
        }
    });
    dir
}

/// Starts a server in a new directory under /tmp (a socket's path must stay under 107 bytes).
///
/// The watchdog is a shell that holds the server and waits for its standard input to close, which the operating system does when
/// this process ends: statics are not dropped, and a signal leaves no time for anything.
fn start() -> (PathBuf, Child) {
    const SCRIPT: &str = r#"
        trap '' INT TERM HUP
        bin="$1"; dir="$2"
        "$bin/initdb" -D "$dir/data" -A trust -U postgres -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 || { echo "initdb failed, see $dir/log"; exit 1; }
        "$bin/pg_ctl" -w -D "$dir/data" -l "$dir/log" -o "-h '' -k $dir -c max_connections=300" start >/dev/null 2>&1 </dev/null || { echo "start failed, see $dir/log"; exit 1; }
        echo ready
        cat >/dev/null
        "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1
        rm -rf "$dir"
    "#;
    let bin = binaries();
    let dir = PathBuf::from(format!("/tmp/{}", unique_name("gh")));
    fs::create_dir(&dir).expect("/tmp can be written");
    let mut command = Command::new("sh");
    command.arg("-c").arg(SCRIPT).args([OsStr::new("watchdog"), bin.as_os_str(), dir.as_os_str()]).current_dir("/");
    if is_root() {
        // initdb refuses root.
        let (uid, gid) = unprivileged_user();
        std::os::unix::fs::chown(&dir, Some(uid), Some(gid)).expect("root can change owners");
        command.uid(uid).gid(gid);
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("our own directory");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut watchdog = command.spawn().expect("sh can be run");
    let stdout = watchdog.stdout.take().expect("stdout is piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("the watchdog speaks");
    assert_eq!(line.trim(), "ready", "the test server did not start");
    (dir, watchdog)
}

fn binaries() -> PathBuf {
    if let Some(bin) = std::env::var_os("GUILDHALL_PG_BIN") {
        return PathBuf::from(bin);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed =
        versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))));
    let newest = installed.filter(|(_, bin)| bin.join("initdb").exists()).max();
    newest.unwrap_or_else(|| panic!("{MISSING}")).1
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// User and group id of `postgres`, or else of `nobody`.
fn unprivileged_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).unwrap_or_else(|| panic!("{MISSING}"))
}
