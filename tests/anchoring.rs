//! A city whose anchors lie in a bucket with Object Lock, and everything that can be done to them there: by who uses S3, and by who runs it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anchor::store::{Store as _, contract};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, NoncurrentVersionExpiration, ObjectLockRetention, ObjectLockRetentionMode,
    VersioningConfiguration,
};
use guildhall_tests::http::Http;
use guildhall_tests::programs::{self, auditor};
use guildhall_tests::s3::{S3, ceph, moto};
use guildhall_tests::server::{Place, Server};
use guildhall_tests::town::Town;
use guildhall_tests::{Dice, Engine, block_on};
use serde_json::Value;
use worm::{Bucket, Credentials, S3ObjectLock};

/// A running city that anchors into a bucket of its own.
struct Anchored {
    s3: S3,
    bucket: Bucket,
    place: Place,
    server: Server,
    http: Http,
    town: Town,
    dir: tempfile::TempDir,
}

impl Anchored {
    async fn new(engine: Engine, s3: S3, prover: impl Fn(&S3) -> Option<Credentials>) -> Self {
        Self::with(engine, s3, prover, &[]).await
    }

    async fn with(
        engine: Engine,
        s3: S3,
        prover: impl Fn(&S3) -> Option<Credentials>,
        more: &[(&'static str, &str)],
    ) -> Self {
        let bucket = s3.bucket().await;
        let mut place = Place::new(engine).await;
        let mut settings = vec![
            ("GUILDHALL_ANCHOR__KIND", "s3-object-lock".to_owned()),
            ("GUILDHALL_ANCHOR__S3__ENDPOINT", bucket.endpoint.clone()),
            ("GUILDHALL_ANCHOR__S3__BUCKET", bucket.name.clone()),
            ("GUILDHALL_ANCHOR__S3__PREFIX", bucket.prefix.clone()),
            ("GUILDHALL_WORM_KEY_ID", s3.writer.key_id.clone()),
            ("GUILDHALL_WORM_SECRET", s3.writer.secret.to_string()),
        ];
        settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        if let Some(prover) = prover(&s3) {
            settings.push(("GUILDHALL_PROVER_KEY_ID", prover.key_id.clone()));
            settings.push(("GUILDHALL_PROVER_SECRET", prover.secret.to_string()));
        }
        place.home.settings = settings;
        let server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        town.fund(&http, "first", "10").await;
        let dir = tempfile::tempdir().unwrap();
        let city = Self { s3, bucket, place, server, http, town, dir };
        // What a server anchors by itself when it begins is not to come between the steps of a test.
        city.status_where(|status| !status["anchored"].is_null());
        city
    }

    fn json(&self, command: &[&str]) -> Value {
        let ended = self.place.home.run(&[command, &["--json"]].concat()).expect(0);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// Waits until the status pleases.
    fn status_where(&self, pleases: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let status = self.json(&["anchor", "status"]);
            if pleases(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{status:#}\n{}", self.server.said());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// This anchor as the store has it.
    fn listed(&self, anchored: &Value) -> Value {
        let listed = self.json(&["anchor", "list"]);
        let mut listed = listed.as_array().unwrap().iter();
        listed.find(|listed| listed["key"] == anchored["key"]).unwrap().clone()
    }

    async fn owner(&self) -> Client {
        self.s3.client(&self.s3.owner)
    }

    /// What everybody is shown.
    async fn shown(&self) -> Value {
        reqwest::get(format!("{}/audit.json", self.http.base)).await.unwrap().json().await.unwrap()
    }

    /// Exports and audits: the exit code and the report.
    fn audit(&self, name: &str) -> (i32, Value) {
        let out: PathBuf = self.dir.path().join(name);
        self.place.home.run(&["export", "--out", out.to_str().unwrap()]).expect(0);
        let policy = self.dir.path().join("policy");
        if !policy.exists() {
            fs::copy(out.join("policy"), &policy).unwrap();
        }
        let arguments = ["verify", out.to_str().unwrap(), "--policy", policy.to_str().unwrap(), "--json"];
        let ended = programs::run(&auditor(), &arguments);
        (ended.code.unwrap(), serde_json::from_str(&ended.stdout).unwrap_or(Value::String(ended.stderr)))
    }

    async fn tried_on_record(&self) -> Vec<Value> {
        let log = self.place.home.log().await;
        let entries = log.read_stream("log", 0, 1000).await.unwrap();
        let entries = entries.iter().map(|entry| serde_json::from_slice::<Value>(&entry.bytes).unwrap());
        entries.filter(|entry| entry["type"] == "log.lock_tried.v1").map(|entry| entry["data"].clone()).collect()
    }
}

fn owner(s3: &S3) -> Option<Credentials> {
    Some(s3.owner.clone())
}

#[test]
fn a_city_anchors_into_a_bucket_whose_lock_it_proves_at_start_and_when_asked() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        let city = Anchored::new(Engine::Postgres, s3, owner).await;
        let anchored = city.json(&["anchor", "now"]);
        assert_eq!((&anchored["store"], &anchored["mode"]), (&"s3-object-lock".into(), &"compliance".into()));
        let version = anchored["version"].as_str().unwrap();
        let key = format!("city/{}", anchored["key"].as_str().unwrap());
        let owner = city.owner().await;
        let kept = owner.get_object_retention().bucket(&city.bucket.name).key(key).version_id(version).send().await;
        let kept = kept.unwrap().retention.unwrap();
        assert_eq!(kept.mode, Some(ObjectLockRetentionMode::Compliance));
        let until: jiff::Timestamp = anchored["retain_until"].as_str().unwrap().parse().unwrap();
        assert_eq!(kept.retain_until_date.unwrap().secs(), until.as_second());

        let status = city.status_where(|status| status["lock"]["verdict"] == "proven");
        assert_eq!(status["trouble"], Value::Null);
        assert!(status["guarantee"].as_str().unwrap().contains("COMPLIANCE"), "{status}");
        let proof = city.json(&["anchor", "prove"]);
        assert_eq!((&proof["verdict"], proof["attempts"].as_array().unwrap().len()), (&"proven".into(), 10));
        let words = city.place.home.run(&["anchor", "prove"]).expect(0).stdout;
        assert!(words.contains("the lock: proven") && words.contains("shorten with bypass"), "{words}");
        let on_record = city.tried_on_record().await;
        assert_eq!(on_record.len(), 3, "at start, and twice when asked");
        assert!(on_record.iter().all(|tried| tried["verdict"] == "proven"), "{on_record:?}");
        let (_, metrics) = city.http.get(&city.town.founder, "/metrics").await;
        let line = r#"guildhall_lock_proof{store="s3-object-lock",verdict="proven"} 1"#;
        assert!(metrics.as_str().unwrap().contains(line), "{metrics}");
        let shown = city.shown().await;
        for lock in [&shown["store"]["lock"], &shown["locks"]["s3-object-lock"]] {
            assert_eq!((&lock["verdict"], &lock["says"]), (&"proven".into(), &"proven".into()), "{shown:#}");
            assert!(lock["at"].is_string() && lock["age_seconds"].is_u64(), "{shown:#}");
        }
        assert_eq!(shown["anchors"].as_array().unwrap().last().unwrap()["version"], version, "{shown:#}");

        let (code, report) = city.audit("export");
        assert_eq!(code, 0, "{report:#}");
        let listed = city.listed(&anchored);
        assert!(listed["version"].is_string() && listed.get("strays").is_none(), "{listed}");
        city.place.home.run(&["doctor"]).expect(0);
    });
}

#[test]
fn a_store_that_yields_is_an_alarm_and_is_named_by_what_it_yielded_to() {
    let Some(s3) = moto() else { return };
    block_on(async {
        let often = [("GUILDHALL_ANCHOR__PROVE_SECONDS", "1")];
        let city = Anchored::with(Engine::Sqlite, s3, owner, &often).await;
        city.json(&["anchor", "now"]);
        let status = city.status_where(|status| status["lock"]["verdict"] == "yielded");
        let says = status["lock"]["says"].as_str().unwrap();
        for words in ["shorten the retention", "downgrade the retention", "suspend the bucket's versioning"] {
            assert!(says.contains(words), "{says}");
        }
        let said = city.server.said();
        assert!(said.contains("alarm=true") && said.contains("YIELDED"), "{said}");
        let shown = city.shown().await;
        assert_eq!(shown["store"]["lock"]["says"], says, "{shown:#}");
        assert_eq!(shown["locks"]["s3-object-lock"]["says"], says, "{shown:#}");
        city.place.home.run(&["anchor", "prove"]).expect(1);
        let deadline = Instant::now() + Duration::from_secs(30);
        while city.tried_on_record().await.len() < 4 {
            assert!(Instant::now() < deadline, "it is tried again and again");
            std::thread::sleep(Duration::from_millis(200));
        }
        assert!(city.tried_on_record().await.iter().all(|tried| tried["verdict"] == "yielded"));
        // An anchor whose retention is shortened is named as well.
        let anchored = city.json(&["anchor", "now"]);
        let until = aws_sdk_s3::primitives::DateTime::from_secs(jiff::Timestamp::now().as_second() + 60);
        let shorter =
            ObjectLockRetention::builder().mode(ObjectLockRetentionMode::Compliance).retain_until_date(until).build();
        let owner = city.owner().await;
        let shorten = owner.put_object_retention().bucket(&city.bucket.name).retention(shorter);
        let shorten = shorten.key(format!("city/{}", anchored["key"].as_str().unwrap()));
        shorten.version_id(anchored["version"].as_str().unwrap()).send().await.unwrap();
        city.json(&["anchor", "now"]);
        let said = city.server.said();
        assert!(said.contains("it is locked for less than when it was written"), "{said}");
        // What it is worth is said; what it holds is an anchor all the same.
        let (code, report) = city.audit("export");
        assert_eq!(code, 0, "{report:#}");
    });
}

#[test]
fn without_a_credential_that_could_do_harm_the_lock_stays_unproven() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        let mut city = Anchored::new(Engine::Sqlite, s3, |_| None).await;
        city.json(&["anchor", "now"]);
        let untried = city.place.home.run(&["anchor", "prove"]).expect(1);
        assert!(untried.stdout.contains("GUILDHALL_PROVER_KEY_ID"), "{}", untried.stdout);
        city.server.stop();
        // One that may not delete is no better.
        let weak = [
            ("GUILDHALL_PROVER_KEY_ID", city.s3.weak.key_id.clone()),
            ("GUILDHALL_PROVER_SECRET", city.s3.weak.secret.to_string()),
        ];
        city.place.home.settings.extend(weak);
        let tried = city.place.home.run(&["anchor", "prove"]).expect(1);
        assert!(
            tried.stdout.contains("the lock: unproven") && tried.stdout.contains("DID NOT WORK"),
            "{}",
            tried.stdout
        );
    });
}

