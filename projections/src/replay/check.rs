//! Check: the live tables compared, row by row, with what the log says they should be.

use eventlog::sql::{self, Cell, Conn, Kind};
use eventlog::{Failure, Log};
use futures::try_join;

use super::Progress;
use super::compare::{Difference, compare};
use super::feed::Both;
use super::scratch::{Scratch, private_session};
use crate::guards::GuardTables;
use crate::projector::Tables;
use crate::views::{self, ViewTables, ViewsDb};

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// The size of the log at which the guards were compared.
    pub guards: u64,
    /// How many entries the compared views had folded.
    pub views: u64,
    pub rows: u64,
    pub differences: u64,
}

/// Compares guards and views, each at the position of one snapshot of them, with tables made from the log. Takes no lock: the city
/// goes on. Every difference is reported as it is found.
pub async fn check(
    log: &Log,
    views: &ViewsDb,
    progress: Progress<'_>,
    on_difference: &mut (dyn FnMut(Difference) + Send),
) -> Result<Checked, Failure> {
    // Views first: they follow the log, so their position is then within what the second snapshot sees.
    let mut live_views = views.reader().await?;
    live_views.begin_read().await?;
    let views_size = views::position(&mut live_views).await?;
    let mut live_guards = log.reader().await?;
    live_guards.begin_read().await?;
    let guards_size = head_size(&mut live_guards).await?;

    let scratch = Both {
        guards: Scratch::create(private_session(log).await?).await?,
        views: Scratch::create(private_session(log).await?).await?,
    };
    let Both { guards: mut new_guards, views: mut new_views } =
        scratch.feed(log, (guards_size, views_size), progress).await?;
    try_join!(new_guards.finish(), new_views.finish())?;

    let mut checked = Checked { guards: guards_size, views: views_size, ..Checked::default() };
    let mut report = |difference| {
        checked.differences += 1;
        on_difference(difference);
    };
    for table in GuardTables::tables() {
        checked.rows += compare(table, &mut live_guards, new_guards.conn(), &mut report).await?;
    }
    for table in ViewTables::tables() {
        checked.rows += compare(table, &mut live_views, new_views.conn(), &mut report).await?;
    }
    live_guards.rollback().await?;
    live_views.rollback().await?;
    Ok(checked)
}

async fn head_size(conn: &mut Conn) -> Result<u64, Failure> {
    let rows = sql::query(conn, "select size from head", &[Kind::Int], &[]).await?;
    match rows.first().map(Vec::as_slice) {
        Some([Cell::Int(size)]) => Ok(size.unsigned_abs()),
        _ => Err(Failure::Missing("the log has no head".to_owned())),
    }
}
