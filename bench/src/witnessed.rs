//! How long after a command its receipt carries a checkpoint that two witnesses cosigned, while others ask as well.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use guildhall_tests::Engine;
use guildhall_tests::courier::Courier as _;
use guildhall_tests::server::Place;
use guildhall_tests::town::Town;
use guildhall_tests::witness::Witness;

use crate::{floor, ours};

const TREASURIES: usize = 500;
/// Callers that only make load, and callers that wait for their receipts.
const BUSY: usize = 32;
const WAITING: u64 = 4;
const POLL: Duration = Duration::from_millis(10);

/// A server and two witnesses, all on this machine.
pub async fn receipts(engine: Engine, seconds: u64) {
    let scratch = tempfile::tempdir().unwrap();
    let mut place = Place::new(engine).await;
    let mut server = place.home.serve();
    let http = server.first_caller();
    let town = Town::found(&http).await;
    let treasuries = Arc::new(ours::treasuries(&http, &town, TREASURIES).await);
    server.stop();
    let vkey = fs::read_to_string(place.home.dir.join("public/vkey")).unwrap();
    let logs = scratch.path().join("logs.policy");
    fs::write(&logs, format!("log {vkey}quorum none\n")).unwrap();
    let witnesses = ["w1", "w2"].map(|name| Witness::ours(scratch.path(), name, &logs));
    let policy = scratch.path().join("witnessed.policy");
    let lines: String = witnesses.iter().map(Witness::line).collect();
    fs::write(&policy, format!("log {vkey}{lines}group both all w1 w2\nquorum both\n")).unwrap();
    place.home.settings.push(("GUILDHALL_WITNESS__POLICY", policy.display().to_string()));
    let server = place.home.serve();
    let http = Arc::new(http.at(&server.base));
    let (stop, founder) = (Arc::new(AtomicBool::new(false)), town.founder.clone());
    let waiting: Vec<_> = (0..WAITING)
        .map(|caller| {
            let (http, stop, treasuries) = (Arc::clone(&http), Arc::clone(&stop), Arc::clone(&treasuries));
            let founder = founder.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = (1 << 40) + took.len() as u64 * WAITING + caller;
                    let treasury = &treasuries[usize::try_from(number).unwrap() % treasuries.len()];
                    let asked = Instant::now();
                    let debit = ours::debit(treasury, number);
                    let reply = http.ask(&founder, "treasury.withdraw", debit).await.accepted();
                    let receipt = format!("/v1/receipts/{}?witnessed=required", reply.position());
                    while http.get(&founder, &receipt).await.0 != 200 {
                        tokio::time::sleep(POLL).await;
                    }
                    took.push(asked.elapsed());
                }
                took
            })
        })
        .collect();
    let (busy, of, who) = (Arc::clone(&http), Arc::clone(&treasuries), town.founder.clone());
    let rate = crate::load::rate(BUSY, seconds, move |_, number| {
        let (http, treasuries, who) = (Arc::clone(&busy), Arc::clone(&of), who.clone());
        async move {
            let debit = ours::debit(&treasuries[usize::try_from(number).unwrap() % treasuries.len()], number);
            http.ask(&who, "treasury.withdraw", debit).await.accepted();
        }
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for caller in waiting {
        took.extend(caller.await.unwrap());
    }
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 100].as_secs_f64();
    println!(
        "\n{engine:?}: receipts cosigned by two witnesses, {rate:.0} commands/s meanwhile: median {:.2} s, p99 {:.2} s, most {:.2} s \
         after the command was sent ({} receipts); fdatasync {} us, load {}",
        at(50),
        at(99),
        at(100),
        took.len(),
        floor::fdatasync_micros(),
        floor::load()
    );
}
