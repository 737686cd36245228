//! The contract of the log, held against both engines by the same tests.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::future::Future as _;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use chain::Hash;
use eventlog::sql::{self, Cell, Change, Column, Conn, Kind, Row, SqlError, Table};
use eventlog::vault::{MasterKey, Vault};
use eventlog::{
    Append, CommitError, CommitFault, Failure, Location, Log, LogConfig, Receipt, Stored, VaultWrites, Writer, testing,
};
use tokio::sync::Mutex;

static ACCOUNTS: Table = Table {
    name: "accounts",
    columns: &[
        Column { name: "id", kind: Kind::Text },
        Column { name: "slug", kind: Kind::Text },
        Column { name: "amount", kind: Kind::Money },
    ],
    key: 1,
};

static LATER: Table = Table {
    name: "later",
    columns: &[Column { name: "id", kind: Kind::Text }, Column { name: "other", kind: Kind::Text }],
    key: 1,
};

/// A log on one of the engines, and what keeps it alive.
struct City {
    log: Log,
    config: LogConfig,
    /// For direct SQL, past every rule of ours.
    owner_url: Option<String>,
    _home: Option<tempfile::TempDir>,
}

impl City {
    async fn sqlite() -> City {
        let (home, config) = testing::sqlite(&[testing::GUARDS_SQLITE]).await;
        City { log: Log::open(config.clone()).await.unwrap(), config, owner_url: None, _home: Some(home) }
    }

    async fn postgres() -> City {
        let database = testing::postgres(&[testing::GUARDS_POSTGRES]).await;
        let config = database.config();
        City { log: Log::open(config.clone()).await.unwrap(), config, owner_url: Some(database.owner_url), _home: None }
    }

    /// A connection that nobody restrains: the superuser, or the file itself.
    async fn direct(&self) -> Conn {
        match (&self.owner_url, &self.config.location) {
            (Some(url), _) => {
                let mut conn = Conn::from(testing::connect(url).await);
                conn.script("set search_path to guard, log, vault, read").await.unwrap();
                conn
            }
            (None, Location::Sqlite { dir }) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("log.db"));
                Conn::from(sqlx::ConnectOptions::connect(&options).await.unwrap())
            }
            (None, Location::Postgres { .. }) => unreachable!("PostgreSQL cities know their owner"),
        }
    }
}

macro_rules! on_both_engines {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { super::$name(super::City::sqlite().await).await })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() { super::$name(super::City::postgres().await).await })*
        }
    };
}

on_both_engines! {
    positions_are_dense_from_zero_and_streams_are_chains
    a_batch_that_does_not_continue_the_log_is_refused
    a_dropped_batch_leaves_nothing_and_frees_the_head
    a_tripped_guard_leaves_everything_as_it_was
    a_compare_and_set_against_another_row_trips
    a_key_freed_in_a_batch_can_be_taken_in_the_same_batch
    receipts_are_found_again_and_pruned
    history_refuses_update_delete_and_truncate_by_direct_sql
    a_stream_is_read_from_any_version
    a_follower_never_skips_under_concurrent_writers
    the_head_is_locked_while_a_batch_is_open
    a_commit_whose_answer_was_lost_counts
    a_commit_that_never_arrived_does_not_count
    a_batch_of_receipts_only_survives_a_lost_answer
    a_server_with_a_wrong_clock_does_not_write
    erased_subjects_are_gone_from_the_vault
    every_kind_of_cell_comes_back
    a_log_of_another_origin_is_not_opened
    a_log_migrated_by_a_newer_version_is_not_opened
    a_restored_backup_is_not_continued_after_a_reconnect
    another_log_of_the_same_size_is_not_continued
    a_reconnect_is_announced
    a_follower_ahead_of_the_log_fails
    a_payload_under_an_erased_key_is_refused
    an_entry_of_no_bytes_or_too_many_is_refused
    a_cancelled_erasure_leaves_nothing
    long_streams_and_large_entries_are_loaded_in_pages
    hashes_are_those_of_the_entries
    entries_beyond_the_head_are_not_read
    old_receipts_go_in_slices
}

/// Where each stream stands, for forging entries that continue it.
#[derive(Default)]
struct Tips(HashMap<String, (u64, Hash)>);

impl Tips {
    fn of(entries: &[Stored]) -> Tips {
        Tips(entries.iter().map(|entry| (entry.stream.clone(), (entry.version + 1, entry.hash))).collect())
    }

    fn next(&mut self, position: u64, stream: &str) -> Stored {
        let (version, prev) = self.0.get(stream).copied().unwrap_or((0, Hash::ZERO));
        let bytes = Bytes::from(format!("{{\"stream\":\"{stream}\",\"version\":{version}}}"));
        let hash = chain::entry::entry_hash(testing::ORIGIN, &prev, &bytes);
        self.0.insert(stream.to_owned(), (version + 1, hash));
        Stored { position, stream: stream.to_owned(), version, prev, hash, bytes }
    }
}

const HOUR: i64 = 3_600_000_000;

/// One batch with an entry for each of `streams`, and whatever `change` adds to it.
async fn append_with(
    writer: &mut Writer,
    streams: &[&str],
    change: impl FnOnce(&mut Append),
) -> Result<Vec<Stored>, CommitError> {
    let mut batch = writer.begin().await?;
    let names: Vec<String> = streams.iter().map(|stream| (*stream).to_owned()).collect();
    let mut tips = Tips::of(&batch.load(&names).await?);
    let size = batch.head().size;
    let entries: Vec<Stored> = (size..).zip(streams).map(|(position, stream)| tips.next(position, stream)).collect();
    let mut append = Append { at: batch.now(), entries: entries.clone(), ..Append::default() };
    change(&mut append);
    batch.commit(append).await?;
    Ok(entries)
}

async fn append(writer: &mut Writer, streams: &[&str]) -> Result<Vec<Stored>, CommitError> {
    append_with(writer, streams, |_| {}).await
}

