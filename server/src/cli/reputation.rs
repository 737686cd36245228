//! `guildhall reputation`: what was attested about somebody, and how it decays.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use domain::event::Event;
use domain::ids::{CitizenId, ReputationId};
use domain::reputation::evidence::{AsOf, Evidence, Figure};
use domain::reputation::questions::{explained, shown};
use domain::reputation::score::{self, nine};
use domain::reputation::{Reputation, figures_of, known};
use domain::time::DAY_MICROS;
use domain::{Code, Time};
use eventlog::Log;
use projections::recorded;
use serde_json::json;

use super::output::{conclude, print_json};
use crate::city::{DataDir, open_log};
use crate::config::Settings;
use crate::control::Ending;
use crate::http::now;
use crate::http::problem::Problem;

#[derive(Subcommand)]
pub enum ReputationCommand {
    /// Figures, the curve of the overall score, and the evidence it is made from
    #[command(after_help = "\
Examples:
  guildhall reputation show cit_01J...
  guildhall reputation show cit_01J... --days 365
  guildhall reputation show cit_01J... --as-of 2026-05-01T00:00:00.000000Z
      what was known then; with --axis effective what had happened by then, as it is known now
  guildhall reputation show cit_01J... --json")]
    Show(ShowArgs),
}

#[derive(Args)]
pub struct ShowArgs {
    /// Whose
    #[arg(value_name = "CITIZEN")]
    citizen: CitizenId,
    /// How far back the curve goes
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// The time that is asked about, up to now
    #[arg(long, value_name = "TIME")]
    as_of: Option<Time>,
    /// By which of its two times evidence is included
    #[arg(long, requires = "as_of", value_enum, default_value_t)]
    axis: Axis,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Axis {
    /// What was on record then
    #[default]
    Recorded,
    /// What had happened by then, as it is known now
    Effective,
}

const WIDTH: usize = 72;
const HEIGHT: usize = 12;
const MOST_PIECES: usize = 20;

pub async fn run(settings: &Settings, command: ReputationCommand) -> anyhow::Result<ExitCode> {
    let ReputationCommand::Show(ShowArgs { citizen, days, as_of, axis, json }) = command;
    let now = now();
    let at = as_of.unwrap_or(now);
    if at > now {
        let problem = Problem::invalid("as_of", "is in the future");
        return conclude(Ending::Refused(serde_json::to_value(problem)?), json, |_| ());
    }
    let as_of = match axis {
        Axis::Recorded => AsOf::Recorded(at),
        Axis::Effective => AsOf::Effective(at),
    };
    let dir = DataDir::existing(&settings.data_dir)?;
    let log = open_log(settings, &dir, false).await?;
    if log.read_stream(&citizen.to_string(), 0, 1).await?.is_empty() {
        let problem = Problem::missing(Code::CitizenNotFound, citizen);
        return conclude(Ending::Refused(serde_json::to_value(problem)?), json, |_| ());
    }
    let reputation = folded(&log, citizen).await?;
    let evidence = known(reputation.evidence(), None, as_of);
    let rows: Vec<_> = figures_of(&evidence, at).into_values().collect();
    let pieces = explained(reputation.evidence(), None, Figure::Overall, as_of);
    if json {
        let body = json!({ "holder": citizen, "as_of": at, "shown": shown(&evidence, at), "figures": rows, "evidence": pieces });
        print_json(&body)?;
        return Ok(ExitCode::SUCCESS);
    }
    if pieces.is_empty() {
        println!("nothing was attested about {citizen} by {at}");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<12} {:<31} {:>6} {:>14} {:>14} {:>14}", "figure", "scope", "pieces", "score", "rating", "deviation");
    for row in &rows {
        let figure = serde_json::to_value(row.figure)?;
        let scope = row.scope.map_or("everywhere".to_owned(), |scope| scope.to_string());
        println!(
            "{:<12} {scope:<31} {:>6} {:>14} {:>14} {:>14}",
            figure.as_str().unwrap_or_default(),
            row.evidence,
            row.score,
            row.mu,
            row.phi
        );
    }
    println!("\nOverall score, the {days} days up to {at}:\n\n{}", curve(&reputation, days, as_of));
    println!("{:<22} {:>8} {:>14}  attested by", "evidence", "weight", "worth then");
    for piece in pieces.iter().take(MOST_PIECES) {
        let kind = serde_json::to_value(piece.kind)?;
        let fate = match (piece.reversed_at, piece.disputed) {
            (Some(_), _) => "  reversed",
            (None, true) => "  disputed",
            (None, false) => "",
        };
        println!(
            "{:<22} {:>8} {:>14}  {}{fate}",
            kind.as_str().unwrap_or_default(),
            piece.weight,
            piece.effective,
            piece.attested_by
        );
    }
    if pieces.len() > MOST_PIECES {
        println!("and {} older ones (--json has them all)", pieces.len() - MOST_PIECES);
    }
    Ok(ExitCode::SUCCESS)
}

async fn folded(log: &Log, citizen: CitizenId) -> anyhow::Result<Reputation> {
    let stream = ReputationId::of(citizen).to_string();
    let (mut reputation, mut version) = (Reputation::default(), 0);
    loop {
        let entries = log.read_stream(&stream, version, 1000).await?;
        let Some(last) = entries.last() else { return Ok(reputation) };
        version = last.version + 1;
        for entry in &entries {
            let recorded = recorded::decode(entry)?;
            if let Some(Event::Reputation(event)) = &recorded.event {
                reputation.evolve(event, recorded.at);
            }
        }
    }
}

/// The overall score at the end of each column, with the evidence below the axis.
#[allow(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a picture of numbers that are exact elsewhere"
)]
fn curve(reputation: &Reputation, days: u32, as_of: AsOf) -> String {
    let span = i64::from(days) * DAY_MICROS;
    let from = as_of.time().micros() - span;
    let at = |column: usize| Time::from_micros(from + span * (column as i64 + 1) / WIDTH as i64);
    // Of all that is included: by when things happened, not by when they were recorded.
    let evidence = known(reputation.evidence(), None, as_of);
    let scores = score::curve(Figure::Overall, &evidence, (0..WIDTH).map(at));
    let (highest, bottom) =
        scores.iter().fold((0.0_f64, 0.0_f64), |(high, low), score| (high.max(*score), low.min(*score)));
    // A picture has a height, also of nothing.
    let top = if highest - bottom < 0.001 { bottom + 1.0 } else { highest };
    let row_of = |score: f64| (((top - score) / (top - bottom)) * (HEIGHT - 1) as f64).round() as usize;
    let zero = row_of(0.0);
    let mut picture = String::new();
    for row in 0..HEIGHT {
        let value = top - (top - bottom) * row as f64 / (HEIGHT - 1) as f64;
        let label =
            if row == 0 || row == zero || row == HEIGHT - 1 { nine(value)[..].to_owned() } else { String::new() };
        let line: String = scores
            .iter()
            .map(|score| match row_of(*score) {
                here if here == row => '\u{2022}',
                _ if row == zero => '\u{2500}',
                _ => ' ',
            })
            .collect();
        let _ = writeln!(picture, "{:>14} \u{2502}{}", label, line.trim_end());
    }
    let mut marks = vec![' '; WIDTH];
    for piece in reputation.evidence().filter(|piece| as_of.includes(piece) && piece.effective_at.micros() > from) {
        let column =
            ((piece.effective_at.micros() - from - 1) * WIDTH as i64 / span).clamp(0, WIDTH as i64 - 1) as usize;
        marks[column] = mark(piece, as_of, marks[column]);
    }
    let _ = writeln!(picture, "{:>14} \u{2514}{}", "", "\u{2500}".repeat(WIDTH));
    let _ = writeln!(picture, "{:>14}  {}", "evidence", marks.into_iter().collect::<String>().trim_end());
    picture
}

/// For, against, both, or taken back.
fn mark(piece: &Evidence, as_of: AsOf, there: char) -> char {
    let own = match (as_of.told(piece.reversed_at).is_some(), piece.weight.0 > 0) {
        (true, _) => 'x',
        (false, true) => '+',
        (false, false) => '-',
    };
    if there == ' ' || there == own { own } else { '*' }
}
