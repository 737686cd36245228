//! Every kind of store keeps the same promises, and what its lock is worth is found out by attacking it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use anchor::proof_of_lock::{Attack, Attempt, ProofOfLock, Reason, Verdict, prove};
use anchor::store::{Kind, Mode, Store, contract, keys, strays};
use anchor::{AnchorError, Directory};
use aws_sdk_s3::types::{ObjectLockRetention, ObjectLockRetentionMode};
use chain::hash::sha256;
use futures::StreamExt as _;
use guildhall_tests::r2::R2;
use guildhall_tests::s3::{S3, ceph, moto};
use jiff::Timestamp;
use worm::{Bucket, Credentials, R2BucketLock, S3ObjectLock};

const RULES: &[&str] = &["once/", "other/", "never/", "list", "alone/", "canary/"];

/// Puts as the writer, attacks as `prover`.
fn store(s3: &S3, bucket: &Bucket, prover: Option<&Credentials>) -> S3ObjectLock {
    S3ObjectLock::new(bucket.clone(), &s3.writer, prover)
}

async fn tried(store: &dyn Store) -> ProofOfLock {
    let tamper = store.tamper().unwrap();
    prove(store.kind(), tamper.as_ref(), Timestamp::now(), "test").await
}

#[tokio::test]
async fn a_folder_keeps_the_promises_of_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::new(dir.path());
    contract::holds(&store).await;
    assert!(store.tamper().is_none() && !store.kind().has_lock());
}

#[tokio::test]
async fn a_bucket_with_object_lock_keeps_the_promises_of_a_store() {
    let Some(s3) = ceph() else { return };
    let bucket = s3.bucket().await;
    let store = store(&s3, &bucket, None);
    contract::holds(&store).await;
    // More versions than a page holds, of more keys than one and of one key alone.
    let owner = s3.client(&s3.owner);
    let put = |number: usize| {
        let key = if number < 1100 { format!("city/many/{number:04}") } else { "city/many/one".to_owned() };
        owner.put_object().bucket(&bucket.name).key(key).body(vec![1].into()).send()
    };
    let puts: Vec<_> = (0..2200).map(put).collect();
    let ended: Vec<_> = futures::stream::iter(puts).buffer_unordered(16).collect().await;
    assert!(ended.iter().all(Result::is_ok));
    assert_eq!(keys(&store, "many/").await.unwrap().len(), 1101);
    let mut versions = store.versions("many/", None).await.unwrap();
    versions.dedup();
    assert_eq!(versions.len(), 2200);
    assert_eq!(store.versions("many/", Some("many/1098")).await.unwrap().len(), 1101);
}

#[tokio::test]
async fn a_bucket_with_rules_keeps_the_promises_of_a_store() {
    let (r2, bucket, credentials) = R2::serve(RULES).await;
    let store = R2BucketLock::new(bucket, &credentials, None);
    contract::holds(&store).await;
    // An answer was lost, and the attempt is made again: it is there already, which is fine if it is the same.
    *r2.loses_answers.lock().unwrap() = true;
    let written = store.put("once/lost", b"bytes".to_vec(), contract::seven_years()).await.unwrap();
    assert_eq!(written.put, anchor::store::Put::Same);
}

#[tokio::test]
async fn what_is_written_is_locked_for_seven_years_and_nothing_takes_it_away() {
    let Some(s3) = ceph() else { return };
    let bucket = s3.bucket().await;
    let store = store(&s3, &bucket, None);
    // Once: the clock moves on between two.
    let retention = contract::seven_years();
    let written = store.put("anchors/a", b"anchor".to_vec(), retention).await.unwrap();
    let lock = written.lock.unwrap();
    assert_eq!((lock.mode, lock.until.as_second()), (Mode::Compliance, retention.until.as_second()));
    let (owner, version) = (s3.client(&s3.owner), written.version.unwrap());
    let delete = owner.delete_object().bucket(&bucket.name).key("city/anchors/a").version_id(&version);
    delete.bypass_governance_retention(true).send().await.unwrap_err();
    // The writer itself cannot even delete what is not locked.
    let writer = s3.client(&s3.writer);
    let loose = writer.put_object().bucket(&bucket.name).key("loose").body(b"1".to_vec().into()).send().await.unwrap();
    let delete = writer.delete_object().bucket(&bucket.name).key("loose").version_id(loose.version_id.unwrap());
    delete.send().await.unwrap_err();
}

