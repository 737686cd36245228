//! Changing the key while the log is published: overlap, retirement, crashes between, and what a retired key is worth.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use chain::checkpoint::{self, Checkpoint};
use chain::key::VerifierKey;
use chain::note::{Note, SigningKey};
use chain::rotation::{ROTATED, Rotation};
use eventlog::Recorder as _;

use super::{ORIGIN, Pen, held_by, key, signer};
use crate::mirror::Carrier;
use crate::signer::{InMemory, SignFailure, Signer, id_of};
use crate::{AnchorError, Config, Directory, Layout, Mirror, Service, SigningKeys, Verdict};

async fn service(dir: &Path, pen: &Arc<Pen>, keys: Arc<SigningKeys>) -> Service {
    let store = Arc::new(Directory::new(dir.join("store")));
    let service = Service::open(Config::new(dir), pen.log.clone(), keys, store, pen.clone()).await.unwrap();
    assert_eq!(service.startup_check().await.unwrap(), Verdict::Good);
    service
}

/// Seeds of the keys whose lines stand on the published checkpoint, in their order; each must verify.
fn lines(dir: &Path) -> Vec<u8> {
    let note = Note::parse(&fs::read_to_string(dir.join("public/checkpoint")).unwrap()).unwrap();
    let seed = |line: &chain::note::NoteSignature| {
        let seed = (1..20_u8).find(|seed| line.is_by(&SigningKey::from_seed(ORIGIN, [*seed; 32]).verifier())).unwrap();
        assert!(SigningKey::from_seed(ORIGIN, [seed; 32]).verifier().verify_raw(note.text.as_bytes(), &line.signature));
        seed
    };
    note.signatures.iter().map(seed).collect()
}

fn published_policy(dir: &Path) -> Vec<VerifierKey> {
    let text = fs::read_to_string(dir.join("public/policy")).unwrap();
    chain::policy::Policy::parse(&text).unwrap().logs
}

fn of(seed: u8) -> VerifierKey {
    SigningKey::from_seed(ORIGIN, [seed; 32]).verifier()
}

#[tokio::test]
async fn checkpoints_carry_both_lines_from_the_rotation_to_the_retirement() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let keys = held_by(&pen.log, &[7], None).await;
    let service = service(dir.path(), &pen, Arc::clone(&keys)).await;
    pen.write(300, "a").await;
    service.anchor_now().await.unwrap();
    assert_eq!(lines(dir.path()), [7]);
    assert_eq!(keys.sign_receipt(Vec::new()).await.unwrap().key_id, id_of(&of(7)));

    service.rotate_key(signer(8)).await.unwrap();
    assert_eq!(lines(dir.path()), [7, 8], "old, then new");
    assert_eq!(published_policy(dir.path()), [of(7), of(8)]);
    assert_eq!(keys.sign_receipt(Vec::new()).await.unwrap().key_id, id_of(&of(8)));
    let again = service.rotate_key(signer(9)).await.unwrap_err().to_string();
    assert!(again.contains("an earlier rotation has not ended"), "{again}");
    // Whoever knows one of the two keys takes the checkpoint.
    let note = fs::read_to_string(dir.path().join("public/checkpoint")).unwrap();
    for seed in [7, 8] {
        checkpoint::open(&note, &crate::keys::policy(&[of(seed)], None).unwrap()).unwrap();
    }
    let newer = service.retire_key(&id_of(&of(8)), pen.as_ref()).await.unwrap_err().to_string();
    assert!(newer.contains("not the older one"), "{newer}");
    service.retire_key(&of(7).vkey(), pen.as_ref()).await.unwrap();
    assert_eq!(lines(dir.path()), [8]);
    assert_eq!(published_policy(dir.path()), [of(8)]);
    // Whoever has only what is published knows the older anchors by what the entries say of them.
    let (layout, store) = (Layout::within(dir.path()), Directory::new(dir.path().join("store")));
    let out = dir.path().join("evidence");
    let exported = crate::export(&layout, Some((&store, None)), &out, true, &mut |_, _| {}).await.unwrap();
    assert_eq!(exported.anchors as usize, service.list().await.unwrap().len(), "{exported:?}");
    assert!(exported.anchors > 0 && exported.strays.is_empty() && exported.missing.is_empty(), "{exported:?}");
    pen.write(10, "b").await;
    service.anchor_now().await.unwrap();
    assert_eq!(lines(dir.path()), [8]);
    // The first anchors are signed by the retired key alone, and are still this log's.
    assert!(service.list().await.unwrap().len() >= 2);
    let out = dir.path().join("export");
    service.export(&out, true, &mut |_, _| {}).await.unwrap();
    let back = service.rotate_key(signer(7)).await.unwrap_err().to_string();
    assert!(back.contains("has had before"), "{back}");
}

