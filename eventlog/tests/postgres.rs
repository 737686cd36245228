//! What only PostgreSQL has: roles, privileges, settings, migrations by an owner, and sessions that die.
#![allow(clippy::unwrap_used)]

use guildhall_eventlog::sql::{self, Cell, Conn, Kind, SqlError};
use guildhall_eventlog::testing::{self, ORIGIN, ROLE};
use guildhall_eventlog::{Append, Failure, Location, Log, LogConfig, Login, Migration, migrate_postgres};

/// A role of its own: two migrations of one role at once, in two databases, would meet in the cluster's catalogue.
const LOGIN: Login<'static> = Login { role: "guildhall_migrated", password: "it's \\ trusted" };

#[tokio::test]
async fn the_owner_may_not_serve_unless_told_so() {
    let database = testing::postgres(&[]).await;
    let config = LogConfig { location: Location::Postgres { url: database.owner_url.clone() }, ..database.config() };
    assert!(matches!(Log::open(config.clone()).await, Err(Failure::Owner { role }) if role == "postgres"));
    let log = Log::open(LogConfig { allow_owner: true, ..config }).await.unwrap();
    assert!(log.safety().owner);
    assert!(!Log::open(database.config()).await.unwrap().safety().owner);
}

#[tokio::test]
async fn a_role_with_synchronous_commit_off_may_not_write() {
    let database = testing::postgres(&[]).await;
    let mut owner = Conn::from(testing::connect(&database.owner_url).await);
    owner
        .script(&format!("alter role {ROLE} in database {} set synchronous_commit = off", database.name))
        .await
        .unwrap();
    let refused = Log::open(database.config()).await;
    assert!(matches!(refused, Err(Failure::UnsafeSettings { which }) if which == "synchronous_commit=off"));
    let log = Log::open(LogConfig { allow_unsafe: true, ..database.config() }).await.unwrap();
    assert_eq!(log.safety().unsafe_settings, ["synchronous_commit=off"]);
}

#[tokio::test]
async fn settings_are_checked_again_at_every_reconnect() {
    let database = testing::postgres(&[]).await;
    let log = Log::open(database.config()).await.unwrap();
    let mut writer = log.writer().await.unwrap();
    let mut owner = Conn::from(testing::connect(&database.owner_url).await);
    owner
        .script(&format!("alter role {ROLE} in database {} set synchronous_commit = off", database.name))
        .await
        .unwrap();
    kill_sessions(&mut owner, &database.name).await;
    assert!(matches!(writer.begin().await.err(), Some(Failure::UnsafeSettings { .. })));
}

#[tokio::test]
async fn a_writer_whose_session_was_killed_writes_again() {
    let database = testing::postgres(&[]).await;
    let log = Log::open(database.config()).await.unwrap();
    let mut writer = log.writer().await.unwrap();
    let mut owner = Conn::from(testing::connect(&database.owner_url).await);

    kill_sessions(&mut owner, &database.name).await;
    let batch = writer.begin().await.expect("a session that died while idle is replaced");
    kill_sessions(&mut owner, &database.name).await;
    let at = batch.now();
    let lost = batch.commit(Append { at, ..Append::default() }).await;
    assert!(lost.is_err(), "a session that died in the middle of a batch takes the batch with it");
    let batch = writer.begin().await.unwrap();
    let at = batch.now();
    batch.commit(Append { at, ..Append::default() }).await.unwrap();
}

async fn kill_sessions(owner: &mut Conn, database: &str) {
    let kill =
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()";
    sql::query(owner, kill, &[Kind::Int], &[Cell::Text(database.to_owned())]).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

#[tokio::test]
async fn migrating_twice_changes_nothing_and_a_changed_step_is_refused() {
    let database = testing::empty_postgres().await;
    let step = |ddl| [Migration { schema: "read", version: 1, ddl }];
    assert!(Log::open(LogConfig { allow_owner: true, ..database.config() }).await.is_err());
    for _ in 0..2 {
        migrate_postgres(&database.owner_url, ORIGIN, Some(LOGIN), &step("create table roster (id text primary key)"))
            .await
            .unwrap();
    }
    let changed =
        migrate_postgres(&database.owner_url, ORIGIN, Some(LOGIN), &step("create table roster (id bigint)")).await;
    assert!(matches!(changed, Err(Failure::MigrationChanged { schema, version: 1 }) if schema == "read"));
    let renamed = migrate_postgres(&database.owner_url, "other/log", Some(LOGIN), &[]).await;
    assert!(matches!(renamed, Err(Failure::WrongOrigin { .. })));
    let superuser = Login { role: "postgres", password: "x" };
    let refused = migrate_postgres(&database.owner_url, ORIGIN, Some(superuser), &[]).await;
    assert!(matches!(refused, Err(Failure::Owner { .. })));
    let url = database.url.replace(ROLE, LOGIN.role);
    Log::open(LogConfig { location: Location::Postgres { url }, ..database.config() }).await.unwrap();
}

#[tokio::test]
async fn the_login_role_can_do_what_it_needs_and_nothing_else() {
    let database = testing::postgres(&[testing::GUARDS_POSTGRES]).await;
    let mut login = Conn::from(testing::connect(&database.url).await);
    let denied = [
        "update log.entries set version = 0",
        "delete from log.entries",
        "truncate log.entries",
        "alter table log.entries disable trigger all",
        "drop table log.entries",
        "create table log.mine (id int)",
        "insert into log.head values ('x', 0, 0, 0)",
        "update log.head set origin = 'x'",
        "delete from log.head",
        "update log.receipts set at = 0",
        "truncate log.receipts",
        "update vault.payloads set subject = 'x'",
        "truncate guard.accounts",
        "select * from log.migrations",
        "set session_replication_role = replica",
        "create schema mine",
    ];
    for statement in denied {
        let error = login.script(statement).await.expect_err(statement);
        let SqlError::Failure(error) = error else { panic!("{statement}: {error}") };
        assert!(matches!(Failure::from(error), Failure::Denied(_)), "{statement}");
    }
}
