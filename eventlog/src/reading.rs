//! What a decision may look at: the log up to one size, its receipts and its vault, through one connection.

use crate::pages;
use crate::sql::Conn;
use crate::tables::{Receipt, Stored};
use crate::vault::WrappedKey;
use crate::{Failure, log, writer};

/// The log below position `size`. Within a batch nobody can append meanwhile; beside one ([`Reading::beside`]) the caller holds what
/// was read against the head before relying on it.
pub struct Reading<'a> {
    conn: &'a mut Conn,
    size: u64,
}

impl<'a> Reading<'a> {
    /// Through a connection of [`crate::Log::beside`], entries at or beyond `size` unseen. Everything that is not an entry is seen as it
    /// was last committed.
    pub fn beside(conn: &'a mut Conn, size: u64) -> Reading<'a> {
        Reading { conn, size }
    }

    /// The position of the next entry.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The connection, for guards that look rows up. Do not end its transaction.
    pub fn conn(&mut self) -> &mut Conn {
        self.conn
    }

    /// Shows `see` every entry of these streams: one stream after another, each in order of version. Only a page of them is in memory
    /// at any time, so a stream may be of any length.
    ///
    /// # Errors
    /// The first one of `see` ends the reading.
    pub async fn load_each(
        &mut self,
        streams: &[String],
        mut see: impl FnMut(Stored) -> Result<(), Failure> + Send,
    ) -> Result<(), Failure> {
        pages::each(self.conn, streams, self.size, &mut see).await
    }

    /// The stored receipts among these (principal, key) pairs.
    pub async fn receipts(&mut self, keys: &[(String, String)]) -> Result<Vec<Receipt>, Failure> {
        writer::receipts(self.conn, keys).await
    }

    /// The wrapped keys of these subjects; erased ones are missing.
    pub async fn subject_keys(&mut self, subjects: &[String]) -> Result<Vec<WrappedKey>, Failure> {
        log::subject_keys(self.conn, subjects).await
    }
}
