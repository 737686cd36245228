//! Many hands at once: money is given out exactly once, by one server or by two, and a frozen server holds nobody up for long.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use futures::future::join_all;
use guildhall_tests::courier::{Courier, Reply};
use guildhall_tests::hall::Hall;
use guildhall_tests::http::Http;
use guildhall_tests::ledger::{Ledger, Purse};
use guildhall_tests::load::Load;
use guildhall_tests::server::{Place, copy_dir};
use guildhall_tests::town::{CURRENCY, Town};
use guildhall_tests::{Engine, block_on, programs};

const DEBITS: usize = 1000;
const FUNDS: usize = 500;

/// A thousand debits of one, all at once, on five hundred.
async fn debit_at_once(courier: &impl Courier, town: &Town) {
    town.fund(courier, "everything there is", "500").await;
    let debits = (0..DEBITS).map(|number| {
        let withdrawal = town.withdrawal(&format!("debit {number}"), "1");
        courier.ask(&town.founder, "treasury.withdraw", withdrawal)
    });
    let replies: Vec<Reply> = join_all(debits).await;
    let accepted = replies.iter().filter(|reply| reply.is_accepted()).count();
    let refused = replies.iter().filter(|reply| reply.outcome == "insufficient_funds").count();
    assert_eq!((accepted, refused), (FUNDS, DEBITS - FUNDS), "accepted and refused");
}

async fn assert_empty(log: &eventlog::Log, town: &Town) {
    let ledger = Ledger::read(log).await;
    assert_eq!(ledger.purse(&town.treasury, CURRENCY), Purse::default());
    ledger.assert_conserved();
    ledger.assert_guards_agree(log).await;
}

fn in_process(engine: Engine) {
    block_on(async {
        let hall = Hall::open(engine).await;
        let town = Town::found(&hall).await;
        debit_at_once(&hall, &town).await;
        assert_empty(&hall.log, &town).await;
    });
}

fn over_http(engine: Engine) {
    block_on(async {
        let place = Place::new(engine).await;
        let server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        debit_at_once(&http, &town).await;
        assert_empty(&place.home.log().await, &town).await;
    });
}

#[test]
fn of_a_thousand_debits_on_five_hundred_exactly_five_hundred_are_accepted_on_sqlite() {
    in_process(Engine::Sqlite);
}

#[test]
fn of_a_thousand_debits_on_five_hundred_exactly_five_hundred_are_accepted_on_postgres() {
    in_process(Engine::Postgres);
}

#[test]
fn over_http_of_a_thousand_debits_exactly_five_hundred_are_accepted_on_sqlite() {
    over_http(Engine::Sqlite);
}

#[test]
fn over_http_of_a_thousand_debits_exactly_five_hundred_are_accepted_on_postgres() {
    over_http(Engine::Postgres);
}

#[test]
fn a_thousand_debits_through_two_servers_are_still_five_hundred() {
    block_on(async {
        let (place, twin_dir) = (Place::new(Engine::Postgres).await, tempfile::tempdir().unwrap());
        let first = place.home.serve();
        let http = first.first_caller();
        let town = Town::found(&http).await;
        town.fund(&http, "everything there is", "500").await;
        let second = place.home.twin(&twin_dir.path().join("data")).serve();
        let https = [http.clone(), http.at(&second.base)];
        let debits = (0..DEBITS).map(|number| {
            let withdrawal = town.withdrawal(&format!("debit {number}"), "1");
            https[number % 2].ask(&town.founder, "treasury.withdraw", withdrawal)
        });
        let replies: Vec<Reply> = join_all(debits).await;
        assert_eq!(replies.iter().filter(|reply| reply.is_accepted()).count(), FUNDS);
        assert_empty(&place.home.log().await, &town).await;
    });
}

