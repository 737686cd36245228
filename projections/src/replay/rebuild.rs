//! Rebuild: guards and views made again from position 0 and put in place while the city runs.

use eventlog::sql::{self, Cell, Change, Conn, Kind};
use eventlog::{Failure, Log};
use futures::{StreamExt as _, try_join};

use super::feed::Both;
use super::scratch::{Scratch, guard_session};
use super::{Progress, source};
use crate::views::{self, PROGRESS, ViewsDb};

/// A tail this short is folded under the lock.
const SHORT: u64 = 5_000;

/// How far the tables were when they were put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// The size of the log at the guards' swap.
    pub guards: u64,
    /// How many entries the views had folded at theirs.
    pub views: u64,
}

/// Folds the whole log into new tables and swaps them in, guards first. Commands wait for the guards' swap only, queries for
/// nothing: until the commit they read the old rows.
///
/// # Errors
/// When an entry cannot be understood, a rebuilt guard violates a constraint, or the database fails. The live tables are then as
/// they were.
pub async fn rebuild(log: &Log, views: &ViewsDb, progress: Progress<'_>) -> Result<Rebuilt, Failure> {
    let mut new = Both {
        guards: Scratch::create(guard_session(log).await?).await?,
        views: Scratch::create(views.writer().await?).await?,
    };
    loop {
        let head = log.head().await?.size;
        new = new.feed(log, (head, head), progress).await?;
        if log.head().await?.size - head <= SHORT {
            break;
        }
    }
    // Outside the locks, so that little is left to be written inside.
    try_join!(new.guards.finish(), new.views.finish())?;
    let mut new = new.swap_guards(log, progress).await?;
    new.swap_views(log).await?;
    Ok(Rebuilt { guards: new.guards.size(), views: new.views.size() })
}

impl Both {
    /// Nobody appends while the head is locked, so the guards in place are those of exactly this size.
    async fn swap_guards(mut self, log: &Log, progress: Progress<'_>) -> Result<Self, Failure> {
        self.guards.conn().begin().await?;
        let size = lock_head(self.guards.conn()).await?;
        let mut new = self.feed(log, (size, size), progress).await?;
        sql::execute(new.guards.conn(), "insert into guard_rebuild (running) values (1)", &[]).await?;
        new.guards.replace("guard").await?;
        sql::execute(new.guards.conn(), "delete from guard_rebuild", &[]).await?;
        // A crash before this leaves the old tables, after it the new ones.
        new.guards.conn().commit().await?;
        Ok(new)
    }

    async fn swap_views(&mut self, log: &Log) -> Result<(), Failure> {
        self.views.conn().begin().await?;
        let live = views::lock_position(self.views.conn()).await?;
        // The worker may have gone further meanwhile, and the views never go back; unless they are of a day when the log was longer, and it
        // was restored without them.
        let until = live.min(log.head().await?.size);
        let mut batches = std::pin::pin!(source::read(log, self.views.size(), until));
        while let Some(events) = batches.next().await {
            self.views.feed(&events?).await?;
        }
        self.views.replace("read").await?;
        let (before, after) = (views::progress(live), views::progress(self.views.size()));
        if before != after {
            sql::apply(self.views.conn(), &[Change::Update { table: PROGRESS, rows: vec![(before, after)] }]).await?;
        }
        self.views.conn().commit().await?;
        Ok(())
    }
}

/// The size of the log, which cannot grow until the transaction ends. On SQLite the transaction itself is the lock.
async fn lock_head(conn: &mut Conn) -> Result<u64, Failure> {
    let lock = if conn.is_postgres() { " for update" } else { "" };
    let rows = sql::query(conn, &format!("select size from head{lock}"), &[Kind::Int], &[]).await?;
    match rows.first().map(Vec::as_slice) {
        Some([Cell::Int(size)]) => Ok(size.unsigned_abs()),
        _ => Err(Failure::Missing("the log has no head".to_owned())),
    }
}
