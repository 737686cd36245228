//! Checkpoints on their round: witnesses that are slow, dead or lying, a quorum that is missed and met later, and one that knows more.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chain::checkpoint::{self, Checkpoint, Examined};
use chain::key::{CosigningKey, SigningKey};
use chain::note::NoteSignature;
use chain::policy::Policy;
use chain::witness::{Request, origin};

use super::{ORIGIN, Pen, held_by, key};
use crate::witness::{Answer, Witness, new_key};
use crate::{AnchorError, Carrier, Config, Directory, Reply, Service, Verdict, Witnesses};

const DEADLINE: Duration = Duration::from_secs(2);

/// What a witness does with whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Answers after the deadline.
    Slow,
    /// Takes the connection and says nothing.
    Hangs,
    /// Cannot be reached.
    Dead,
    /// Cosigns with a key that is not its own.
    Forges,
    /// Sends a line of its own that does not verify: on a note it would make every verifier refuse the whole.
    Spoils,
    /// Says that it holds more than was ever signed, and shows something that somebody else signed.
    Boasts,
    /// Says that the tree is not the one it cosigned, and shows nothing.
    Denies,
}

type Neighbours = HashMap<String, (Manner, Arc<Witness>)>;

/// Witnesses in this process, by their address.
#[derive(Clone, Default)]
struct Village(Arc<Mutex<Neighbours>>);

impl std::fmt::Debug for Village {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Village")
    }
}

impl Village {
    /// A policy of three witnesses and a quorum of two of them.
    fn of_three(&self, dir: &Path, manners: [Manner; 3]) -> String {
        let log = Policy::parse(&format!("log {}\nquorum none\n", key().vkey())).unwrap();
        let mut policy = String::new();
        for (number, manner) in manners.into_iter().enumerate() {
            let place = dir.join(format!("w{number}"));
            let vkey = new_key(&place.join("key"), &format!("witness.example/w{number}")).unwrap();
            let witness = Witness::open(&place, &place.join("key"), &log.logs, || 1000).unwrap();
            self.0.lock().unwrap().insert(format!("http://w{number}"), (manner, Arc::new(witness)));
            policy.push_str(&format!("witness w{number} {vkey} http://w{number}\n"));
        }
        policy + "group two 2 w0 w1 w2\nquorum two\n"
    }

    fn behave(&self, number: usize, manner: Manner) {
        self.0.lock().unwrap().get_mut(&format!("http://w{number}")).unwrap().0 = manner;
    }

    fn find(&self, url: &str) -> (Manner, Arc<Witness>, String) {
        let rest = url.strip_prefix("http://").unwrap();
        let (host, path) = rest.split_once('/').unwrap();
        let (manner, witness) = self.0.lock().unwrap()[&format!("http://{host}")].clone();
        (manner, witness, path.to_owned())
    }
}

fn reply(status: u16, body: impl Into<String>) -> Result<Reply, String> {
    Ok(Reply { status, body: body.into() })
}

#[async_trait]
impl Carrier for Village {
    async fn post(&self, url: &str, body: String) -> Result<Reply, String> {
        let (manner, witness, _) = self.find(url);
        match manner {
            Manner::Honest => {}
            Manner::Slow => tokio::time::sleep(DEADLINE + Duration::from_millis(200)).await,
            Manner::Hangs => std::future::pending().await,
            Manner::Dead => return Err("it cannot be reached".to_owned()),
            Manner::Forges => {
                let request = Request::parse(&body).unwrap();
                let text = request.checkpoint.split("\n\n").next().unwrap().to_owned() + "\n";
                let name = witness.vkey().split('+').next().unwrap().to_owned();
                return reply(200, CosigningKey::from_seed(name, [66; 32]).cosign(&text, 1000));
            }
            Manner::Spoils => {
                let Answer::Cosigned(line) = witness.add_checkpoint(&body).unwrap() else { return reply(409, "0\n") };
                let mut line = NoteSignature::parse(line.trim_end()).unwrap();
                line.signature[70] ^= 1;
                return reply(200, line.line());
            }
            Manner::Boasts => return reply(409, "1000000\n"),
            Manner::Denies => return reply(422, "no\n"),
        }
        match witness.add_checkpoint(&body).unwrap() {
            Answer::Cosigned(line) => reply(200, line),
            Answer::Refused(chain::witness::Refusal::Holds(size)) => reply(409, format!("{size}\n")),
            Answer::Refused(refusal) => reply(refusal.status(), refusal.to_string()),
        }
    }

