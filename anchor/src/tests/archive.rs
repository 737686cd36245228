//! What was kept of a log is read back whole, or what is wrong with it is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use chain::Hash;
use chain::checkpoint;
use chain::hash::sha256;
use chain::key::{CosigningKey, SigningKey};
use chain::policy::Policy;
use eventlog::Stored;

use super::{Pen, key, policy, service, signer};
use crate::archive::{Archive, First, Places, Verified, Wanted};
use crate::store::{Kind, Object, Page, Retention, Version, Written};
use crate::{Anchor, AnchorError, Directory, Layout, Store};

/// A log that was anchored at several sizes, 600 entries and more.
pub(super) struct Kept {
    pub dir: tempfile::TempDir,
    pub pen: Arc<Pen>,
}

impl Kept {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pen = Pen::open(dir.path()).await;
        let service = service(dir.path(), &pen).await;
        for (count, salt) in [(10, "a"), (300, "b"), (400, "c"), (1, "d")] {
            pen.write(count, salt).await;
            service.anchor_now().await.unwrap();
        }
        Self { dir, pen }
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub fn anchors(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            fs::read_dir(self.store().join("anchors")).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort_unstable();
        paths
    }

    pub fn places(&self) -> Places {
        Places { store: Arc::new(Directory::new(self.store())), published: None, checkpoint: None, notes: Vec::new() }
    }

    pub fn published(&self) -> Places {
        Places { published: Some(Layout::within(self.dir.path())), ..self.places() }
    }
}

async fn read(places: Places, wanted: Wanted) -> Result<(Archive, Vec<Stored>, Verified), AnchorError> {
    read_with(places, &policy(), wanted).await
}

pub(super) async fn read_with(
    places: Places,
    policy: &Policy,
    wanted: Wanted,
) -> Result<(Archive, Vec<Stored>, Verified), AnchorError> {
    read_first(places, policy, wanted, First::Store).await
}

pub(super) async fn read_first(
    places: Places,
    policy: &Policy,
    wanted: Wanted,
    first: First,
) -> Result<(Archive, Vec<Stored>, Verified), AnchorError> {
    let archive = Archive::open(places, policy, wanted).await?;
    let mut pass = archive.verify(first);
    let mut all = Vec::new();
    while let Some(entries) = pass.next().await? {
        all.extend(entries);
    }
    let verified = pass.finish().await?;
    Ok((archive, all, verified))
}

async fn refused(places: Places) -> String {
    match read(places, Wanted::default()).await {
        Ok(_) => panic!("it was taken for good"),
        Err(error) => error.to_string(),
    }
}

fn rewrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn all_entries_come_back_from_the_store_alone_and_more_from_beside_it() {
    let kept = Kept::new().await;
    let (archive, entries, verified) = read(kept.places(), Wanted::default()).await.unwrap();
    assert_eq!(archive.anchors.len(), 4);
    assert_eq!(entries, kept.pen.log.read(0, 2000).await.unwrap()[..entries.len()]);
    assert_eq!(entries.len() as u64, archive.size());
    let mut again = archive.again(&verified.digests, 300);
    let mut later = Vec::new();
    while let Some(entries) = again.next().await.unwrap() {
        later.extend(entries);
    }
    assert_eq!(later, entries[300..]);

    // What was published after the last anchor, with the record of that anchor among it.
    let (longer, all, _) = read(kept.published(), Wanted::default()).await.unwrap();
    assert!(longer.size() > archive.size(), "{} after {}", longer.size(), archive.size());
    assert_eq!(all.len() as u64, longer.size());
}

#[tokio::test]
async fn a_log_is_read_up_to_any_size_that_was_signed() {
    let kept = Kept::new().await;
    let whole = Archive::open(kept.places(), &policy(), Wanted::default()).await.unwrap();
    for link in &whole.anchors {
        let wanted = Wanted { size: Some(link.size), ..Wanted::default() };
        let (archive, entries, _) = read(kept.places(), wanted).await.unwrap();
        assert_eq!((archive.size(), archive.root(), entries.len() as u64), (link.size, link.root, link.size));
    }
    // No anchor is of this size, but somebody kept a checkpoint: the entries are those of a longer pack.
    let size = 297;
    let root = super::root_of(&kept.pen.log, size).await;
    let note = checkpoint::sign(&checkpoint::Checkpoint { origin: super::ORIGIN.to_owned(), size, root }, &key());
    let wanted = Wanted { size: Some(size), ..Wanted::default() };
    let unknown = Archive::open(kept.places(), &policy(), wanted).await.err().unwrap();
    assert!(unknown.to_string().contains("no checkpoint of exactly 297 entries"), "{unknown}");
    let places = Places { notes: vec![note], ..kept.places() };
    let (archive, entries, _) = read(places, wanted).await.unwrap();
    assert_eq!((entries.len() as u64, archive.root()), (size, root));
    // A note with the log's signature and another root is of another history.
    let other = checkpoint::Checkpoint { origin: super::ORIGIN.to_owned(), size, root: Hash([9; 32]) };
    let places = Places { notes: vec![checkpoint::sign(&other, &key())], ..kept.places() };
    let forked = read(places, wanted).await.err().unwrap().to_string();
    assert!(forked.contains("with it the root is not the one that was signed"), "{forked}");
    // With a quorum asked for, none of these will do.
    let witness = CosigningKey::from_seed("w.example", [9; 32]).vkey();
    let text = format!("log {}\nwitness w {witness} https://w.example\nquorum w\n", key().vkey());
    let witnessed = Wanted { witnessed: true, ..Wanted::default() };
    let quorum = Archive::open(kept.places(), &Policy::parse(&text).unwrap(), witnessed).await.err().unwrap();
    assert!(quorum.to_string().contains("no checkpoint that the quorum of the policy cosigned"), "{quorum}");
}

