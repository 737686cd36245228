//! The tables' definitions, as `eventlog`'s migrations take them.

use eventlog::Migration;

/// What both engines write alike comes after what each writes in its own way.
macro_rules! ddl {
    ($($file:literal)*) => {
        concat!($(include_str!(concat!("../../migrations/read/", $file, ".sql"))),*)
    };
}

/// Views on SQLite, in `views.db`, which [`crate::views::ViewsDb`] makes by itself, always whole.
pub const VIEWS_SQLITE: &str = ddl!("views/sqlite" "views/shared" "views/2-sqlite" "views/2-shared" "views/3-sqlite" "views/3-shared" "views/4-sqlite" "views/5-sqlite");

/// For [`eventlog::migrate_postgres`]: guards in schema `guard`, views in schema `read`.
pub const POSTGRES: [Migration<'static>; 8] = [
    Migration { schema: "guard", version: 1, ddl: ddl!("guards/postgres" "guards/shared") },
    Migration { schema: "read", version: 1, ddl: ddl!("views/postgres" "views/shared") },
    Migration { schema: "guard", version: 2, ddl: ddl!("guards/2-postgres" "guards/2-shared") },
    Migration { schema: "read", version: 2, ddl: ddl!("views/2-postgres" "views/2-shared") },
    Migration { schema: "guard", version: 3, ddl: ddl!("guards/3-postgres" "guards/3-shared") },
    Migration { schema: "read", version: 3, ddl: ddl!("views/3-postgres" "views/3-shared") },
    Migration { schema: "read", version: 4, ddl: ddl!("views/4-postgres") },
    Migration { schema: "read", version: 5, ddl: ddl!("views/5-postgres") },
];

/// For [`eventlog::init_sqlite`]: guards in `log.db`, beside the log.
pub const SQLITE: [Migration<'static>; 3] = [
    Migration { schema: "guard", version: 1, ddl: ddl!("guards/sqlite" "guards/shared") },
    Migration { schema: "guard", version: 2, ddl: ddl!("guards/2-sqlite" "guards/2-shared") },
    Migration { schema: "guard", version: 3, ddl: ddl!("guards/3-sqlite" "guards/3-shared") },
];