/// Each from a place of its own: one publishes, the other only writes until that one is gone, and what comes out is one history.
#[test]
fn of_two_servers_with_places_of_their_own_one_publishes() {
    block_on(async {
        let (place, twin_dir) = (Place::new(Engine::Postgres).await, tempfile::tempdir().unwrap());
        let mut first = place.home.serve();
        let http = first.first_caller();
        let town = Town::found(&http).await;
        town.fund(&http, "everything there is", "500").await;
        programs::run(&programs::guildhall(), &place.home.arguments(&["anchor", "now"])).expect(0);
        first.stop();
        let twin = place.home.twin(&twin_dir.path().join("data"));
        let mut first = place.home.serve();
        let second = twin.serve();
        town.fund(&http, "through the first", "1").await;
        town.fund(&http.at(&second.base), "through the second", "1").await;

        let refused = programs::run(&programs::guildhall(), &twin.arguments(&["anchor", "now"])).expect(2);
        assert!(refused.stderr.contains("another server publishes this log"), "{}", refused.stderr);

        programs::run(&programs::guildhall(), &place.home.arguments(&["anchor", "now"])).expect(0);

        // Once the first is gone, the second does not go on by itself: it does not know what the first signed last.
        first.stop();
        let refused = programs::run(&programs::guildhall(), &twin.arguments(&["anchor", "now"])).expect(2);
        assert!(refused.stderr.contains("was anchored last from another place"), "{}", refused.stderr);
        let without = programs::run(&programs::guildhall(), &twin.arguments(&["anchor", "adopt"])).expect(2);
        assert!(without.stderr.contains("is on record, and not here"), "{}", without.stderr);
        copy_dir(&place.home.dir.join("worm"), &twin.dir.join("worm"));
        programs::run(&programs::guildhall(), &twin.arguments(&["anchor", "adopt"])).expect(0);
        programs::run(&programs::guildhall(), &twin.arguments(&["anchor", "now"])).expect(0);

        // A restart does not take over from whoever anchored last.
        let first = place.home.serve();
        town.fund(&http, "after the restart", "1").await;
        let refused = programs::run(&programs::guildhall(), &place.home.arguments(&["anchor", "now"])).expect(2);
        assert!(refused.stderr.contains("was anchored last from another place"), "{}", refused.stderr);
        let size = place.home.log().await.head().await.unwrap().size;
        let pending = http.get(&town.founder, &format!("/v1/receipts/{}", size - 1)).await;
        assert_eq!((pending.0, &pending.1["code"]), (503, &serde_json::json!("published_elsewhere")), "{pending:?}");
        programs::run(&programs::guildhall(), &twin.arguments(&["anchor", "now"])).expect(0);

        let out = twin_dir.path().join("export");
        let out = out.to_str().unwrap();
        programs::run(&programs::guildhall(), &twin.arguments(&["export", "--out", out])).expect(0);
        programs::run(&programs::auditor(), &["verify", out, "--policy", &format!("{out}/policy")]).expect(0);
        drop((first, second));
    });
}

/// From one place: the second takes over by itself, with everything the first knew.
#[test]
fn of_two_servers_on_one_data_directory_the_second_publishes_when_the_first_is_gone() {
    block_on(async {
        let place = Place::new(Engine::Postgres).await;
        let mut first = place.home.serve();
        let http = first.first_caller();
        let town = Town::found(&http).await;
        programs::run(&programs::guildhall(), &place.home.arguments(&["anchor", "now"])).expect(0);
        let second = place.home.beside();
        let second = second.serve();
        let beside = http.at(&second.base);
        town.fund(&beside, "through the second", "1").await;
        first.stop();
        town.fund(&beside, "alone", "1").await;
        let size = place.home.log().await.head().await.unwrap().size;
        loop {
            let receipt = beside.get(&town.founder, &format!("/v1/receipts/{}", size - 1)).await;
            match receipt.0 {
                200 => break,
                202 => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                _ => panic!("{receipt:?}"),
            }
        }
        programs::run(&programs::guildhall(), &place.home.arguments(&["anchor", "now"])).expect(0);
        let out = place.home.dir.join("../export");
        let out = out.to_str().unwrap();
        programs::run(&programs::guildhall(), &place.home.arguments(&["export", "--out", out])).expect(0);
        programs::run(&programs::auditor(), &["verify", out, "--policy", &format!("{out}/policy")]).expect(0);
        drop(second);
    });
}

/// Two servers on one database, and callers who use both.
struct Pair {
    place: Place,
    servers: [guildhall_tests::server::Server; 2],
    http: Http,
    town: Town,
    _twin: tempfile::TempDir,
}

impl Pair {
    async fn start() -> Self {
        let (place, twin_dir) = (Place::new(Engine::Postgres).await, tempfile::tempdir().unwrap());
        let first = place.home.serve();
        let http = first.first_caller();
        let town = Town::found(&http).await;
        town.fund(&http, "enough", "100000").await;
        let second = place.home.twin(&twin_dir.path().join("data")).serve();
        Self { place, servers: [first, second], http, town, _twin: twin_dir }
    }

    fn load(&self, callers: usize) -> Load {
        let bases: Vec<&str> = self.servers.iter().map(|server| server.base.as_str()).collect();
        Load::start(&self.http, &bases, &self.town, callers)
    }
}

#[test]
fn two_servers_under_load_lose_and_double_nothing() {
    block_on(async {
        let pair = Pair::start().await;
        let load = pair.load(32);
        load.wait_for_more(3000).await;
        load.settle(&pair.place.home.log().await).await;
    });
}

#[test]
fn while_one_server_is_frozen_the_other_goes_on_and_the_frozen_one_cannot_write_when_it_wakes() {
    block_on(async {
        let pair = Pair::start().await;
        let load = pair.load(32);
        // Several times, because a server that holds the lock of the head is the worst one to freeze, and which moment that is
        // nobody knows.
        for _ in 0..4 {
            load.wait_for_more(300).await;
            let [frozen, awake] = &pair.servers;
            frozen.freeze();
            let since = Instant::now();
            while load.newest_of(1).is_none_or(|newest| newest <= since + Duration::from_millis(50)) {
                let waited = since.elapsed();
                assert!(
                    waited < Duration::from_secs(5),
                    "the other server is held up for {waited:?}\n{}",
                    awake.said()
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            load.wait_for_more(100).await;
            frozen.thaw();
        }
        load.settle(&pair.place.home.log().await).await;
    });
}
