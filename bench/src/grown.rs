//! What depends on how much there is: audit, rebuild, memory, and the first answer after a start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use commands::{Config, Pipeline, Request};
use eventlog::vault::{MasterKey, Vault};
use guildhall_tests::Engine;
use guildhall_tests::courier::Who;
use guildhall_tests::http::Http;
use guildhall_tests::programs::{self, auditor, guildhall};
use guildhall_tests::server::{Home, Place};
use guildhall_tests::town::Town;
use identity::{Credential, PresentedKey};
use serde_json::Value;

use crate::{floor, ours};

/// Commands at once while the log is grown.
const AT_ONCE: u64 = 1024;
const TREASURIES: usize = 500;

/// A city on SQLite with at least so many entries, and nobody running it.
struct Grown {
    place: Place,
    http: Http,
    town: Town,
    entries: u64,
}

impl Grown {
    async fn to(entries: u64) -> Self {
        let place = Place::new(Engine::Sqlite).await;
        let mut server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        let treasuries = ours::treasuries(&http, &town, TREASURIES).await;
        server.stop();
        let entries = grow(&place.home, &town.founder, &treasuries, entries).await;
        Self { place, http, town, entries }
    }
}

/// Debits until the log is that long, by a pipeline in this process on the server's own directory.
async fn grow(home: &Home, founder: &Who, treasuries: &[String], entries: u64) -> u64 {
    let log = home.log().await;
    let master = MasterKey::from_file(&home.dir.join("master.key")).unwrap();
    let (pipeline, writer) = Pipeline::start(&log, Arc::new(Vault::new(master)), Config::default()).await.unwrap();
    let credential = Credential::Key(PresentedKey::parse(&founder.0).unwrap().id());
    let mut number = 0;
    while log.head().await.unwrap().size < entries {
        let commands: Vec<_> = (number..number + AT_ONCE)
            .map(|number| {
                let debit = ours::debit(&treasuries[usize::try_from(number).unwrap() % treasuries.len()], number);
                let request = Request::parse(credential, "treasury.withdraw", debit).unwrap();
                let pipeline = pipeline.clone();
                tokio::spawn(async move { assert!(!pipeline.submit(request).await.unwrap().is_rejected()) })
            })
            .collect();
        for command in commands {
            command.await.unwrap();
        }
        number += AT_ONCE;
    }
    let size = log.head().await.unwrap().size;
    drop(pipeline);
    writer.await.unwrap();
    size
}

pub async fn throughput(entries: u64, audit: bool, rebuild: bool) {
    let grown = Grown::to(entries).await;
    let home = &grown.place.home;
    println!("\n{} entries; fdatasync {} us, load {}", grown.entries, floor::fdatasync_micros(), floor::load());
    if rebuild {
        let started = Instant::now();
        programs::run(&guildhall(), &home.arguments(&["replay"])).expect(0);
        per_second("rebuild", grown.entries, started.elapsed());
    }
    if audit {
        let export = home.dir.with_file_name("export");
        let export = export.to_str().unwrap();
        programs::run(&guildhall(), &home.arguments(&["anchor", "now"])).expect(0);
        programs::run(&guildhall(), &home.arguments(&["export", "--out", export])).expect(0);
        // The first time the disk is still busy with what was just exported.
        for _ in 0..3 {
            let started = Instant::now();
            let policy = format!("{export}/policy");
            let ended = programs::run(&auditor(), &["verify", export, "--policy", &policy, "--json"]).expect(0);
            let report: Value = serde_json::from_str(&ended.stdout).unwrap();
            per_second("audit", report["entries"].as_u64().unwrap(), started.elapsed());
        }
        one_more_anchor(&grown).await;
    }
}

/// What a server reads to anchor one more entry.
async fn one_more_anchor(grown: &Grown) {
    // The views are there, so that the server is soon ready.
    programs::run(&guildhall(), &grown.place.home.arguments(&["replay"])).expect(0);
    let mut server = grown.place.home.serve();
    let http = grown.http.at(&server.base);
    let anchor = || programs::run(&guildhall(), &grown.place.home.arguments(&["anchor", "now"])).expect(0);
    anchor();
    grown.town.fund(&http, "one more", "1").await;
    let (before, started) = (characters_read(server.id()), Instant::now());
    anchor();
    let (took, read) = (started.elapsed(), characters_read(server.id()) - before);
    server.stop();
    println!(
        "{:>10}  {} KiB read and {:.2} s for one entry more, at {} entries",
        "anchor",
        read / 1024,
        took.as_secs_f64(),
        grown.entries
    );
}

/// All that a process asked of files and sockets, whether or not a disk was asked for it.
fn characters_read(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.and_then(|number| number.parse().ok()).unwrap()
}

fn per_second(what: &str, count: u64, took: Duration) {
    println!("{what:>10}  {:>10.0} entries/s  ({:.1} s)", count as f64 / took.as_secs_f64(), took.as_secs_f64());
}

/// Start, first answer, and what the server has in memory after some work.
pub async fn memory(entries: u64) {
    let grown = Grown::to(entries).await;
    // The views are there, so that the start measured is an ordinary one.
    programs::run(&guildhall(), &grown.place.home.arguments(&["replay"])).expect(0);

    let started = Instant::now();
    let server = grown.place.home.spawn();
    let first = loop {
        let deposit = grown.town.deposit("after the start", "1");
        match grown.http.attempt(&grown.town.attester, "treasury.deposit", deposit, None).await {
            Ok(reply) if reply.is_accepted() => break started.elapsed(),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    for number in 0..2000 {
        grown.town.fund(&grown.http, &format!("work {number}"), "1").await;
    }
    println!(
        "{:>10} entries: first answer {:.2} s after the start; {} now, {} at most; fdatasync {} us, load {}",
        grown.entries,
        first.as_secs_f64(),
        resident(server.id(), "VmRSS"),
        resident(server.id(), "VmHWM"),
        floor::fdatasync_micros(),
        floor::load()
    );
}

/// A line of `/proc/<pid>/status`.
pub fn resident(pid: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let kilobytes: u64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    format!("{} MiB", kilobytes / 1024)
}