#[tokio::test]
async fn a_marker_and_a_second_version_hide_nothing_and_are_named() {
    let Some(s3) = ceph() else { return };
    let bucket = s3.bucket().await;
    let store = store(&s3, &bucket, None);
    store.put("anchors/a", b"anchor".to_vec(), contract::seven_years()).await.unwrap();
    let owner = s3.client(&s3.owner);
    owner.delete_object().bucket(&bucket.name).key("city/anchors/a").send().await.unwrap();
    assert_eq!(keys(&store, "anchors/").await.unwrap(), ["anchors/a"], "a marker hides no anchor");
    assert_eq!(store.get("anchors/a", None).await.unwrap().unwrap().bytes, b"anchor");
    let again = store.put("anchors/a", b"anchor".to_vec(), contract::seven_years()).await.unwrap();
    assert_eq!(again.put, anchor::store::Put::Same);
    owner.put_object().bucket(&bucket.name).key("city/anchors/a").body(b"forged".to_vec().into()).send().await.unwrap();
    assert_eq!(store.get("anchors/a", None).await.unwrap().unwrap().bytes, b"anchor", "the oldest stands for the key");
    let found = strays(&store, "anchors/a", sha256(&[b"anchor"])).await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("delete marker") && found[1].contains("other bytes"), "{found:?}");
    let refused = store.put("anchors/a", b"anchor".to_vec(), contract::seven_years()).await.unwrap_err();
    assert!(refused.is_alarming(), "{refused}");
}

