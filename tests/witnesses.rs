//! Witnesses as they are run: every answer of the program, races and kills, a city that has some and a city that forks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chain::Hash;
use chain::checkpoint::{self, Checkpoint};
use chain::key::{CosigningKey, SigningKey};
use chain::note::Note;
use chain::policy::Policy;
use chain::tree::{HashReader, consistency_proof, leaf_hash, node_hash, root_from};
use chain::witness::{Request, monitoring_path};
use eventlog::testing::ORIGIN;
use guildhall_tests::courier::Courier as _;
use guildhall_tests::http::Http;
use guildhall_tests::programs::{self, auditor, guildhall};
use guildhall_tests::server::{Home, Place, Server, copy_dir};
use guildhall_tests::town::Town;
use guildhall_tests::witness::{Witness, without_foreign};
use guildhall_tests::{Engine, block_on};
use serde_json::Value;

/// A log of the test's own making, so that it can say anything.
struct Book {
    leaves: Vec<Hash>,
}

impl HashReader for Book {
    type Error = std::convert::Infallible;

    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error> {
        if level == 0 {
            return Ok(self.leaves[usize::try_from(index).unwrap()]);
        }
        Ok(node_hash(&self.node(level - 1, 2 * index)?, &self.node(level - 1, 2 * index + 1)?))
    }
}

fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, [7; 32])
}

impl Book {
    fn new(salt: &str) -> Self {
        Self { leaves: (0..200).map(|number| leaf_hash(format!("{salt}{number}").as_bytes())).collect() }
    }

    fn note(&self, size: u64) -> String {
        self.signed_by(size, &log_key())
    }

    fn signed_by(&self, size: u64, key: &SigningKey) -> String {
        let root = root_from(self, size).unwrap();
        checkpoint::sign(&Checkpoint { origin: key.name().to_owned(), size, root }, key)
    }

    fn request(&self, old: u64, size: u64) -> String {
        let proof = if old > size { Vec::new() } else { consistency_proof(self, old, size).unwrap() };
        Request { old, proof, checkpoint: self.note(size) }.format()
    }
}

/// A policy file that names this log and nobody else.
fn log_policy(dir: &Path, vkey: &str) -> PathBuf {
    let path = dir.join("logs.policy");
    fs::write(&path, format!("log {vkey}\nquorum none\n")).unwrap();
    path
}

fn witness(dir: &Path) -> Witness {
    Witness::ours(dir, "w1", &log_policy(dir, &log_key().vkey()))
}

async fn post(witness: &Witness, body: String) -> (u16, String, String) {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);
    let sent = CLIENT.post(format!("{}/add-checkpoint", witness.url)).body(body).send().await.unwrap();
    let kind = sent.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    (sent.status().as_u16(), kind.unwrap_or_default(), sent.text().await.unwrap())
}

/// What it shows of the log, which its own signature must stand under.
async fn shown(witness: &Witness) -> Option<Checkpoint> {
    let shown = reqwest::get(format!("{}/{}", witness.url, monitoring_path(ORIGIN))).await.unwrap();
    if shown.status().as_u16() == 404 {
        return None;
    }
    let trusts = format!("log {}\n{}quorum {}\n", log_key().vkey(), witness.line(), witness.name);
    let examined = checkpoint::examine(&shown.text().await.unwrap(), &Policy::parse(&trusts).unwrap()).unwrap();
    assert!(examined.witnessed);
    Some(examined.checkpoint)
}

