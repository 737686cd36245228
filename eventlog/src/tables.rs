//! The log's own tables, and the rows in them as types.

use bytes::Bytes;
use chain::Hash;

use crate::Failure;
use crate::sql::{Cell, Column, Kind, Row, Table};

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text }
}

const fn int(name: &'static str) -> Column {
    Column { name, kind: Kind::Int }
}

const fn blob(name: &'static str) -> Column {
    Column { name, kind: Kind::Bytes }
}

pub(crate) static ENTRIES: Table = Table {
    name: "entries",
    columns: &[int("position"), text("stream"), int("version"), blob("prev"), blob("hash"), blob("bytes")],
    key: 1,
};

/// The entry that a stream's next one must link to; the same table by its other key.
pub(crate) static STREAM_TIPS: Table =
    Table { name: "entries", columns: &[text("stream"), int("version"), blob("hash")], key: 2 };

/// `origin` stands first and is the key because it never changes and the login role may not update it.
pub(crate) static HEAD: Table =
    Table { name: "head", columns: &[text("origin"), int("size"), int("at"), int("epoch")], key: 1 };

pub(crate) static RECEIPTS: Table = Table {
    name: "receipts",
    columns: &[text("principal"), text("key"), blob("digest"), text("command"), blob("answer"), int("at")],
    key: 2,
};

pub(crate) static SUBJECT_KEYS: Table =
    Table { name: "subject_keys", columns: &[text("subject"), blob("wrapped")], key: 1 };

pub(crate) static PAYLOADS: Table =
    Table { name: "payloads", columns: &[blob("digest"), text("subject"), blob("ciphertext")], key: 1 };

/// Whether a violation in this table is the log's business and not a guard's.
pub(crate) fn is_ours(table: &str) -> bool {
    [&ENTRIES, &HEAD, &RECEIPTS, &SUBJECT_KEYS, &PAYLOADS].iter().any(|ours| ours.name == table)
}

/// The newest state of the log: everything below `size` is there, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub origin: String,
    /// How many entries there are; the next position.
    pub size: u64,
    /// The time of the last batch, in microseconds since 1970.
    pub at: i64,
    /// Moved by hand when a log goes on from a restored backup.
    pub epoch: i64,
}

impl Head {
    pub(crate) fn row(&self) -> Row {
        vec![Cell::Text(self.origin.clone()), number(self.size), Cell::Int(self.at), Cell::Int(self.epoch)]
    }

    pub(crate) fn from_row(row: Row) -> Result<Head, Failure> {
        let Ok([Cell::Text(origin), Cell::Int(size), Cell::Int(at), Cell::Int(epoch)]) = <[Cell; 4]>::try_from(row)
        else {
            return Err(unreadable("head"));
        };
        Ok(Head { origin, size: unsigned(size, "head")?, at, epoch })
    }
}

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub position: u64,
    pub stream: String,
    /// 0 for the first entry of its stream.
    pub version: u64,
    /// The hash of the stream's previous entry; zero for the first.
    pub prev: Hash,
    pub hash: Hash,
    /// The exact bytes that were hashed.
    pub bytes: Bytes,
}

impl Stored {
    pub(crate) fn row(&self) -> Row {
        vec![
            number(self.position),
            Cell::Text(self.stream.clone()),
            number(self.version),
            hash(&self.prev),
            hash(&self.hash),
            Cell::Bytes(self.bytes.to_vec()),
        ]
    }

    pub(crate) fn from_row(row: Row) -> Result<Stored, Failure> {
        let Ok(
            [
                Cell::Int(position),
                Cell::Text(stream),
                Cell::Int(version),
                Cell::Bytes(prev),
                Cell::Bytes(hash),
                Cell::Bytes(bytes),
            ],
        ) = <[Cell; 6]>::try_from(row)
        else {
            return Err(unreadable("entries"));
        };
        Ok(Stored {
            position: unsigned(position, "entries")?,
            stream,
            version: unsigned(version, "entries")?,
            prev: Hash::from_slice(&prev).ok_or_else(|| unreadable("entries"))?,
            hash: Hash::from_slice(&hash).ok_or_else(|| unreadable("entries"))?,
            bytes: Bytes::from(bytes),
        })
    }

    pub(crate) fn from_rows(rows: Vec<Row>) -> Result<Vec<Stored>, Failure> {
        rows.into_iter().map(Stored::from_row).collect()
    }
}

/// What was answered to a request, so that the same request gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub principal: String,
    pub key: String,
    /// BLAKE3 over the route and the parsed command.
    pub digest: [u8; 32],
    /// The command's id.
    pub command: String,
    pub answer: Bytes,
    /// Microseconds since 1970.
    pub at: i64,
}

impl Receipt {
    pub(crate) fn row(&self) -> Row {
        vec![
            Cell::Text(self.principal.clone()),
            Cell::Text(self.key.clone()),
            Cell::Bytes(self.digest.to_vec()),
            Cell::Text(self.command.clone()),
            Cell::Bytes(self.answer.to_vec()),
            Cell::Int(self.at),
        ]
    }

    pub(crate) fn from_row(row: Row) -> Result<Receipt, Failure> {
        let Ok(
            [
                Cell::Text(principal),
                Cell::Text(key),
                Cell::Bytes(digest),
                Cell::Text(command),
                Cell::Bytes(answer),
                Cell::Int(at),
            ],
        ) = <[Cell; 6]>::try_from(row)
        else {
            return Err(unreadable("receipts"));
        };
        let digest = <[u8; 32]>::try_from(digest).map_err(|_| unreadable("receipts"))?;
        Ok(Receipt { principal, key, digest, command, answer: Bytes::from(answer), at })
    }
}

/// A position, version or size as the engines store it. No log holds 2^63 entries, so beyond that there is nothing to find.
pub(crate) fn number(value: u64) -> Cell {
    Cell::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

pub(crate) fn hash(hash: &Hash) -> Cell {
    Cell::Bytes(hash.0.to_vec())
}

pub(crate) fn unreadable(table: &str) -> Failure {
    Failure::Corrupt(format!("a row of {table} does not have the expected shape"))
}

fn unsigned(value: i64, table: &str) -> Result<u64, Failure> {
    u64::try_from(value).map_err(|_| unreadable(table))
}
