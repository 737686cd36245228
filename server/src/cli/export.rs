//! `guildhall export`: what an auditor needs, in a folder; or one stream with what proves it, in a file.

use std::path::PathBuf;
use std::process::ExitCode;

use anchor::Layout;
use anyhow::Context as _;
use clap::Args;

use super::NO;
use super::output::{Bar, conclude};
use crate::config::Settings;
use crate::control::{self, Ask, Ending};

#[derive(Args)]
#[command(after_help = "\
Examples:
  guildhall export --out ./export
  guildhall export --out ./hashes --no-packs  # how many entries there are, and none of them
  guildhall export --out ./export --published # without database and keys
  guildhall export --out ./treasury.jsonl --stream try_01ARZ3NDEKTSV4RRFFQ69G5FAV
  auditor verify ./export --policy policy.txt # what to do with it
  auditor stream ./treasury.jsonl --policy policy.txt

Publishes a checkpoint first, through the running server if there is one. The folder must be empty, or a former export of this log; the
file of a stream must not be there yet. A stream is told up to the log's last commitment to its heads, which is made anew when any moved.")]
pub struct ExportArgs {
    /// The folder to write; with --stream the file
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Only this stream: that nothing of it is missing is then proved without the rest of the log
    #[arg(long, value_name = "NAME", conflicts_with_all = ["no_packs", "published"])]
    stream: Option<String>,
    /// Leave out the entries, of which the hashes then still speak
    #[arg(long)]
    no_packs: bool,
    /// Only what is published already
    #[arg(long)]
    published: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(settings: &Settings, args: ExportArgs) -> anyhow::Result<ExitCode> {
    // The server has another working directory.
    let out = std::path::absolute(&args.out).with_context(|| args.out.display().to_string())?;
    if let Some(stream) = args.stream {
        return run_stream(settings, stream, out, args.json).await;
    }
    let with_packs = !args.no_packs;
    let bar = Bar::new("export", "files");
    let ending = if args.published {
        let (layout, store) = (Layout::within(&settings.data_dir), crate::city::stores::open(settings)?);
        let exported =
            anchor::export(&layout, Some((store.as_ref(), None)), &out, with_packs, &mut |done, of| bar.at(done, of))
                .await;
        exported.map_err(anyhow::Error::from).and_then(|exported| Ok(Ending::Done(serde_json::to_value(exported)?)))
    } else {
        control::ask(settings, Ask::Export { out, with_packs }, &mut |done, of| bar.at(done, of)).await
    };
    bar.end();
    let ending = ending?;
    let is_beyond = matches!(&ending, Ending::Done(told) if told["beyond"].is_array());
    let code = conclude(ending, args.json, |told| {
        println!(
            "{} entries of {} in {}: {} files, {} bytes, {} anchors",
            told["size"],
            told["origin"].as_str().unwrap_or_default(),
            args.out.display(),
            told["files"],
            told["bytes"],
            told["anchors"]
        );
        for beyond in told["beyond"].as_array().into_iter().flatten() {
            println!(
                "BEYOND what is published: {} covers {} entries. The log was longer, or somebody else signs with its key: keep that anchor",
                beyond["key"].as_str().unwrap_or_default(),
                beyond["size"]
            );
        }
        for (what, named) in [("MISSING", &told["missing"]), ("left out", &told["strays"])] {
            for one in named.as_array().into_iter().flatten() {
                println!("{what}: {}", one.as_str().unwrap_or_default());
            }
        }
    })?;
    Ok(if is_beyond { ExitCode::from(NO) } else { code })
}

async fn run_stream(settings: &Settings, stream: String, out: PathBuf, json: bool) -> anyhow::Result<ExitCode> {
    let ending = control::ask(settings, Ask::ExportStream { stream, out: out.clone() }, &mut |_, _| {}).await?;
    conclude(ending, json, |told| {
        println!(
            "{} entries of {} up to position {} in {}: {} bytes",
            told["entries"],
            told["stream"].as_str().unwrap_or_default(),
            told["as_of"],
            out.display(),
            told["bytes"]
        );
    })
}