#[tokio::test]
async fn a_lock_that_is_too_short_is_not_taken_for_an_earlier_attempt() {
    let Some(s3) = ceph() else { return };
    let bucket = s3.bucket().await;
    let store = store(&s3, &bucket, None);
    let now = Timestamp::now();
    let short = anchor::store::Retention::from(now, 1, 0).unwrap();
    let first = store.put("anchors/a", b"anchor".to_vec(), short).await.unwrap();
    let second = store.put("anchors/a", b"anchor".to_vec(), contract::seven_years()).await.unwrap();
    assert_ne!(first.version, second.version);
    assert!(second.lock.unwrap().until > first.lock.unwrap().until);
    assert_eq!(strays(&store, "anchors/a", sha256(&[b"anchor"])).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_bucket_without_a_lock_takes_no_anchor() {
    let Some(s3) = ceph() else { return };
    let mut bucket = s3.bucket().await;
    bucket.name = format!("{}-open", bucket.name);
    s3.client(&s3.owner).create_bucket().bucket(&bucket.name).send().await.unwrap();
    let store = S3ObjectLock::new(bucket, &s3.owner, Some(&s3.owner));
    let refused = store.put("anchors/a", b"anchor".to_vec(), contract::seven_years()).await.unwrap_err();
    assert!(refused.is_alarming(), "{refused}");
    assert_ne!(tried(&store).await.verdict, Verdict::Proven);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_waited_for_and_is_no_alarm() {
    let nobody = Credentials { key_id: "id".into(), secret: "secret".to_owned().into(), session_token: None };
    let bucket = Bucket {
        endpoint: "http://127.0.0.1:1".into(),
        region: "us-east-1".into(),
        name: "nowhere".into(),
        prefix: String::new(),
    };
    let store = S3ObjectLock::new(bucket, &nobody, Some(&nobody));
    let failed = store.put("anchors/a", b"anchor".to_vec(), contract::seven_years()).await.unwrap_err();
    assert!(matches!(failed, AnchorError::Unreachable(_)) && !failed.is_alarming(), "{failed}");
    let proof = tried(&store).await;
    assert_eq!((proof.verdict, proof.reason), (Verdict::Unproven, Some(Reason::NoCanary)));
}

#[tokio::test]
async fn the_lock_of_the_object_gateway_is_proven() {
    let Some(s3) = ceph() else { return };
    let bucket = s3.bucket().await;
    let store = store(&s3, &bucket, Some(&s3.owner));
    let proof = tried(&store).await;
    assert_eq!((proof.verdict, proof.reason), (Verdict::Proven, None), "{proof:#?}");
    assert!(proof.controls.iter().all(|control| control.worked), "{:#?}", proof.controls);
    let refused: Vec<(Attack, u16)> = proof
        .attempts
        .iter()
        .filter(|attempt| attempt.status >= 400)
        .map(|Attempt { attack, status, .. }| (*attack, *status))
        .collect();
    assert_eq!(
        refused,
        [
            (Attack::DeleteVersion, 403),
            (Attack::DeleteVersionWithBypass, 403),
            (Attack::Shorten, 403),
            (Attack::ShortenWithBypass, 403),
            (Attack::Downgrade, 403),
            (Attack::DowngradeWithBypass, 403),
            (Attack::RemoveRetention, 400),
            (Attack::SuspendVersioning, 409),
        ]
    );
    // Again: what the first run left is no hindrance, and what is not locked of it is cleared away.
    let before = store.versions("canary/", None).await.unwrap().len();
    let tamper = store.tamper().unwrap();
    let second = prove(store.kind(), tamper.as_ref(), Timestamp::now(), "second").await;
    assert_eq!(second.verdict, Verdict::Proven);
    let left = store.versions("canary/test/", None).await.unwrap();
    assert!(left.len() < before && left.len() == 1, "only the locked canary is left of the first run: {left:?}");
}

#[tokio::test]
async fn a_credential_that_merely_lacks_permission_proves_nothing() {
    let Some(s3) = ceph() else { return };
    let bucket = s3.bucket().await;
    let store = store(&s3, &bucket, Some(&s3.weak));
    let proof = tried(&store).await;
    assert!(proof.attempts.iter().all(|attempt| !attempt.harmed), "everything was refused: {:#?}", proof.attempts);
    assert_eq!((proof.verdict, proof.reason), (Verdict::Unproven, Some(Reason::NoControl)), "{proof:#?}");
}

#[tokio::test]
async fn a_mock_that_only_says_that_it_locks_fails_the_proof() {
    sources::prepare_tls();
    let Some(s3) = moto() else { return };
    let bucket = s3.bucket().await;
    let store = store(&s3, &bucket, Some(&s3.owner));
    let proof = tried(&store).await;
    assert_eq!((proof.verdict, proof.reason), (Verdict::Yielded, Some(Reason::Harmed)), "{proof:#?}");
    let harm: Vec<Attack> = proof.harm().collect();
    for attack in [Attack::Shorten, Attack::Downgrade, Attack::SuspendVersioning] {
        assert!(harm.contains(&attack), "{attack:?} is not among {harm:?}");
        assert!(proof.to_string().contains(attack.words()), "{proof}");
    }
    // And it is on again.
    let address = format!("{}/{}?versioning", bucket.endpoint, bucket.name);
    let told = reqwest::get(address).await.unwrap().text().await.unwrap();
    assert!(told.contains("<Status>Enabled</Status>"), "{told}");
}

#[tokio::test]
async fn a_retention_that_the_owner_shortens_is_seen_by_looking_not_by_what_was_answered() {
    let Some(s3) = moto() else { return };
    let bucket = s3.bucket().await;
    let store = store(&s3, &bucket, None);
    let written = store.put("anchors/a", b"anchor".to_vec(), contract::seven_years()).await.unwrap();
    let retention = ObjectLockRetention::builder()
        .mode(ObjectLockRetentionMode::Compliance)
        .retain_until_date(aws_sdk_s3::primitives::DateTime::from_secs(Timestamp::now().as_second() + 60))
        .build();
    let shorten = s3.client(&s3.owner).put_object_retention().bucket(&bucket.name).key("city/anchors/a");
    shorten.version_id(written.version.as_ref().unwrap()).retention(retention).send().await.unwrap();
    let object = store.get("anchors/a", written.version.as_deref()).await.unwrap().unwrap();
    assert!(object.lock.unwrap().until < written.lock.unwrap().until);
    let again = store.put("anchors/a", b"anchor".to_vec(), contract::seven_years()).await.unwrap();
    assert_ne!(again.version, written.version, "what is not kept for long enough is written once more");
}

#[tokio::test]
async fn the_rules_of_a_bucket_are_proven_until_somebody_takes_them_away() {
    let (r2, bucket, credentials) = R2::serve(RULES).await;
    let store = R2BucketLock::new(bucket, &credentials, Some(&credentials));
    let proof = tried(&store).await;
    assert_eq!((proof.store, proof.verdict, proof.reason), (Kind::R2BucketLock, Verdict::Proven, None), "{proof:#?}");
    r2.remove_rules();
    let tamper: Arc<_> = store.tamper().unwrap();
    let proof = prove(store.kind(), tamper.as_ref(), Timestamp::now(), "later").await;
    assert_eq!(proof.verdict, Verdict::Yielded);
    assert_eq!(proof.harm().collect::<Vec<_>>(), [Attack::Overwrite, Attack::Delete]);
}

#[tokio::test]
async fn rules_that_lock_everything_leave_no_control_and_prove_nothing() {
    let (_r2, bucket, credentials) = R2::serve(&[""]).await;
    let store = R2BucketLock::new(bucket, &credentials, Some(&credentials));
    let proof = tried(&store).await;
    assert_eq!((proof.verdict, proof.reason), (Verdict::Unproven, Some(Reason::NoControl)), "{proof:#?}");
}

#[tokio::test]
async fn files_are_immutable_where_that_is_asked_for_or_it_is_said_that_they_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::new(dir.path().join("worm")).immutable(true);
    let probe = dir.path().join("probe");
    std::fs::write(&probe, "x").unwrap();
    let chattr = |change: &str, path: &std::path::Path| {
        std::process::Command::new("chattr").arg(change).arg(path).output().is_ok_and(|ended| ended.status.success())
    };
    let can = chattr("+i", &probe);
    chattr("-i", &probe);
    let written = store.put("anchors/a", b"anchor".to_vec(), contract::seven_years()).await;
    if can {
        let path = dir.path().join("worm/anchors/a");
        assert_eq!(written.unwrap().put, anchor::store::Put::New);
        let again = store.put("anchors/a", b"anchor".to_vec(), contract::seven_years()).await.unwrap();
        assert_eq!(again.put, anchor::store::Put::Same);
        std::fs::remove_file(&path).unwrap_err();
        std::fs::write(&path, "forged").unwrap_err();
        assert!(chattr("-i", &path), "so that the folder of this test can go");
        assert!(store.guarantee().contains("immutable"));
    } else {
        let refused = written.unwrap_err().to_string();
        assert!(refused.contains("cannot be made immutable"), "{refused}");
    }
}
