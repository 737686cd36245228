//! The operator gone: server, database and data directory. What is left is the anchors' store, and a stranger with the public key audits it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use guildhall_tests::kept::{self, City, edit_a_pack};
use guildhall_tests::programs::{self, auditor};
use guildhall_tests::s3::{S3, ceph};
use guildhall_tests::{Engine, block_on, tools};
use serde_json::Value;
use worm::Bucket;

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

/// Copies a bucket as anybody may who can list and get: of every key the oldest version that is no marker.
async fn copy(s3: &S3, bucket: &Bucket, to: &Path) {
    let reader = s3.client(&s3.weak);
    let refused = reader.put_object().bucket(&bucket.name).key("city/mine").body(b"x".to_vec().into()).send().await;
    assert!(refused.is_err(), "this credential can only read");
    let mut oldest: BTreeMap<String, String> = BTreeMap::new();
    let mut pages = Some((None, None));
    while let Some((key, version)) = pages {
        let ask = reader.list_object_versions().bucket(&bucket.name).prefix(&bucket.prefix);
        let page = ask.set_key_marker(key).set_version_id_marker(version).send().await.unwrap();
        for version in page.versions() {
            // Newest first: the last one that is seen of a key stays.
            oldest.insert(version.key().unwrap().to_owned(), version.version_id().unwrap().to_owned());
        }
        let more = page.is_truncated() == Some(true);
        pages = more.then_some((page.next_key_marker, page.next_version_id_marker));
    }
    for (key, version) in oldest {
        let path = to.join(key.strip_prefix(&bucket.prefix).unwrap());
        let object = reader.get_object().bucket(&bucket.name).key(&key).version_id(&version).send().await.unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, object.body.collect().await.unwrap().into_bytes()).unwrap();
    }
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
