//! An account of the log that uses none of the rules it checks: raw JSON, a hash, and sums.

use std::collections::{BTreeMap, HashMap};

use chain::Hash;
use chain::entry::{EntryView, entry_hash};
use eventlog::sql::{self, Cell, Kind};
use eventlog::{Failure, Log};
use serde_json::Value;

const PAGE: usize = 10_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purse {
    pub balance: i128,
    pub held: i128,
}

#[derive(Debug, Default)]
pub struct Ledger {
    /// The entry hash at every position.
    pub hashes: Vec<Hash>,
    /// Minor units by (treasury, currency).
    pub purses: BTreeMap<(String, String), Purse>,
    /// What the outside world gave, less what it got, by currency.
    pub external: BTreeMap<String, i128>,
    /// How often a time that only one command names occurs, by that time.
    pub named_times: HashMap<String, usize>,
    /// How many entries there are of each type.
    pub types: BTreeMap<String, usize>,
    streams: HashMap<String, (u64, Hash)>,
}

impl Ledger {
    /// Reads the whole log and checks chains, hashes and money on the way.
    ///
    /// # Panics
    /// Names the first position that is not as it should be.
    pub async fn read(log: &Log) -> Self {
        let mut ledger = Self::default();
        loop {
            let page = log.read(ledger.hashes.len() as u64, PAGE).await.unwrap();
            if page.is_empty() {
                break;
            }
            for stored in page {
                let position = ledger.hashes.len() as u64;
                assert_eq!(stored.position, position, "positions are dense");
                let (version, prev) = ledger.streams.get(&stored.stream).copied().unwrap_or((0, Hash::ZERO));
                assert_eq!((stored.version, stored.prev), (version, prev), "position {position}: the stream's chain");
                let hash = entry_hash(log.origin(), &prev, &stored.bytes);
                assert_eq!(hash, stored.hash, "position {position}: the hash");
                let entry =
                    EntryView::parse(&stored.bytes).unwrap_or_else(|error| panic!("position {position}: {error}"));
                assert_eq!((entry.stream.as_ref(), entry.version), (stored.stream.as_str(), version));
                let data: Value = serde_json::from_str(entry.data.get()).unwrap();
                ledger.fold(position, &stored.stream, &entry.kind, &data);
                ledger.streams.insert(stored.stream, (version + 1, hash));
                ledger.hashes.push(hash);
            }
        }
        assert_eq!(log.head().await.unwrap().size, ledger.hashes.len() as u64, "the head is the end");
        ledger
    }

    fn fold(&mut self, position: u64, stream: &str, kind: &str, data: &Value) {
        *self.types.entry(kind.to_owned()).or_default() += 1;
        let Some(event) = kind.strip_prefix("treasury.").and_then(|kind| kind.strip_suffix(".v1")) else { return };
        let text = |field: &str| data[field].as_str().unwrap_or_default();
        for field in ["effective_at", "expires_at"] {
            if !text(field).is_empty() && event != "hold_confirmed" {
                *self.named_times.entry(text(field).to_owned()).or_default() += 1;
            }
        }
        let change = match event {
            "credited" => (minor(text("amount")), 0),
            "debited" => (-minor(text("amount")), 0),
            "hold_placed" | "offer_made" => (0, minor(text("amount"))),
            "hold_captured" => (0, -minor(text("captured")) - minor(text("released"))),
            "hold_released" | "hold_expired" | "offer_accepted" | "offer_rejected" | "offer_cancelled"
            | "offer_expired" => (0, -minor(text("amount"))),
            _ => return,
        };
        if event == "credited" || event == "debited" {
            self.check_legs(position, stream, data, change.0);
        }
        let purse = self.purses.entry((stream.to_owned(), text("currency").to_owned())).or_default();
        purse.balance += change.0;
        purse.held += change.1;
        let Purse { balance, held } = *purse;
        assert!(0 <= held && held <= balance, "position {position}: balance {balance}, held {held}");
    }

    fn check_legs(&mut self, position: u64, stream: &str, data: &Value, change: i128) {
        let legs = data["legs"].as_array().unwrap();
        let sum_of = |account: Option<&str>| -> i128 {
            let meant = legs.iter().filter(|leg| account.is_none_or(|account| leg["account"] == account));
            meant.map(|leg| minor(leg["amount"].as_str().unwrap())).sum()
        };
        assert_eq!(sum_of(None), 0, "position {position}: the legs do not sum to zero");
        assert_eq!(sum_of(Some(stream)), change, "position {position}: the leg of {stream}");
        // Every movement is told once by each treasury; the outside's part is counted with the first of them.
        let first = legs.iter().find_map(|leg| leg["account"].as_str().filter(|account| *account != "external"));
        if first == Some(stream) {
            *self.external.entry(data["currency"].as_str().unwrap().to_owned()).or_default() +=
                sum_of(Some("external"));
        }
    }

    pub fn purse(&self, treasury: &str, currency: &str) -> Purse {
        self.purses.get(&(treasury.to_owned(), currency.to_owned())).copied().unwrap_or_default()
    }

    /// What all treasuries hold and what the outside gave are the same money.
    pub fn assert_conserved(&self) {
        let mut sums = self.external.clone();
        for ((_, currency), purse) in &self.purses {
            *sums.entry(currency.clone()).or_default() += purse.balance;
        }
        assert!(sums.values().all(|sum| *sum == 0), "money came from nowhere or went there: {sums:?}");
    }

    /// The guard table says the same as the fold of the log.
    pub async fn assert_guards_agree(&self, log: &Log) {
        let guarded: BTreeMap<(String, String), Purse> = guards(log).await.unwrap();
        let nonzero = |purses: &BTreeMap<(String, String), Purse>| -> Vec<_> {
            let rows = purses.iter().filter(|(_, purse)| **purse != Purse::default());
            rows.map(|(key, purse)| (key.clone(), *purse)).collect()
        };
        assert_eq!(nonzero(&guarded), nonzero(&self.purses));
    }
}

/// The rows of `treasury_balances`.
pub async fn guards(log: &Log) -> Result<BTreeMap<(String, String), Purse>, Failure> {
    let mut conn = log.reader().await?;
    let kinds = [Kind::Text, Kind::Text, Kind::Money, Kind::Money];
    let rows =
        sql::query(&mut conn, "select treasury, currency, balance, held from treasury_balances", &kinds, &[]).await?;
    let read = |row: Vec<Cell>| match <[Cell; 4]>::try_from(row) {
        Ok([Cell::Text(treasury), Cell::Text(currency), Cell::Money(balance), Cell::Money(held)]) => {
            ((treasury, currency), Purse { balance, held })
        }
        other => panic!("a row of another shape: {other:?}"),
    };
    Ok(rows.into_iter().map(read).collect())
}

/// The minor units of an amount as an entry writes it.
pub fn minor(amount: &str) -> i128 {
    amount.replace('.', "").parse().unwrap_or_else(|_| panic!("{amount:?} is no amount"))
}
