//! Mirrors of other owners: with credentials of their own, behind the first store, and compared with it by auditors.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use guildhall_tests::kept;
use guildhall_tests::programs::{self, auditor};
use guildhall_tests::s3::ceph;
use guildhall_tests::server::Place;
use guildhall_tests::town::Town;
use guildhall_tests::{Engine, block_on};
use serde_json::Value;

const MIRRORS: &str = "GUILDHALL_ANCHOR__MIRRORS";

fn json(place: &Place, command: &[&str]) -> Value {
    let ended = place.home.run(&[command, &["--json"]].concat()).expect(0);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Waits until every mirror pleases.
#[track_caller]
fn until(place: &Place, pleases: impl Fn(&Value) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let status = json(place, &["anchor", "status"]);
        let mirrors = status["mirrors"].as_array().unwrap();
        if mirrors.iter().all(&pleases) {
            return mirrors.clone();
        }
        assert!(Instant::now() < deadline, "{status:#}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The keys of all files below a folder.
fn keys(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn a_directory_of_another_owner_follows_the_first_store_and_is_compared_with_it() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let (mirror, blocked) = (dir.path().join("mirror"), dir.path().join("blocked"));
        let mut place = Place::new(Engine::Sqlite).await;
        let (mirror_dir, blocked_dir) = (mirror.display(), blocked.display());
        let both = format!(
            r#"[{{name="west",kind="directory",directory="{mirror_dir}"}},{{name="east",kind="directory",directory="{blocked_dir}"}}]"#
        );
        place.home.settings = vec![(MIRRORS, both)];
        // Where a folder should be, is a file: this one is down.
        fs::write(&blocked, "").unwrap();
        let mut server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        town.fund(&http, "first", "10").await;
        let seq = json(&place, &["anchor", "now"])["seq"].clone();
        let is = |mirror: &Value, name: &str| mirror["name"] == name;
        let mirrors = until(&place, |mirror| {
            (is(mirror, "west") && mirror["newest"] == seq && mirror["behind"] == 0)
                || (is(mirror, "east") && mirror["newest"].is_null() && mirror["trouble"].is_string())
        });
        assert_eq!(mirrors[1]["behind"].as_u64().unwrap(), seq.as_u64().unwrap() + 1);
        let (_, metrics) = http.get(&town.founder, "/metrics").await;
        let metrics = metrics.as_str().unwrap();
        let behind = format!(r#"guildhall_mirror_lag_anchors{{mirror="east"}} {}"#, seq.as_u64().unwrap() + 1);
        assert!(metrics.contains(r#"guildhall_mirror_lag_anchors{mirror="west"} 0"#), "{metrics}");
        assert!(metrics.contains(&behind), "{metrics}");
        assert!(server.said().contains("a mirror of the anchors falls behind"), "{}", server.said());
        let words = place.home.run(&["anchor", "status"]).expect(0).stdout;
        assert!(words.contains("FAILING: ") && words.contains(&format!("anchor {seq}")), "{words}");
        let shown: Value = reqwest::get(format!("{}/audit.json", http.base)).await.unwrap().json().await.unwrap();
        let east = &shown["store"]["mirrors"][1];
        assert_eq!((&east["name"], &east["failing"]), (&"east".into(), &true.into()), "{shown:#}");
        assert!(!shown.to_string().contains(&blocked_dir.to_string()), "where it is, is for operators");
        let doctor = place.home.run(&["doctor"]).expect(0).stdout;
        assert!(doctor.contains(&format!("{blocked_dir} has 0 of {} anchors", mirrors[1]["behind"])), "{doctor}");

        // Killed, and back with it.
        server.kill();
        fs::remove_file(&blocked).unwrap();
        let server = place.home.serve();
        town.fund(&http, "second", "10").await;
        let seq = json(&place, &["anchor", "now"])["seq"].clone();
        until(&place, |mirror| mirror["newest"] == seq && mirror["behind"] == 0 && mirror["trouble"].is_null());
        let first = keys(&place.home.dir.join("worm"));
        assert_eq!(keys(&mirror), first);
        assert_eq!(keys(&blocked), first);

        let export = dir.path().join("export");
        place.home.run(&["export", "--out", export.to_str().unwrap()]).expect(0);
        let policy = dir.path().join("policy");
        fs::copy(export.join("policy"), &policy).unwrap();
        let audit = |other: &Path| {
            let (export, policy) = (export.to_str().unwrap(), policy.to_str().unwrap());
            programs::run(&auditor(), &["verify", export, "--policy", policy, "--also", other.to_str().unwrap()])
        };
        let same = audit(&mirror).expect(0).stdout;
        assert!(same.contains(&format!("has the same anchors up to {seq}")), "{same}");
        // Its owner changes an anchor: without the city's key it is none, and with it there are two.
        let anchor = first.iter().find(|key| key.starts_with("anchors/")).unwrap();
        let path = mirror.join(anchor);
        let mut other: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        other["software"] = "another".into();
        let write = |other: &Value| {
            fs::remove_file(&path).unwrap();
            fs::write(&path, chain::canonical::to_bytes(other).unwrap()).unwrap();
        };
        write(&other);
        let stray = audit(&mirror).expect(1).stdout;
        assert!(stray.contains("does not verify: a stray") && !stray.contains("two histories"), "{stray}");
        kept::sign_anchor(&mut other, &kept::signing_key(&place.home.dir, "test/log"));
        write(&other);
        let differs = audit(&mirror).expect(1).stdout;
        assert!(differs.contains("there are two histories"), "{differs}");
        // What lies there in the place of an anchor is not written over, and is no anchor.
        drop(server);
        let place_of_the_newest = first.iter().rfind(|key| key.starts_with("anchors/")).unwrap();
        fs::remove_file(blocked.join(place_of_the_newest)).unwrap();
        fs::write(blocked.join(place_of_the_newest), "something else").unwrap();
        let server = place.home.serve();
        until(&place, |mirror| is(mirror, "west") || mirror["trouble"].to_string().contains("holds other bytes"));
        assert!(server.said().contains("somebody put something into a mirror"), "{}", server.said());
        assert!(server.said().contains("alarm=true"), "{}", server.said());
    });
}

#[test]
fn a_bucket_of_another_owner_takes_a_credential_of_its_own() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        let bucket = s3.bucket().await;
        let mut place = Place::new(Engine::Sqlite).await;
        let mirror = |endpoint: &str| {
            format!(
                r#"[{{name="east",kind="s3-object-lock",key_id_from="GUILDHALL_MIRROR_EAST_KEY_ID",secret_from="GUILDHALL_MIRROR_EAST_SECRET",s3={{endpoint="{endpoint}",bucket="{}",prefix="city/"}}}}]"#,
                bucket.name
            )
        };
        place.home.settings = vec![(MIRRORS, mirror("http://127.0.0.1:9"))];
        let doctor = place.home.run(&["doctor"]).expect(1).stdout;
        assert!(doctor.is_empty() || !doctor.contains("unknown"), "{doctor}");
        place.home.settings.push(("GUILDHALL_MIRROR_EAST_KEY_ID", s3.writer.key_id.clone()));
        place.home.settings.push(("GUILDHALL_MIRROR_EAST_SECRET", s3.writer.secret.to_string()));
        let mut server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        for reference in ["first", "second"] {
            town.fund(&http, reference, "10").await;
            json(&place, &["anchor", "now"]);
        }
        let behind = until(&place, |mirror| mirror["trouble"].is_string());
        assert!(behind[0]["behind"].as_u64().unwrap() >= 2, "{behind:?}");

        server.kill();
        place.home.settings[0] = (MIRRORS, mirror(&bucket.endpoint));
        let _server = place.home.serve();
        town.fund(&http, "third", "10").await;
        let seq = json(&place, &["anchor", "now"])["seq"].clone();
        let there = until(&place, |mirror| mirror["newest"] == seq && mirror["behind"] == 0);
        assert!(there[0]["guarantee"].as_str().unwrap().contains("COMPLIANCE"), "{there:?}");
        let owner = s3.client(&s3.owner);
        let listed = owner.list_object_versions().bucket(&bucket.name).send().await.unwrap();
        let versions = listed.versions.unwrap();
        let mut keys_there: Vec<_> = versions
            .iter()
            .map(|version| version.key.as_ref().unwrap().strip_prefix("city/").unwrap().to_owned())
            .collect();
        keys_there.sort_unstable();
        assert_eq!(keys_there, keys(&place.home.dir.join("worm")), "each once");
        let newest = versions.iter().find(|version| version.key.as_ref().unwrap().contains("anchors/")).unwrap();
        let kept = owner.get_object_retention().bucket(&bucket.name).key(newest.key.as_ref().unwrap());
        let kept = kept.version_id(newest.version_id.as_ref().unwrap()).send().await.unwrap().retention.unwrap();
        assert_eq!(kept.mode.unwrap().as_str(), "COMPLIANCE");
    });
}
