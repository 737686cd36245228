//! What the tests of the whole share: cities in this process or behind HTTP, PostgreSQL to kill, and an account of the log that
//! is kept without any of the house's own rules.
//!
//! A missing program or server fails the test with the command that brings it: nothing here is skipped in silence.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a helper that cannot help ends the test")]

pub mod authority;
pub mod cluster;
pub mod courier;
pub mod days;
pub mod forger;
pub mod hall;
pub mod http;
pub mod kept;
pub mod laid;
pub mod ledger;
pub mod load;
pub mod programs;
pub mod r2;
pub mod s3;
pub mod server;
pub mod tools;
pub mod town;
pub mod witness;

/// Which engine a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Many threads, as the real server has.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap().block_on(work)
}

/// Small deterministic chance: a test that failed can be repeated from its seed (Steele, Lea, Flood: SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(from.len() as u64)).unwrap();
        &from[index]
    }
}
