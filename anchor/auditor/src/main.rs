//! `auditor`: the command line of the stranger's tool.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chain::policy::Policy;
use clap::{Parser, Subcommand};
use guildhall_auditor::{Options, receipt, stream, verify};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const ABOUT: &str = "\
Checks a Guildhall log from files and public keys alone. It asks no server.

What you need:
  1. A folder with the published log: `checkpoint`, `tile/`, `pack/`, `anchors/`.
     The city's operator makes one with `guildhall export`. The storage that holds
     the anchors has the same files, but no `checkpoint`: the audit then ends at the
     newest anchor, and no operator is needed. docs/auditing.md says how to copy a
     bucket; the auditor itself opens no connection.
  2. A policy file with the log's public key, from somebody you trust and NOT from
     that folder:
         log guildhall.example/city+1a2b3c4d+AeXample...
         quorum none

What is checked: the signatures; every hash of the tree; every entry's bytes against
its leaf; every stream's chain, and every root of their heads; the anchors and every
file they list; and what the entries mean: money is conserved and never below zero, holds are kept, memberships
and votes are in order. `auditor rules` lists it all.

Exit code: 0 nothing was found, 1 something was found, 2 it could not be checked:
neither a checkpoint nor anchors, no entries (--tree-only does without them), or a
policy that cannot be read.";

const EXAMPLES: &str = "\
Examples:
  auditor verify ./export --policy city.policy
  auditor verify ./export --policy city.policy --remember ~/.city-audit
      the next audit must continue this one
  auditor verify /mnt/worm --policy city.policy
      the store of the anchors alone, with the city gone
  auditor verify ./export --policy city.policy --json > report.json
  auditor verify ./export --policy city.policy --heads city.heads
      lists the roots of heads that it recomputed, for `auditor stream`
  auditor verify ./export --policy city.policy --time-roots tsa-roots.pem --also /mnt/mirror
      also when others saw the anchors, and whether a mirror has the same
  auditor verify ./export --policy city.policy --continues ./old
      a log that goes on under a new name, beside the one it continues
  auditor stream treasury.jsonl --policy city.policy --audited city.heads
  auditor receipt receipt.json --policy city.policy";

#[derive(Parser)]
#[command(name = "auditor", version, about = "Checks a Guildhall log from files and public keys alone", long_about = ABOUT, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check a published log, from its signatures to the meaning of every entry
    Verify {
        /// The folder with `checkpoint`, `tile/`, `pack/` and `anchors/`, or a copy of the anchors' store, which has no `checkpoint`
        dir: PathBuf,
        /// The policy file that you trust. The folder's own shows that its files agree, not whose they are
        #[arg(long)]
        policy: PathBuf,
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
        /// A file for the checkpoint of the last clean audit: the log must continue it, and it is renewed
        #[arg(long)]
        remember: Option<PathBuf>,
        /// A file for the roots of heads that were recomputed, written when nothing was found
        #[arg(long)]
        heads: Option<PathBuf>,
        /// A PEM file with the root certificates of time-stamping authorities that you trust. Without it time tokens are not checked
        #[arg(long, value_name = "FILE")]
        time_roots: Option<PathBuf>,
        /// Another place that holds the same anchors, such as a mirror: both must agree. May be given more than once
        #[arg(long, value_name = "FOLDER")]
        also: Vec<PathBuf>,
        /// A folder with the packs of the log that this one continues: every carried entry must be that log's, byte for byte
        #[arg(long, value_name = "OLD", conflicts_with = "tree_only")]
        continues: Option<PathBuf>,
        /// The log to audit, where the policy gives several and there are anchors of more than one
        #[arg(long, value_name = "NAME")]
        origin: Option<String>,
        /// Check checkpoints, tree and anchors only, without the entries
        #[arg(long)]
        tree_only: bool,
        /// Worker threads; 0 is one per processor, and one more
        #[arg(long, default_value_t = 0)]
        threads: usize,
    },
    /// Check one stream alone: that nothing of it is missing, and that it ends where it says
    Stream {
        /// The package, as `guildhall export --stream` writes it
        file: PathBuf,
        /// The policy file that you trust
        #[arg(long)]
        policy: PathBuf,
        /// What `auditor verify --heads` wrote. Without it nobody says that the root of heads is right
        #[arg(long)]
        audited: Option<PathBuf>,
    },
    /// List every event type and what is checked about it
    Rules,
    /// Check one receipt and say in words what it proves
    Receipt {
        /// The receipt: the signed answer of a command, or the receipt with its entry and proof
        file: PathBuf,
        /// The policy file that you trust
        #[arg(long)]
        policy: PathBuf,
    },
}

/// What workers make of the entries is dropped by the one who joins them, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Verify {
            dir,
            policy,
            json,
            remember,
            heads,
            time_roots,
            also,
            continues,
            origin,
            tree_only,
            threads,
        } => {
            let places = Options { dir, policy, remember, heads, time_roots, also, continues, ..Options::default() };
            audit(&Options { origin, tree_only, threads, ..places }, json)
        }
        Command::Stream { file, policy, audited } => alone(&file, &policy, audited.as_deref()),
        Command::Rules => {
            print(
                &guildhall_auditor::covered()
                    .map(|rule| format!("{:34} {}\n", rule.kind, rule.why))
                    .collect::<String>(),
            );
            ExitCode::SUCCESS
        }
        Command::Receipt { file, policy } => explain(&file, &policy),
    }
}

fn audit(options: &Options, json: bool) -> ExitCode {
    let bar = bar();
    let result = verify(options, &|done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    match result {
        Ok(report) => {
            print(&if json { report.to_json() + "\n" } else { report.to_text() });
            ExitCode::from(u8::from(!report.is_clean()))
        }
        Err(error) => could_not(&error),
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn trusted(policy: &Path) -> Result<Policy, String> {
    read(policy).and_then(|text| Policy::parse(&text).map_err(|error| format!("{}: {error}", policy.display())))
}

fn alone(file: &Path, policy: &Path, audited: Option<&Path>) -> ExitCode {
    let policy = match trusted(policy) {
        Ok(policy) => policy,
        Err(error) => return could_not(&error),
    };
    match stream::explain(file, &policy, audited) {
        Ok(words) => {
            print(&words);
            ExitCode::SUCCESS
        }
        Err(stream::Refused::CouldNotCheck(error)) => could_not(&error),
        Err(wrong) => {
            print(&format!("{wrong}\n"));
            ExitCode::from(1)
        }
    }
}

fn explain(file: &Path, policy: &Path) -> ExitCode {
    let inputs = trusted(policy).and_then(|policy| Ok((policy, read(file)?))).and_then(|(policy, text)| {
        receipt::read(&text).map(|receipt| (policy, receipt)).map_err(|error| format!("{}: {error}", file.display()))
    });
    match inputs {
        Err(error) => could_not(&error),
        Ok((policy, receipt)) => match receipt::explain(&receipt, &policy) {
            Ok(words) => {
                print(&words);
                ExitCode::SUCCESS
            }
            Err(unproven) => {
                print(&format!("{unproven}\n"));
                ExitCode::from(1)
            }
        },
    }
}

/// A reader that went away (`auditor ... | head`) is no reason to fail.
/// A reader that has seen enough is no failure; a report that could not be written is.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        eprintln!("standard output cannot be written: {error}");
        std::process::exit(2);
    }
}

fn could_not(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("could not check: {error}");
    ExitCode::from(2)
}

/// Progress on stderr, and only for somebody who looks at it.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} entries, {per_sec}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