fn account(id: &str, slug: Option<&str>, amount: i128) -> Row {
    let slug = slug.map_or(Cell::Null, |slug| Cell::Text(slug.to_owned()));
    vec![Cell::Text(id.to_owned()), slug, Cell::Money(amount)]
}

fn insert(rows: Vec<Row>) -> Change {
    Change::Insert { table: &ACCOUNTS, rows }
}

fn receipt(key: &str, at: i64) -> Receipt {
    Receipt {
        principal: "citizen-1".to_owned(),
        key: key.to_owned(),
        digest: [7; 32],
        command: format!("command-{key}"),
        answer: Bytes::from_static(b"{\"ok\":true}"),
        at,
    }
}

async fn accounts(log: &Log) -> Vec<Row> {
    let mut conn = log.reader().await.unwrap();
    sql::select(&mut conn, &ACCOUNTS, "order by id", &[]).await.unwrap()
}

async fn positions_are_dense_from_zero_and_streams_are_chains(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    append(&mut writer, &["a", "b", "a"]).await.unwrap();
    append(&mut writer, &["b", "c"]).await.unwrap();

    let head = city.log.head().await.unwrap();
    assert_eq!(head.size, 5);
    let entries = city.log.read(0, 100).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.position).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let mut newest: HashMap<&str, (u64, Hash)> = HashMap::new();
    for entry in &entries {
        let (version, prev) = newest.get(entry.stream.as_str()).copied().unwrap_or((0, Hash::ZERO));
        assert_eq!((entry.version, entry.prev), (version, prev));
        assert_eq!(chain::entry::entry_hash(testing::ORIGIN, &entry.prev, &entry.bytes), entry.hash);
        newest.insert(&entry.stream, (version + 1, entry.hash));
    }
    // Opened again, the same log goes on where it was.
    drop(writer);
    let again = Log::open(city.config.clone()).await.unwrap();
    assert_eq!(again.head().await.unwrap(), head);
}

async fn a_batch_that_does_not_continue_the_log_is_refused(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    append(&mut writer, &["a"]).await.unwrap();
    let wrongs: [fn(&mut Append); 6] = [
        |append| append.entries[0].position += 1,
        |append| append.entries[0].hash = Hash([1; 32]),
        |append| append.at = 0,
        |append| append.entries[0].bytes = Bytes::from_static(b"{}"),
        // A gap in the stream, and a fork of it: both with a hash that is right for what they claim.
        |append| append.entries[0].version += 1,
        |append| {
            let entry = &mut append.entries[0];
            entry.prev = Hash([2; 32]);
            entry.hash = chain::entry::entry_hash(testing::ORIGIN, &entry.prev, &entry.bytes);
        },
    ];
    for (index, wrong) in wrongs.into_iter().enumerate() {
        let refused = append_with(&mut writer, &["a"], wrong).await;
        assert!(matches!(refused, Err(CommitError::Failure(Failure::Contradiction(_)))), "{index}: {refused:?}");
    }
    assert_eq!(city.log.head().await.unwrap().size, 1);
    append(&mut writer, &["a"]).await.unwrap();
}

async fn a_dropped_batch_leaves_nothing_and_frees_the_head(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    let mut batch = writer.begin().await.unwrap();
    sql::apply(batch.conn(), &[insert(vec![account("x", None, 1)])]).await.unwrap();
    drop(batch);
    append(&mut writer, &["a"]).await.unwrap();
    writer.begin().await.unwrap().rollback().await;
    append(&mut writer, &["a"]).await.unwrap();
    assert_eq!(city.log.head().await.unwrap().size, 2);
    assert!(accounts(&city.log).await.is_empty());
}

async fn a_tripped_guard_leaves_everything_as_it_was(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    append_with(&mut writer, &["a"], |append| append.guards.push(insert(vec![account("x", Some("one"), 5)])))
        .await
        .unwrap();
    let before = (city.log.head().await.unwrap(), accounts(&city.log).await);

    let negative = append_with(&mut writer, &["a", "b"], |append| {
        append.receipts.push(receipt("k", append.at));
        append.guards.push(insert(vec![account("y", Some("two"), 9)]));
        append.guards.push(Change::Update {
            table: &ACCOUNTS,
            rows: vec![(account("x", Some("one"), 5), account("x", Some("one"), -1))],
        });
    });
    assert!(matches!(negative.await, Err(CommitError::GuardTripped { name }) if name == "amount_not_negative"));
    let taken =
        append_with(&mut writer, &["a"], |append| append.guards.push(insert(vec![account("y", Some("one"), 9)])));
    assert!(matches!(taken.await, Err(CommitError::GuardTripped { name }) if name.contains("slug")));

    assert_eq!((city.log.head().await.unwrap(), accounts(&city.log).await), before);
    let mut batch = writer.begin().await.unwrap();
    assert!(batch.reading().receipts(&[("citizen-1".to_owned(), "k".to_owned())]).await.unwrap().is_empty());
    batch.rollback().await;
    append(&mut writer, &["a", "b"]).await.unwrap();
}

async fn a_compare_and_set_against_another_row_trips(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    append_with(&mut writer, &["a"], |append| {
        append.guards.push(insert(vec![account("x", None, 5), account("y", None, 6)]))
    })
    .await
    .unwrap();
    let update = |old: Row, new: Row| Change::Update {
        table: &ACCOUNTS,
        rows: vec![(account("y", None, 6), account("y", None, 7)), (old, new)],
    };
    let missing_key = Change::Delete { table: &ACCOUNTS, keys: vec![vec![Cell::Text("z".to_owned())]] };
    let wrongs = [
        update(account("x", None, 4), account("x", None, 8)),
        update(account("x", Some("s"), 5), account("x", None, 8)),
        missing_key,
    ];
    for wrong in wrongs {
        let tripped = append_with(&mut writer, &["a"], |append| append.guards.push(wrong)).await;
        assert!(matches!(&tripped, Err(CommitError::GuardTripped { name }) if name == "accounts"), "{tripped:?}");
    }
    assert_eq!(accounts(&city.log).await, [account("x", None, 5), account("y", None, 6)]);
    // The right old row, a null among its cells, is found.
    append_with(&mut writer, &["a"], |append| {
        append.guards.push(update(account("x", None, 5), account("x", Some("s"), 8)))
    })
    .await
    .unwrap();
    assert_eq!(accounts(&city.log).await, [account("x", Some("s"), 8), account("y", None, 7)]);
}