/// What was asked was refused, and for this reason: to be refused for want of permission would show nothing.
#[track_caller]
fn because<T: std::fmt::Debug, E: std::fmt::Debug>(reason: &str, ended: Result<T, E>) {
    let refused = format!("{:?}", ended.unwrap_err());
    assert!(refused.contains(reason), "{refused}");
}

/// Everything that the owner of the bucket can ask of S3. What is refused, and what is not and does no harm.
#[test]
fn who_owns_the_bucket_can_lay_something_over_an_anchor_and_take_nothing_away() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        let city = Anchored::new(Engine::Sqlite, s3, owner).await;
        let anchored = city.json(&["anchor", "now"]);
        let (version, key) = (anchored["version"].as_str().unwrap(), anchored["key"].as_str().unwrap());
        let (bucket, key) = (city.bucket.name.as_str(), format!("city/{key}"));
        let owner = city.owner().await;
        let retention = |mode, seconds: i64| {
            let until = aws_sdk_s3::primitives::DateTime::from_secs(jiff::Timestamp::now().as_second() + seconds);
            ObjectLockRetention::builder().mode(mode).retain_until_date(until).build()
        };
        let retain = |retention| {
            let put = owner.put_object_retention().bucket(bucket).key(&key).version_id(version).retention(retention);
            put.bypass_governance_retention(true).send()
        };
        let delete = || owner.delete_object().bucket(bucket).key(&key);
        let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();

        // Refused, and because of the lock.
        let locked = "forbidden by object lock";
        because(locked, delete().version_id(version).send().await);
        because(locked, delete().version_id(version).bypass_governance_retention(true).send().await);
        because("shortens an existing retention", retain(retention(ObjectLockRetentionMode::Compliance, 60)).await);
        let longer = retention(ObjectLockRetentionMode::Governance, 20 * 366 * 86_400);
        because("can't change retention mode", retain(longer).await);
        because("MalformedXML", retain(ObjectLockRetention::builder().build()).await);
        let suspend = owner.put_bucket_versioning().bucket(bucket).versioning_configuration(suspended);
        because("cannot be disabled on buckets with object lock", suspend.send().await);
        because("BucketNotEmpty", owner.delete_bucket().bucket(bucket).send().await);

        // Allowed, and of no avail: rules that expire everything do not reach what is locked.
        let expire_all = LifecycleRule::builder()
            .id("purge")
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix("").build())
            .expiration(LifecycleExpiration::builder().days(1).build())
            .noncurrent_version_expiration(NoncurrentVersionExpiration::builder().noncurrent_days(1).build())
            .build();
        let rules = BucketLifecycleConfiguration::builder().rules(expire_all.unwrap()).build().unwrap();
        owner.put_bucket_lifecycle_configuration().bucket(bucket).lifecycle_configuration(rules).send().await.unwrap();

        // Allowed: a marker over the anchor, and a forged newer version. Both are found and named; the anchor is still the anchor.
        delete().send().await.unwrap();
        owner.put_object().bucket(bucket).key(&key).body(b"{}".to_vec().into()).send().await.unwrap();
        let listed = city.listed(&anchored);
        let strays = listed["strays"].to_string();
        assert!(strays.contains("delete marker") && strays.contains("other bytes"), "{listed:#}");
        let (code, report) = city.audit("covered");
        assert_eq!(code, 0, "what is recorded is still there: {report:#}");
        city.town.fund(&city.http, "second", "10").await;
        // The server anchors at its own times as well.
        let anchor_now = || city.json(&["anchor", "now"])["seq"].as_u64().unwrap();
        let seq = anchor_now();
        assert!(seq > anchored["seq"].as_u64().unwrap(), "and anchoring goes on");
        let said = city.server.said();
        assert!(said.contains("somebody touched an anchor") && said.contains("alarm=true"), "{said}");

        // Allowed: who writes anchors is not to see them any more. It says so, and goes on when it sees them again.
        city.s3.blind_the_writer(&city.bucket).await;
        let blind = city.place.home.run(&["anchor", "now"]).expect(2);
        assert!(blind.stderr.contains("AccessDenied"), "{}", blind.stderr);
        city.s3.let_the_writer_see(&city.bucket).await;
        city.town.fund(&city.http, "third", "10").await;
        assert!(anchor_now() > seq);
        let (code, report) = city.audit("after");
        assert_eq!(code, 0, "{report:#}");
    });
}