#[test]
fn every_answer_of_the_protocol() {
    block_on(async {
        guildhall_tests::http::prepare();
        let dir = tempfile::tempdir().unwrap();
        let (mut witness, book, fork) = (witness(dir.path()), Book::new("a"), Book::new("b"));
        assert_eq!(shown(&witness).await, None);
        let status = async |witness: &Witness, body: String| post(witness, body).await.0;

        assert_eq!(status(&witness, "old\n\n".to_owned()).await, 400);
        assert_eq!(status(&witness, "old 0\n\nno note".to_owned()).await, 400);
        let long = format!("old 0\n{}\n{}", format!("{}\n", Hash::ZERO.to_base64()).repeat(64), book.note(3));
        assert_eq!(status(&witness, long).await, 400);
        assert_eq!(status(&witness, "x".repeat(300 << 10)).await, 413);
        let stranger = SigningKey::from_seed("elsewhere", [7; 32]);
        let other = Request { old: 0, proof: Vec::new(), checkpoint: book.signed_by(3, &stranger) };
        assert_eq!(status(&witness, other.format()).await, 404);
        let thief = SigningKey::from_seed(ORIGIN, [8; 32]);
        let stolen = Request { old: 0, proof: Vec::new(), checkpoint: book.signed_by(3, &thief) };
        assert_eq!(status(&witness, stolen.format()).await, 403);
        assert_eq!(shown(&witness).await, None, "none of that was remembered");

        let (code, kind, line) = post(&witness, book.request(0, 3)).await;
        assert_eq!((code, kind.as_str()), (200, "text/plain; charset=utf-8"));
        let trusts = format!("log {}\n{}quorum w1\n", log_key().vkey(), witness.line());
        let examined = checkpoint::examine(&(book.note(3) + &line), &Policy::parse(&trusts).unwrap()).unwrap();
        assert!(examined.witnessed, "{line}");
        assert_eq!(post(&witness, book.request(0, 9)).await, (409, "text/x.tlog.size".to_owned(), "3\n".to_owned()));
        assert_eq!(status(&witness, book.request(4, 3)).await, 400);
        assert_eq!(status(&witness, fork.request(3, 3)).await, 422, "another root at the same size");
        assert_eq!(status(&witness, fork.request(3, 9)).await, 422);
        assert_eq!(status(&witness, book.request(3, 9)).await, 200);
        assert_eq!(status(&witness, book.request(9, 9)).await, 200, "the same again is fresh");
        assert_eq!(status(&witness, book.request(3, 5)).await, 409);
        assert_eq!(shown(&witness).await.unwrap().size, 9);

        // Its own last cosignature is from the future: its clock cannot be right.
        witness.kill();
        let seed = fs::read_to_string(witness.dir.join("witness.key")).unwrap();
        let seed = chain::hex::decode::<32>(seed.trim().split_once(' ').unwrap().1).unwrap();
        let text = Note::parse(&book.note(9)).unwrap().text;
        let future = CosigningKey::from_seed("witness.example/w1", seed).cosign(&text, 4_000_000_000);
        fs::write(witness.memory(), book.note(9) + &future).unwrap();
        witness.again();
        assert_eq!(status(&witness, book.request(9, 20)).await, 503);
        assert_eq!(shown(&witness).await.unwrap().size, 9);
    });
}

#[test]
fn of_many_at_once_the_memory_only_grows() {
    block_on(async {
        guildhall_tests::http::prepare();
        let dir = tempfile::tempdir().unwrap();
        let (witness, book, fork) = (witness(dir.path()), Book::new("a"), Book::new("b"));
        assert_eq!(post(&witness, book.request(0, 1)).await.0, 200);
        let (mut size, mut cosigned) = (1, 0);
        while size < 50 {
            // Half of them of another history: only one of all that say the same `old` can have it.
            let all = (1..=64).map(|step| {
                let book = if step % 2 == 0 { &book } else { &fork };
                post(&witness, book.request(size, size + step % 8 + 1))
            });
            let answers = futures::future::join_all(all).await;
            let yes = answers.iter().filter(|answer| answer.0 == 200).count();
            cosigned += yes;
            let known = answers.iter().all(|answer| [200, 409, 422].contains(&answer.0));
            assert!(known && yes >= 1, "{answers:?}");
            let now = shown(&witness).await.unwrap();
            assert!(now.size > size, "{} after {size}", now.size);
            assert_eq!(now.root, root_from(&book, now.size).unwrap(), "never the other history");
            let told: Vec<u64> = answers
                .iter()
                .filter(|answer| answer.0 == 409)
                .map(|answer| answer.2.trim().parse().unwrap())
                .collect();
            assert!(told.iter().all(|told| (size..=now.size).contains(told)), "{told:?}");
            assert_eq!(yes, 1, "all said the same old size: the first one to be settled changed it");
            size = now.size;
        }
        assert!(cosigned > 4);
    });
}

#[test]
fn killed_between_swap_and_answer_it_has_cosigned() {
    block_on(async {
        guildhall_tests::http::prepare();
        let dir = tempfile::tempdir().unwrap();
        let (mut witness, book, fork) = (witness(dir.path()), Book::new("a"), Book::new("b"));
        assert_eq!(post(&witness, book.request(0, 1)).await.0, 200);
        for size in 2..12_u64 {
            let memory = witness.memory();
            let before = fs::read(&memory).unwrap();
            let (url, body) = (format!("{}/add-checkpoint", witness.url), book.request(size - 1, size));
            // Nobody reads the answer: whether it left is not known to the one who asked.
            let asked = tokio::spawn(async move { drop(reqwest::Client::new().post(url).body(body).send().await) });
            while fs::read(&memory).unwrap() == before {
                tokio::task::yield_now().await;
            }
            witness.kill();
            asked.await.unwrap();
            witness.again();
            assert_eq!(shown(&witness).await.unwrap().size, size);
            assert_eq!(post(&witness, fork.request(size - 1, size)).await.0, 409, "what was swapped counts");
            assert_eq!(post(&witness, fork.request(size, size)).await.0, 422);
            assert_eq!(post(&witness, book.request(size, size)).await.0, 200, "and can be had again");
        }
    });
}