async fn a_key_freed_in_a_batch_can_be_taken_in_the_same_batch(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    append_with(&mut writer, &["a"], |append| {
        append.guards.push(insert(vec![account("x", Some("s"), 1), account("y", Some("t"), 1)]))
    })
    .await
    .unwrap();
    append_with(&mut writer, &["a"], |append| {
        append.guards.push(Change::Delete { table: &ACCOUNTS, keys: vec![vec![Cell::Text("x".to_owned())]] });
        append
            .guards
            .push(Change::Update { table: &ACCOUNTS, rows: vec![(account("y", Some("t"), 1), account("y", None, 1))] });
        append.guards.push(insert(vec![account("z", Some("s"), 2), account("w", Some("t"), 3)]));
    })
    .await
    .unwrap();
    assert_eq!(
        accounts(&city.log).await,
        [account("w", Some("t"), 3), account("y", None, 1), account("z", Some("s"), 2)]
    );
}

async fn receipts_are_found_again_and_pruned(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    let mut given = Vec::new();
    append_with(&mut writer, &["a"], |append| {
        given = vec![receipt("old", append.at - 25 * HOUR), receipt("new", append.at)];
        append.receipts = given.clone();
    })
    .await
    .unwrap();
    let pair = |key: &str| ("citizen-1".to_owned(), key.to_owned());
    let mut batch = writer.begin().await.unwrap();
    let mut found = batch.reading().receipts(&[pair("new"), pair("old"), pair("other"), pair("new")]).await.unwrap();
    batch.rollback().await;
    found.sort_by_key(|receipt| receipt.at);
    assert_eq!(found, given);

    let twice = append_with(&mut writer, &["a"], |append| append.receipts.push(receipt("new", append.at))).await;
    assert!(matches!(twice, Err(CommitError::Failure(Failure::Contradiction(_)))), "{twice:?}");
    assert_eq!(writer.prune_receipts(i64::MAX).await.unwrap(), 1);
    let mut batch = writer.begin().await.unwrap();
    assert_eq!(batch.reading().receipts(&[pair("new"), pair("old")]).await.unwrap(), given[1..]);
    batch.rollback().await;
}

async fn history_refuses_update_delete_and_truncate_by_direct_sql(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    let written =
        append_with(&mut writer, &["a", "b"], |append| append.receipts.push(receipt("k", append.at))).await.unwrap();
    let mut direct = city.direct().await;
    let mut refused = vec![
        "update entries set version = version + 10",
        "update entries set bytes = bytes where position = 0",
        "delete from entries where position = 1",
        "update head set size = size - 1",
        "update head set at = at - 1",
        "update head set origin = 'other'",
        "delete from head",
        // Entries and head move together, in step, and no faster than time.
        "update head set size = size + 1",
        "update head set at = at + 60000000",
        "update head set epoch = epoch + 2",
        "update receipts set at = 0",
    ];
    if direct.is_postgres() {
        refused.extend(["truncate entries", "truncate head", "truncate entries cascade"]);
        refused.push("set session_replication_role = replica; delete from entries");
        refused.push("truncate receipts");
        refused.push("insert into entries select position + 2, stream, version + 1, prev, hash, bytes from entries");
        refused.push(
            "insert into entries select position + 3, stream, version + 1, prev, hash, bytes from entries; update head set size = 4",
        );
    } else {
        refused.push("insert or replace into receipts select principal, key, digest, command, answer, 0 from receipts");
        refused.push(
            "begin; insert into entries select position + 3, stream, version + 1, prev, hash, bytes from entries; update head set size = 4",
        );
        refused.push("insert or replace into entries select * from entries");
        refused.push(
            "insert or replace into entries select position + 7, stream, version, prev, hash, bytes from entries",
        );
        refused.push("insert or replace into head select origin, 0, 0, 0 from head");
    }
    for statement in refused {
        let error = direct.script(statement).await.expect_err(statement);
        assert!(
            matches!(&error, SqlError::Constraint { name, .. } if name.contains("only grows")),
            "{statement}: {error}"
        );
        // Where a statement opened a transaction, or did not.
        let _ = direct.script("rollback").await;
    }
    let young = direct.script("delete from receipts").await.expect_err("it is younger than a day");
    assert!(matches!(&young, SqlError::Constraint { name, .. } if name.contains("for a day")), "{young}");
    for empty in ["''", "'x'"] {
        let cast = if direct.is_postgres() {
            format!("decode(rpad('', {}, '61'), 'hex')", if empty == "''" { 0 } else { 2 * 1_048_577 })
        } else {
            format!("zeroblob({})", if empty == "''" { 0 } else { 1_048_577 })
        };
        let size = direct
            .script(&format!(
                "insert into entries select position + 2, 'long', 0, prev, hash, {cast} from entries where position = 0"
            ))
            .await
            .expect_err("an entry has 1 to 1048576 bytes");
        assert!(matches!(&size, SqlError::Constraint { name, .. } if name.contains("bytes")), "{size}");
    }
    assert_eq!(city.log.read(0, 10).await.unwrap(), written);
    assert_eq!(city.log.head().await.unwrap().size, 2);
}