/// Whoever has the credential that writes anchors can put anything there, and the lock keeps it until 2033.
#[test]
fn what_the_writers_credential_puts_among_the_anchors_stops_nothing() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        let mut city = Anchored::new(Engine::Sqlite, s3, owner).await;
        city.json(&["anchor", "now"]);
        let thief = S3ObjectLock::new(city.bucket.clone(), &city.s3.writer, None);
        let strays = ["anchors/00000000000000000005-00000000000000000099.json", "anchors/zzz"];
        for key in strays {
            let written = thief.put(key, b"{}".to_vec(), contract::seven_years()).await.unwrap();
            assert_eq!(written.lock.unwrap().mode, anchor::store::Mode::Compliance);
        }
        city.town.fund(&city.http, "second", "10").await;
        let seq = city.json(&["anchor", "now"])["seq"].as_u64().unwrap();
        city.server.stop();
        city.server = city.place.home.serve();
        let status = city.status_where(|status| status["survey"].is_object());
        assert!(status["trouble"].is_null() && status["strays"].as_array().unwrap().len() == 2, "{status:#}");
        city.town.fund(&city.http, "third", "10").await;
        assert!(city.json(&["anchor", "now"])["seq"].as_u64().unwrap() > seq);
        city.json(&["anchor", "adopt"]);
        let doctor = city.place.home.run(&["doctor"]).expect(0).stdout;
        assert!(doctor.contains("2 objects do not belong there"), "{doctor}");
        let (code, report) = city.audit("export");
        assert_eq!(code, 0, "they are no part of what is exported: {report:#}");
    });
}

