//! The seat of the one process that may do something with a log outside its database: sign it, anchor it.

use crate::sql::{self, Cell, Conn, Kind};
use crate::{Failure, Log};

/// A number that nobody else locks in this database; migrations have their own, and must not wait for who sits here.
const LOCK: i64 = 0x6775_696c_7365_6174;

/// Held by a session of the database for as long as that lives, and fenced by the log's epoch: whoever sits down raises it, so that a
/// process that has lost its seat without noticing can see it. On SQLite there is one process, which always sits.
pub struct Seat {
    session: Option<Conn>,
    epoch: i64,
}

impl Seat {
    pub(crate) async fn take(log: &Log) -> Result<Option<Self>, Failure> {
        let Some(mut session) = log.seat_session().await? else {
            return Ok(Some(Self { session: None, epoch: log.head().await?.epoch }));
        };
        let free = format!("select case when pg_try_advisory_lock({LOCK}) then 1 else 0 end");
        if number(&mut session, &free).await? == 0 {
            return Ok(None);
        }
        // No transaction around it: nothing of this stands in the way of writers, whatever becomes of this process. The lock is held, so
        // the epoch read is the one that was raised.
        sql::execute(&mut session, "update head set epoch = epoch + 1", &[]).await?;
        let epoch = number(&mut session, "select epoch from head").await?;
        Ok(Some(Self { session: Some(session), epoch }))
    }

    /// Under which what is signed is remembered.
    pub const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Whether it is still held, asked through the session that holds it.
    ///
    /// # Errors
    /// When it is not, or the database cannot be reached: then it has to be taken again.
    pub async fn check(&mut self) -> Result<(), Failure> {
        let Some(session) = &mut self.session else { return Ok(()) };
        match number(session, "select epoch from head").await? {
            epoch if epoch == self.epoch => Ok(()),
            epoch => Err(Failure::Unavailable(format!("epoch {epoch} was claimed, this process had {}", self.epoch))),
        }
    }
}

async fn number(session: &mut Conn, sql: &str) -> Result<i64, Failure> {
    let rows = sql::query(session, sql, &[Kind::Int], &[]).await?;
    match rows.first().map(Vec::as_slice) {
        Some([Cell::Int(number)]) => Ok(*number),
        _ => Err(Failure::Corrupt("the log has no head".to_owned())),
    }
}
