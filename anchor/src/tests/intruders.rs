//! What a thief of the key, or whoever can write to the store, lays beside what was kept: it is named, and the log is read back.

use std::fs;

use chain::Hash;
use chain::checkpoint::{self, Checkpoint};
use chain::key::CosigningKey;
use chain::note::SigningKey;
use chain::policy::Policy;

use super::archive::{Kept, chain_sizes, read_by, read_first, read_with, rotated};
use super::strays::{forged, sign};
use super::{ORIGIN, Pen, key, policy, root_of, service, signer};
use crate::anchor_format;
use crate::archive::{Archive, First, Places, Verified, Wanted};
use crate::{Anchor, AnchorError, Previous};

type Laid = (String, Vec<u8>);

fn lay(kept: &Kept, all: &[Laid]) {
    for (key, bytes) in all {
        fs::write(kept.store().join(key), bytes).unwrap();
    }
}

/// The anchor of this number with something changed, under the name that it then has; signed by this key, or as it was.
fn changed(kept: &Kept, number: usize, by: Option<&SigningKey>, change: impl FnOnce(&mut Anchor)) -> Laid {
    let mut anchor: Anchor = serde_json::from_slice(&fs::read(&kept.anchors()[number]).unwrap()).unwrap();
    change(&mut anchor);
    if let Some(by) = by {
        sign(&mut anchor, by);
    }
    let size = anchor.checkpoint.lines().nth(1).unwrap().parse().unwrap();
    (anchor_format::key(anchor.seq, size), anchor.to_bytes().unwrap().into_bytes())
}

fn said(archive: &Archive, verified: &Verified) -> String {
    [&archive.remarks[..], &verified.remarks[..]].concat().join("\n")
}