#[tokio::test]
async fn an_anchor_that_is_hidden_or_changed_is_named() {
    let kept = Kept::new().await;
    let anchors = kept.anchors();
    let good = fs::read(&anchors[1]).unwrap();
    fs::remove_file(&anchors[1]).unwrap();
    let said = refused(kept.places()).await;
    assert!(said.contains("number 1, is missing"), "{said}");
    let text = String::from_utf8(good.clone()).unwrap();
    let changed = text.replace("guildhall/0", "guildhall/1");
    rewrite_new(&anchors[1], changed.as_bytes());
    let said = refused(kept.places()).await;
    assert!(said.contains("number 1, is missing"), "what is not signed is none: {said}");
    let mut by_thief: Anchor = serde_json::from_str(&changed).unwrap();
    super::strays::sign(&mut by_thief, &key());
    rewrite(&anchors[1], by_thief.to_bytes().unwrap().as_bytes());
    let said = refused(kept.places()).await;
    assert!(said.contains("does not name the anchor before it"), "{said}");
    // Signed by nobody that is trusted.
    rewrite(
        &anchors[1],
        text.replace("\\n\\n— guildhall.example/test ", "\\n\\n— guildhall.example/test A").as_bytes(),
    );
    refused(kept.places()).await;
    rewrite(&anchors[1], &good);
    read(kept.places(), Wanted::default()).await.unwrap();
}

fn rewrite_new(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_tampered_pack_is_named_and_a_good_copy_beside_it_is_used() {
    let kept = Kept::new().await;
    let path = kept.store().join("pack/001");
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    let last = bad.len() - 3;
    bad[last] ^= 1;
    rewrite(&path, &bad);
    let said = refused(kept.places()).await;
    assert!(said.contains("pack/001") && said.contains("not the file that the anchors list"), "{said}");
    let (_, _, verified) = read(kept.published(), Wanted::default()).await.unwrap();
    assert!(verified.remarks.iter().any(|remark| remark.contains("pack/001")), "{:?}", verified.remarks);
    // One that no memory holds is not read.
    fs::remove_file(&path).unwrap();
    fs::File::create(&path).unwrap().set_len(3 << 30).unwrap();
    let said = refused(kept.places()).await;
    assert!(said.contains("pack/001") && said.contains("not the file that the anchors list"), "{said}");
    let (archive, _, _) = read(kept.published(), Wanted::default()).await.unwrap();
    let junk = kept.store().join("anchors/00000000000000000001-00000000000000000001.json");
    fs::File::create(&junk).unwrap().set_len(3 << 30).unwrap();
    let (with_junk, _, _) = read(kept.published(), Wanted::default()).await.unwrap();
    let words = "anchors/00000000000000000001-00000000000000000001.json: it is 3221225472 bytes long";
    assert!(with_junk.remarks.iter().any(|remark| remark.starts_with(words)), "{:?}", with_junk.remarks);
    assert_eq!((archive.size(), archive.anchors.len()), (with_junk.size(), with_junk.anchors.len()));
    fs::remove_file(&junk).unwrap();
    // Whoever changes the list too meets the root.
    rewrite(&path, &good);
    fs::remove_file(&path).unwrap();
    let said = refused(kept.places()).await;
    assert!(said.contains("pack/001") && said.contains("missing"), "{said}");
}

#[tokio::test]
async fn a_pack_that_is_listed_as_it_is_still_has_to_give_the_signed_root() {
    let kept = Kept::new().await;
    let (anchors, path) = (kept.anchors(), kept.store().join("pack/000"));
    let good = fs::read(&path).unwrap();
    let at = good.windows(12).position(|window| window == b"not_permitte").unwrap();
    let mut bad = good.clone();
    bad[at] = b'k';
    rewrite(&path, &bad);
    // A thief of the key makes the chain of anchors fit as well.
    let (was, is) = (sha256(&[&good]), sha256(&[&bad]));
    let mut previous = None;
    for path in &anchors {
        let mut anchor: Anchor = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        anchor.files.values_mut().filter(|digest| **digest == was).for_each(|digest| *digest = is);
        if let (Some(named), Some(sha256)) = (&mut anchor.previous, previous) {
            named.sha256 = sha256;
        }
        super::strays::sign(&mut anchor, &key());
        let bytes = anchor.to_bytes().unwrap().into_bytes();
        rewrite(path, &bytes);
        previous = Some(sha256(&[&bytes]));
    }
    let said = refused(kept.places()).await;
    assert!(said.contains("does not go on its stream") || said.contains("are not those that it covers"), "{said}");
}

/// A bucket whose owner laid a marker over the newest anchor and a second version over the one before.
struct Covered(Directory, Vec<String>);

#[async_trait]
impl Store for Covered {
    fn kind(&self) -> Kind {
        Kind::S3ObjectLock
    }

    fn place(&self) -> String {
        self.0.place()
    }

    fn guarantee(&self) -> &'static str {
        self.0.guarantee()
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, retention: Retention) -> Result<Written, AnchorError> {
        self.0.put(key, bytes, retention).await
    }

    async fn get(&self, key: &str, version: Option<&str>) -> Result<Option<Object>, AnchorError> {
        let object = self.0.get(key, None).await?;
        let other = version == Some("later");
        Ok(object.map(|object| if other { Object { bytes: b"{}".to_vec(), length: 2, ..object } } else { object }))
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, AnchorError> {
        let Page { mut versions, more } = self.0.page(prefix, after).await?;
        for (index, key) in self.1.iter().enumerate().filter(|(_, key)| key.starts_with(prefix)) {
            versions.push(Version { key: key.clone(), version: Some("later".to_owned()), marker: index == 0 });
        }
        versions.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Page { versions, more })
    }
}