#[tokio::test]
async fn a_mirror_is_carried_on_by_whoever_began_before_the_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let keys = held_by(&pen.log, &[7], None).await;
    let service = service(dir.path(), &pen, Arc::clone(&keys)).await;
    let there = Arc::new(Directory::new(dir.path().join("mirror")));
    let mirror = Mirror { name: "other-owner".to_owned(), store: there.clone() };
    let config = Config::new(dir.path());
    let first = Arc::new(Directory::new(dir.path().join("store")));
    let what = (pen.log.clone(), Layout::within(dir.path()), keys);
    let carrier = Carrier::new(mirror, first, what, (config.keep, config.clock));
    pen.write(5, "a").await;
    service.anchor_now().await.unwrap();
    carrier.carry().await.unwrap();
    service.rotate_key(signer(8)).await.unwrap();
    service.retire_key(&of(7).vkey(), pen.as_ref()).await.unwrap();
    pen.write(5, "b").await;
    service.anchor_now().await.unwrap();
    assert_eq!(lines(dir.path()), [8]);
    carrier.carry().await.unwrap();
    assert_eq!(crate::store::keys(there.as_ref(), "anchors/").await.unwrap().len(), 2);
    assert_eq!(carrier.status(Some(1)).behind, 0);
}

#[tokio::test]
async fn a_start_follows_the_rotations_and_needs_the_keys_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    {
        let service = service(dir.path(), &pen, held_by(&pen.log, &[7], None).await).await;
        pen.write(5, "a").await;
        service.publish(false).await.unwrap();
        service.rotate_key(signer(8)).await.unwrap();
    }
    {
        // Without the new key nothing is signed, although the old one is there; with both it goes on.
        let keys = held_by(&pen.log, &[7], None).await;
        assert!(keys.lacks_one() && keys.has_one());
        let service = service(dir.path(), &pen, Arc::clone(&keys)).await;
        pen.write(5, "b").await;
        let refused = service.publish(false).await.unwrap_err();
        assert!(
            matches!(&refused, AnchorError::Signer(_)) && refused.to_string().contains("does not have it"),
            "{refused}"
        );
        keys.hold(vec![signer(8)]).unwrap();
        assert!(service.publish(false).await.unwrap(), "the alarm ends when the key is there");
        assert_eq!(lines(dir.path()), [7, 8]);
        service.retire_key(&of(7).vkey(), pen.as_ref()).await.unwrap();
    }
    assert!(!held_by(&pen.log, &[7], None).await.has_one(), "a retired key is none in force");
    let service = service(dir.path(), &pen, held_by(&pen.log, &[8], None).await).await;
    pen.write(5, "c").await;
    service.publish(false).await.unwrap();
    assert_eq!(lines(dir.path()), [8]);
}

#[tokio::test]
async fn killed_between_the_event_and_the_first_checkpoint_the_next_start_signs_with_both() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    {
        let keys = held_by(&pen.log, &[7], None).await;
        let service = service(dir.path(), &pen, Arc::clone(&keys)).await;
        pen.write(5, "a").await;
        service.publish(false).await.unwrap();
        let newest = super::published(dir.path());
        // The event alone: nothing that comes after it in the same call.
        keys.rotate(pen.as_ref(), &newest, signer(8)).await.unwrap();
        assert_eq!(lines(dir.path()), [7]);
    }
    let service = service(dir.path(), &pen, held_by(&pen.log, &[8, 7], None).await).await;
    assert_eq!(published_policy(dir.path()), [of(7), of(8)]);
    pen.write(1, "b").await;
    service.publish(false).await.unwrap();
    assert_eq!(lines(dir.path()), [7, 8]);
}