#[test]
fn a_witness_that_lost_its_memory_does_not_begin_anew() {
    block_on(async {
        guildhall_tests::http::prepare();
        let dir = tempfile::tempdir().unwrap();
        let (mut witness, book) = (witness(dir.path()), Book::new("a"));
        assert_eq!(post(&witness, book.request(0, 5)).await.0, 200);
        witness.kill();
        let kept = fs::read(witness.memory()).unwrap();
        let place = witness.memory();
        fs::remove_file(&place).unwrap();
        let said = witness.refuses();
        assert!(said.contains(&format!("this key has cosigned {ORIGIN}")), "{said}");
        fs::write(&place, &kept).unwrap();
        witness.again();
        assert_eq!(shown(&witness).await.unwrap().size, 5);
        let said = witness.refuses();
        assert!(said.contains("is locked"), "a second process on the same memory: {said}");
    });
}

/// A city with three witnesses and a quorum of two of them.
struct Stage {
    place: Place,
    server: Server,
    http: Http,
    town: Town,
    witnesses: Vec<Witness>,
    /// An auditor's own policy.
    policy: PathBuf,
}

impl Stage {
    async fn set() -> Self {
        let place = Place::new(Engine::Sqlite).await;
        let dir = place.home.dir.parent().unwrap().to_owned();
        // The first start makes the key that witnesses have to know.
        let mut server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        let vkey = http.ok(&town.principal, "/v1/audit").await["key"].as_str().unwrap().to_owned();
        let logs = log_policy(&dir, &vkey);
        let witnesses: Vec<Witness> = ["w1", "w2", "w3"].map(|name| Witness::ours(&dir, name, &logs)).into();
        server.stop();
        let lines: String = witnesses.iter().map(Witness::line).collect();
        let policy = dir.join("city.policy");
        fs::write(&policy, format!("log {vkey}\n{lines}group two 2 w1 w2 w3\nquorum two\n")).unwrap();
        let mut stage = Self { place, server, http, town, witnesses, policy };
        stage.place.home.settings.push(("GUILDHALL_WITNESS__POLICY", stage.policy.to_str().unwrap().to_owned()));
        stage.server = stage.place.home.serve();
        stage
    }