async fn refused(places: Places, policy: &Policy, wanted: Wanted) -> String {
    match read_with(places, policy, wanted).await {
        Ok(_) => panic!("it was taken for good"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn what_is_no_anchor_of_the_log_is_named_and_the_log_is_read_back() {
    let kept = Kept::new().await;
    let whole = Archive::open(kept.places(), &policy(), Wanted::default()).await.unwrap();
    let stranger = SigningKey::from_seed(ORIGIN, [9; 32]);
    let other = SigningKey::from_seed("guildhall.example/other", [7; 32]);
    let newest = kept.anchors().pop().unwrap();
    let last = fs::read(&newest).unwrap();
    let elsewhere = Checkpoint { origin: other.name().to_owned(), size: 60, root: Hash([1; 32]) };
    let bogus = |anchor: &mut Anchor| {
        anchor.files = [("pack/000".to_owned(), Hash([2; 32])), ("pack/001".to_owned(), Hash([3; 32]))].into();
    };
    let long = kept.anchors().len() as u64 + 90;
    let laid = [
        ("anchors/00000000000000000009-00000000000000000099.json".to_owned(), last.clone()),
        forged(4, 5000, &stranger),
        forged(1, 50, &stranger),
        forged(0, 3, &stranger),
        changed(&kept, 0, Some(&other), |anchor| {
            (anchor.seq, anchor.origin) = (2, other.name().to_owned());
            anchor.checkpoint = checkpoint::sign(&elsewhere, &other);
        }),
        // With true checkpoints, which anybody can copy.
        changed(&kept, 3, None, |anchor| anchor.seq = long),
        changed(&kept, 3, Some(&stranger), |anchor| {
            anchor.seq = long + 1;
            anchor.previous = Some(Previous { key: "anchors/none".to_owned(), sha256: Hash([4; 32]), version: None });
        }),
        // A thief of the key: as long as the longest and behind it, and a chain of its own.
        changed(&kept, 3, Some(&key()), |anchor| {
            anchor.seq = 4;
            let key = whole.anchors[3].key.clone();
            anchor.previous = Some(Previous { key, sha256: Hash([4; 32]), version: None });
            bogus(anchor);
        }),
        changed(&kept, 1, Some(&key()), |anchor| {
            (anchor.seq, anchor.previous) = (0, None);
            bogus(anchor);
        }),
    ];
    lay(&kept, &laid);
    for places in [kept.places(), kept.published()] {
        let (archive, entries, verified) = read_with(places, &policy(), Wanted::default()).await.unwrap();
        assert!(archive.size() >= whole.size() && entries.len() as u64 == archive.size());
        assert_eq!((verified.anchors, verified.unbroken), (4, true));
        let said = said(&archive, &verified);
        for (key, _) in &laid {
            assert!(said.contains(&format!("{key}: ")), "{key} is not in {said}");
        }
        assert!(!whole.anchors.iter().any(|link| said.contains(&format!("{}: ", link.key))), "{said}");
    }
    // An anchor that is gone is one that is gone, whatever lies there instead.
    fs::remove_file(newest).unwrap();
    let said = refused(kept.places(), &policy(), Wanted::default()).await;
    assert!(said.contains("number 3, is missing"), "{said}");
}

/// A policy that asks for one witness, and the note of this size as it cosigned it.
async fn witnessed(kept: &Kept, size: u64) -> (Policy, String) {
    let witness = CosigningKey::from_seed("w.example", [9; 32]);
    let text = format!("log {}\nwitness w {} https://w.example\nquorum w\n", key().vkey(), witness.vkey());
    let truth = Checkpoint { origin: ORIGIN.to_owned(), size, root: root_of(&kept.pen.log, size).await };
    let note = format!("{}{}", checkpoint::sign(&truth, &key()), witness.cosign(&truth.to_text(), 1000));
    (Policy::parse(&text).unwrap(), note)
}

#[tokio::test]
async fn what_the_quorum_cosigned_outweighs_what_a_thief_of_the_key_signed() {
    let kept = Kept::new().await;
    let size = chain_sizes(kept.dir.path())[2];
    let (quorum, note) = witnessed(&kept, size).await;
    let mut same = forged(7, size, &key());
    let mut anchor: Anchor = serde_json::from_slice(&same.1).unwrap();
    anchor.files = [("pack/000".to_owned(), Hash([2; 32]))].into();
    sign(&mut anchor, &key());
    same.1 = anchor.to_bytes().unwrap().into_bytes();
    let laid = [forged(2, 5, &key()), forged(4, size - 5, &key()), same];
    lay(&kept, &laid);
    let wanted = Wanted { size: Some(size), witnessed: true };
    let places = || Places { notes: vec![note.clone()], ..kept.places() };
    let (archive, entries, verified) = read_with(places(), &quorum, wanted).await.unwrap();
    assert_eq!((archive.aim.note.as_str(), entries.len() as u64), (note.as_str(), size));
    assert_eq!((verified.anchors, verified.unbroken), (3, true));
    let told = said(&archive, &verified);
    for (key, _) in &laid {
        assert!(told.contains(&format!("{key}: the first ")) && told.contains("CONTRADICTS"), "{key} is not in {told}");
    }
    // The same where nobody had to cosign: then it is the log's word against the log's word.
    let unproven = Wanted { size: Some(size), witnessed: false };
    let why = refused(places(), &policy(), unproven).await;
    assert!(why.contains("are not those that it covers"), "{why}");
    // What the quorum proved does not need the anchors to be whole.
    fs::remove_file(&kept.anchors()[1]).unwrap();
    let (archive, _, verified) = read_with(places(), &quorum, wanted).await.unwrap();
    assert!(!verified.unbroken && said(&archive, &verified).contains("proved without it"));
    // A note that contradicts the entries is no proof of them.
    let false_note = note.replace(&root_of(&kept.pen.log, size).await.to_base64(), &Hash([5; 32]).to_base64());
    refused(Places { notes: vec![false_note], ..kept.places() }, &quorum, wanted).await;
}

#[tokio::test]
async fn of_two_packs_that_no_anchor_tells_apart_the_published_one_is_tried_as_well() {
    let kept = Kept::new().await;
    let path = kept.store().join("pack/000");
    let mut pack = fs::read(&path).unwrap();
    let at = pack.windows(12).rposition(|window| window == b"not_permitte").unwrap();
    pack[at] = b'k';
    fs::remove_file(&path).unwrap();
    fs::write(&path, pack).unwrap();
    fs::remove_dir_all(kept.store().join("anchors")).unwrap();
    let wanted = Wanted::default();
    let archive = Archive::open(kept.published(), &policy(), wanted).await.unwrap();
    assert_eq!(archive.orders(), [First::Store, First::Published]);
    assert!(read_first(kept.published(), &policy(), wanted, First::Store).await.is_err());
    let (_, entries, _) = read_first(kept.published(), &policy(), wanted, First::Published).await.unwrap();
    assert_eq!(entries.len() as u64, archive.size());
}

#[tokio::test]
async fn an_old_policy_is_told_from_an_anchor_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    pen.write(10, "a").await;
    service.anchor_now().await.unwrap();
    // No anchor is of the overlap: that the key changed is in no entry that the old one covers.
    service.rotate_key(signer(8)).await.unwrap();
    service.retire_key(&key().vkey(), pen.as_ref()).await.unwrap();
    pen.write(300, "b").await;
    service.anchor_now().await.unwrap();
    let old = read_by(dir.path(), &[7], Wanted::default()).await.err().unwrap().to_string();
    assert!(old.contains("but another key of the log did"), "{old}");
    let (size, _) = read_by(dir.path(), &[8], Wanted::default()).await.unwrap();
    let (name, bytes) = forged(9, 5000, &SigningKey::from_seed(ORIGIN, [9; 32]));
    fs::write(dir.path().join("store").join(&name), bytes).unwrap();
    let (again, verified) = read_by(dir.path(), &[8], Wanted::default()).await.unwrap();
    assert!(again == size && verified.remarks.join("\n").contains(&name), "{:?}", verified.remarks);
    assert!(read_by(dir.path(), &[7], Wanted::default()).await.is_err());
}

#[tokio::test]
async fn keys_of_later_are_known_where_the_log_is_cut_before_them() {
    let (dir, _pen) = rotated().await;
    let until = Wanted { size: Some(chain_sizes(dir.path())[0]), ..Wanted::default() };
    let (_, verified) = read_by(dir.path(), &[7], until).await.unwrap();
    assert_eq!(verified.later, [signer(8).key().clone()]);
    // The newest key signed nothing of that size.
    let none = read_by(dir.path(), &[8], until).await.err().unwrap().to_string();
    assert!(none.contains("the one that was in force at that size"), "{none}");
}

#[tokio::test]
async fn the_checkpoint_of_an_export_holds_or_the_folder_does_not() -> Result<(), AnchorError> {
    let kept = Kept::new().await;
    let truth = Checkpoint { origin: ORIGIN.to_owned(), size: 297, root: root_of(&kept.pen.log, 297).await };
    let with = |note: String| Places { checkpoint: Some(note), ..kept.places() };
    let signed = checkpoint::sign(&truth, &key());
    read_with(with(signed.clone()), &policy(), Wanted::default()).await?;
    let forked = Checkpoint { root: Hash([5; 32]), ..truth.clone() };
    let why = refused(with(checkpoint::sign(&forked, &key())), &policy(), Wanted::default()).await;
    assert!(why.contains("the checkpoint of the export") && why.contains("not those that it covers"), "{why}");
    let stranger = checkpoint::sign(&truth, &SigningKey::from_seed(ORIGIN, [9; 32]));
    for bad in [stranger.clone(), signed.replace("297", "298"), String::new()] {
        let why = refused(with(bad), &policy(), Wanted::default()).await;
        assert!(why.contains("the checkpoint of the export"), "{why}");
    }
    // Where less is asked for, or somebody brought a better word, it is named.
    let first = chain_sizes(kept.dir.path())[0];
    let until = Wanted { size: Some(first), ..Wanted::default() };
    let (archive, _, _) = read_with(with(stranger.clone()), &policy(), until).await?;
    assert!(archive.remarks.join("\n").contains("the checkpoint of the export is not used"), "{:?}", archive.remarks);
    let (quorum, note) = witnessed(&kept, 297).await;
    for bad in [stranger, checkpoint::sign(&forked, &key())] {
        let places = Places { notes: vec![note.clone()], ..with(bad) };
        let wanted = Wanted { size: Some(297), witnessed: true };
        let (archive, _, verified) = read_with(places, &quorum, wanted).await?;
        assert_eq!(archive.aim.note, note);
        assert!(said(&archive, &verified).contains("the checkpoint of the export"), "{}", said(&archive, &verified));
    }
    Ok(())
}
