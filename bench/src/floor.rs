//! What this machine can do in this minute, whoever else is on it.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::Instant;

/// The median of this many syncs.
const SYNCS: usize = 101;

/// A write of 4 KiB and fdatasync, in microseconds: no durable commit is faster.
pub fn fdatasync_micros() -> u128 {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[0; 4096]).unwrap();
    file.sync_all().unwrap();
    let mut took: Vec<u128> = (0..SYNCS)
        .map(|_| {
            let started = Instant::now();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.write_all(&[1; 4096]).unwrap();
            file.sync_data().unwrap();
            started.elapsed().as_micros()
        })
        .collect();
    took.sort_unstable();
    took[SYNCS / 2]
}

/// The load average of the last minute, as the kernel writes it.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}

/// One line about the machine.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches(['\t', ':', ' ']);
    format!("{cores} cores, {model}; temporary files on {}", std::env::temp_dir().display())
}
