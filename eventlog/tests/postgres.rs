//! What only PostgreSQL has: roles, privileges, settings, migrations by an owner, and sessions that die.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use eventlog::sql::{self, Cell, Conn, Kind, SqlError};
use eventlog::testing::{self, ORIGIN, ROLE};
use eventlog::{
    Append, CommitError, CommitFault, Failure, Location, Log, LogConfig, Login, Migration, Receipt, migrate_postgres,
};
use futures::StreamExt as _;

/// A role of its own: two migrations of one role at once, in two databases, would meet in the cluster's catalogue.
const LOGIN: Login<'static> = Login { role: "guildhall_migrated", password: "it's \\ trusted", replace: true };

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

/// Most owners are no superusers.
#[tokio::test]
async fn an_owner_who_is_no_superuser_migrates_and_migrates_again() {
    let database = testing::empty_postgres().await;
    let mut admin = Conn::from(testing::connect(&database.owner_url).await);
    let (owner, role) = (format!("owner_{}", database.name), format!("login_{}", database.name));
    admin
        .script(&format!("create role {owner} login createrole; alter database {} owner to {owner}", database.name))
        .await
        .unwrap();
    let url = database.owner_url.replace("postgres", &owner).replacen(&owner, "postgres", 1);
    let login = Login { role: &role, password: "a long secret", replace: false };
    for replace in [false, false, true] {
        migrate_postgres(&url, ORIGIN, Some(Login { replace, ..login }), &[testing::GUARDS_POSTGRES]).await.unwrap();
    }
    let log = Log::open(LogConfig {
        location: Location::Postgres { url: database.url.replace(ROLE, &role) },
        ..database.config()
    });
    let log = log.await.unwrap();
    assert_eq!(log.missing_privileges().await.unwrap(), [""; 0]);
    for (privilege, place) in [("insert", "log.entries"), ("update", "guard.accounts"), ("delete", "log.receipts")] {
        admin.script(&format!("revoke {privilege} on {place} from {role}")).await.unwrap();
        let missing = format!("{} on {place}", privilege.to_uppercase());
        assert_eq!(log.missing_privileges().await.unwrap(), [missing]);
        admin.script(&format!("grant {privilege} on {place} to {role}")).await.unwrap();
    }
    admin.script(&format!("revoke usage on schema log from {role}")).await.unwrap();
    assert_eq!(log.missing_privileges().await.unwrap(), ["USAGE on schema log"]);
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
    let superuser = Login { role: "postgres", password: "x", replace: true };
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
        "create table public.mine (id int)",
        "select checksum from log.migrations",
    ];
    for statement in denied {
        let error = login.script(statement).await.expect_err(statement);
        let SqlError::Failure(error) = error else { panic!("{statement}: {error}") };
        assert!(matches!(Failure::from(error), Failure::Denied(_)), "{statement}");
    }
}