#[tokio::test]
async fn a_marker_hides_no_anchor_and_both_it_and_another_version_are_named() {
    let kept = Kept::new().await;
    let whole = Archive::open(kept.places(), &policy(), Wanted::default()).await.unwrap();
    let covered: Vec<String> = whole.anchors.iter().rev().take(2).map(|link| link.key.clone()).collect();
    let store = Arc::new(Covered(Directory::new(kept.store()), covered.clone()));
    let (archive, _, _) = read(Places { store, ..kept.places() }, Wanted::default()).await.unwrap();
    assert_eq!(archive.size(), whole.size(), "the newest anchor is the one under the marker");
    let said = archive.remarks.join("\n");
    assert!(said.contains(&format!("{}: a delete marker", covered[0])), "{said}");
    assert!(said.contains(&format!("{}: version later holds other bytes", covered[1])), "{said}");
    assert!(said.contains("is not locked"), "a bucket with locks, and no lock: {said}");
}

#[tokio::test]
async fn what_is_no_anchor_at_all_is_named_and_keeps_nobody_from_reading_the_log_back() {
    let kept = Kept::new().await;
    let (whole, _, _) = read(kept.places(), Wanted::default()).await.unwrap();
    for name in ["00000000000000000005-00000000000000000099.json", "zzz"] {
        fs::write(kept.store().join("anchors").join(name), "{}").unwrap();
    }
    let (archive, _, _) = read(kept.places(), Wanted::default()).await.unwrap();
    assert_eq!((archive.size(), archive.anchors.len()), (whole.size(), whole.anchors.len()));
    let said = archive.remarks.join("\n");
    assert!(said.contains("it is no anchor at all") && said.contains("no anchor has such a name"), "{said}");
}

/// A log that changed its key from 7 to 8: an anchor by the first, one of the overlap, and one by the second alone.
pub(super) async fn rotated() -> (tempfile::TempDir, Arc<Pen>) {
    let dir = tempfile::tempdir().unwrap();
    let pen = Pen::open(dir.path()).await;
    let service = service(dir.path(), &pen).await;
    pen.write(10, "a").await;
    service.anchor_now().await.unwrap();
    service.rotate_key(signer(8)).await.unwrap();
    pen.write(300, "b").await;
    service.anchor_now().await.unwrap();
    service.retire_key(&key().vkey(), pen.as_ref()).await.unwrap();
    pen.write(10, "c").await;
    service.anchor_now().await.unwrap();
    (dir, pen)
}

pub(super) fn of(seeds: &[u8]) -> Policy {
    let keys: Vec<_> = seeds.iter().map(|seed| signer(*seed).key().clone()).collect();
    crate::keys::policy(&keys, None).unwrap()
}