/// The owner of the bucket covers what is old, whoever runs the storage destroys it: both are found without an audit.
#[test]
fn what_is_laid_over_old_files_or_destroyed_is_found_by_looking_through_the_store() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        let city = Anchored::new(Engine::Sqlite, s3, owner).await;
        let mut anchors = vec![city.json(&["anchor", "now"])];
        for reference in ["second", "third", "fourth"] {
            city.town.fund(&city.http, reference, "10").await;
            anchors.push(city.json(&["anchor", "now"]));
        }
        let clean = city.json(&["anchor", "check", "--read"]);
        assert_eq!((&clean["missing"]["count"], &clean["strays"]["count"]), (&0.into(), &0.into()), "{clean:#}");
        assert_eq!(clean["anchors"].as_u64(), anchors[3]["seq"].as_u64().map(|seq| seq + 1));
        let (owner, bucket) = (city.owner().await, city.bucket.name.as_str());
        let listed = owner.list_object_versions().bucket(bucket).prefix("city/").send().await.unwrap();
        let keys: Vec<String> = listed.versions.unwrap().into_iter().filter_map(|version| version.key).collect();
        let key = |part: &str| keys.iter().find(|key| key.contains(part)).unwrap().clone();
        let (old, pack, tile) = (format!("city/{}", anchors[1]["key"].as_str().unwrap()), key("pack/"), key("tile/0/"));
        for covered in [&old, &pack] {
            owner.delete_object().bucket(bucket).key(covered).send().await.unwrap();
        }
        for covered in [&old, &tile] {
            owner.put_object().bucket(bucket).key(covered).body(b"{}".to_vec().into()).send().await.unwrap();
        }
        let covered = city.place.home.run(&["anchor", "check", "--json"]).expect(1).json();
        assert_eq!((&covered["missing"]["count"], &covered["strays"]["count"]), (&0.into(), &4.into()), "{covered:#}");
        let doctor = city.place.home.run(&["doctor"]).expect(0).stdout;
        assert!(doctor.contains("4 objects do not belong there"), "{doctor}");

        let destroyed = &anchors[2];
        let object = format!("--object=city/{}", destroyed["key"].as_str().unwrap());
        let version = format!("--object-version={}", destroyed["version"].as_str().unwrap());
        city.s3.administer(&["object", "rm", &format!("--bucket={bucket}"), &object, &version]);
        let missing = city.place.home.run(&["anchor", "check", "--json"]).expect(1).json();
        assert_eq!(missing["missing"]["count"], 1, "{missing:#}");
        let doctor = city.place.home.run(&["doctor"]).expect(1).stdout;
        assert!(doctor.contains(destroyed["key"].as_str().unwrap()), "{doctor}");
        city.town.fund(&city.http, "fifth", "10").await;
        city.json(&["anchor", "now"]);
    });
}

