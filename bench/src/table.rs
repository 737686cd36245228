//! Figures side by side, each with its ratio and the floor of its minute.

use crate::floor;

pub struct Table;

impl Table {
    pub fn new() -> Self {
        println!(
            "{:>8} {:>12} {:>12} {:>7} {:>12} {:>9} {:>14} {:>6}",
            "clients", "by hand", "in process", "ratio", "over HTTP", "of inside", "fdatasync us", "load"
        );
        Self
    }

    /// Rates per second.
    pub fn row(&mut self, clients: usize, hand: f64, inside: f64, http: f64) {
        println!(
            "{clients:>8} {hand:>12.0} {inside:>12.0} {:>6.1}x {http:>12.0} {:>8.0}% {:>14} {:>6}",
            inside / hand,
            100.0 * http / inside,
            floor::fdatasync_micros(),
            floor::load()
        );
    }
}