    /// A receipt of this position with its entry, asked for until it comes; whether it says that it is witnessed.
    async fn receipt(&self, position: u64, query: &str) -> (Value, bool) {
        let deadline = Instant::now() + Duration::from_secs(40);
        let url = format!("{}/v1/receipts/{position}{query}", self.http.base);
        loop {
            let asked = reqwest::Client::new().get(&url).bearer_auth(&self.town.principal.0);
            let answer = asked.send().await.unwrap();
            let says = answer.headers().get("guildhall-witnessed").map(|says| says == "yes");
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.unwrap();
            match (status, says) {
                (200, Some(witnessed)) => return (body, witnessed),
                (202, None) => assert_eq!(body["witnessed"], false),
                other => panic!("{other:?} {body}"),
            }
            assert!(Instant::now() < deadline, "{body} {}", self.server.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the auditor says about a receipt.
    fn told(&self, receipt: &Value) -> String {
        let file = self.place.home.dir.parent().unwrap().join("receipt.json");
        fs::write(&file, receipt.to_string()).unwrap();
        let arguments = ["receipt", file.to_str().unwrap(), "--policy", self.policy.to_str().unwrap()];
        programs::run(&auditor(), &arguments).expect(0).stdout
    }

    async fn metric(&self, name: &str) -> Option<f64> {
        let text = reqwest::get(format!("{}/metrics", self.http.base)).await.unwrap().text().await.unwrap();
        text.lines().find(|line| line.starts_with(name)).and_then(|line| line.rsplit(' ').next()?.parse().ok())
    }
}

#[test]
fn a_city_is_witnessed_by_its_quorum_and_says_so_when_it_is_not() {
    block_on(async {
        let mut stage = Stage::set().await;
        let position = stage.town.fund(&stage.http, "first", "5").await.position();
        let (receipt, witnessed) = stage.receipt(position, "?witnessed=required").await;
        assert!(witnessed);
        let told = stage.told(&receipt);
        assert!(told.contains("Cosigned by the quorum of the policy"), "{told}");

        // One is dead and one is frozen: no quorum.
        stage.witnesses[0].kill();
        stage.witnesses[1].freeze();
        let position = stage.town.fund(&stage.http, "second", "5").await.position();
        let (receipt, witnessed) = stage.receipt(position, "").await;
        assert!(!witnessed);
        let told = stage.told(&receipt);
        assert!(told.contains("UNWITNESSED"), "{told}");
        let audit = stage.http.ok(&stage.town.principal, "/v1/audit").await;
        assert!(audit["anchors"]["unwitnessed_seconds"].is_u64(), "{audit}");
        assert!(stage.metric("guildhall_checkpoints_total{state=\"unwitnessed\"}").await.unwrap() >= 1.0);
        assert!(stage.server.said().contains("UNWITNESSED"), "{}", stage.server.said());

        // Commands go on as if nothing were: each is answered long before any witness could have been waited for.
        let mut slowest = Duration::ZERO;
        for number in 0..40 {
            let before = Instant::now();
            stage.town.fund(&stage.http, &format!("while {number}"), "1").await;
            slowest = slowest.max(before.elapsed());
        }
        assert!(slowest < Duration::from_millis(900), "{slowest:?}");

        // They come back, and the city is witnessed again without a further command.
        stage.witnesses[0].again();
        stage.witnesses[1].thaw();
        let (receipt, witnessed) = stage.receipt(position, "?witnessed=required").await;
        assert!(witnessed);
        assert!(stage.told(&receipt).contains("Cosigned by the quorum"));
        assert!(stage.metric("guildhall_unwitnessed_seconds").await.is_some());

        // What auditors are given is witnessed too.
        let out = stage.place.home.dir.parent().unwrap().join("export");
        let export = ["export", "--out", out.to_str().unwrap()];
        programs::run(&guildhall(), &stage.place.home.arguments(&export)).expect(0);
        let policy = stage.policy.to_str().unwrap();
        let report = programs::run(&auditor(), &["verify", out.to_str().unwrap(), "--policy", policy]).expect(0);
        assert!(report.stdout.to_lowercase().contains("witness"), "{}", report.stdout);
    });
}

#[test]
fn of_two_histories_a_shared_witness_cosigns_one() {
    block_on(async {
        let mut stage = Stage::set().await;
        let position = stage.town.fund(&stage.http, "seen", "5").await.position();
        assert!(stage.receipt(position, "?witnessed=required").await.1);
        stage.server.stop();
        let dir = stage.place.home.dir.parent().unwrap().to_owned();
        // A second city with the same keys and the same past.
        let copy = dir.join("copy");
        copy_dir(&stage.place.home.dir, &copy);

        stage.server = stage.place.home.serve();
        let position = stage.town.fund(&stage.http, "told to one", "5").await.position();
        assert!(stage.receipt(position, "?witnessed=required").await.1);
        stage.server.stop();

        // It shows another history to somebody else. At its start no witness can be reached, so that nothing warns it.
        for witness in &mut stage.witnesses {
            witness.kill();
        }
        let home = Home { settings: stage.place.home.settings.clone(), ..Home::new(copy, None) };
        let other = home.serve();
        let http = stage.http.at(&home.base());
        let forked = stage.town.fund(&http, "told to another", "7").await.position();
        assert_eq!(forked, position, "two entries for one position");
        let stage = Stage { http: http.clone(), ..stage };
        let (receipt, witnessed) = stage.receipt(forked, "").await;
        assert!(!witnessed);
        assert!(stage.told(&receipt).contains("UNWITNESSED"));
        let mut stage = stage;
        for witness in &mut stage.witnesses {
            witness.again();
        }
        // The witness refuses it, and shows what it has cosigned: this server stops writing and says from where on.
        other.wait_for("/readyz", Duration::from_secs(60), |status| status == 503);
        let refused = http.ask(&stage.town.attester, "treasury.deposit", stage.town.deposit("more", "1")).await;
        assert!(!refused.is_accepted(), "{}", refused.body);
        assert!(other.said().contains("a witness shows another history"), "{}", other.said());
        let answer = reqwest::get(format!("{}/readyz", home.base())).await.unwrap().json::<Value>().await.unwrap();
        assert!(answer["read_only"].as_str().unwrap().contains("cosigned by the witness w"), "{answer}");
        let body = "old 0\n\n".to_owned()
            + &reqwest::get(format!("{}/checkpoint", home.base())).await.unwrap().text().await.unwrap();
        let size = post(&stage.witnesses[0], body.clone()).await;
        assert_eq!(size.0, 409);
        let same = body.replacen("old 0", &format!("old {}", size.2.trim()), 1);
        assert_eq!(post(&stage.witnesses[0], same).await.0, 422, "the second history is refused");
    });
}

#[test]
fn a_start_beside_a_witness_that_knows_more_refuses_to_write() {
    block_on(async {
        let mut stage = Stage::set().await;
        stage.server.stop();
        let dir = stage.place.home.dir.parent().unwrap().to_owned();
        let backup = dir.join("backup");
        copy_dir(&stage.place.home.dir, &backup);
        stage.server = stage.place.home.serve();
        let position = stage.town.fund(&stage.http, "after the backup", "5").await.position();
        assert!(stage.receipt(position, "?witnessed=required").await.1);
        stage.server.stop();
        // Log, signing state and anchors, all of it from the backup: nothing of ours remembers.
        let home = Home { settings: stage.place.home.settings.clone(), ..Home::new(backup, None) };
        let restored = home.spawn();
        restored.wait_for("/readyz", Duration::from_secs(60), |status| status == 503);
        let answer = reqwest::get(format!("{}/readyz", home.base())).await.unwrap().json::<Value>().await.unwrap();
        let reason = answer["read_only"].as_str().unwrap();
        assert!(reason.contains("cosigned by the witness w") && reason.contains("was a backup restored?"), "{answer}");
        let http = stage.http.at(&home.base());
        let refused = http.ask(&stage.town.attester, "treasury.deposit", stage.town.deposit("more", "1")).await;
        assert!(!refused.is_accepted(), "{}", refused.body);
        let doctor = programs::run_with(&guildhall(), &home.arguments(&["doctor"]), &home.settings);
        assert!(doctor.stdout.contains("cosigned by the witness w"), "{}{}", doctor.stdout, doctor.stderr);
    });
}

/// A checkpoint of ours that a witness cosigned which others wrote, and which others' auditors could check.
fn a_foreign_witness_cosigns(make: impl FnOnce(&Path, &str, &str) -> Witness) {
    if without_foreign() {
        eprintln!("SKIPPED: GUILDHALL_SKIP_WITNESS is set");
        return;
    }
    block_on(async {
        let place = Place::new(Engine::Sqlite).await;
        let dir = place.home.dir.parent().unwrap().to_owned();
        let mut server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        let vkey = http.ok(&town.principal, "/v1/audit").await["key"].as_str().unwrap().to_owned();
        server.stop();
        let witness = make(&dir, ORIGIN, &vkey);
        let policy = dir.join("city.policy");
        fs::write(&policy, format!("log {vkey}\n{}quorum {}\n", witness.line(), witness.name)).unwrap();
        let mut home = place.home.clone();
        home.settings.push(("GUILDHALL_WITNESS__POLICY", policy.to_str().unwrap().to_owned()));
        let server = home.serve();
        let mut stage = Stage { place, server, http, town, witnesses: vec![witness], policy };
        for reference in ["first", "second"] {
            let position = stage.town.fund(&stage.http, reference, "5").await.position();
            let (receipt, witnessed) = stage.receipt(position, "?witnessed=required").await;
            assert!(witnessed);
            assert!(stage.told(&receipt).contains("Cosigned by the quorum of the policy (1 witnesses)"));
        }
        // It refuses what does not continue, as ours does.
        let note = reqwest::get(format!("{}/checkpoint", stage.http.base)).await.unwrap().text().await.unwrap();
        let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
        let again = |old: u64, proof: Vec<Hash>| Request { old, proof, checkpoint: note.clone() }.format();
        assert_eq!(post(&stage.witnesses[0], again(size - 1, Vec::new())).await.0, 409);
        assert_eq!(post(&stage.witnesses[0], again(size, vec![Hash::ZERO])).await.0, 422);
        assert_eq!(post(&stage.witnesses[0], again(size, Vec::new())).await.0, 200);
        stage.server.stop();
    });
}

#[test]
fn the_witness_of_witness_log_cosigns_our_checkpoints() {
    a_foreign_witness_cosigns(Witness::witness_log);
}

#[test]
fn the_witness_of_aics_cosigns_our_checkpoints() {
    a_foreign_witness_cosigns(Witness::aics);
}
