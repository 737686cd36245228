//! A row with names and types: one description gives the struct, the table for SQL, and the way between them.

use std::hash::Hash;

use eventlog::sql::{Row, Table};

/// One row of one table.
pub trait Record: Clone + PartialEq + Send + Sync + 'static {
    /// What a row is found by. Usually the primary key; where it is less, one row at most is living under it.
    type Key: Clone + Ord + Hash + Send + Sync;

    const TABLE: &'static Table;
    /// The same table by its lookup key.
    const LOOKUP: &'static Table;

    fn key(&self) -> Self::Key;
    fn key_cells(key: &Self::Key) -> Row;
    /// Whether both are states of one row.
    fn is_same_row(&self, other: &Self) -> bool;
    /// Whether this is the row that its key stands for.
    fn is_living(&self) -> bool {
        true
    }
    fn cells(&self) -> Row;
    /// `None` when the cells are not what [`Record::cells`] makes.
    fn read(row: Row) -> Option<Self>;
}

/// `record! { Name in "table" by (key columns) and (rest of the primary key) living |row| ..., { other columns } }`
macro_rules! record {
    (
        $(#[$doc:meta])*
        $name:ident in $table:literal by ($($key:ident: $key_type:ty),+)
        $(and ($($rest:ident: $rest_type:ty),+) living $living:expr,)?
        { $($field:ident: $type:ty),* $(,)? }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $(pub $key: $key_type,)+
            $($(pub $rest: $rest_type,)+)?
            $(pub $field: $type,)*
        }

        impl $name {
            const COLUMNS: &'static [eventlog::sql::Column] = &[
                $(eventlog::sql::Column { name: stringify!($key), kind: <$key_type as $crate::field::Field>::KIND },)+
                $($(eventlog::sql::Column { name: stringify!($rest), kind: <$rest_type as $crate::field::Field>::KIND },)+)?
                $(eventlog::sql::Column { name: stringify!($field), kind: <$type as $crate::field::Field>::KIND },)*
            ];
            const LOOKUP_COLUMNS: usize = [$(stringify!($key)),+].len();
            const KEY_COLUMNS: usize = Self::LOOKUP_COLUMNS $(+ [$(stringify!($rest)),+].len())?;
        }

        impl $crate::record::Record for $name {
            type Key = ($($key_type,)+);

            const TABLE: &'static eventlog::sql::Table =
                &eventlog::sql::Table { name: $table, columns: Self::COLUMNS, key: Self::KEY_COLUMNS };
            const LOOKUP: &'static eventlog::sql::Table =
                &eventlog::sql::Table { name: $table, columns: Self::COLUMNS, key: Self::LOOKUP_COLUMNS };

            fn key(&self) -> Self::Key {
                ($(self.$key.clone(),)+)
            }

            fn key_cells(key: &Self::Key) -> eventlog::sql::Row {
                let ($($key,)+) = key;
                vec![$($crate::field::Field::cell($key),)+]
            }

            fn is_same_row(&self, other: &Self) -> bool {
                $(self.$key == other.$key)&&+ $($(&& self.$rest == other.$rest)+)?
            }

            $(fn is_living(&self) -> bool {
                let living: fn(&Self) -> bool = $living;
                living(self)
            })?

            fn cells(&self) -> eventlog::sql::Row {
                vec![
                    $($crate::field::Field::cell(&self.$key),)+
                    $($($crate::field::Field::cell(&self.$rest),)+)?
                    $($crate::field::Field::cell(&self.$field),)*
                ]
            }

            fn read(row: eventlog::sql::Row) -> Option<Self> {
                let mut cells = row.into_iter();
                let record = Self {
                    $($key: $crate::field::Field::read(cells.next()?)?,)+
                    $($($rest: $crate::field::Field::read(cells.next()?)?,)+)?
                    $($field: $crate::field::Field::read(cells.next()?)?,)*
                };
                cells.next().is_none().then_some(record)
            }
        }
    };
}
pub(crate) use record;