#[tokio::test]
async fn what_breaks_the_rules_of_rotations_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let keys = held_by(&pen.log, &[7], None).await;
    let (old, new) = (key(), SigningKey::from_seed(ORIGIN, [8; 32]));
    let text = chain::rotation::text(ORIGIN, &old.vkey(), &new.vkey(), 0, &chain::tree::empty_root());
    let by_new = new.sign_raw(text.as_bytes());
    let forged = Rotation::signed(old.vkey(), new.vkey(), (0, chain::tree::empty_root()), &by_new, &by_new);
    pen.record(ROTATED, serde_json::to_value(forged).unwrap()).await.unwrap();
    keys.catch_up().await.unwrap();
    assert_eq!(keys.in_force(), [of(7)], "the old key never signed it");
    let of_nothing = Rotation::signed(
        old.vkey(),
        new.vkey(),
        (0, chain::tree::empty_root()),
        &old.sign_raw(text.as_bytes()),
        &by_new,
    );
    pen.record(ROTATED, serde_json::to_value(of_nothing).unwrap()).await.unwrap();
    keys.catch_up().await.unwrap();
    assert_eq!(keys.in_force(), [of(7)], "both signed it, and it is the heir of any history");
}

#[tokio::test]
async fn no_key_signs_a_rotation_of_the_empty_log() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let moody = Arc::new(Moody(InMemory::new(key(), "memory"), false.into()));
    let keys = SigningKeys::open(&pen.log, vec![moody], None).await.unwrap();
    let empty = Checkpoint { origin: ORIGIN.to_owned(), size: 0, root: chain::tree::empty_root() };
    // The signer is off: had it been asked, that would be what went wrong.
    let refused = keys.rotate(pen.as_ref(), &empty, signer(8)).await.unwrap_err().to_string();
    assert!(refused.contains("it speaks of the empty log"), "{refused}");
    assert_eq!((keys.in_force(), pen.log.head().await.unwrap().size), (vec![of(7)], 0));
}

#[tokio::test]
async fn a_retired_key_signs_nothing_that_counts() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let keys = held_by(&pen.log, &[7], None).await;
    let service = service(dir.path(), &pen, Arc::clone(&keys)).await;
    pen.write(5, "a").await;
    service.publish(false).await.unwrap();
    let before = fs::read_to_string(dir.path().join("public/checkpoint")).unwrap();
    service.rotate_key(signer(8)).await.unwrap();
    service.retire_key(&of(7).vkey(), pen.as_ref()).await.unwrap();
    let forged = Checkpoint { origin: ORIGIN.to_owned(), size: 100, root: chain::Hash::ZERO };
    let refused = keys.open_note(&checkpoint::sign(&forged, &key())).unwrap_err();
    assert!(refused.contains("no key that was in force at its size"), "{refused}");
    assert_eq!(keys.open_note(&before).unwrap().size, 5, "what it signed in its time goes on to count");
    assert!(keys.open_note(&checkpoint::sign(&forged, &SigningKey::from_seed(ORIGIN, [8; 32]))).is_ok());
}

/// A signer that can be switched off.
#[derive(Debug)]
struct Moody(InMemory, std::sync::atomic::AtomicBool);

#[async_trait::async_trait]
impl Signer for Moody {
    fn key(&self) -> &VerifierKey {
        self.0.key()
    }

    fn place(&self) -> &str {
        "a signer with moods"
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignFailure> {
        if self.1.load(std::sync::atomic::Ordering::Relaxed) {
            return self.0.sign(message).await;
        }
        Err(SignFailure { key: String::new(), place: self.place().to_owned(), what: "it is off".to_owned() })
    }
}

#[tokio::test]
async fn checkpoints_wait_for_a_signer_that_is_away_and_go_on_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let moody = Arc::new(Moody(InMemory::new(key(), "memory"), false.into()));
    let keys = SigningKeys::open(&pen.log, vec![moody.clone()], None).await.unwrap();
    let service = service(dir.path(), &pen, Arc::clone(&keys)).await;
    pen.write(5, "a").await;
    for _ in 0..3 {
        assert!(matches!(service.publish(false).await, Err(AnchorError::Signer(_))));
    }
    assert!(service.status().await.unwrap().trouble.unwrap().contains("a signer with moods"));
    assert!(keys.sign_receipt(Vec::new()).await.is_err());
    moody.1.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(service.publish(false).await.unwrap(), "what waited is signed");
    assert_eq!((super::published(dir.path()).size, service.status().await.unwrap().trouble), (5, None));
    assert!(keys.sign_receipt(Vec::new()).await.is_ok());
}
