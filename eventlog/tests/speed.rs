//! How fast the log is: run by hand, with `--release -- --ignored --nocapture`.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use chain::Hash;
use eventlog::vault::{MasterKey, Vault};
use eventlog::{Append, Log, Receipt, Stored, VaultWrites, Writer, testing};

const ENTRY_BYTES: usize = 600;
const LONG: u64 = 1_000_000;

struct Street {
    writer: Writer,
    tips: Vec<(u64, Hash)>,
    vault: Vault,
    keys: u64,
}

impl Street {
    async fn batch(&mut self, size: usize, receipts: bool, payloads: bool) -> (Duration, Duration) {
        let started = Instant::now();
        let batch = self.writer.begin().await.unwrap();
        let begun = started.elapsed();
        let first = batch.head().size;
        let mut entries = Vec::with_capacity(size);
        for index in 0..size {
            let (version, prev) = self.tips[index];
            let bytes = Bytes::from(format!("{:0>1$}", first + index as u64, ENTRY_BYTES));
            let hash = chain::entry::entry_hash(testing::ORIGIN, &prev, &bytes);
            self.tips[index] = (version + 1, hash);
            let stream = format!("cit_{index:026}");
            entries.push(Stored { position: first + index as u64, stream, version, prev, hash, bytes });
        }
        let mut append = Append { at: batch.now(), entries, ..Append::default() };
        if receipts {
            for _ in 0..size {
                self.keys += 1;
                append.receipts.push(Receipt {
                    principal: "key_00000000000000000000000001".to_owned(),
                    key: format!("k-{}", self.keys),
                    digest: [7; 32],
                    command: format!("cmd_{:026}", self.keys),
                    answer: Bytes::from(vec![b'x'; 300]),
                    at: append.at,
                });
            }
        }
        if payloads {
            for index in 0..size {
                let key = self.vault.remembered(&format!("cit_{:026}", index)).unwrap();
                let (_, payload) =
                    self.vault.seal(&format!("cit_{:026}", index), &key, "a memo of usual length, typed").unwrap();
                append.vault.payloads.push(payload);
            }
        }
        let committing = Instant::now();
        batch.commit(append).await.unwrap();
        (begun, committing.elapsed())
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn measure(log: &Log, name: &str) {
    let mut street = Street {
        writer: log.writer().await.unwrap(),
        tips: vec![(0, Hash::ZERO); 256],
        vault: Vault::new(MasterKey::from_bytes([3; 32])),
        keys: 0,
    };
    let mut keys = Vec::new();
    for index in 0..256 {
        let subject = format!("cit_{index:026}");
        let (key, wrapped) = street.vault.new_subject_key(&subject).unwrap();
        street.vault.remember(&subject, &key);
        keys.push(wrapped);
    }
    let batch = street.writer.begin().await.unwrap();
    let at = batch.now();
    batch
        .commit(Append { at, vault: VaultWrites { keys, ..VaultWrites::default() }, ..Append::default() })
        .await
        .unwrap();
    for _ in 0..50 {
        street.batch(256, true, true).await;
    }
    for (size, rounds) in [(1, 1500), (256, 200)] {
        for (what, receipts, payloads) in
            [("entries", false, false), ("entries+receipts", true, false), ("entries+receipts+payloads", true, true)]
        {
            let (mut begins, mut commits) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                let (begin, commit) = street.batch(size, receipts, payloads).await;
                begins.push(begin);
                commits.push(commit);
            }
            println!(
                "{name} batch of {size:>3} {what:<26} begin {:>9.3?} write+commit {:>9.3?}",
                median(begins),
                median(commits)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn append_on_postgres() {
    let log = Log::open(testing::postgres(&[]).await.config()).await.unwrap();
    measure(&log, "postgres").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn append_on_sqlite() {
    let (_home, config) = testing::sqlite(&[]).await;
    measure(&Log::open(config).await.unwrap(), "sqlite").await;
}

/// A million entries in one stream, written past the writer: what is measured is the reading.
async fn measure_reading(log: &Log, name: &str) {
    let mut writer = log.writer().await.unwrap();
    let (mut version, mut prev) = (0, Hash::ZERO);
    while version < LONG {
        let batch = writer.begin().await.unwrap();
        let mut append = Append { at: batch.now(), ..Append::default() };
        for _ in 0..10_000 {
            let bytes = Bytes::from(format!("{version:0>ENTRY_BYTES$}"));
            let hash = chain::entry::entry_hash(testing::ORIGIN, &prev, &bytes);
            append.entries.push(Stored { position: version, stream: "long".to_owned(), version, prev, hash, bytes });
            (version, prev) = (version + 1, hash);
        }
        batch.commit(append).await.unwrap();
    }
    for _ in 0..3 {
        let started = Instant::now();
        assert_eq!(log.hashes(0, usize::MAX).await.unwrap().len() as u64, LONG);
        println!("{name} hashes of {LONG} entries: {:?}", started.elapsed());
    }
    let started = Instant::now();
    let mut batch = writer.begin().await.unwrap();
    let mut seen = 0;
    batch
        .reading()
        .load_each(&["long".to_owned()], |_| {
            seen += 1;
            Ok(())
        })
        .await
        .unwrap();
    batch.rollback().await;
    println!("{name} load_each of {seen} entries: {:?}", started.elapsed());
    let started = Instant::now();
    let mut next = 0;
    while let Some(last) = log.read(next, 2_000).await.unwrap().last() {
        next = last.position + 1;
    }
    println!("{name} read of {next} entries, 2000 at a time: {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn reading_on_postgres() {
    let log = Log::open(testing::postgres(&[]).await.config()).await.unwrap();
    measure_reading(&log, "postgres").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn reading_on_sqlite() {
    let (_home, config) = testing::sqlite(&[]).await;
    measure_reading(&Log::open(config).await.unwrap(), "sqlite").await;
}