/// Past S3 nobody asks about locks: whoever runs the storage can remove a locked version. It is missed at once, and every auditor misses it.
#[test]
fn who_runs_the_storage_can_destroy_an_anchor_and_is_found_out() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        let city = Anchored::new(Engine::Sqlite, s3, owner).await;
        let anchored = city.json(&["anchor", "now"]);
        let (code, report) = city.audit("before");
        assert_eq!(code, 0, "{report:#}");
        let key = format!("--object=city/{}", anchored["key"].as_str().unwrap());
        let version = format!("--object-version={}", anchored["version"].as_str().unwrap());
        let bucket = format!("--bucket={}", city.bucket.name);
        city.s3.administer(&["object", "rm", &bucket, &key, &version]);
        let refused = city.place.home.run(&["anchor", "now"]).expect(2);
        let words = format!("anchor {} is on record and is not there", anchored["seq"]);
        assert!(refused.stderr.contains(&words), "{}", refused.stderr);
        let doctor = city.place.home.run(&["doctor"]).expect(1);
        assert!(doctor.stdout.contains(&words), "{}", doctor.stdout);
        let (code, report) = city.audit("purged");
        assert_eq!(code, 1, "{report:#}");
        assert!(report.to_string().contains("anchors/"), "{report:#}");
    });
}

