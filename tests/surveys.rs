//! What an operator is told of a store that lost something, holds what nobody of the city put there, is full, or does not answer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use guildhall_tests::http::Http;
use guildhall_tests::server::{Place, Server};
use guildhall_tests::town::Town;
use guildhall_tests::{Engine, block_on};
use serde_json::Value;

/// A running city that anchors into a folder of its own.
struct City {
    place: Place,
    server: Server,
    http: Http,
    town: Town,
    worm: PathBuf,
    _dir: tempfile::TempDir,
}

impl City {
    async fn new(mirror: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let worm = dir.path().join("worm");
        let mut place = Place::new(Engine::Sqlite).await;
        place.home.settings = vec![("GUILDHALL_ANCHOR__DIRECTORY", worm.to_str().unwrap().to_owned())];
        if mirror {
            let there = dir.path().join("mirror");
            let there = format!(r#"[{{name="east",kind="directory",directory="{}"}}]"#, there.display());
            place.home.settings.push(("GUILDHALL_ANCHOR__MIRRORS", there));
        }
        let server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        Self { place, server, http, town, worm, _dir: dir }
    }

    /// Some more anchors; answers with the last one.
    async fn anchor(&self, times: usize) -> Value {
        for number in 0..times {
            let reference = format!("{number} {}", self.json(&["anchor", "status"])["size"]);
            self.town.fund(&self.http, &reference, "10").await;
            self.json(&["anchor", "now"]);
        }
        self.json(&["anchor", "status"])["anchored"].clone()
    }

    fn json(&self, command: &[&str]) -> Value {
        self.place.home.run(&[command, &["--json"]].concat()).expect(0).json()
    }

    fn restart(&mut self) {
        self.server.stop();
        self.server = self.place.home.serve();
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

    async fn metrics(&self) -> String {
        self.http.get(&self.town.founder, "/metrics").await.1.as_str().unwrap().to_owned()
    }
}

#[test]
fn what_anybody_puts_among_the_anchors_is_named_and_stops_neither_anchoring_nor_a_start() {
    block_on(async {
        let mut city = City::new(false).await;
        city.anchor(2).await;
        let strays = ["anchors/zzz", "anchors/00000000000000000005-00000000000000000099.json"];
        for key in strays {
            fs::write(city.worm.join(key), "{}").unwrap();
        }
        let before = city.anchor(1).await["seq"].as_u64().unwrap();
        city.restart();
        let status = city.status_where(|status| status["survey"].is_object());
        assert!(status["trouble"].is_null() && status["survey"]["strays"]["count"] == 2, "{status:#}");
        let said = city.server.said();
        for key in strays {
            assert!(status["strays"].to_string().contains(key), "{status:#}");
            assert!(said.contains(key) && said.contains("alarm=true"), "{said}");
        }
        assert!(city.metrics().await.contains("guildhall_anchor_strays 2"));
        city.town.fund(&city.http, "after", "10").await;
        assert!(city.json(&["anchor", "now"])["seq"].as_u64().unwrap() > before);
        assert!(city.json(&["anchor", "adopt"])["seq"].as_u64().unwrap() > before);
        let rows = city.json(&["anchor", "list"]);
        let rows: Vec<_> = rows.as_array().unwrap().iter().filter_map(|row| row["stray"].as_str()).collect();
        assert_eq!(rows.len(), 2, "{rows:?}");
        let words = city.place.home.run(&["anchor", "list"]).expect(0).stdout;
        assert!(words.contains("STRAY: anchors/zzz: no anchor has such a name"), "{words}");
        let doctor = city.place.home.run(&["doctor"]).expect(0).stdout;
        assert!(doctor.contains("2 objects do not belong there"), "{doctor}");
    });
}

#[test]
fn an_old_anchor_and_files_that_are_gone_are_missed_at_a_start_by_doctor_and_by_name() {
    block_on(async {
        let mut city = City::new(false).await;
        city.anchor(4).await;
        let clean = city.place.home.run(&["anchor", "check", "--read"]).expect(0).stdout;
        assert!(clean.contains(" 0 missing"), "{clean}");
        let rows = city.json(&["anchor", "list"]);
        let second = rows[1]["key"].as_str().unwrap().to_owned();
        fs::remove_file(city.worm.join(&second)).unwrap();
        fs::remove_dir_all(city.worm.join("tile")).unwrap();
        fs::remove_dir_all(city.worm.join("pack")).unwrap();
        let rows = city.json(&["anchor", "list"]);
        assert_eq!((&rows[1]["seq"], &rows[1]["missing"]), (&1.into(), &true.into()), "{rows:#}");
        let check = city.place.home.run(&["anchor", "check"]).expect(1).stdout;
        assert!(check.contains(&second) && check.contains("MISSING: tile/0/"), "{check}");
        let doctor = city.place.home.run(&["doctor"]).expect(1).stdout;
        assert!(doctor.contains("of what was anchored are missing") && doctor.contains(&second), "{doctor}");
        city.restart();
        let status = city.status_where(|status| status["survey"].is_object());
        let missing = &status["survey"]["missing"];
        assert!(missing["count"].as_u64().unwrap() > 4, "{status:#}");
        assert!(city.metrics().await.contains(&format!("guildhall_anchor_missing {}", missing["count"])));
        let said = city.server.said();
        assert!(said.contains("the anchor store lost what was anchored") && said.contains("alarm=true"), "{said}");
        let words = city.place.home.run(&["anchor", "status"]).expect(0).stdout;
        assert!(words.contains(&format!("MISSING      anchor 1 ({second})")), "{words}");
    });
}

#[test]
fn what_a_mirror_lost_is_said_and_is_there_again_after_the_next_start() {
    block_on(async {
        let mut city = City::new(true).await;
        let seq = city.anchor(3).await["seq"].clone();
        city.status_where(|status| status["mirrors"][0]["newest"] == seq);
        let mirror = city.worm.parent().unwrap().join("mirror");
        fs::remove_dir_all(mirror.join("tile")).unwrap();
        fs::remove_dir_all(mirror.join("pack")).unwrap();
        let doctor = city.place.home.run(&["doctor"]).expect(1).stdout;
        let line = doctor.lines().find(|line| line.contains("mirrors") && line.contains("missing"));
        assert!(line.is_some_and(|line| line.starts_with("WRONG")), "{doctor}");
        city.restart();
        let status = city.status_where(|status| status["mirrors"][0]["survey"].is_object());
        assert!(status["mirrors"][0]["survey"]["missing"]["count"].as_u64().unwrap() > 4, "{status:#}");
        assert!(city.server.said().contains("a mirror lost what it had"), "{}", city.server.said());
        city.status_where(|status| status["mirrors"][0]["behind"] == 0);
        let doctor = city.place.home.run(&["doctor"]).expect(0).stdout;
        assert!(doctor.contains("mirrors") && doctor.contains("files, all of them"), "{doctor}");
    });
}

#[test]
fn doctor_says_why_the_server_does_not_anchor_and_how_full_the_disk_of_the_anchors_is() {
    block_on(async {
        let city = City::new(false).await;
        city.anchor(1).await;
        let doctor = city.place.home.run(&["doctor"]).expect(0).stdout;
        assert!(doctor.contains(&format!("GiB free in {}", city.worm.display())), "{doctor}");
        // A folder that takes nothing new: as good as a full disk, for whoever runs as root.
        fs::rename(city.worm.join("pack"), city.worm.join("was")).unwrap();
        fs::write(city.worm.join("pack"), "").unwrap();
        city.town.fund(&city.http, "more", "10").await;
        let failed = city.place.home.run(&["anchor", "now"]).expect(2).stderr;
        let doctor = city.place.home.run(&["doctor"]).expect(1).stdout;
        let line = doctor.lines().find(|line| line.contains("the server that runs here: anchoring"));
        assert!(line.is_some_and(|line| line.contains("Not a directory")), "{failed}\n{doctor}");
    });
}

#[test]
fn a_store_that_takes_requests_and_answers_none_keeps_no_city_closed() {
    block_on(async {
        let mut city = City::new(false).await;
        city.anchor(1).await;
        city.server.stop();
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", nobody.local_addr().unwrap());
        city.place.home.settings = in_bucket(&endpoint);
        let began = Instant::now();
        city.server = city.place.home.serve();
        assert!(began.elapsed() < Duration::from_secs(45), "{:?}\n{}", began.elapsed(), city.server.said());
        city.town.fund(&city.http, "meanwhile", "10").await;
        let said = city.server.said();
        assert!(said.contains("the anchor store does not answer") && said.contains(&endpoint), "{said}");
        city.server.kill();

        // A city that has signed nothing here has nothing else to go by: it says where it looked, and what to do.
        drop(nobody);
        let mut place = Place::new(Engine::Sqlite).await;
        place.home.settings = in_bucket(&endpoint);
        let refused = place.home.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert_ne!(refused.code, Some(0));
        for words in [endpoint.as_str(), "refused", "bring the store back", "anchor.s3"] {
            assert!(refused.stderr.contains(words), "{}", refused.stderr);
        }
    });
}

fn in_bucket(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("GUILDHALL_ANCHOR__KIND", "s3-object-lock".to_owned()),
        ("GUILDHALL_ANCHOR__S3__ENDPOINT", endpoint.to_owned()),
        ("GUILDHALL_ANCHOR__S3__BUCKET", "worm".to_owned()),
        ("GUILDHALL_WORM_KEY_ID", "id".to_owned()),
        ("GUILDHALL_WORM_SECRET", "secret".to_owned()),
    ]
}