async fn a_stream_is_read_from_any_version(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    for _ in 0..4 {
        append(&mut writer, &["a", "b"]).await.unwrap();
    }
    let part = city.log.read_stream("a", 1, 2).await.unwrap();
    assert_eq!(part.iter().map(|entry| (entry.version, entry.position)).collect::<Vec<_>>(), [(1, 2), (2, 4)]);
    assert_eq!(city.log.read_stream("a", 0, usize::MAX).await.unwrap().len(), 4);
    assert!(city.log.read_stream("none", 0, 10).await.unwrap().is_empty());
    let both = city.log.load_streams(&["b".to_owned(), "a".to_owned(), "none".to_owned()]).await.unwrap();
    assert_eq!(both, city.log.read(0, 100).await.unwrap());
    let mut batch = writer.begin().await.unwrap();
    assert_eq!(batch.tail(5).await.unwrap(), both[5..]);
    batch.rollback().await;
}

/// Sixteen tasks share two writers, on PostgreSQL those of two servers; SQLite has one.
async fn a_follower_never_skips_under_concurrent_writers(city: City) {
    const TASKS: u64 = 16;
    const BATCHES: u64 = 12;
    let mut writers = vec![Arc::new(Mutex::new(city.log.writer().await.unwrap()))];
    let other = Log::open(city.config.clone()).await.unwrap();
    if city.owner_url.is_some() {
        writers.push(Arc::new(Mutex::new(other.writer().await.unwrap())));
    }
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let writer = writers[task as usize % writers.len()].clone();
            tokio::spawn(async move {
                for _ in 0..BATCHES {
                    let own = format!("stream-{task}");
                    append(&mut *writer.lock().await, &[own.as_str(), "shared"]).await.unwrap();
                }
            })
        })
        .collect();
    let total = TASKS * BATCHES * 2;
    // One hears of its own process's commits, the other only finds them by polling.
    for log in [&city.log, &other] {
        let mut follower = log.follow(0);
        let mut next = 0;
        while next < total {
            for entry in follower.next_batch(50).await.unwrap() {
                assert_eq!(entry.position, next);
                next += 1;
            }
        }
        assert_eq!(follower.position(), total);
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(city.log.head().await.unwrap().size, total);
    assert_eq!(city.log.read_stream("shared", 0, usize::MAX).await.unwrap().len() as u64, TASKS * BATCHES);
}