/// Two processes on one database and one data directory, each of which wants to anchor every second into the same bucket; now the one is
/// killed, now the other, whatever it is about to write.
#[test]
fn two_servers_that_anchor_at_once_and_are_killed_again_and_again_make_one_chain() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        let every_second = [("GUILDHALL_ANCHOR__ANCHOR_SECONDS", "1")];
        let mut city = Anchored::with(Engine::Postgres, s3, |_| None, &every_second).await;
        let homes = [city.place.home.clone(), city.place.home.beside()];
        let mut first = std::mem::replace(&mut city.server, homes[1].serve());
        let https = [city.http.clone(), city.http.at(&homes[1].base())];
        let mut dice = Dice(20_261_128);
        for round in 0..12 {
            let victim = round % 2;
            for number in 0..4 {
                // The other one is always there to take commands.
                city.town.fund(&https[1 - victim], &format!("{round} {number}"), "10").await;
                tokio::time::sleep(Duration::from_millis(300 + dice.below(400))).await;
            }
            let killed = if victim == 0 { &mut first } else { &mut city.server };
            killed.kill();
            tokio::time::sleep(Duration::from_millis(dice.below(1500))).await;
            *killed = homes[victim].serve();
        }
        // The other one is asked for the rest, once it has taken over.
        first.stop();
        let deadline = Instant::now() + Duration::from_secs(60);
        let told = |command: &[&str]| loop {
            let ended = city.place.home.run(&[command, &["--json"]].concat());
            if ended.code == Some(0) {
                break serde_json::from_str::<Value>(&ended.stdout).unwrap();
            }
            assert!(Instant::now() < deadline, "{}\n{}", ended.stderr, city.server.said());
            std::thread::sleep(Duration::from_millis(500));
        };
        told(&["anchor", "now"]);
        let listed = told(&["anchor", "list"]);
        let listed = listed.as_array().unwrap();
        assert!(listed.len() > 12, "only {} anchors", listed.len());
        let numbers: Vec<_> = listed.iter().map(|anchor| anchor["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..listed.len() as u64).collect::<Vec<_>>(), "no number twice, and none left out");
        assert!(listed.iter().all(|anchor| anchor.get("strays").is_none()), "{listed:#?}");
        let (code, report) = city.audit("export");
        // The server has gone on anchoring meanwhile.
        assert!(code == 0 && report["anchors"].as_u64().unwrap() >= listed.len() as u64, "{report:#}");
    });
}