pub(super) async fn read_by(dir: &Path, seeds: &[u8], wanted: Wanted) -> Result<(u64, Verified), AnchorError> {
    let store: Arc<dyn Store> = Arc::new(Directory::new(dir.join("store")));
    let places = Places { store, published: None, checkpoint: None, notes: Vec::new() };
    let archive = Archive::open(places, &of(seeds), wanted).await?;
    let mut pass = archive.verify(First::Store);
    while pass.next().await?.is_some() {}
    Ok((archive.size(), pass.finish().await?))
}

#[tokio::test]
async fn who_trusts_the_newest_key_reads_a_log_that_was_begun_with_another() {
    let (dir, pen) = rotated().await;
    let (size, verified) = read_by(dir.path(), &[8], Wanted::default()).await.unwrap();
    assert_eq!(verified.history.in_force(size).map(|era| era.fingerprint).collect::<Vec<_>>(), [print_of(8)]);
    assert_eq!(verified.history.eras().len(), 2);
    assert_eq!(read_by(dir.path(), &[7, 8], Wanted::default()).await.unwrap().0, size);
    assert!(size < pen.log.head().await.unwrap().size);

    // The older key alone says nothing about what came after it, and that is not passed over.
    let refused = read_by(dir.path(), &[7], Wanted::default()).await.err().unwrap().to_string();
    assert!(refused.contains("no key that the policy gives signed it, but another key of the log did"), "{refused}");
    let second = chain_sizes(dir.path())[1];
    let until = Wanted { size: Some(second), ..Wanted::default() };
    assert_eq!(read_by(dir.path(), &[7], until).await.unwrap().0, second);
}

#[tokio::test]
async fn what_a_retired_key_signed_later_is_not_what_was_kept() {
    let (dir, _pen) = rotated().await;
    let anchors = dir.path().join("store/anchors");
    let mut paths: Vec<_> = fs::read_dir(&anchors).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    // The thief of the first key, with access to the store, before anybody else has seen the last anchor.
    let last = paths.last().unwrap();
    let mut anchor: crate::Anchor = serde_json::from_slice(&fs::read(last).unwrap()).unwrap();
    let note = chain::note::Note::parse(&anchor.checkpoint).unwrap();
    anchor.checkpoint = chain::note::sign(&note.text, &key());
    super::strays::sign(&mut anchor, &key());
    rewrite(last, anchor.to_bytes().unwrap().as_bytes());
    let refused = read_by(dir.path(), &[7, 8], Wanted::default()).await.err().unwrap().to_string();
    assert!(refused.contains("no key that was in force at size"), "{refused}");
    // One by nobody, in the middle: the policy cannot know, the entries can.
    let (dir, _pen) = rotated().await;
    let stranger = SigningKey::from_seed(super::ORIGIN, [9; 32]);
    forge_first(dir.path(), &stranger);
    let refused = read_by(dir.path(), &[8], Wanted::default()).await.err().unwrap().to_string();
    assert!(refused.contains("no key that was in force at size"), "{refused}");
}

/// Has the first anchor signed by this key, and links the others to it, as whoever has the log's keys can.
fn forge_first(dir: &Path, key: &SigningKey) {
    let anchors = dir.join("store/anchors");
    let mut paths: Vec<_> = fs::read_dir(&anchors).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    let mut before: Option<Hash> = None;
    for (index, path) in paths.iter().enumerate() {
        let mut anchor: crate::Anchor = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        if index == 0 {
            let note = chain::note::Note::parse(&anchor.checkpoint).unwrap();
            anchor.checkpoint = chain::note::sign(&note.text, key);
        }
        if let (Some(previous), Some(sha256)) = (&mut anchor.previous, before) {
            previous.sha256 = sha256;
        }
        let text = chain::anchor::text(&anchor.origin, &anchor.unsigned().unwrap());
        let own = [7, 8].map(|seed| SigningKey::from_seed(super::ORIGIN, [seed; 32]));
        let by: &[SigningKey] = if index == 0 { std::slice::from_ref(key) } else { &own };
        anchor.signature = by.iter().map(|key| key.sign(&text)).collect();
        let bytes = anchor.to_bytes().unwrap();
        rewrite(path, bytes.as_bytes());
        before = Some(sha256(&[bytes.as_bytes()]));
    }
}

pub(super) fn chain_sizes(dir: &Path) -> Vec<u64> {
    let names = fs::read_dir(dir.join("store/anchors")).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names.iter().map(|name| name[21..41].parse().unwrap()).collect()
}

fn print_of(seed: u8) -> Hash {
    chain::rotation::fingerprint(&signer(seed).key().vkey())
}
