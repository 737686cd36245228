//! How the world says no, sorted by what the caller can do about it.

use std::path::PathBuf;

use crate::sql::SqlError;

/// A failure: nothing was accepted, and nothing is half done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The database cannot be reached, or the connection broke.
    #[error("the event log cannot be reached: {0}")]
    Unavailable(String),
    /// The database is there but did not answer in time or had no room.
    #[error("the event log is busy: {0}")]
    Busy(String),
    /// The connection died during COMMIT and could not be restored soon enough to learn the outcome. A retry with the same
    /// idempotency key is safe: it finds the receipt if the commit happened.
    #[error("the outcome of the last commit is not known yet: {0}")]
    CommitUnknown(String),
    /// Two clocks disagree by more than two seconds. All times are microseconds since 1970.
    #[error(
        "this server's clock says {ours} µs, {reference} says {theirs} µs: it does not write until they agree within 2 s"
    )]
    ClockSkew { ours: i64, theirs: i64, reference: &'static str },
    /// PostgreSQL runs with a setting under which a commit is not durable.
    #[error("the database runs with {which}: a commit would not be durable (--unsafe overrides)")]
    UnsafeSettings { which: String },
    /// The login role owns the log's tables, is a superuser, or has or can take on privileges to rewrite what it wrote.
    #[error(
        "role {role:?} could rewrite the log, by what it owns, is a member of or was granted; \
         use the login role that `guildhall migrate` made (--dev overrides)"
    )]
    Owner { role: String },
    /// Another process holds the lock of this SQLite directory.
    #[error("another guildhall writes here: {} is locked", .path.display())]
    Locked { path: PathBuf },
    /// There is no log at this place yet.
    #[error("there is no event log here yet: {0}")]
    Missing(String),
    /// The log is there, and of an older version of this program.
    #[error(
        "the database is of an older version: schema {schema} is at {version}, this program needs {needed}; run `guildhall migrate`"
    )]
    OldSchema { schema: String, version: i64, needed: i64 },
    /// The place holds another log than the configured one.
    #[error("this is the log {found:?}, not {expected:?}")]
    WrongOrigin { expected: String, found: String },
    /// The database does not go on where this process knows the log to be: an old backup was restored, or it is another database.
    /// Nothing is written to it or read on from it. `position` is the first one in doubt.
    #[error("the database does not continue the log this process knows, from position {position} on: {what}")]
    Diverged { position: u64, what: String },
    /// A newer version of this software has migrated the log.
    #[error("schema {schema} is at version {version}, which this version of guildhall does not know")]
    NewerSchema { schema: String, version: i64 },
    /// A migration that was applied is not the one that this binary carries.
    #[error("migration {version} of {schema} was changed after it was applied")]
    MigrationChanged { schema: String, version: i64 },
    /// The role lacks a privilege that it needs.
    #[error("the database refuses: {0}")]
    Denied(String),
    /// What is stored cannot be what was written.
    #[error("the event log is damaged: {0}")]
    Corrupt(String),
    /// The append contradicts the log or itself: a bug of the caller.
    #[error("the append contradicts the log: {0}")]
    Contradiction(String),
    /// A statement failed for a reason that a retry does not cure.
    #[error("the database failed: {0}")]
    Database(String),
    /// A file or the system's randomness failed.
    #[error("{0}")]
    System(String),
}

impl Failure {
    /// Whether the same request may succeed later without anybody changing anything but the weather.
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Failure::Unavailable(_) | Failure::Busy(_) | Failure::CommitUnknown(_) | Failure::ClockSkew { .. }
        )
    }

    pub(crate) fn system(what: &str, error: impl std::fmt::Display) -> Failure {
        Failure::System(format!("{what}: {error}"))
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Failure {
        match error {
            SqlError::Failure(error) => Failure::from(error),
            other => Failure::Contradiction(other.to_string()),
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        let text = error.to_string();
        let Some(database) = error.as_database_error() else {
            return match error {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed => Failure::Unavailable(text),
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Failure::Corrupt(text),
                _ => Failure::Database(text),
            };
        };
        let code = database.code().unwrap_or_default();
        if database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
            postgres(&code, text)
        } else {
            sqlite(code.parse().unwrap_or(1), text)
        }
    }
}

/// By SQLSTATE class, appendix A of the PostgreSQL manual.
fn postgres(code: &str, text: String) -> Failure {
    match code {
        // lock_timeout; statement_timeout.
        "55P03" | "57014" => Failure::Busy(text),
        "42501" => Failure::Denied(text),
        "3F000" | "42P01" | "3D000" => Failure::Missing(text),
        "XX001" | "XX002" => Failure::Corrupt(text),
        _ if code.starts_with("08") || code.starts_with("57") || code == "25P03" => Failure::Unavailable(text),
        _ if code.starts_with("53") || code.starts_with("40") => Failure::Busy(text),
        _ => Failure::Database(text),
    }
}

/// By primary result code, the low byte of the extended one.
fn sqlite(code: i32, text: String) -> Failure {
    match code & 0xff {
        // BUSY, LOCKED, FULL.
        5 | 6 | 13 => Failure::Busy(text),
        // IOERR.
        10 => Failure::Unavailable(text),
        // PERM, READONLY, AUTH.
        3 | 8 | 23 => Failure::Denied(text),
        // CORRUPT, NOTADB.
        11 | 26 => Failure::Corrupt(text),
        // CANTOPEN.
        14 => Failure::Missing(text),
        _ => Failure::Database(text),
    }
}

/// Why a batch was not committed. The transaction is rolled back and the head has not moved.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A constraint of a guard, or a compare-and-set on one, said no: the decision that led here was wrong.
    #[error("guard {name:?} tripped")]
    GuardTripped { name: String },
    #[error(transparent)]
    Failure(#[from] Failure),
}
