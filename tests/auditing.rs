//! The operator gone: server, database and data directory. What is left is the anchors' store, and a stranger with the public key audits it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anchor::store::{Store as _, contract};
use chain::hash::sha256;
use guildhall_tests::kept::{self, City, edit_a_pack};
use guildhall_tests::programs::{self, auditor};
use guildhall_tests::s3::{S3, ceph};
use guildhall_tests::{Engine, block_on, tools};
use serde_json::Value;
use worm::{Bucket, S3ObjectLock};

/// Audits a store, with the policy from before.
fn audit(city: &City, store: &Path) -> (i32, Value) {
    let (store, policy) = (store.to_str().unwrap(), city.policy());
    let ended = programs::run(&auditor(), &["verify", store, "--policy", &policy, "--json"]);
    (ended.code.unwrap(), serde_json::from_str(&ended.stdout).unwrap_or(Value::String(ended.stderr)))
}

/// The city comes to rest; then everything of it goes, but for the store.
async fn rest_and_go(city: &mut City) -> u64 {
    city.rest(true).await;
    let size = kept::size(&city.place.home).await;
    fs::remove_dir_all(&city.place.home.dir).unwrap();
    size
}

fn assert_audited(city: &City, store: &Path, size: u64) {
    assert!(!store.join("checkpoint").exists() && !store.join("policy").exists());
    let (code, report) = audit(city, store);
    assert_eq!(code, 0, "{report:#}");
    let newest = kept::anchors(store).pop().unwrap();
    let newest = format!("anchors/{}", newest.file_name().unwrap().to_str().unwrap());
    assert_eq!(report["ends_at"], newest, "{report:#}");
    let covered = report["size"].as_u64().unwrap();
    // The newest anchor, and that it was made, is all that came after it.
    assert!(covered > 300 && size - covered <= 3, "{covered} of {size}: {report:#}");
    assert_eq!(
        (report["understood"].as_u64(), report["anchors"].as_u64() >= Some(2)),
        (Some(covered), true),
        "{report:#}"
    );
    // And for the verifier that was written from FORMAT.md alone.
    let told =
        tools::python("verify.py", &[store.as_os_str(), "--key".as_ref(), city.policy().as_ref(), "--json".as_ref()]);
    assert_eq!(told.expect(0).json()["end"], newest);
}

#[test]
fn with_the_operator_gone_the_store_of_the_anchors_is_audited_alone() {
    block_on(async {
        let mut city = City::in_folder(Engine::Sqlite, 300).await;
        let size = rest_and_go(&mut city).await;
        let store = city.dir.path().join("worm");
        assert_audited(&city, &store, size);
        // It is an audit: what was changed there is found.
        edit_a_pack(&store);
        let (code, report) = audit(&city, &store);
        assert!(code == 1 && report["first_bad_position"].is_u64(), "{report:#}");
    });
}

/// Copies a bucket as anybody may who can list and get (docs/auditing.md): of every key the oldest version that is no marker, and of what an
/// anchor lists by its hash the one that it lists. A tile or a pack that none lists was not anchored.
async fn copy(s3: &S3, bucket: &Bucket, to: &Path) {
    let reader = s3.client(&s3.weak);
    let refused = reader.put_object().bucket(&bucket.name).key("city/mine").body(b"x".to_vec().into()).send().await;
    assert!(refused.is_err(), "this credential can only read");
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut pages = Some((None, None));
    while let Some((key, version)) = pages {
        let ask = reader.list_object_versions().bucket(&bucket.name).prefix(&bucket.prefix);
        let page = ask.set_key_marker(key).set_version_id_marker(version).send().await.unwrap();
        for version in page.versions() {
            // Newest first.
            let of_key = versions.entry(version.key().unwrap().to_owned()).or_default();
            of_key.insert(0, version.version_id().unwrap().to_owned());
        }
        let more = page.is_truncated() == Some(true);
        pages = more.then_some((page.next_key_marker, page.next_version_id_marker));
    }
    let get = async |key: &str, version: &str| {
        let object = reader.get_object().bucket(&bucket.name).key(key).version_id(version).send().await.unwrap();
        object.body.collect().await.unwrap().into_bytes()
    };
    for (key, versions) in &versions {
        let path = to.join(key.strip_prefix(&bucket.prefix).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, get(key, &versions[0]).await).unwrap();
    }
    let mut anchored = BTreeSet::new();
    for anchor in kept::anchors(to) {
        let anchor: Value = serde_json::from_slice(&fs::read(anchor).unwrap()).unwrap_or_default();
        for (path, listed) in anchor["files"].as_object().into_iter().flatten() {
            anchored.insert(path.clone());
            let is_listed = |bytes: &[u8]| sha256(&[bytes]).to_string() == *listed;
            if is_listed(&fs::read(to.join(path)).unwrap()) {
                continue;
            }
            let key = format!("{}{path}", bucket.prefix);
            for version in &versions[&key] {
                let bytes = get(&key, version).await;
                if is_listed(&bytes) {
                    fs::write(to.join(path), bytes).unwrap();
                }
            }
        }
    }
    let paths = versions.keys().map(|key| key.strip_prefix(&bucket.prefix).unwrap());
    for path in paths.filter(|path| path.starts_with("tile/") || path.starts_with("pack/")) {
        if !anchored.contains(path) {
            fs::remove_file(to.join(path)).unwrap();
        }
    }
}

