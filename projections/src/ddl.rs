//! The tables' definitions, as `eventlog`'s migrations take them.

use eventlog::Migration;

/// Guards on PostgreSQL, in schema `guard`.
pub const GUARDS_POSTGRES: &str = concat!(
    include_str!("../../migrations/read/guards/postgres.sql"),
    include_str!("../../migrations/read/guards/shared.sql")
);
/// Guards on SQLite, in `log.db`.
pub const GUARDS_SQLITE: &str = concat!(
    include_str!("../../migrations/read/guards/sqlite.sql"),
    include_str!("../../migrations/read/guards/shared.sql")
);
/// Views on PostgreSQL, in schema `read`.
pub const VIEWS_POSTGRES: &str = concat!(
    include_str!("../../migrations/read/views/postgres.sql"),
    include_str!("../../migrations/read/views/shared.sql")
);
/// Views on SQLite, in `views.db`, which [`crate::views::ViewsDb`] makes by itself.
pub const VIEWS_SQLITE: &str = concat!(
    include_str!("../../migrations/read/views/sqlite.sql"),
    include_str!("../../migrations/read/views/shared.sql")
);

/// For [`eventlog::migrate_postgres`].
pub const POSTGRES: [Migration<'static>; 2] = [
    Migration { schema: "guard", version: 1, ddl: GUARDS_POSTGRES },
    Migration { schema: "read", version: 1, ddl: VIEWS_POSTGRES },
];

/// For [`eventlog::init_sqlite`].
pub const SQLITE: [Migration<'static>; 1] = [Migration { schema: "guard", version: 1, ddl: GUARDS_SQLITE }];
