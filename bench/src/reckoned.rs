//! Reputations through log and worker: how long until all of them are on record, and what whoever sends commands meanwhile notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use commands::Request;
use domain::Time;
use domain::ids::Stream;
use domain::time::HOUR_MICROS;
use guildhall::city::reckoner::{Round, Whose, reckon};
use guildhall::http::now;
use guildhall_tests::Engine;
use guildhall_tests::courier::{Courier as _, Who};
use guildhall_tests::hall::Hall;
use guildhall_tests::town::{self, Town};
use identity::Credential;
use projections::views::{self, ViewsDb};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{floor, ours};

/// Commands at once while the evidence is attested.
const AT_ONCE: u64 = 1024;
/// Holders whose evidence is attested together, piece by piece: the writer remembers that many.
const GROUP: u64 = 1000;
const GUILDS: usize = 3;
/// Who sends commands while reputations are computed, one after the other with this pause.
const CLIENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(5);

/// A city whose holders have a year of attested work.
struct Standing {
    hall: Hall,
    town: Town,
    gate: Credential,
    guilds: Vec<String>,
    holders: Vec<String>,
    works: u64,
}

impl Standing {
    async fn found(engine: Engine, holders: u64) -> Self {
        let hall = Hall::open(engine).await;
        let town = Town::found(&hall).await;
        town.fund(&hall, "funds", "10000000").await;
        let (gate_id, gate) = town::human(&hall, "gate", "Gate").await;
        let mut guilds = vec![town.guild.clone()];
        for number in 1..GUILDS {
            guilds.push(town::guild(&hall, &town.founder, &format!("guild-{number}")).await.0);
        }
        for guild in &guilds {
            let join = json!({"guild": guild, "member": gate_id, "rank": "member"});
            hall.ask(&town.founder, "guild.add_member", join).await.accepted();
        }
        let principal = credential(&hall.principal());
        let register = |number| ("citizen.register", json!({"kind": "human", "name": format!("holder {number}")}));
        let registered = send_all(&hall, principal, holders, register).await;
        let gate = credential(&gate);
        Self { hall, town, gate, guilds, holders: registered, works: 0 }
    }

    /// So many further pieces of evidence for each holder, over a year.
    async fn attest(&mut self, pieces: u64) {
        const KINDS: [&str; 5] =
            ["task_completed", "verification_passed", "task_failed", "audit_clean", "task_completed"];
        let (holders, before) = (self.holders.len() as u64, self.works);
        let start = now().micros() - 365 * 24 * HOUR_MICROS;
        let step = 365 * 24 * HOUR_MICROS / i64::try_from(pieces).unwrap();
        let outcome = |number: u64| {
            let (group, within) = (number / (GROUP * pieces), number % (GROUP * pieces));
            let size = GROUP.min(holders - group * GROUP);
            let (holder, piece) = (index(group * GROUP + within % size), within / size);
            let body = json!({
                "holder": self.holders[holder], "outcome": KINDS[index(piece) % KINDS.len()], "work": format!("{before} {number}"),
                "scope": self.guilds[index(piece) % GUILDS], "stake": "T2", "proof": "ab".repeat(32),
                "effective_at": Time::from_micros(start + i64::try_from(piece).unwrap() * step),
            });
            ("reputation.attest", body)
        };
        send_all(&self.hall, self.gate, holders * pieces, outcome).await;
        self.works += holders * pieces;
    }
}