    async fn get(&self, url: &str) -> Result<Reply, String> {
        let (manner, witness, path) = self.find(url);
        match manner {
            Manner::Hangs => std::future::pending().await,
            Manner::Dead => Err("it cannot be reached".to_owned()),
            Manner::Denies => reply(404, ""),
            Manner::Boasts => {
                let stranger = SigningKey::from_seed(ORIGIN, [99; 32]);
                let more = Checkpoint { origin: ORIGIN.to_owned(), size: 1_000_000, root: chain::Hash::ZERO };
                reply(200, checkpoint::sign(&more, &stranger))
            }
            _ => witness.cosigned(&path).unwrap().map_or_else(|| reply(404, ""), |note| reply(200, note)),
        }
    }
}

struct Scene {
    dir: tempfile::TempDir,
    pen: Arc<Pen>,
    village: Village,
    policy: String,
}

impl Scene {
    async fn set(manners: [Manner; 3]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (pen, village) = (Pen::open(dir.path()).await, Village::default());
        let policy = village.of_three(dir.path(), manners);
        Self { dir, pen, village, policy }
    }

    fn config(&self, data_dir: &Path) -> Config {
        let witnesses =
            Witnesses { policy: self.policy.clone(), carrier: Arc::new(self.village.clone()), deadline: DEADLINE };
        Config { witnesses: Some(witnesses), ..Config::new(data_dir) }
    }

    /// A service that publishes to `data`, whatever it was told at its start.
    async fn unchecked(&self, data: &str, pen: &Arc<Pen>) -> Service {
        let data = self.dir.path().join(data);
        let store = Arc::new(Directory::new(data.join("store")));
        let keys = held_by(&pen.log, &[7], Some(&self.policy)).await;
        Service::open(self.config(&data), pen.log.clone(), keys, store, pen.clone()).await.unwrap()
    }

    async fn service(&self) -> Service {
        let service = self.unchecked("data", &self.pen).await;
        assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
        service
    }

    fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join("data/public").join(name)
    }

    fn shown(&self) -> Examined {
        let policy = Policy::parse(&fs::read_to_string(self.place("policy")).unwrap()).unwrap();
        checkpoint::examine(&fs::read_to_string(self.place("checkpoint")).unwrap(), &policy).unwrap()
    }

    /// Publishes what is new until the newest checkpoint is as it should be.
    async fn until(&self, service: &Service, fits: impl Fn(&Examined) -> bool) -> Examined {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            service.publish(false).await.unwrap();
            let shown = self.shown();
            if fits(&shown) {
                return shown;
            }
            assert!(Instant::now() < deadline, "{shown:?} {:?}", service.status().await.unwrap().witnesses);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_quorum_is_enough_and_the_rest_is_added_when_it_comes() {
    let scene = Scene::set([Manner::Honest, Manner::Slow, Manner::Honest]).await;
    let service = scene.service().await;
    for count in [1, 300, 7] {
        scene.pen.write(count, "a").await;
        let before = Instant::now();
        service.publish(false).await.unwrap();
        assert!(before.elapsed() < DEADLINE, "nobody waits for the slow one: {:?}", before.elapsed());
        let shown = scene.shown();
        assert!(shown.witnessed, "{shown:?}");
        assert_eq!(service.status().await.unwrap().witnessed, Some(shown.checkpoint.size));
        let all = scene.until(&service, |shown| shown.cosigned.len() == 3).await;
        assert_eq!(all.checkpoint, shown.checkpoint, "the same checkpoint, with more lines");
    }
    // They are in the order of the policy, and an anchor holds them too.
    let names: Vec<String> = scene.shown().cosigned.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["witness.example/w0", "witness.example/w1", "witness.example/w2"]);
    let key = service.anchor_now().await.unwrap().key;
    let anchor: crate::Anchor =
        serde_json::from_slice(&fs::read(scene.dir.path().join("data/store").join(key)).unwrap()).unwrap();
    let policy = Policy::parse(&fs::read_to_string(scene.place("policy")).unwrap()).unwrap();
    assert!(checkpoint::examine(&anchor.checkpoint, &policy).unwrap().witnessed);
}