async fn the_head_is_locked_while_a_batch_is_open(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    if city.owner_url.is_none() {
        assert!(matches!(city.log.writer().await, Err(Failure::Locked { .. })));
        drop(writer);
        city.log.writer().await.expect("the lock is free again");
        return;
    }
    let mut second = city.log.writer().await.unwrap();
    let batch = writer.begin().await.unwrap();
    let waiting = tokio::spawn(async move { append(&mut second, &["a"]).await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    assert_eq!(city.log.head().await.unwrap().size, 0);
    batch.rollback().await;
    waiting.await.unwrap().unwrap();
    assert_eq!(city.log.head().await.unwrap().size, 1);
}

async fn a_commit_whose_answer_was_lost_counts(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    append(&mut writer, &["a"]).await.unwrap();
    city.log.fail_next_commit(CommitFault::LoseAnswer);
    let written = append(&mut writer, &["a", "b"]).await.unwrap();
    assert_eq!(city.log.read(1, 10).await.unwrap(), written);
    append(&mut writer, &["b"]).await.unwrap();
}

async fn a_commit_that_never_arrived_does_not_count(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    append(&mut writer, &["a"]).await.unwrap();
    city.log.fail_next_commit(CommitFault::LoseRequest);
    let lost = append_with(&mut writer, &["a"], |append| append.guards.push(insert(vec![account("x", None, 1)]))).await;
    assert!(matches!(&lost, Err(CommitError::Failure(failure)) if failure.retryable()), "{lost:?}");
    assert_eq!(city.log.head().await.unwrap().size, 1);
    assert!(accounts(&city.log).await.is_empty());
    append(&mut writer, &["a"]).await.unwrap();
}

async fn a_batch_of_receipts_only_survives_a_lost_answer(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    city.log.fail_next_commit(CommitFault::LoseAnswer);
    append_with(&mut writer, &[], |append| append.receipts.push(receipt("one", append.at))).await.unwrap();
    city.log.fail_next_commit(CommitFault::LoseRequest);
    let lost = append_with(&mut writer, &[], |append| append.receipts.push(receipt("two", append.at))).await;
    assert!(matches!(&lost, Err(CommitError::Failure(failure)) if failure.retryable()), "{lost:?}");
}

async fn a_server_with_a_wrong_clock_does_not_write(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    append(&mut writer, &["a"]).await.unwrap();
    city.log.skew_clock(-5_000_000);
    assert!(matches!(append(&mut writer, &["a"]).await, Err(CommitError::Failure(Failure::ClockSkew { .. }))));
    if city.owner_url.is_some() {
        city.log.skew_clock(5_000_000);
        assert!(matches!(append(&mut writer, &["a"]).await, Err(CommitError::Failure(Failure::ClockSkew { .. }))));
    }
    city.log.skew_clock(0);
    append(&mut writer, &["a"]).await.unwrap();
}

async fn erased_subjects_are_gone_from_the_vault(city: City) {
    let vault = Vault::new(MasterKey::from_bytes([3; 32]));
    let mut writer = city.log.writer().await.unwrap();
    let (key, wrapped) = vault.new_subject_key("citizen-1").unwrap();
    let (reference, payload) = vault.seal("citizen-1", &key, "a name").unwrap();
    let (other_key, other_wrapped) = vault.new_subject_key("citizen-2").unwrap();
    let (_, other_payload) = vault.seal("citizen-2", &other_key, "another").unwrap();
    let erased = [wrapped.wrapped.clone(), payload.ciphertext.clone()];
    append_with(&mut writer, &["a"], |append| {
        append.vault = VaultWrites {
            keys: vec![wrapped, other_wrapped],
            payloads: vec![payload, other_payload.clone()],
            erase: Vec::new(),
        };
    })
    .await
    .unwrap();

    assert_eq!(city.on_disk(&erased), [true; 2]);
    let stored = city.log.payloads(&[reference.ciphertext]).await.unwrap().pop().unwrap();
    let key = vault.subject_key(&mut city.log.reader().await.unwrap(), "citizen-1").await.unwrap().unwrap();
    assert_eq!(vault.open(&reference, &key, &stored.ciphertext).unwrap().text.as_str(), "a name");

    append_with(&mut writer, &["a"], |append| append.vault.erase.push("citizen-1".to_owned())).await.unwrap();
    assert!(city.log.payloads(&[reference.ciphertext]).await.unwrap().is_empty());
    // PostgreSQL leaves that to vacuum and to the end of its own write-ahead log.
    if city.owner_url.is_none() {
        assert_eq!(city.on_disk(&erased), [false; 2]);
    }
    let subjects = ["citizen-1".to_owned(), "citizen-2".to_owned()];
    let left = city.log.subject_keys(&subjects).await.unwrap();
    assert_eq!(left.iter().map(|key| key.subject.as_str()).collect::<Vec<_>>(), ["citizen-2"]);
    writer.erase(&subjects).await.unwrap();
    assert!(city.log.payloads(&[other_payload.digest]).await.unwrap().is_empty());
}

async fn every_kind_of_cell_comes_back(city: City) {
    static CELLS: Table = Table {
        name: "cells",
        columns: &[
            Column { name: "a", kind: Kind::Text },
            Column { name: "b", kind: Kind::Int },
            Column { name: "t", kind: Kind::Text },
            Column { name: "m", kind: Kind::Money },
            Column { name: "x", kind: Kind::Bytes },
        ],
        key: 2,
    };
    let mut conn = city.direct().await;
    let ddl = if conn.is_postgres() {
        "create table guard.cells (a text collate \"C\", b bigint, t text, m numeric(38,0), x bytea, primary key (a, b))"
    } else {
        "create table cells (a text not null, b integer not null, t text, m text, x blob, primary key (a, b)) strict, without rowid"
    };
    conn.script(ddl).await.unwrap();
    let row = |a: &str, b: i64, t: Cell, m: Cell, x: Cell| vec![Cell::Text(a.to_owned()), Cell::Int(b), t, m, x];
    let limit = sql::MONEY_LIMIT;
    let rows = vec![
        row(
            "a",
            i64::MIN,
            Cell::Text("quote ' \" \\ \u{1f600} \n".to_owned()),
            Cell::Money(1 - limit),
            Cell::Bytes(vec![0, 255]),
        ),
        row("a", 0, Cell::Text(String::new()), Cell::Money(0), Cell::Bytes(Vec::new())),
        row("b", i64::MAX, Cell::Null, Cell::Null, Cell::Null),
        row("c", 1, Cell::Text("null".to_owned()), Cell::Money(limit - 1), Cell::Bytes(vec![1; 1000])),
    ];
    conn.begin().await.unwrap();
    sql::apply(&mut conn, &[Change::Upsert { table: &CELLS, rows: rows.clone() }]).await.unwrap();
    sql::apply(&mut conn, &[Change::Expect { table: &CELLS, rows: rows.clone() }]).await.unwrap();
    assert_eq!(sql::select(&mut conn, &CELLS, "order by a, b", &[]).await.unwrap(), rows);
    let keys: Vec<Row> = rows.iter().map(|row| row[..2].to_vec()).collect();
    let mut found = sql::select_keys(&mut conn, &CELLS, &[keys.clone(), keys.clone()].concat()).await.unwrap();
    found.sort();
    assert_eq!(found, rows);
    let above =
        sql::select(&mut conn, &CELLS, "where t.m > $1 and $2 is null order by m desc", &[Cell::Money(-1), Cell::Null])
            .await;
    assert_eq!(above.unwrap(), [rows[3].clone(), rows[1].clone()]);
    let counted =
        sql::query(&mut conn, "select a, count(*) from cells group by a order by a", &[Kind::Text, Kind::Int], &[])
            .await;
    assert_eq!(counted.unwrap()[0], [Cell::Text("a".to_owned()), Cell::Int(2)]);

    let changed: Vec<(Row, Row)> = rows
        .iter()
        .map(|old| {
            (old.clone(), old[..2].iter().cloned().chain([Cell::Null, Cell::Money(5), Cell::Bytes(vec![9])]).collect())
        })
        .collect();
    sql::apply(&mut conn, &[Change::Update { table: &CELLS, rows: changed }]).await.unwrap();
    sql::apply(&mut conn, &[Change::Delete { table: &CELLS, keys }]).await.unwrap();
    assert!(sql::select(&mut conn, &CELLS, "", &[]).await.unwrap().is_empty());
    let wrong = sql::apply(&mut conn, &[Change::Insert { table: &CELLS, rows: vec![vec![Cell::Int(1)]] }]).await;
    assert!(matches!(wrong, Err(SqlError::Shape { .. })));
    conn.rollback().await.unwrap();
}

async fn a_log_of_another_origin_is_not_opened(city: City) {
    let config = LogConfig { origin: "test/other".to_owned(), ..city.config.clone() };
    assert!(matches!(Log::open(config).await, Err(Failure::WrongOrigin { .. })));
}

async fn a_log_migrated_by_a_newer_version_is_not_opened(city: City) {
    let mut direct = city.direct().await;
    let table = if direct.is_postgres() { "log.migrations" } else { "migrations" };
    let newer = format!(
        "insert into {table} (schema, version, checksum) select 'log', 1000, checksum from {table} where schema = 'log'"
    );
    direct.script(&newer).await.unwrap();
    let refused = Log::open(city.config.clone()).await.err();
    assert!(matches!(&refused, Some(Failure::NewerSchema { schema, version: 1000 }) if schema == "log"), "{refused:?}");
    let again = match &city.config.location {
        Location::Sqlite { dir } => eventlog::init_sqlite(dir, testing::ORIGIN, &[]).await,
        Location::Postgres { .. } => {
            let owner = city.owner_url.as_deref().unwrap();
            eventlog::migrate_postgres(owner, testing::ORIGIN, None, &[]).await.map(drop)
        }
    };
    assert!(matches!(again, Err(Failure::NewerSchema { .. })), "{again:?}");
    // The log's own schemas are checked by itself, the others by whoever carries them.
    let unmigrated = [eventlog::Migration { schema: "read", version: 1, ddl: "" }];
    assert!(matches!(city.log.check_schema(&unmigrated).await, Err(Failure::OldSchema { .. })));
}

impl City {
    /// Cuts every session and puts what `before` was a copy of in the place of the log.
    async fn restore(&self, backup: &Backup) {
        match (&self.config.location, &self.owner_url) {
            (Location::Sqlite { dir }, _) => {
                for file in ["log.db-wal", "log.db-shm"] {
                    let _ = std::fs::remove_file(dir.join(file));
                }
                std::fs::rename(&backup.place, dir.join("log.db")).unwrap();
            }
            (Location::Postgres { .. }, Some(owner)) => {
                let name = database_of(owner);
                let mut admin = Conn::from(testing::connect(&owner.replace(name, "postgres")).await);
                cut(&mut admin, name).await;
                admin.script(&format!("alter database {name} rename to {name}_lost")).await.unwrap();
                cut(&mut admin, &backup.place).await;
                admin.script(&format!("alter database {} rename to {name}", backup.place)).await.unwrap();
            }
            (Location::Postgres { .. }, None) => unreachable!("PostgreSQL cities know their owner"),
        }
    }

    async fn backup(&self) -> Backup {
        match (&self.config.location, &self.owner_url) {
            (Location::Sqlite { dir }, _) => {
                let place = dir.join("backup.db").display().to_string();
                self.direct().await.script(&format!("vacuum into '{place}'")).await.unwrap();
                Backup { place }
            }
            (Location::Postgres { .. }, Some(owner)) => {
                let name = database_of(owner);
                let mut admin = Conn::from(testing::connect(&owner.replace(name, "postgres")).await);
                cut(&mut admin, name).await;
                let place = format!("{name}_backup");
                admin.script(&format!("create database {place} template {name}")).await.unwrap();
                Backup { place }
            }
            (Location::Postgres { .. }, None) => unreachable!("PostgreSQL cities know their owner"),
        }
    }

    /// The backup as a log of its own.
    async fn opened(&self, backup: &Backup) -> Log {
        let location = match &self.config.location {
            Location::Postgres { url } => Location::Postgres { url: url.replace(database_of(url), &backup.place) },
            Location::Sqlite { dir } => {
                let other = dir.join("other");
                std::fs::create_dir(&other).unwrap();
                std::fs::hard_link(&backup.place, other.join("log.db")).unwrap();
                Location::Sqlite { dir: other }
            }
        };
        Log::open(LogConfig { location, ..self.config.clone() }).await.unwrap()
    }
}

impl City {
    /// Which of these byte strings stand anywhere in the files of a SQLite log.
    fn on_disk(&self, wanted: &[Vec<u8>; 2]) -> [bool; 2] {
        let Location::Sqlite { dir } = &self.config.location else { return [true; 2] };
        let files = ["log.db", "log.db-wal"].map(|name| std::fs::read(dir.join(name)).unwrap_or_default()).concat();
        wanted.each_ref().map(|bytes| files.windows(bytes.len()).any(|window| window == bytes))
    }
}

struct Backup {
    /// A file or a database.
    place: String,
}

fn database_of(url: &str) -> &str {
    url.strip_prefix("postgres:///").unwrap().split('?').next().unwrap()
}

async fn cut(admin: &mut Conn, database: &str) {
    let kill = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where datname = $1";
    sql::query(admin, kill, &[Kind::Int], &[Cell::Text(database.to_owned())]).await.unwrap();
}

async fn a_restored_backup_is_not_continued_after_a_reconnect(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    append(&mut writer, &["a", "b"]).await.unwrap();
    let backup = city.backup().await;
    append(&mut writer, &["a"]).await.unwrap();
    drop(writer.begin().await.unwrap());
    city.restore(&backup).await;
    for _ in 0..2 {
        let refused = append(&mut writer, &["a"]).await;
        assert!(
            matches!(&refused, Err(CommitError::Failure(failure @ Failure::Diverged { position: 2, .. })) if !failure.retryable()),
            "{refused:?}"
        );
    }
    // A process that starts now has no memory of its own; it needs what was anchored.
    if city.owner_url.is_some() {
        assert!(matches!(city.log.head().await, Err(Failure::Diverged { position: 2, .. })));
    }
}

async fn another_log_of_the_same_size_is_not_continued(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    append(&mut writer, &["a", "b"]).await.unwrap();
    let backup = city.backup().await;
    append(&mut writer, &["a"]).await.unwrap();
    drop(writer.begin().await.unwrap());
    {
        let other = city.opened(&backup).await;
        let mut writer = other.writer().await.unwrap();
        append(&mut writer, &["c", "c", "c"]).await.unwrap();
    }
    city.restore(&backup).await;
    let refused = append(&mut writer, &["a"]).await;
    assert!(matches!(refused, Err(CommitError::Failure(Failure::Diverged { position: 2, .. }))), "{refused:?}");
}

async fn a_reconnect_is_announced(city: City) {
    let mut reconnected = city.log.reconnected();
    let mut writer = city.log.writer().await.unwrap();
    append(&mut writer, &["a"]).await.unwrap();
    append(&mut writer, &["a"]).await.unwrap();
    assert!(!reconnected.has_changed().unwrap());
    // A batch that is dropped takes its session along; one that is refused does not.
    let refused =
        append_with(&mut writer, &["a"], |append| append.guards.push(insert(vec![account("x", None, -1)]))).await;
    assert!(matches!(refused, Err(CommitError::GuardTripped { .. })));
    append(&mut writer, &["a"]).await.unwrap();
    // Nor does one that is refused by the COMMIT itself.
    let mut direct = city.direct().await;
    let (schema, grant) = if direct.is_postgres() {
        ("guard.", format!("; grant all on guard.later to {}", testing::ROLE))
    } else {
        ("", String::new())
    };
    let later = "(id text not null primary key, other text references accounts (id) deferrable initially deferred)";
    direct.script(&format!("create table {schema}later {later}{grant}")).await.unwrap();
    let row = ["x", "nobody"].map(|text| Cell::Text(text.to_owned())).to_vec();
    let orphan = Change::Insert { table: &LATER, rows: vec![row] };
    let refused = append_with(&mut writer, &["a"], |append| append.guards.push(orphan)).await;
    assert!(matches!(refused, Err(CommitError::GuardTripped { .. })), "{refused:?}");
    append(&mut writer, &["a"]).await.unwrap();
    assert!(!reconnected.has_changed().unwrap());
    drop(writer.begin().await.unwrap());
    append(&mut writer, &["a"]).await.unwrap();
    assert_eq!(*reconnected.borrow_and_update(), 1);
}

async fn a_follower_ahead_of_the_log_fails(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    let ahead = city.log.follow(1).next_batch(10).await;
    assert!(matches!(ahead, Err(Failure::Diverged { position: 0, .. })), "{ahead:?}");
    append(&mut writer, &["a", "b"]).await.unwrap();
    let ahead = city.log.follow(3).next_batch(10).await;
    assert!(matches!(ahead, Err(Failure::Diverged { position: 2, .. })), "{ahead:?}");
    let mut follower = city.log.follow(2);
    let next = tokio::spawn(async move { follower.next_batch(10).await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let written = append(&mut writer, &["a"]).await.unwrap();
    assert_eq!(next.await.unwrap().unwrap(), written);

    // Another log that has grown past the follower's position meanwhile is noticed as well.
    let mut follower = city.log.follow(0);
    follower.next_batch(10).await.unwrap();
    let mut direct = city.direct().await;
    let drop = if direct.is_postgres() {
        "alter table entries disable trigger user"
    } else {
        "drop trigger entries_are_not_updated"
    };
    direct.script(drop).await.unwrap();
    direct.script("update entries set hash = prev where position = 2").await.unwrap();
    let other = follower.next_batch(10).await;
    assert!(matches!(other, Err(Failure::Diverged { position: 2, .. })), "{other:?}");
}

async fn a_payload_under_an_erased_key_is_refused(city: City) {
    let vault = Vault::new(MasterKey::from_bytes([3; 32]));
    let mut writer = city.log.writer().await.unwrap();
    let (key, wrapped) = vault.new_subject_key("citizen-1").unwrap();
    append_with(&mut writer, &["a"], |append| append.vault.keys.push(wrapped)).await.unwrap();
    vault.remember("citizen-1", &key);
    writer.erase(&["citizen-1".to_owned()]).await.unwrap();

    let (_, payload) = vault.seal("citizen-1", &vault.remembered("citizen-1").unwrap(), "a name").unwrap();
    let stale = append_with(&mut writer, &["a"], |append| append.vault.payloads.push(payload)).await;
    assert!(matches!(stale, Err(CommitError::Failure(Failure::Contradiction(_)))), "{stale:?}");
    vault.forget_all();
    assert!(vault.remembered("citizen-1").is_none());

    // A key that comes with its payload is as good as one that is there.
    let (key, wrapped) = vault.new_subject_key("citizen-2").unwrap();
    let (_, payload) = vault.seal("citizen-2", &key, "a name").unwrap();
    append_with(&mut writer, &["a"], |append| {
        append.vault = VaultWrites { keys: vec![wrapped], payloads: vec![payload], erase: Vec::new() };
    })
    .await
    .unwrap();
}

async fn an_entry_of_no_bytes_or_too_many_is_refused(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    for (size, fits) in [(0, false), ((1 << 20) + 1, false), (1, true), (1 << 20, true)] {
        let appended = append_with(&mut writer, &["a"], |append| {
            let entry = &mut append.entries[0];
            entry.bytes = Bytes::from(vec![b'x'; size]);
            entry.hash = chain::entry::entry_hash(testing::ORIGIN, &entry.prev, &entry.bytes);
        })
        .await;
        assert_eq!(appended.is_ok(), fits, "{size}: {appended:?}");
    }
}

async fn a_cancelled_erasure_leaves_nothing(city: City) {
    let vault = Vault::new(MasterKey::from_bytes([3; 32]));
    let mut writer = city.log.writer().await.unwrap();
    let subjects: Vec<String> = (0..50).map(|number| format!("citizen-{number}")).collect();
    let (mut keys, mut payloads) = (Vec::new(), Vec::new());
    for subject in &subjects {
        let (key, wrapped) = vault.new_subject_key(subject).unwrap();
        payloads.push(vault.seal(subject, &key, "a name").unwrap().1);
        keys.push(wrapped);
    }
    let digests: Vec<Hash> = payloads.iter().map(|payload| payload.digest).collect();
    append_with(&mut writer, &["a"], |append| {
        append.vault = VaultWrites { keys, payloads, erase: Vec::new() };
    })
    .await
    .unwrap();
    // Polled once, twice, and so on, then dropped: all is erased or nothing, and never half of it along with the next batch.
    for polls in 1..100 {
        let mut left = polls;
        let mut erasing = Box::pin(writer.erase(&subjects));
        let done = std::future::poll_fn(|context| {
            left -= 1;
            match erasing.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(result.is_ok()),
                Poll::Pending if left == 0 => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        drop(erasing);
        append(&mut writer, &["a"]).await.unwrap();
        let left =
            (city.log.subject_keys(&subjects).await.unwrap().len(), city.log.payloads(&digests).await.unwrap().len());
        assert!(left == (0, 0) || (left == (50, 50) && !done), "{left:?} left after {polls} polls");
        if left == (0, 0) {
            return;
        }
    }
    panic!("an erasure ends");
}

async fn long_streams_and_large_entries_are_loaded_in_pages(city: City) {
    const LONG: usize = 20_000;
    let mut writer = city.log.writer().await.unwrap();
    let streams: Vec<&str> = std::iter::repeat_n("long", LONG).chain(["a", "b", "a", "z"]).collect();
    for part in streams.chunks(5_000) {
        append(&mut writer, part).await.unwrap();
    }
    // Six megabytes in one stream: more than a page of bytes.
    for _ in 0..6 {
        append_with(&mut writer, &["large"], |append| {
            let entry = &mut append.entries[0];
            entry.bytes = Bytes::from(vec![b'x'; 1 << 20]);
            entry.hash = chain::entry::entry_hash(testing::ORIGIN, &entry.prev, &entry.bytes);
        })
        .await
        .unwrap();
    }
    let names = ["z", "nothing", "long", "large", "a", "zz"].map(str::to_owned);
    let mut batch = writer.begin().await.unwrap();
    let mut seen: Vec<(String, u64)> = Vec::new();
    batch
        .reading()
        .load_each(&names, |entry| {
            seen.push((entry.stream, entry.version));
            Ok(())
        })
        .await
        .unwrap();
    let sizes = [("a", 2), ("large", 6), ("long", LONG as u64), ("z", 1)];
    let expected: Vec<(String, u64)> =
        sizes.iter().flat_map(|(name, size)| (0..*size).map(|version| ((*name).to_owned(), version))).collect();
    assert_eq!(seen, expected);
    let stopped = batch.reading().load_each(&names, |_| Err(Failure::Busy("enough".to_owned()))).await;
    assert!(matches!(stopped, Err(Failure::Busy(_))));
    assert_eq!(batch.tail(0).await.unwrap().len(), LONG + 10);
    batch.rollback().await;

    // Only what is short comes in one piece, and it is the same.
    let mut short = eventlog::whole(&mut city.log.beside().await.unwrap(), &names).await.unwrap();
    short.sort_by(|one, other| one.stream.cmp(&other.stream));
    assert_eq!(short.iter().map(|whole| whole.stream.as_str()).collect::<Vec<_>>(), ["a", "z"]);
    for whole in &short {
        let entries = city.log.read_stream(&whole.stream, 0, 10).await.unwrap();
        assert!(whole.entries().map(str::as_bytes).eq(entries.iter().map(|entry| &*entry.bytes)));
        assert_eq!(whole.hash, entries.last().unwrap().hash);
    }
    assert_eq!(city.log.load_streams(&names).await.unwrap().len(), LONG + 9);
    assert_eq!(city.log.read(0, usize::MAX).await.unwrap().len(), LONG + 10);
    assert_eq!(city.log.read_stream("long", 100, 15_000).await.unwrap().len(), 15_000);
    assert_eq!(city.log.read_stream("large", 0, usize::MAX).await.unwrap().len(), 6);
}

async fn hashes_are_those_of_the_entries(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    for _ in 0..14 {
        append(&mut writer, &["a"; 5_000]).await.unwrap();
    }
    let entries = city.log.read(0, usize::MAX).await.unwrap();
    let hashes: Vec<Hash> = entries.iter().map(|entry| entry.hash).collect();
    assert_eq!(city.log.hashes(0, usize::MAX).await.unwrap(), hashes);
    assert_eq!(city.log.hashes(65_530, 10).await.unwrap(), hashes[65_530..65_540]);
    assert!(city.log.hashes(70_000, 10).await.unwrap().is_empty());
}

async fn entries_beyond_the_head_are_not_read(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    append(&mut writer, &["a", "b"]).await.unwrap();
    let mut direct = city.direct().await;
    // SQLite cannot hold entries and head together; on PostgreSQL it takes an owner who switches the triggers off.
    if direct.is_postgres() {
        direct.script("alter table entries disable trigger user").await.unwrap();
    }
    direct
        .script("insert into entries select 2, stream, version + 1, hash, hash, bytes from entries where position = 0")
        .await
        .unwrap();
    assert_eq!(city.log.read(0, 10).await.unwrap().len(), 2);
    assert_eq!(city.log.read_stream("a", 0, 10).await.unwrap().len(), 1);
    assert_eq!(city.log.load_streams(&["a".to_owned()]).await.unwrap().len(), 1);
    assert_eq!(city.log.hashes(0, 10).await.unwrap().len(), 2);
    let mut batch = writer.begin().await.unwrap();
    assert_eq!(batch.load(&["a".to_owned()]).await.unwrap().len(), 1);
    assert_eq!(batch.tail(0).await.unwrap().len(), 2);
}

async fn old_receipts_go_in_slices(city: City) {
    let mut writer = city.log.writer().await.unwrap();
    append_with(&mut writer, &["a"], |append| {
        let old = append.at - 25 * HOUR;
        append.receipts = (0..6_000).map(|number| receipt(&number.to_string(), old)).collect();
        append.receipts.push(receipt("young", append.at));
    })
    .await
    .unwrap();
    let counts = [5_000, 1_000, 0];
    // Another writer in the middle of a batch does not keep it waiting.
    let other = Log::open(city.config.clone()).await.unwrap();
    let mut second = if city.owner_url.is_some() { Some(other.writer().await.unwrap()) } else { None };
    let batch = match &mut second {
        Some(second) => Some(second.begin().await.unwrap()),
        None => None,
    };
    for count in counts {
        assert_eq!(writer.prune_receipts(i64::MAX).await.unwrap(), count);
    }
    drop(batch);
}
