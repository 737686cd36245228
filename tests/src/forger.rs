//! A forger with every right on a SQLite log: rewrites it at will, and leaves nothing inside it that contradicts anything else.

use std::collections::HashMap;
use std::path::Path;

use chain::Hash;
use chain::entry::{Entry, entry_hash};
use chain::pack::{PackId, Record, encode};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, Row as _, SqliteConnection};

/// One entry of a forged log, with everything that hangs on it made to fit.
struct Linked {
    stream: String,
    version: i64,
    prev: Hash,
    hash: Hash,
    bytes: Vec<u8>,
}

pub struct Forger {
    db: SqliteConnection,
    origin: String,
    pub entries: Vec<Entry>,
}

impl Forger {
    /// Opens `log.db` in this directory.
    pub async fn open(dir: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(dir.join("log.db")).foreign_keys(false);
        let mut db = options.connect().await.unwrap();
        let rows = db.fetch_all("select bytes from entries order by position").await.unwrap();
        let entries = rows.iter().map(|row| Entry::parse(&row.get::<Vec<u8>, _>(0)).unwrap()).collect();
        let origin = db.fetch_one("select origin from head").await.unwrap().get(0);
        Self { db, origin, entries }
    }

    /// The position of the first entry of this type, counted from the back if `last`.
    pub fn find(&self, kind: &str, last: bool) -> usize {
        let fits = |entry: &Entry| entry.kind == kind;
        let found = if last { self.entries.iter().rposition(fits) } else { self.entries.iter().position(fits) };
        found.unwrap_or_else(|| panic!("no {kind}"))
    }

    /// Writes the entries back: dense positions and versions, links and hashes made again, the head moved. Answers with the first
    /// position at which the log now differs from what it was.
    pub async fn write(mut self) -> u64 {
        let before = self.hashes().await;
        let linked = self.link();
        let mut after = Vec::new();
        let mut transaction = self.db.begin().await.unwrap();
        let triggers = "select name from sqlite_master where type = 'trigger' and tbl_name in ('entries', 'head')";
        for trigger in transaction.fetch_all(triggers).await.unwrap() {
            let drop = format!("drop trigger {}", trigger.get::<String, _>(0));
            transaction.execute(sqlx::raw_sql(AssertSqlSafe(drop))).await.unwrap();
        }
        transaction.execute("delete from entries").await.unwrap();
        for (position, entry) in linked.iter().enumerate() {
            let insert =
                "insert into entries (position, stream, version, prev, hash, bytes) values ($1, $2, $3, $4, $5, $6)";
            let insert =
                sqlx::query(insert).bind(i64::try_from(position).unwrap()).bind(&entry.stream).bind(entry.version);
            let insert = insert.bind(entry.prev.0.to_vec()).bind(entry.hash.0.to_vec()).bind(&entry.bytes);
            insert.execute(&mut *transaction).await.unwrap();
            after.push(entry.hash);
        }
        let size = i64::try_from(linked.len()).unwrap();
        sqlx::query("update head set size = $1").bind(size).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        self.db.close().await.unwrap();
        let same = before.iter().zip(&after).take_while(|(before, after)| before == after).count();
        assert!(same < before.len().max(after.len()), "nothing was forged");
        same as u64
    }

    async fn hashes(&mut self) -> Vec<Hash> {
        let rows = self.db.fetch_all("select hash from entries order by position").await.unwrap();
        rows.iter().map(|row| Hash::from_slice(&row.get::<Vec<u8>, _>(0)).unwrap()).collect()
    }

    fn link(&mut self) -> Vec<Linked> {
        let mut tips: HashMap<String, (u64, Hash)> = HashMap::new();
        let mut linked = Vec::new();
        for entry in &mut self.entries {
            let (version, prev) = tips.get(&entry.stream).copied().unwrap_or((0, Hash::ZERO));
            entry.version = version;
            let bytes = entry.to_bytes().unwrap();
            let hash = entry_hash(&self.origin, &prev, &bytes);
            tips.insert(entry.stream.clone(), (version + 1, hash));
            let version = i64::try_from(version).unwrap();
            linked.push(Linked { stream: entry.stream.clone(), version, prev, hash, bytes });
        }
        linked
    }
}

/// Replaces every pack in a copy of an honest export by one made from the log in this directory: what a forger would publish.
pub async fn forge_packs(export: &Path, dir: &Path) {
    let mut db = SqliteConnectOptions::new().filename(dir.join("log.db")).connect().await.unwrap();
    for path in files(&export.join("pack")) {
        let name = path.strip_prefix(export).unwrap().to_str().unwrap().to_owned();
        let id = PackId::parse(&name).unwrap();
        let (from, width) = (i64::try_from(id.first_position()).unwrap(), i64::from(id.width));
        let select =
            "select position, prev, bytes from entries where position >= $1 and position < $1 + $2 order by position";
        let rows = sqlx::query(select).bind(from).bind(width).fetch_all(&mut db).await.unwrap();
        let read = |row: &sqlx::sqlite::SqliteRow| {
            let prev = Hash::from_slice(&row.get::<Vec<u8>, _>(1)).unwrap();
            (row.get::<i64, _>(0).unsigned_abs(), prev, row.get::<Vec<u8>, _>(2))
        };
        let rows: Vec<(u64, Hash, Vec<u8>)> = rows.iter().map(read).collect();
        let records: Vec<Record<'_>> =
            rows.iter().map(|(position, prev, bytes)| Record { position: *position, prev: *prev, bytes }).collect();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, encode(&records)).unwrap();
    }
    db.close().await.unwrap();
}

/// All files of a folder, at any depth, in order.
pub fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