#[tokio::test]
async fn without_its_quorum_a_checkpoint_is_shown_unwitnessed_and_witnessed_once_they_are_back() {
    let scene = Scene::set([Manner::Honest, Manner::Hangs, Manner::Dead]).await;
    let service = scene.service().await;
    scene.pen.write(5, "a").await;
    let before = Instant::now();
    let asked = async {
        // Meanwhile whoever asks how things stand, or for a comparison, waits for no witness.
        tokio::time::sleep(DEADLINE / 4).await;
        service.status().await.unwrap();
        before.elapsed()
    };
    let (published, answered) = tokio::join!(service.publish(false), asked);
    published.unwrap();
    assert!(answered < DEADLINE, "{answered:?}");
    assert!(before.elapsed() >= DEADLINE && before.elapsed() < DEADLINE * 4, "{:?}", before.elapsed());
    let shown = scene.shown();
    assert!(!shown.witnessed && shown.checkpoint.size == 5 && shown.cosigned.len() == 1, "{shown:?}");
    let status = service.status().await.unwrap();
    assert!(status.unwitnessed_seconds.is_some() && status.witnessed.is_none(), "{status:?}");
    assert!(status.witnesses[2].trouble.is_some(), "{status:?}");
    let proved = service.prover().prove(4).unwrap().unwrap();
    assert!(!proved.witnessed, "a proof says so");

    scene.village.behave(2, Manner::Honest);
    let shown = scene.until(&service, |shown| shown.witnessed).await;
    assert_eq!(shown.checkpoint.size, 5, "the log did not have to grow for it");
    assert!(service.prover().prove(4).unwrap().unwrap().witnessed);
    assert_eq!(service.status().await.unwrap().unwitnessed_seconds, None);
}

#[tokio::test]
async fn a_proof_leads_to_the_newest_witnessed_checkpoint_that_covers_it() {
    let scene = Scene::set([Manner::Honest; 3]).await;
    let service = scene.service().await;
    scene.pen.write(5, "a").await;
    service.publish(false).await.unwrap();
    for number in [0, 1] {
        scene.village.behave(number, Manner::Dead);
    }
    scene.pen.write(300, "b").await;
    service.publish(false).await.unwrap();
    assert!(!scene.shown().witnessed);
    let (old, new) = (service.prover().prove(4).unwrap().unwrap(), service.prover().prove(200).unwrap().unwrap());
    assert_eq!((old.witnessed, new.witnessed), (true, false));
    assert!(old.what.checkpoint.contains("\n5\n") && new.what.checkpoint.contains("\n305\n"));
    let leaf = chain::tree::leaf_hash(&scene.pen.log.read(4, 1).await.unwrap()[0].hash.0);
    let policy = Policy::parse(&fs::read_to_string(scene.place("policy")).unwrap()).unwrap();
    assert!(old.what.examine(&leaf, &policy).unwrap().witnessed);
    // Restarted, it knows both.
    drop(service);
    let service = scene.service().await;
    assert!(service.prover().prove(4).unwrap().unwrap().witnessed);
    assert_eq!(scene.shown().checkpoint.size, 305);
}

#[tokio::test]
async fn cosignatures_are_not_lost_over_a_restart() {
    let scene = Scene::set([Manner::Honest; 3]).await;
    let service = scene.service().await;
    scene.pen.write(5, "a").await;
    scene.until(&service, |shown| !shown.cosigned.is_empty()).await;
    let all = scene.until(&service, |shown| shown.cosigned.len() == 3).await;
    drop(service);
    for number in 0..3 {
        scene.village.behave(number, Manner::Dead);
    }
    let service = scene.service().await;
    assert_eq!(scene.shown(), all);
    service.publish(false).await.unwrap();
    assert_eq!(scene.shown(), all, "asked again, and nobody answers");
}

