//! The worker that keeps views up to date: entry by entry, in batches, never ahead of the log and never skipping.

use std::time::Duration;

use eventlog::sql::{self, Cell, Change, Conn, Kind, SqlError};
use eventlog::{Failure, Follower, Log};
use tokio::sync::watch;

use super::{PROGRESS, ViewTables, ViewsDb, progress};
use crate::projector::Projector;
use crate::recorded;

/// Most entries folded in one transaction.
const BATCH: usize = 2_000;
const REMEMBERED: usize = 50_000;
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Follows the log until `shutdown` becomes true or its sender goes. `on_position` is told how many entries the views have folded:
/// position `p` can be read when it is greater than `p`. Failures of the database are waited out.
///
/// # Errors
/// [`Failure::Corrupt`] when an entry cannot be understood, [`Failure::Diverged`] when the log is not the one that was followed:
/// nothing may go on past either.
pub async fn run(
    log: Log,
    views: ViewsDb,
    mut shutdown: watch::Receiver<bool>,
    on_position: watch::Sender<u64>,
) -> Result<(), Failure> {
    let mut pause = PAUSE;
    loop {
        let before = *on_position.borrow();
        let ended = tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
            ended = follow(&log, &views, &on_position) => ended,
        };
        match ended {
            Ok(()) => pause = PAUSE,
            Err(end @ (Failure::Corrupt(_) | Failure::Diverged { .. })) => return Err(end),
            Err(failure) => {
                let moved = *on_position.borrow() > before;
                pause = if moved { PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                metrics::counter!("guildhall_view_failures_total").increment(1);
                tracing::error!(%failure, "the views do not follow the log");
                tokio::select! {
                    _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

/// Folds until something goes wrong, or somebody else moved the views.
async fn follow(log: &Log, views: &ViewsDb, on_position: &watch::Sender<u64>) -> Result<(), Failure> {
    let mut conn = views.writer().await?;
    let start = position(&mut conn).await?;
    publish(on_position, start);
    let mut follower = log.follow(start);
    let mut projector = Projector::<ViewTables>::new(REMEMBERED, false);
    while step(&mut conn, &mut follower, &mut projector).await? {
        publish(on_position, follower.position());
    }
    Ok(())
}

fn publish(on_position: &watch::Sender<u64>, position: u64) {
    metrics::gauge!("guildhall_view_position").set(position as f64);
    on_position.send_replace(position);
}

/// One batch in one transaction. `false`: the views are not where they were left, because another server or a rebuild moved them.
async fn step(
    conn: &mut Conn,
    follower: &mut Follower,
    projector: &mut Projector<ViewTables>,
) -> Result<bool, Failure> {
    let before = follower.position();
    let events = recorded::decode_all(&follower.next_batch(BATCH).await?)?;
    conn.begin().await?;
    if lock_position(conn).await? != before {
        conn.rollback().await?;
        return Ok(false);
    }
    let mut changes = projector.prepare(conn, &events).await?;
    changes.push(Change::Update { table: PROGRESS, rows: vec![(progress(before), progress(follower.position()))] });
    sql::apply(conn, &changes).await?;
    conn.commit().await?;
    projector.committed();
    Ok(true)
}

/// How many entries the views have folded.
pub(crate) async fn position(conn: &mut Conn) -> Result<u64, SqlError> {
    read_position(conn, "select size from view_position").await
}

/// The same, and nobody else moves it until the open transaction ends. On SQLite the transaction itself is that lock.
pub(crate) async fn lock_position(conn: &mut Conn) -> Result<u64, SqlError> {
    let lock = if conn.is_postgres() { " for update" } else { "" };
    read_position(conn, &format!("select size from view_position{lock}")).await
}

async fn read_position(conn: &mut Conn, sql: &str) -> Result<u64, SqlError> {
    let rows = sql::query(conn, sql, &[Kind::Int], &[]).await?;
    match rows.first().map(Vec::as_slice) {
        Some([Cell::Int(size)]) => Ok(size.unsigned_abs()),
        _ => Err(SqlError::Shape { table: PROGRESS.name.to_owned(), what: "there is no position".to_owned() }),
    }
}
