//! The walls around the log: what the login role may do, what nobody may, and what happens when the role may do less.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use eventlog::testing::{ROLE, connect};
use eventlog::{Location, Log};
use guildhall_tests::courier::Courier as _;
use guildhall_tests::hall::Hall;
use guildhall_tests::ledger::Ledger;
use guildhall_tests::town::{CURRENCY, Town, human};
use guildhall_tests::{Engine, block_on};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, PgConnection, Row as _};

/// Every privilege that the login role has in the database: what is granted, and on what.
async fn privileges(owner: &mut PgConnection) -> Vec<(String, String)> {
    let sql = format!(
        "select privilege_type, 'table ' || table_schema || '.' || table_name
             from information_schema.role_table_grants where grantee = '{ROLE}'
         union all
         select privilege_type || ' (' || column_name || ')', 'table ' || table_schema || '.' || table_name
             from information_schema.role_column_grants c where grantee = '{ROLE}' and privilege_type = 'UPDATE'
             and not exists (select 1 from information_schema.role_table_grants t where t.grantee = c.grantee
                 and t.table_schema = c.table_schema and t.table_name = c.table_name and t.privilege_type = 'UPDATE')
         union all
         select 'USAGE', 'schema ' || nspname from pg_namespace
             where nspname in ('log', 'vault', 'guard', 'read') and has_schema_privilege('{ROLE}', oid, 'USAGE')
         order by 2, 1"
    );
    let rows = owner.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn run(connection: &mut PgConnection, sql: &str) {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Without these a command cannot possibly be settled: each must fail, and say so.
fn is_needed(privilege: &str, object: &str) -> bool {
    match object {
        "schema log" | "schema vault" | "schema guard" | "table log.head" => true,
        "table log.entries" | "table log.receipts" => privilege == "INSERT",
        "table vault.payloads" | "table guard.postings" | "table guard.unique_claims" => privilege == "INSERT",
        "table guard.treasury_balances" => privilege == "UPDATE",
        _ => false,
    }
}

#[test]
fn with_any_privilege_of_the_login_role_revoked_a_command_is_settled_whole_or_not_at_all() {
    block_on(async {
        let hall = Hall::open(Engine::Postgres).await;
        let town = Town::found(&hall).await;
        town.fund(&hall, "the first", "1").await;
        let mut owner = connect(&hall.database.as_ref().unwrap().owner_url).await;
        let all = privileges(&mut owner).await;
        assert!(all.len() > 20, "{all:?}");
        let mut loud = 0;
        for (number, (privilege, object)) in all.iter().enumerate() {
            let before = hall.log.head().await.unwrap();
            run(&mut owner, &format!("revoke {privilege} on {object} from {ROLE}")).await;
            // With a key, so that a receipt is stored; with a typed text, so that the vault is written; it moves money.
            let deposit = serde_json::json!({
                "treasury": town.treasury, "source": "bank", "reference": format!("deposit {number}"),
                "currency": CURRENCY, "amount": "1", "memo": "what somebody typed",
            });
            let key = format!("wall-{number}");
            let told = hall.submit(&town.attester, "treasury.deposit", deposit.clone(), Some(&key)).await;
            run(&mut owner, &format!("grant {privilege} on {object} to {ROLE}")).await;
            let after = hall.log.head().await.unwrap();
            match &told {
                Ok(reply) => {
                    assert!(!is_needed(privilege, object), "{privilege} on {object}: it was settled all the same");
                    assert!(reply.is_accepted() && after.size == before.size + 1, "{privilege} on {object}: {reply:?}");
                }
                Err(_) => {
                    loud += 1;
                    // The writer asks now and then whether it could write again, which moves the time of the head and nothing else.
                    let left = (after.size, after.epoch);
                    assert_eq!(
                        left,
                        (before.size, before.epoch),
                        "{privilege} on {object}: it failed, and something was left behind"
                    );
                }
            }
            // With the privilege back, the same request is settled: once, whatever became of it before.
            let again = hall.submit(&town.attester, "treasury.deposit", deposit, Some(&key)).await;
            let again = again.unwrap_or_else(|error| panic!("after {privilege} on {object} came back: {error}"));
            assert_eq!(again.replayed, told.is_ok(), "{privilege} on {object}");
        }
        assert!(loud >= 10, "only {loud} of {} revocations were noticed", all.len());
        let ledger = Ledger::read(&hall.log).await;
        assert_eq!(ledger.purse(&town.treasury, CURRENCY).balance, 100 * (1 + all.len() as i128));
        ledger.assert_conserved();
        ledger.assert_guards_agree(&hall.log).await;
    });
}

/// What would change or shorten the log.
const REWRITES: [&str; 8] = [
    "update log.entries set bytes = '{}' where position = 0",
    "delete from log.entries where position = 0",
    "truncate log.entries",
    "update log.head set size = 0",
    "delete from log.head",
    "truncate log.head",
    "update log.head set origin = 'other'",
    "alter table log.entries disable trigger all",
];

#[test]
fn the_login_role_cannot_rewrite_the_log_and_an_owner_is_stopped_by_triggers() {
    block_on(async {
        let hall = Hall::open(Engine::Postgres).await;
        let database = hall.database.as_ref().unwrap();
        let (mut login, mut owner) = (connect(&database.url).await, connect(&database.owner_url).await);
        let before = hall.log.head().await.unwrap();
        for sql in REWRITES {
            assert!(login.execute(sqlx::raw_sql(sql)).await.is_err(), "as the login role: {sql}");
            // An owner can switch the triggers off; what they stop is mistakes.
            if !sql.starts_with("alter") {
                assert!(owner.execute(sqlx::raw_sql(sql)).await.is_err(), "as the owner: {sql}");
            }
        }
        assert_eq!(hall.log.head().await.unwrap(), before);
        Ledger::read(&hall.log).await;
    });
}

#[test]
fn on_sqlite_triggers_stop_every_rewrite() {
    block_on(async {
        let hall = Hall::open(Engine::Sqlite).await;
        let Location::Sqlite { dir } = &hall.log.config().location else { panic!("not on SQLite") };
        let mut direct = SqliteConnectOptions::new().filename(dir.join("log.db")).connect().await.unwrap();
        let rewrites = [
            "update entries set bytes = x'7b7d' where position = 0",
            "delete from entries where position = 0",
            "insert or replace into entries select * from entries where position = 0",
            "insert or replace into entries select 1000, stream, version, prev, hash, bytes from entries where position = 0",
            "update head set size = 0",
            "delete from head",
            "insert into head values ('second', 0, 0, 0)",
        ];
        for sql in rewrites {
            assert!(direct.execute(sqlx::raw_sql(sql)).await.is_err(), "{sql}");
        }
        Ledger::read(&hall.log).await;
    });
}

/// Direct SQL that a guard must refuse: by a constraint or a trigger, and not because it was misspelt.
async fn guards_say_no(log: &Log, sqls: &[String], mut execute: impl AsyncFnMut(&str) -> Result<(), sqlx::Error>) {
    let before = guildhall_tests::ledger::guards(log).await.unwrap();
    for sql in sqls {
        let said = execute(sql).await.expect_err(sql).to_string().to_lowercase();
        let by_a_guard = ["constraint", "refused", "do not sum to zero"].iter().any(|words| said.contains(words));
        assert!(by_a_guard, "{sql}: {said}");
    }
    assert_eq!(guildhall_tests::ledger::guards(log).await.unwrap(), before);
}

/// The text of an amount as the engine stores it.
fn stored(engine: Engine, minor: i128) -> String {
    match engine {
        Engine::Postgres => minor.to_string(),
        Engine::Sqlite => format!("'{}'", eventlog::sql::money_text(minor)),
    }
}

fn violations(engine: Engine, town: &Town, member: &str) -> Vec<String> {
    let amount = |minor| stored(engine, minor);
    let row = format!("treasury = '{}' and currency = '{CURRENCY}'", town.treasury);
    let most = 10_i128.pow(28) - 1;
    let balance = |balance: i128, held: i128| {
        format!("update treasury_balances set balance = {}, held = {} where {row}", amount(balance), amount(held))
    };
    let movement = |first: i128, second: i128| {
        let leg = |leg: u8, account: &str, minor| {
            format!("('mov_x', {leg}, '{CURRENCY}', '{account}', {}, 0)", amount(minor))
        };
        let legs = [leg(0, "external", first), leg(1, &town.treasury, second)].join(", ");
        format!("insert into postings (movement, leg, currency, account, amount, position) values {legs}")
    };
    vec![
        balance(-1, 0),
        balance(-10, 0),
        balance(100, -1),
        // As text 9 is above 10, and as floats the last digits of 28 are lost.
        balance(9, 10),
        balance(most - 1, most),
        format!("update treasury_balances set lowest_balance = {} where {row}", amount(-1)),
        format!("update treasury_balances set lowest_available = {} where {row}", amount(-1)),
        format!("update treasury_balances set scale = 19 where {row}"),
        movement(-100, 99),
        movement(-most, most - 1),
        format!(
            "insert into guild_members (guild, member, kind, joined_position, status, city_suspended) \
             select guild, member, kind, joined_position + 1, 'active', 0 from guild_members where member = '{member}'"
        ),
        // Every citizen has a living grant from being registered; a dead one beside it is fine, a second living one is not.
        "insert into capability_grants (grant_id, holder_kind, holder, kind, reference, status) \
         select grant_id || 'X', holder_kind, holder, kind, reference, 'stale' from capability_grants"
            .to_owned(),
        "update capability_grants set status = 'asleep'".to_owned(),
        "insert into unique_claims (scope, key, value, position) select scope, key, 'other', 9 from unique_claims"
            .to_owned(),
        "update postings set position = 9".to_owned(),
        "delete from postings".to_owned(),
        "update unique_claims set value = 'other'".to_owned(),
        "delete from unique_claims".to_owned(),
    ]
}

async fn walled_town(hall: &Hall) -> (Town, String) {
    let town = Town::found(hall).await;
    town.fund(hall, "something", "5").await;
    let (member, _) = human(hall, "customer", "Member").await;
    let add = serde_json::json!({"guild": town.guild, "member": member, "rank": "member"});
    hall.ask(&town.founder, "guild.add_member", add).await.accepted();
    (town, member)
}

#[test]
fn no_sql_makes_the_guards_hold_what_cannot_be_on_postgres() {
    block_on(async {
        let hall = Hall::open(Engine::Postgres).await;
        let (town, member) = walled_town(&hall).await;
        let mut owner = connect(&hall.database.as_ref().unwrap().owner_url).await;
        run(&mut owner, "set search_path to guard").await;
        let sqls = violations(Engine::Postgres, &town, &member);
        guards_say_no(&hall.log, &sqls, async |sql| owner.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(|_| ()))
            .await;
        for rebuilt in ["update postings set amount = 7 where leg = 1", "update unique_claims set value = 'other'"] {
            let under_the_marker = format!("begin; insert into guard_rebuild values (1); {rebuilt}");
            assert!(owner.execute(sqlx::raw_sql(AssertSqlSafe(under_the_marker.as_str()))).await.is_err(), "{rebuilt}");
            owner.execute("rollback").await.unwrap();
        }
    });
}

#[test]
fn no_sql_makes_the_guards_hold_what_cannot_be_on_sqlite() {
    block_on(async {
        let hall = Hall::open(Engine::Sqlite).await;
        let (town, member) = walled_town(&hall).await;
        let Location::Sqlite { dir } = &hall.log.config().location else { panic!("not on SQLite") };
        // Without foreign keys as well, which is how other tools open a file.
        for foreign_keys in [true, false] {
            let options = SqliteConnectOptions::new().filename(dir.join("log.db")).foreign_keys(foreign_keys);
            let mut direct = options.connect().await.unwrap();
            let sqls = violations(Engine::Sqlite, &town, &member);
            guards_say_no(&hall.log, &sqls, async |sql| {
                direct.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(|_| ())
            })
            .await;
        }
        // Nor by taking away what says that a movement is out of balance.
        let options = SqliteConnectOptions::new().filename(dir.join("log.db")).foreign_keys(true);
        let mut direct = options.connect().await.unwrap();
        let unbalanced = format!(
            "begin immediate; insert into postings (movement, leg, currency, account, amount, position) \
             values ('mov_x', 0, '{CURRENCY}', 'external', {}, 0)",
            stored(Engine::Sqlite, 5)
        );
        direct.execute(sqlx::raw_sql(AssertSqlSafe(unbalanced.as_str()))).await.unwrap();
        direct.execute("update movement_sums set high = 0, low = 0").await.unwrap();
        assert!(direct.execute("delete from movement_sums").await.is_err());
        assert!(direct.execute("commit").await.is_err());
        direct.execute("rollback").await.unwrap();
        for replaced in [
            format!(
                "insert or replace into postings select movement, leg, currency, account, {}, position from postings",
                stored(Engine::Sqlite, 0)
            ),
            "insert or replace into unique_claims select scope, key, 'other', position from unique_claims".to_owned(),
        ] {
            assert!(direct.execute(sqlx::raw_sql(AssertSqlSafe(replaced.as_str()))).await.is_err(), "{replaced}");
        }
        for rebuilt in ["update postings set position = 9", "update unique_claims set value = 'other'"] {
            let under_the_marker = format!("begin immediate; insert into guard_rebuild values (1); {rebuilt}");
            assert!(
                direct.execute(sqlx::raw_sql(AssertSqlSafe(under_the_marker.as_str()))).await.is_err(),
                "{rebuilt}"
            );
            direct.execute("rollback").await.unwrap();
        }
    });
}