#[test]
fn what_the_writers_credential_put_under_names_of_the_tree_holds_up_nobody_and_hides_nothing() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        let mut city = City::in_bucket(Engine::Sqlite, &s3, 20).await;
        let home = city.place.home.clone();
        home.run(&["anchor", "now"]).expect(0);
        let size = kept::size(&home).await;
        assert!(size < 250, "{size}: nothing is full yet");
        let thief = S3ObjectLock::new(city.bucket.clone().unwrap(), &s3.writer, None);
        let names = ["tile/0/000", "tile/entries/000", "pack/000"];
        for name in names {
            thief.put(name, b"not the city's".to_vec(), contract::seven_years()).await.unwrap();
            for width in size + 1..size + 9 {
                let name = format!("{name}.p/{width}");
                thief.put(&name, b"not the city's".to_vec(), contract::seven_years()).await.unwrap();
            }
        }
        city.fund(2).await;
        home.run(&["anchor", "now"]).expect(0);
        city.fund(320).await;
        home.run(&["anchor", "now"]).expect(0);
        let check = home.run(&["anchor", "check", "--read", "--json"]).expect(1).json();
        assert!(check["missing"]["count"] == 0 && check["strays"]["count"].as_u64() >= Some(6), "{check:#}");
        for name in names {
            assert!(check["strays"]["first"].to_string().contains(&format!("{name}: version")), "{check:#}");
        }
        assert!(home.run(&["anchor", "status", "--json"]).expect(0).json()["trouble"].is_null());
        let size = rest_and_go(&mut city).await;
        let bucket = city.bucket.clone().unwrap();
        s3.only_let_the_weak_read(&bucket).await;
        let store = city.dir.path().join("copy");
        copy(&s3, &bucket, &store).await;
        assert_audited(&city, &store, size);
        // And what is gone comes back from it.
        let two = kept::successor(city.engine, city.dir.path(), &city.settings).await;
        let (from, policy) = (city.kept(), city.policy());
        let recover = ["recover", "--new-origin", kept::SUCCESSOR, "--from", &from, "--policy", &policy];
        let told = two.run(&[recover.as_slice(), &["--yes"]].concat()).expect(0).stdout;
        assert!(kept::size(&two).await > 300, "{told}");
    });
}

#[test]
fn with_the_operator_gone_a_bucket_is_copied_by_whoever_may_read_and_audited() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        let mut city = City::in_bucket(Engine::Sqlite, &s3, 300).await;
        let size = rest_and_go(&mut city).await;
        let bucket = city.bucket.clone().unwrap();
        s3.only_let_the_weak_read(&bucket).await;
        let store = city.dir.path().join("copy");
        copy(&s3, &bucket, &store).await;
        assert_audited(&city, &store, size);

        // What the owner of the bucket lays over it hides nothing.
        let owner = s3.client(&s3.owner);
        let anchor = kept::anchors(&store).remove(0);
        let anchor = format!("city/anchors/{}", anchor.file_name().unwrap().to_str().unwrap());
        owner.delete_object().bucket(&bucket.name).key(&anchor).send().await.unwrap();
        let forged = owner.put_object().bucket(&bucket.name).key("city/pack/000").body(b"forged".to_vec().into());
        forged.send().await.unwrap();
        let again = city.dir.path().join("again");
        copy(&s3, &bucket, &again).await;
        assert_audited(&city, &again, size);
    });
}
