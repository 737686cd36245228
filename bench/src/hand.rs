//! What people write by hand: one transaction per command, which locks the row, checks, updates, and inserts the event.

use std::sync::Arc;

use eventlog::testing;
use guildhall_tests::Engine;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, PgPool, SqliteConnection};
use tokio::sync::Mutex;

use crate::load;

/// No application opens a connection for every caller beyond this.
const CONNECTIONS: usize = 256;
/// About as long as an entry of ours.
const EVENT_BYTES: usize = 700;
const FUNDS: i64 = 1_000_000_000;

pub async fn measure(engine: Engine, treasuries: usize, clients: usize, seconds: u64) -> f64 {
    match engine {
        Engine::Postgres => postgres(treasuries, clients, seconds).await,
        Engine::Sqlite => sqlite(treasuries, clients, seconds).await,
    }
}

async fn postgres(treasuries: usize, clients: usize, seconds: u64) -> f64 {
    let database = testing::empty_postgres().await;
    let options: PgConnectOptions = database.owner_url.parse().unwrap();
    let pool = PgPoolOptions::new().max_connections(u32::try_from(clients.min(CONNECTIONS)).unwrap());
    let pool = pool
        .acquire_timeout(std::time::Duration::from_secs(60))
        .connect_with(options.disable_statement_logging())
        .await
        .unwrap();
    let schema = "create table balances (treasury bigint primary key, balance numeric(38,0) not null check (balance >= 0)); \
         create table events (position bigint generated always as identity primary key, treasury bigint not null, body bytea not null)";
    sqlx::raw_sql(schema).execute(&pool).await.unwrap();
    let fill = "insert into balances select n, $1 from generate_series(0, $2) n";
    sqlx::query(fill).bind(FUNDS).bind(i64::try_from(treasuries).unwrap() - 1).execute(&pool).await.unwrap();
    let shared = pool.clone();
    let rate = load::rate(clients, seconds, move |_, number| {
        let pool = shared.clone();
        async move { debit_postgres(&pool, i64::try_from(number % treasuries as u64).unwrap()).await }
    })
    .await;
    pool.close().await;
    rate
}

async fn debit_postgres(pool: &PgPool, treasury: i64) {
    let mut transaction = pool.begin().await.unwrap();
    let select = "select (balance >= 1) from balances where treasury = $1 for update";
    let enough: bool = sqlx::query_scalar(select).bind(treasury).fetch_one(&mut *transaction).await.unwrap();
    assert!(enough);
    let update = "update balances set balance = balance - 1 where treasury = $1";
    sqlx::query(update).bind(treasury).execute(&mut *transaction).await.unwrap();
    let insert = "insert into events (treasury, body) values ($1, $2)";
    sqlx::query(insert).bind(treasury).bind(vec![b'e'; EVENT_BYTES]).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

/// SQLite has one writer: callers take turns.
async fn sqlite(treasuries: usize, clients: usize, seconds: u64) -> f64 {
    let home = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(home.path().join("hand.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut db = options.connect().await.unwrap();
    let schema = "create table balances (treasury integer primary key, balance integer not null check (balance >= 0)) strict; \
         create table events (position integer primary key, treasury integer not null, body blob not null) strict";
    sqlx::raw_sql(schema).execute(&mut db).await.unwrap();
    for treasury in 0..treasuries {
        let fill =
            sqlx::query("insert into balances values ($1, $2)").bind(i64::try_from(treasury).unwrap()).bind(FUNDS);
        fill.execute(&mut db).await.unwrap();
    }
    let db = Arc::new(Mutex::new(db));
    load::rate(clients, seconds, move |_, number| {
        let db = Arc::clone(&db);
        async move { debit_sqlite(&mut *db.lock().await, i64::try_from(number % treasuries as u64).unwrap()).await }
    })
    .await
}

async fn debit_sqlite(db: &mut SqliteConnection, treasury: i64) {
    let mut transaction = db.begin_with("begin immediate").await.unwrap();
    let select = "select balance from balances where treasury = $1";
    let balance: i64 = sqlx::query_scalar(select).bind(treasury).fetch_one(&mut *transaction).await.unwrap();
    assert!(balance >= 1);
    let update = "update balances set balance = balance - 1 where treasury = $1";
    sqlx::query(update).bind(treasury).execute(&mut *transaction).await.unwrap();
    let insert = "insert into events (treasury, body) values ($1, $2)";
    sqlx::query(insert).bind(treasury).bind(vec![b'e'; EVENT_BYTES]).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}