fn credential(who: &Who) -> Credential {
    Credential::Key(who.0.parse().unwrap())
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

/// Sends commands by number, many at once; the streams of their first entries, in order.
async fn send_all(
    hall: &Hall,
    credential: Credential,
    count: u64,
    command: impl Fn(u64) -> (&'static str, Value),
) -> Vec<String> {
    let mut streams = Vec::new();
    for first in (0..count).step_by(index(AT_ONCE)) {
        let sent: Vec<_> = (first..count.min(first + AT_ONCE))
            .map(|number| {
                let (action, body) = command(number);
                let request = Request::parse(credential, action, body).unwrap();
                let pipeline = hall.pipeline.clone();
                tokio::spawn(async move { pipeline.submit(request).await.unwrap() })
            })
            .collect();
        for answer in sent {
            let answer = answer.await.unwrap();
            assert!(!answer.is_rejected(), "{answer:?}");
            let stream = &answer.entries[0].stream;
            if let Ok(Stream::Citizen(_)) = stream.parse() {
                streams.push(stream.clone());
            }
        }
    }
    streams
}

/// Tables that follow the log until they are told to stop.
struct Following {
    tables: ViewsDb,
    stop: watch::Sender<bool>,
    reached: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Following {
    async fn of(hall: &Hall) -> Self {
        let tables = ViewsDb::open(&hall.log, true).await.unwrap();
        let (stop, stopping) = watch::channel(false);
        let (reach, reached) = watch::channel(0);
        let following = views::run(hall.log.clone(), tables.clone(), stopping, reach);
        let task = tokio::spawn(async move { following.await.unwrap() });
        Self { tables, stop, reached, task }
    }

    async fn catch_up(&mut self, hall: &Hall) {
        let size = hall.log.head().await.unwrap().size;
        self.reached.wait_for(|reached| *reached >= size).await.unwrap();
    }

    async fn end(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

pub async fn whole(engine: Engine, holders: u64, pieces: u64, seconds: u64) {
    let mut standing = Standing::found(engine, holders).await;
    let started = Instant::now();
    standing.attest(pieces).await;
    println!("\n{engine:?}: {} pieces attested in {:.0} s", standing.works, started.elapsed().as_secs_f64());
    standing.hall = standing.hall.reopened().await;
    let mut following = Following::of(&standing.hall).await;
    following.catch_up(&standing.hall).await;

    let busy = processors();
    let (took, before, most) = recompute(&standing.hall, &following.tables, holders).await;
    println!(
        "all of {holders} holders on record in {took:.1} s, with {:.1} s of processors; memory {before} MiB before, {most} MiB at most; fdatasync {} us, load {}",
        processors() - busy,
        floor::fdatasync_micros(),
        floor::load()
    );

    standing.attest(1).await;
    following.catch_up(&standing.hall).await;
    let quiet = latencies(&standing, tokio::time::sleep(Duration::from_secs(seconds))).await;
    let meanwhile = latencies(&standing, tokio::time::sleep(Duration::from_secs(seconds)));
    let ((took, ..), busy) = tokio::join!(recompute(&standing.hall, &following.tables, holders), meanwhile);
    println!("latency of debits by {CLIENTS} clients, p50 / p99 / most: {quiet} alone, {busy} meanwhile");
    println!("on record in {took:.1} s, of which clients sent debits for the first {seconds}");
    following.end().await;
}

/// Seconds, and megabytes before and at most.
async fn recompute(hall: &Hall, tables: &ViewsDb, holders: u64) -> (f64, u64, u64) {
    let before = resident();
    let over = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn({
        let over = Arc::clone(&over);
        async move {
            let mut most = before;
            while !over.load(Ordering::Relaxed) {
                most = most.max(resident());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            most
        }
    });
    let as_of = Time::from_micros(hall.log.head().await.unwrap().at);
    let started = Instant::now();
    let round = reckon(&hall.log, tables, &hall.pipeline, Whose::Changed, as_of).await.unwrap();
    let took = started.elapsed().as_secs_f64();
    assert_eq!(round, Round { recorded: holders, refused: 0 });
    over.store(true, Ordering::Relaxed);
    (took, before, watching.await.unwrap())
}

/// What clients wait for their answers while something else happens.
async fn latencies(standing: &Standing, meanwhile: impl Future<Output = ()>) -> String {
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (pipeline, over) = (standing.hall.pipeline.clone(), Arc::clone(&over));
            let (founder, treasury) = (credential(&standing.town.founder), standing.town.treasury.clone());
            let salt = now().micros();
            tokio::spawn(async move {
                let (mut took, mut number) = (Vec::new(), 0);
                while !over.load(Ordering::Relaxed) {
                    number += 1;
                    let mut debit = ours::debit(&treasury, number);
                    debit["reference"] = json!(format!("{salt} {client} {number}"));
                    let request = Request::parse(founder, "treasury.withdraw", debit).unwrap();
                    let sent = Instant::now();
                    assert!(!pipeline.submit(request).await.unwrap().is_rejected());
                    took.push(sent.elapsed());
                    tokio::time::sleep(PAUSE).await;
                }
                took
            })
        })
        .collect();
    meanwhile.await;
    over.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    all.sort_unstable();
    let at = |hundredths: usize| all[(all.len() - 1) * hundredths / 100].as_secs_f64() * 1000.0;
    format!("{:.1} / {:.1} / {:.1} ms of {}", at(50), at(99), at(100), all.len())
}

/// Of this process, in MiB: its own, without what it reads of files, which the system takes back when it likes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Seconds of processors that this process has used.
fn processors() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold spaces: user and system time are fields 14 and 15, in hundredths.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}