#[tokio::test]
async fn a_lying_witness_is_left_out_and_stops_nobody() {
    for manner in [Manner::Forges, Manner::Spoils, Manner::Boasts, Manner::Denies] {
        let scene = Scene::set([Manner::Honest, manner, Manner::Honest]).await;
        let service = scene.service().await;
        for salt in ["a", "b"] {
            scene.pen.write(5, salt).await;
            service.publish(false).await.unwrap();
            let shown = scene.shown();
            assert!(
                shown.witnessed && shown.cosigned.iter().all(|(name, _)| name != "witness.example/w1"),
                "{manner:?}"
            );
        }
        let trouble = service.status().await.unwrap().witnesses[1].trouble.clone();
        assert!(trouble.is_some(), "{manner:?}");
        assert!(service.fork().unwrap().borrow().is_none(), "{manner:?}");
    }
}

#[tokio::test]
async fn a_witness_that_knows_more_makes_the_start_refuse_to_write() {
    let scene = Scene::set([Manner::Honest; 3]).await;
    let service = scene.service().await;
    scene.pen.write(10, "a").await;
    scene.until(&service, |shown| shown.cosigned.len() == 3).await;
    drop(service);
    // Everything of ours is restored from a copy of long ago; only the witnesses remember.
    let past = Pen::open(&scene.dir.path().join("past")).await;
    past.write(4, "a").await;
    let restored = scene.unchecked("restored", &past).await;
    match restored.startup_check().await.unwrap() {
        Verdict::ReadOnly { position: 4, reason } => assert!(reason.contains("the witness w"), "{reason}"),
        verdict => panic!("{verdict:?}"),
    }
    assert!(matches!(restored.publish(true).await, Err(AnchorError::Fork(_))), "and nothing is signed");
    // Beside a server that publishes, the same.
    let store = Directory::new(scene.dir.path().join("nothing"));
    let config = scene.config(&scene.dir.path().join("beside"));
    let beside =
        crate::compare(&config, &past.log, held_by(&past.log, &[7], Some(&scene.policy)).await.as_ref(), &store)
            .await
            .unwrap();
    assert!(matches!(beside, Verdict::ReadOnly { position: 4, .. }), "{beside:?}");
}

#[tokio::test]
async fn a_witness_that_comes_back_with_another_history_ends_the_writing() {
    let scene = Scene::set([Manner::Honest; 3]).await;
    let service = scene.service().await;
    scene.pen.write(10, "a").await;
    scene.until(&service, |shown| shown.cosigned.len() == 3).await;
    drop(service);
    for number in 0..3 {
        scene.village.behave(number, Manner::Dead);
    }
    let past = Pen::open(&scene.dir.path().join("past")).await;
    past.write(4, "z").await;
    let forked = scene.unchecked("restored", &past).await;
    assert_eq!(forked.startup_check().await.unwrap(), Verdict::Good, "nobody is there who could say otherwise");
    assert!(forked.publish(true).await.unwrap());
    scene.village.behave(1, Manner::Honest);
    let mut fork = forked.fork().unwrap();
    let found = tokio::time::timeout(Duration::from_secs(20), fork.wait_for(Option::is_some)).await.unwrap();
    let reason = found.unwrap().clone().unwrap();
    assert!(reason.contains("from position 4 on") && reason.contains("the witness w1"), "{reason}");
    past.write(1, "z").await;
    assert!(matches!(forked.publish(false).await, Err(AnchorError::Fork(_))), "nothing is signed any more");
}

#[tokio::test]
async fn a_quorum_that_asks_for_more_forgets_what_the_old_one_called_witnessed() {
    let mut scene = Scene::set([Manner::Honest, Manner::Honest, Manner::Dead]).await;
    let service = scene.service().await;
    scene.pen.write(5, "a").await;
    scene.until(&service, |shown| shown.witnessed).await;
    drop(service);
    scene.policy = scene.policy.replace("group two 2", "group two all");
    let service = scene.service().await;
    assert!(!service.prover().prove(4).unwrap().unwrap().witnessed);
}

#[test]
fn the_origin_is_read_before_anything_is_believed() {
    assert_eq!(origin("a\n1\n"), "a");
    assert_eq!(origin(""), "");
}
