//! What can go wrong between us and a table.

use std::fmt::Display;

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::Table;

/// Why a statement did not do what it was meant to do.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// A constraint or trigger said no. `table` is empty where the engine does not tell it.
    #[error("constraint {name:?} of table {table:?} is violated")]
    Constraint { table: String, name: String },
    /// A compare-and-set, a delete or an expectation met other rows than it should have.
    #[error("table {table:?}: {expected} rows expected, {got} matched")]
    Mismatch { table: String, expected: u64, got: u64 },
    /// The caller's row does not fit the table: a bug of the caller.
    #[error("table {table:?}: {what}")]
    Shape { table: String, what: String },
    /// Everything else an engine, or the way to it, can say.
    #[error(transparent)]
    Failure(sqlx::Error),
}

impl SqlError {
    pub(crate) fn shape(table: &Table, what: impl Display) -> SqlError {
        SqlError::Shape { table: table.name.to_owned(), what: format!("{what} (does not fit)") }
    }

    /// Fills in the table where the engine did not name it.
    pub(super) fn of_table(self, table_name: &str) -> SqlError {
        match self {
            SqlError::Constraint { table, name } if table.is_empty() => {
                SqlError::Constraint { table: table_name.to_owned(), name }
            }
            other => other,
        }
    }

    /// Whether the server itself answered, and went on living: then the statement certainly had no effect.
    pub(crate) fn is_certain(&self) -> bool {
        let SqlError::Failure(error) = self else { return true };
        error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
            .is_some_and(|error| matches!(error.severity(), PgSeverity::Error))
    }
}

impl From<sqlx::Error> for SqlError {
    fn from(error: sqlx::Error) -> SqlError {
        match constraint(&error) {
            Some((table, name)) => SqlError::Constraint { table, name },
            None => SqlError::Failure(error),
        }
    }
}

/// Table and name of the violated constraint, if the error is about one.
fn constraint(error: &sqlx::Error) -> Option<(String, String)> {
    let error = error.as_database_error()?;
    let code = error.code()?;
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        // SQLSTATE class 23: integrity constraint violation.
        let name = error.constraint().unwrap_or_else(|| error.message());
        return code.starts_with("23").then(|| (error.table().unwrap_or_default().to_owned(), name.to_owned()));
    }
    // SQLITE_CONSTRAINT is 19 in the low byte of the extended code.
    let code: i32 = code.parse().ok()?;
    (code & 0xff == 19).then(|| sqlite_constraint(error.message()))
}

/// SQLite says `CHECK constraint failed: name`, `UNIQUE constraint failed: table.column, ...` or the text of a trigger's `raise`.
fn sqlite_constraint(message: &str) -> (String, String) {
    let name = message.split_once("constraint failed: ").map_or(message, |(_, name)| name);
    let table = match name.split_once('.') {
        Some((table, _)) if message.contains("constraint failed: ") && !table.contains(' ') => table,
        _ => "",
    };
    (table.to_owned(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_messages_give_table_and_constraint() {
        let cases = [
            ("UNIQUE constraint failed: entries.stream, entries.version", "entries", "entries.stream, entries.version"),
            ("CHECK constraint failed: balance_not_negative", "", "balance_not_negative"),
            ("UNIQUE constraint failed: index 'one'", "", "index 'one'"),
            ("log.entries only grows: update is refused", "", "log.entries only grows: update is refused"),
        ];
        for (message, table, name) in cases {
            assert_eq!(sqlite_constraint(message), (table.to_owned(), name.to_owned()));
        }
    }
}
