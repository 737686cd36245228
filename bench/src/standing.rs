//! What citizens can do and what they are worth: capability checks, and figures from evidence.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use domain::Time;
use domain::ids::{CitizenId, EvidenceId, GuildId};
use domain::reputation::evidence::{Evidence, EvidenceType, Stake};
use domain::reputation::figures;
use eventlog::sql::Conn;
use guildhall_tests::Engine;
use guildhall_tests::courier::Courier as _;
use guildhall_tests::hall::Hall;
use guildhall_tests::town::{self, Town};
use projections::views::{self, ViewsDb};
use queries::checks::{Checks, Question};
use serde_json::json;
use tokio::sync::watch;

use crate::{floor, load};

const TOOLS: usize = 1000;
const HOLDERS: u128 = 10_000;
const PIECES: i64 = 100;

/// Members of a guild who hold its tools by delegation: every check reads a chain of two.
pub async fn checks(engine: Engine, clients: &[usize], seconds: u64) {
    let hall = Hall::open(engine).await;
    let town = Town::found(&hall).await;
    let (ann_id, ann) = town::human(&hall, "customer", "Ann").await;
    let join = json!({"guild": town.guild, "member": ann_id, "rank": "member"});
    hall.ask(&town.founder, "guild.add_member", join).await.accepted();
    let (ben_id, _) = town::human(&hall, "customer", "Ben").await;
    for number in 0..TOOLS {
        let granted = json!({
            "holder": ann_id, "kind": "tool", "ref": tool(&town.guild, number), "source": town.guild, "delegable": true,
        });
        let granted = hall.ask(&town.founder, "grant.grant", granted).await.accepted();
        let grant = &granted.entry("grant.granted.v1")["data"]["grant"];
        let handed_on = json!({"holder": ann_id, "grant": grant, "to": ben_id});
        hall.ask(&ann, "grant.delegate", handed_on).await.accepted();
    }

    let tables = ViewsDb::open(&hall.log, true).await.unwrap();
    let (stop, stopping) = watch::channel(false);
    let (reach, mut reached) = watch::channel(0);
    let following = tokio::spawn(views::run(hall.log.clone(), tables.clone(), stopping, reach));
    let size = hall.log.head().await.unwrap().size;
    reached.wait_for(|position| *position >= size).await.unwrap();

    println!("\n{engine:?}, {TOOLS} delegated capabilities, checks/s");
    let now: Time = town::in_seconds(0).parse().unwrap();
    let question = |number: usize| Question {
        holder: ben_id.parse().unwrap(),
        kind: "tool".parse().unwrap(),
        reference: tool(&town.guild, number).parse().unwrap(),
        action: "use".parse().unwrap(),
        max_age_seconds: 86_400,
    };
    let questions: Arc<Vec<Question>> = Arc::new((0..TOOLS).map(question).collect());
    println!("{:>8} {:>12} {:>12}", "clients", "in memory", "read anew");
    for clients in clients.iter().copied() {
        let mut rates = [0.0; 2];
        for (anew, rate) in rates.iter_mut().enumerate() {
            let checks = Arc::new(Checks::new(hall.log.clone()));
            let (tables, questions) = (tables.clone(), Arc::clone(&questions));
            *rate = load::rate(clients, seconds, move |_, number| {
                let (checks, tables, questions) = (Arc::clone(&checks), tables.clone(), Arc::clone(&questions));
                async move {
                    let mut question = questions[usize::try_from(number).unwrap() % TOOLS].clone();
                    if anew == 1 {
                        // An action that nobody asked about before: what is in memory does not answer it.
                        question.action = format!("use{number}").parse().unwrap();
                    }
                    let checked = checks.check(&question, now, size, async || reader(&tables).await).await.unwrap();
                    assert!(checked.answer.is_yes() && checked.chain.len() == 2, "{checked:?}");
                }
            })
            .await;
        }
        println!("{clients:>8} {:>12.0} {:>12.0}", rates[0], rates[1]);
    }
    let _ = stop.send(true);
    following.await.unwrap().unwrap();
}

async fn reader(tables: &ViewsDb) -> queries::Result<Conn> {
    Ok(tables.reader().await?)
}

fn tool(guild: &str, number: usize) -> String {
    format!("{guild}/tool-{number}")
}

/// Every row of every holder from scratch, on two threads: the arithmetic alone, without reading or writing.
pub fn reputation() {
    let started = Instant::now();
    let workers: Vec<_> = (0..2)
        .map(|worker| {
            thread::spawn(move || (0..HOLDERS).filter(|holder| holder % 2 == worker).map(rows).sum::<usize>())
        })
        .collect();
    let rows: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    println!(
        "\nfigures of {HOLDERS} holders with {PIECES} pieces each: {rows} rows in {:.2} s; load {}",
        started.elapsed().as_secs_f64(),
        floor::load()
    );
}

/// A year of work in three guilds.
fn rows(holder: u128) -> usize {
    const KINDS: [EvidenceType; 5] = [
        EvidenceType::TaskCompleted,
        EvidenceType::VerificationPassed,
        EvidenceType::TaskFailed,
        EvidenceType::AuditClean,
        EvidenceType::TaskCompleted,
    ];
    const HOUR: i64 = 3_600_000_000;
    let start = 20_000 * 24 * HOUR;
    let pieces: Vec<Evidence> = (0..PIECES)
        .map(|number| {
            let kind = KINDS[usize::try_from(number).unwrap() % KINDS.len()];
            let at = Time::from_micros(start + number * 87 * HOUR);
            Evidence {
                id: EvidenceId::from_bits(holder << 64 | u128::from(number.unsigned_abs())),
                kind,
                weight: kind.weight(Stake::T2),
                scope: GuildId::from_bits(u128::from(number.unsigned_abs() % 3)),
                attested_by: CitizenId::from_bits(holder + 1),
                effective_at: at,
                recorded_at: at,
                disputed_at: None,
                reversed_at: None,
            }
        })
        .collect();
    figures(&pieces, Time::from_micros(start + 365 * 24 * HOUR)).len()
}
