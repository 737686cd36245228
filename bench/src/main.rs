//! `bench/run`: what a command costs, beside the hand-written transaction it replaces, with the floor of the same minute.

#![allow(
    clippy::unwrap_used,
    clippy::float_arithmetic,
    reason = "a measurement that cannot be made ends the run, and rates are no money"
)]

mod floor;
mod grown;
mod hand;
mod heads;
mod inventory;
mod load;
mod ours;
mod reckoned;
mod standing;
mod table;
mod witnessed;

use clap::{Parser, ValueEnum};
use guildhall_tests::Engine;

use table::Table;

/// As in the server's binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Treasuries that the clients spread over; a hot one is all there is.
const TREASURIES: usize = 500;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Commands a second, in process and over HTTP, on both engines, spread and on one hot treasury
    Commands,
    /// Entries a second through the auditor, and what one more anchor reads
    Audit,
    /// Events a second through `guildhall replay`
    Rebuild,
    /// Memory and time to the first answer at 10,000 and 1,000,000 events
    Memory,
    /// Capability checks a second in process, on both engines
    Checks,
    /// All figures of many holders from their evidence: the arithmetic alone, and through log and worker
    Reputation,
    /// Tokens, manifests and skills a second through `guildhall import`, with its memory
    Imports,
    /// Three days of a simulated clock with many grants of one healthy source
    Reconciler,
    /// Proofs of entries and of heads, and what the tree of heads weighs, at a million of each
    Proofs,
    /// Seconds from a command to its receipt with two witnesses' lines, under load
    Witnessed,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Side {
    Postgres,
    Sqlite,
}

impl Side {
    const fn engine(self) -> Engine {
        match self {
            Self::Postgres => Engine::Postgres,
            Self::Sqlite => Engine::Sqlite,
        }
    }
}

/// Measures the city beside hand-written SQL.
#[derive(Parser)]
struct Arguments {
    /// What to measure [default: everything]
    sections: Vec<Section>,
    /// Seconds per figure
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many clients at once, for `commands` and `checks`
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 256, 1024])]
    clients: Vec<usize>,
    /// The engines, for `commands`, `checks`, `imports`, `reputation` and `witnessed`
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Side::Postgres, Side::Sqlite])]
    engines: Vec<Side>,
    /// Only what is ours and runs in this process, for `commands`: for a profiler
    #[arg(long)]
    inside: bool,
    /// Entries in the log for `audit` and `rebuild`
    #[arg(long, default_value_t = 300_000)]
    entries: u64,
    /// Holders for `reputation`
    #[arg(long, default_value_t = 10_000)]
    holders: u64,
    /// Pieces of evidence for each of them
    #[arg(long, default_value_t = 100)]
    pieces: u64,
    /// Tokens for `imports`
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    tokens: Vec<usize>,
    /// Grants for `reconciler`
    #[arg(long, default_value_t = 100_000)]
    grants: usize,
    /// The sizes compared by `memory`
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000])]
    sizes: Vec<u64>,
}

fn main() {
    let arguments = Arguments::parse();
    let wanted = |section| arguments.sections.is_empty() || arguments.sections.contains(&section);
    println!("{}", floor::machine());
    if wanted(Section::Commands) {
        commands(&arguments);
    }
    if wanted(Section::Audit) || wanted(Section::Rebuild) {
        guildhall_tests::block_on(grown::throughput(
            arguments.entries,
            wanted(Section::Audit),
            wanted(Section::Rebuild),
        ));
    }
    if wanted(Section::Checks) {
        for side in &arguments.engines {
            guildhall_tests::block_on(standing::checks(side.engine(), &arguments.clients, arguments.seconds));
        }
    }
    if wanted(Section::Reputation) {
        standing::reputation();
        for side in &arguments.engines {
            let (holders, pieces) = (arguments.holders, arguments.pieces);
            guildhall_tests::block_on(reckoned::whole(side.engine(), holders, pieces, arguments.seconds));
        }
    }
    if wanted(Section::Imports) {
        for side in &arguments.engines {
            guildhall_tests::block_on(inventory::imports(side.engine(), &arguments.tokens));
        }
    }
    if wanted(Section::Reconciler) {
        guildhall_tests::block_on(inventory::reconciler(arguments.grants));
    }
    if wanted(Section::Proofs) {
        heads::proofs();
    }
    if wanted(Section::Witnessed) {
        for side in &arguments.engines {
            guildhall_tests::block_on(witnessed::receipts(side.engine(), arguments.seconds));
        }
    }
    if wanted(Section::Memory) {
        for size in &arguments.sizes {
            guildhall_tests::block_on(grown::memory(*size));
        }
    }
}

fn commands(arguments: &Arguments) {
    let seconds = arguments.seconds;
    for side in &arguments.engines {
        let engine = side.engine();
        for treasuries in [TREASURIES, 1] {
            let what = if treasuries == 1 { "one hot treasury".to_owned() } else { format!("{treasuries} treasuries") };
            println!("\n{engine:?}, debits from {what}, commands/s");
            if arguments.inside {
                for clients in &arguments.clients {
                    let inside = guildhall_tests::block_on(ours::in_process(engine, treasuries, *clients, seconds));
                    println!("{clients:>8} {inside:>12.0}");
                }
                continue;
            }
            let mut table = Table::new();
            for clients in arguments.clients.iter().copied() {
                // Each side for itself, one after the other in the same minute.
                let hand = guildhall_tests::block_on(hand::measure(engine, treasuries, clients, seconds));
                let inside = guildhall_tests::block_on(ours::in_process(engine, treasuries, clients, seconds));
                let http = guildhall_tests::block_on(ours::over_http(engine, treasuries, clients, seconds));
                table.row(clients, hand, inside, http);
            }
        }
    }
}
