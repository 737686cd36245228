//! Faults that a test can order, so that the paths nobody sees in good weather are walked in every run.

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

const NONE: u8 = 0;
pub(crate) const LOSE_REQUEST: u8 = 1;
pub(crate) const LOSE_ANSWER: u8 = 2;

/// What goes wrong at the next COMMIT.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CommitFault {
    /// The connection dies before the server sees the COMMIT.
    LoseRequest = LOSE_REQUEST,
    /// The server commits, and the connection dies before the answer arrives.
    LoseAnswer = LOSE_ANSWER,
}

/// What every log of this process is opened with; zero outside tests.
static CLOCK_SKEW: AtomicI64 = AtomicI64::new(0);

/// Puts the clocks of logs that are opened from now on wrong by so many microseconds: a log that begins days ago can be led to the
/// present. On SQLite, whose clock is this process's.
#[cfg(feature = "testing")]
pub fn open_with_clock_skew(micros: i64) {
    CLOCK_SKEW.store(micros, Ordering::Relaxed);
}

/// The orders; all zero outside tests.
pub(crate) struct Faults {
    commit: AtomicU8,
    clock_skew: AtomicI64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { commit: AtomicU8::new(NONE), clock_skew: AtomicI64::new(CLOCK_SKEW.load(Ordering::Relaxed)) }
    }
}

impl Faults {
    /// The fault ordered for this COMMIT; the order is used up.
    pub(crate) fn take_commit(&self) -> u8 {
        self.commit.swap(NONE, Ordering::Relaxed)
    }

    /// Microseconds by which this server's clock is wrong.
    pub(crate) fn clock_skew(&self) -> i64 {
        self.clock_skew.load(Ordering::Relaxed)
    }

    #[cfg(feature = "testing")]
    pub(crate) fn at_commit(&self, fault: CommitFault) {
        self.commit.store(fault as u8, Ordering::Relaxed);
    }

    #[cfg(feature = "testing")]
    pub(crate) fn set_clock_skew(&self, micros: i64) {
        self.clock_skew.store(micros, Ordering::Relaxed);
    }
}
