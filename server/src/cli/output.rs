//! What subcommands have in common: progress on a terminal, JSON for scripts, and how a refusal is said.

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::NO;
use crate::control::Ending;

/// A bar on standard error; nothing at all when that is no terminal.
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub fn new(what: &'static str, of: &'static str) -> Self {
        let style =
            ProgressStyle::with_template("{prefix} {bar:40} {human_pos}/{human_len} {msg}, {per_sec}, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(0).with_style(style).with_prefix(what).with_message(of) }
    }

    pub fn at(&self, done: u64, of: u64) {
        self.bar.set_length(of);
        self.bar.set_position(done);
    }

    /// Lines above the bar.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Prints JSON, one document.
pub fn print_json(value: &Value) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// What was done, shown by `show`; or what was refused, on standard error.
pub fn conclude(ending: Ending, json: bool, show: impl FnOnce(&Value)) -> anyhow::Result<ExitCode> {
    match ending {
        Ending::Done(value) if json => print_json(&value).map(|()| ExitCode::SUCCESS),
        Ending::Done(value) => {
            show(&value);
            Ok(ExitCode::SUCCESS)
        }
        Ending::Refused(problem) => {
            if json {
                print_json(&problem)?;
            }
            let part = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
            eprintln!("no, because {} [{}] {}", part("title"), part("code"), part("detail"));
            Ok(ExitCode::from(NO))
        }
    }
}