/// What a role can do itself or by taking on another one, however indirectly.
#[tokio::test]
async fn a_role_that_could_rewrite_the_log_may_not_serve() {
    let database = testing::postgres(&[]).await;
    let mut owner = Conn::from(testing::connect(&database.owner_url).await);
    let url = |role: &str| database.url.replace(ROLE, role);
    let ways = [
        "alter role \"{role}\" createrole",
        "alter role \"{role}\" replication",
        "grant pg_write_all_data to \"{role}\"",
        "grant pg_execute_server_program to \"{role}\"",
        "grant postgres to \"{role}\"",
        // By way of another role, and without inheriting from it.
        "create role \"{role}_between\"; grant pg_write_all_data to \"{role}_between\"; alter role \"{role}\" noinherit; \
         grant \"{role}_between\" to \"{role}\"",
        "grant update on log.entries to \"{role}\"",
        "grant update (bytes) on log.entries to \"{role}\"",
        "grant delete on log.entries to \"{role}\"",
        "grant truncate on log.entries to public",
        "grant trigger on log.entries to \"{role}\"",
        "grant create on schema guard to \"{role}\"",
        "alter database \"{database}\" owner to \"{role}\"",
    ];
    for (number, way) in ways.into_iter().enumerate() {
        // Roles belong to the whole cluster, so each needs a name that no other test uses.
        let role = format!("guildhall_way_{number}_{}", std::process::id());
        let login = Login { role: &role, password: "trusted", replace: true };
        migrate_postgres(&database.owner_url, ORIGIN, Some(login), &[]).await.unwrap();
        let config = LogConfig { location: Location::Postgres { url: url(&role) }, ..database.config() };
        Log::open(config.clone()).await.unwrap();
        owner.script(&way.replace("{role}", &role).replace("{database}", &database.name)).await.unwrap();
        let refused = Log::open(config.clone()).await.err();
        assert!(matches!(&refused, Some(Failure::Owner { role: named }) if *named == role), "{way}: {refused:?}");
        assert!(Log::open(LogConfig { allow_owner: true, ..config.clone() }).await.unwrap().safety().owner);
        // Migrating again takes all of it away, apart from what the role owns.
        if !way.contains("owner to") {
            migrate_postgres(&database.owner_url, ORIGIN, Some(login), &[]).await.unwrap();
            Log::open(config).await.unwrap_or_else(|error| panic!("{way}: {error}"));
        }
        owner.script(&format!("alter database \"{}\" owner to postgres", database.name)).await.unwrap();
        owner
            .script(&format!("drop owned by \"{role}\"; drop role \"{role}\"; drop role if exists \"{role}_between\""))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn migrating_again_leaves_the_password_that_servers_use() {
    let database = testing::empty_postgres().await;
    let role = format!("guildhall_again_{}", std::process::id());
    let mut owner = Conn::from(testing::connect(&database.owner_url).await);
    let mut stored = async || {
        let sql = "select rolpassword from pg_authid where rolname = $1";
        sql::query(&mut owner, sql, &[Kind::Text], &[Cell::Text(role.clone())]).await.unwrap()
    };
    let login = Login { role: &role, password: "the first", replace: false };
    assert!(migrate_postgres(&database.owner_url, ORIGIN, Some(login), &[]).await.unwrap());
    let first = stored().await;
    let other = Login { password: "another", ..login };
    assert!(!migrate_postgres(&database.owner_url, ORIGIN, Some(other), &[]).await.unwrap());
    assert_eq!(stored().await, first);
    let wanted = Login { replace: true, ..other };
    assert!(migrate_postgres(&database.owner_url, ORIGIN, Some(wanted), &[]).await.unwrap());
    assert_ne!(stored().await, first);
    owner.script(&format!("drop owned by {role}; drop role {role}")).await.unwrap();
}

#[tokio::test]
async fn whoever_sits_to_publish_is_alone_and_holds_no_migration_up() {
    let database = testing::postgres(&[]).await;
    let log = Log::open(database.config()).await.unwrap();
    let epoch = log.head().await.unwrap().epoch;
    let mut seat = log.take_seat().await.unwrap().unwrap();
    assert_eq!(seat.epoch(), epoch + 1);
    assert!(log.take_seat().await.unwrap().is_none(), "taken");
    seat.check().await.unwrap();
    let migrating = migrate_postgres(&database.owner_url, ORIGIN, None, &[]);
    tokio::time::timeout(std::time::Duration::from_secs(20), migrating).await.unwrap().unwrap();
    drop(seat);
    // The server notices a session's end a moment later.
    let next = loop {
        match log.take_seat().await.unwrap() {
            Some(seat) => break seat,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(next.epoch(), epoch + 2);
}

#[tokio::test]
async fn a_seat_that_was_lost_says_so_and_taking_one_waits_for_no_writer_for_long() {
    let database = testing::postgres(&[]).await;
    let log = Log::open(database.config()).await.unwrap();
    let mut owner = Conn::from(testing::connect(&database.owner_url).await);
    let mut seat = log.take_seat().await.unwrap().unwrap();
    sql::execute(&mut owner, "update log.head set epoch = epoch + 1", &[]).await.unwrap();
    let claimed = seat.check().await.unwrap_err();
    assert!(claimed.to_string().contains("was claimed"), "{claimed}");
    drop(seat);
    let mut seat = loop {
        match log.take_seat().await.unwrap() {
            Some(seat) => break seat,
            None => tokio::task::yield_now().await,
        }
    };
    seat.check().await.unwrap();
    let ended = "select pg_terminate_backend(pid)::int from pg_locks where locktype = 'advisory' \
                 and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(sql::query(&mut owner, ended, &[Kind::Int], &[]).await.unwrap(), [[Cell::Int(1)]]);
    seat.check().await.unwrap_err();
    drop(seat);

    owner.begin().await.unwrap();
    sql::execute(&mut owner, "update log.head set epoch = epoch", &[]).await.unwrap();
    log.take_seat().await.map(drop).unwrap_err();
    owner.rollback().await.unwrap();
    assert!(log.take_seat().await.unwrap().is_some(), "and nothing was left behind");
}

#[tokio::test]
async fn the_password_reaches_the_server_as_a_verifier_only() {
    let database = testing::empty_postgres().await;
    let role = format!("guildhall_secret_{}", std::process::id());
    let login = Login { role: &role, password: "a long secret", replace: true };
    migrate_postgres(&database.owner_url, ORIGIN, Some(login), &[]).await.unwrap();
    let mut owner = Conn::from(testing::connect(&database.owner_url).await);
    let stored = "select rolpassword from pg_authid where rolname = $1";
    let stored = sql::query(&mut owner, stored, &[Kind::Text], &[Cell::Text(role.clone())]).await.unwrap();
    assert!(matches!(&stored[0][0], Cell::Text(text) if text.starts_with("SCRAM-SHA-256$4096:")), "{stored:?}");
    owner.script(&format!("drop owned by {role}; drop role {role}")).await.unwrap();
    let odd = Login { role: &role, password: "stra\u{df}e", replace: true };
    let refused = migrate_postgres(&database.owner_url, ORIGIN, Some(odd), &[]).await;
    assert!(matches!(refused, Err(Failure::Contradiction(_))));
}

#[tokio::test]
async fn trigger_functions_do_not_follow_the_callers_search_path() {
    let database = testing::postgres(&[]).await;
    let mut owner = Conn::from(testing::connect(&database.owner_url).await);
    let open = "select proname from pg_proc join pg_namespace on pg_namespace.oid = pronamespace where nspname = 'log' \
                and not coalesce(proconfig, '{}') @> array['search_path=pg_catalog, pg_temp']";
    assert!(sql::query(&mut owner, open, &[Kind::Text], &[]).await.unwrap().is_empty());
}

/// A stopped process leaves its answer in the socket, and its transaction open behind it: no timeout of the server ends that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_writer_costs_the_others_seconds() {
    let database = testing::postgres(&[]).await;
    let log = Log::open(database.config()).await.unwrap();
    let mut writer = log.writer().await.unwrap();
    writer.begin().await.unwrap().rollback().await;
    let mut stopped = testing::connect(&database.url).await;
    let script = "set statement_timeout = '3s'; set idle_in_transaction_session_timeout = '3s'; begin; \
                  select size from log.head for update; select repeat('x', 1000000) from generate_series(1, 1000)";
    let mut answers = sqlx::Executor::fetch(&mut stopped, sqlx::raw_sql(script));
    assert!(answers.next().await.unwrap().is_ok());
    // From here on nobody reads.
    let started = Instant::now();
    let batch = writer.begin().await.expect("the head is free again");
    let waited = started.elapsed();
    assert!(waited < Duration::from_secs(6), "{waited:?}");
    batch.rollback().await;
}

/// A writer that works for long, or waits, is not one that was stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_writer_is_left_alone() {
    let database = testing::postgres(&[]).await;
    let log = Log::open(database.config()).await.unwrap();
    let mut writer = log.writer().await.unwrap();
    let mut slow = Conn::from(testing::connect(&database.url).await);
    slow.script("begin; select size from log.head for update").await.unwrap();
    let working = tokio::spawn(async move {
        slow.script("select pg_sleep(5)").await?;
        slow.script("commit").await
    });
    let refused = writer.begin().await.err();
    assert!(matches!(refused, Some(Failure::Busy(_))), "{refused:?}");
    working.await.unwrap().expect("nobody ended it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_another_command_under_the_same_key_is_not_ours() {
    let database = testing::postgres(&[]).await;
    let (log, other) = (Log::open(database.config()).await.unwrap(), Log::open(database.config()).await.unwrap());
    let (mut writer, mut second) = (log.writer().await.unwrap(), other.writer().await.unwrap());
    let receipt = |command: &str, at: i64| Receipt {
        principal: "citizen-1".to_owned(),
        key: "one".to_owned(),
        digest: [7; 32],
        command: command.to_owned(),
        answer: Bytes::from_static(b"{}"),
        at,
    };
    let batch = writer.begin().await.unwrap();
    // Waits for the head, so it is there before anybody can look for what became of the first batch.
    let answering = tokio::spawn(async move {
        let batch = second.begin().await.unwrap();
        let at = batch.now();
        batch.commit(Append { at, receipts: vec![receipt("theirs", at)], ..Append::default() }).await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    log.fail_next_commit(CommitFault::LoseRequest);
    let at = batch.now();
    let lost = batch.commit(Append { at, receipts: vec![receipt("ours", at)], ..Append::default() }).await;
    answering.await.unwrap().unwrap();
    assert!(matches!(&lost, Err(CommitError::Failure(Failure::Unavailable(_)))), "{lost:?}");
}

/// The pool lends connections untried; after a restart of the server every one of them is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_survive_a_pool_of_dead_connections() {
    let database = testing::postgres(&[]).await;
    let log = Log::open(database.config()).await.unwrap();
    let held: Vec<Conn> =
        futures::future::join_all((0..8).map(|_| log.reader())).await.into_iter().map(Result::unwrap).collect();
    drop(held);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut owner = Conn::from(testing::connect(&database.owner_url).await);
    kill_sessions(&mut owner, &database.name).await;
    log.head().await.unwrap();
    log.read(0, 10).await.unwrap();
}
