//! What an operator is told of a store that lost something, holds what nobody of the city put there, is full, or does not answer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use guildhall_tests::courier::Courier as _;
use guildhall_tests::http::Http;
use guildhall_tests::s3::ceph;
use guildhall_tests::server::{Place, Server, copy_dir};
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
        Self::with(mirror, &[]).await
    }

    async fn with(mirror: bool, more: &[(&'static str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let worm = dir.path().join("worm");
        let mut place = Place::new(Engine::Sqlite).await;
        place.home.settings = vec![("GUILDHALL_ANCHOR__DIRECTORY", worm.to_str().unwrap().to_owned())];
        if mirror {
            let there = dir.path().join("mirror");
            let there = format!(r#"[{{name="east",kind="directory",directory="{}"}}]"#, there.display());
            place.home.settings.push(("GUILDHALL_ANCHOR__MIRRORS", there));
        }
        place.home.settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
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
fn what_is_lost_while_a_server_runs_is_missed_with_the_next_survey_and_a_mirror_has_it_again() {
    block_on(async {
        // A day, for whoever cannot wait.
        let city = City::with(true, &[("GUILDHALL_ANCHOR__PROVE_SECONDS", "1")]).await;
        let seq = city.anchor(3).await["seq"].clone();
        let whole = |status: &Value| status["survey"]["missing"]["count"] == 0 && status["mirrors"][0]["newest"] == seq;
        city.status_where(whole);
        let mirror = city.worm.parent().unwrap().join("mirror");
        let tiles = |place: &Path| place.join("tile/0/000.p");
        let there = fs::read_dir(tiles(&mirror)).unwrap().count();
        fs::remove_dir_all(tiles(&mirror)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while fs::read_dir(tiles(&mirror)).map_or(0, Iterator::count) < there {
            assert!(Instant::now() < deadline, "the mirror has not got it again\n{}", city.server.said());
            std::thread::sleep(Duration::from_millis(100));
        }
        fs::remove_dir_all(tiles(&city.worm)).unwrap();
        city.status_where(|status| status["survey"]["missing"]["count"].as_u64() >= Some(3));
        let said = city.server.said();
        assert!(said.contains("the anchor store lost what was anchored") && said.contains("alarm=true"), "{said}");
    });
}

#[test]
fn a_full_file_that_somebody_was_first_with_holds_up_anchoring_alone_and_it_is_said_what_to_do() {
    block_on(async {
        let city = City::new(false).await;
        city.anchor(1).await;
        let (taken, unfinished) = (city.worm.join("pack/000"), city.worm.join("pack/000.p"));
        // Unfinished ones have another name with every entry.
        let size = city.json(&["anchor", "status"])["size"].as_u64().unwrap();
        for width in size..size + 4 {
            let _ = fs::write(unfinished.join(width.to_string()), "not the city's");
        }
        city.anchor(1).await;
        fs::write(&taken, "not the city's").unwrap();
        for number in 0..260 {
            city.town.fund(&city.http, &format!("many {number}"), "10").await;
        }
        let refused = city.place.home.run(&["anchor", "now"]).expect(2).stderr;
        let place = city.worm.display().to_string();
        for words in ["pack/000 holds other bytes", &place, "remove it", "docs/recovery.md"] {
            assert!(refused.contains(words), "{refused}");
        }
        let said = city.server.said();
        assert!(said.contains("pack/000 holds other bytes") && said.contains("alarm=true"), "{said}");
        let doctor = city.place.home.run(&["doctor"]).expect(1).stdout;
        assert!(doctor.contains("pack/000 holds other bytes"), "{doctor}");
        // Commands and checkpoints go on, and anchors when the operator has done as it says.
        city.town.fund(&city.http, "meanwhile", "10").await;
        let published = city.status_where(|status| status["published"] == status["size"]);
        fs::remove_file(&taken).unwrap();
        let anchored = city.json(&["anchor", "now"]);
        assert!(anchored["size"].as_u64() >= published["published"].as_u64(), "{anchored}");
        city.place.home.run(&["anchor", "check", "--read"]).expect(0);
    });
}

#[test]
fn what_a_start_could_not_see_closes_the_city_once_it_is_seen() {
    let Some(s3) = ceph() else { return };
    block_on(async {
        let (bucket, gate) = (s3.bucket().await, Gate::before(&s3.endpoint));
        let mut place = Place::new(Engine::Sqlite).await;
        place.home.settings = in_bucket(&gate.endpoint);
        place.home.settings.extend([
            ("GUILDHALL_ANCHOR__S3__BUCKET", bucket.name.clone()),
            ("GUILDHALL_ANCHOR__S3__PREFIX", bucket.prefix.clone()),
            ("GUILDHALL_WORM_KEY_ID", s3.writer.key_id.clone()),
            ("GUILDHALL_WORM_SECRET", s3.writer.secret.to_string()),
        ]);
        let home = place.home.clone();
        let mut server = home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        home.run(&["anchor", "now"]).expect(0);
        server.stop();
        let dir = tempfile::tempdir().unwrap();
        let backup = dir.path().join("backup");
        copy_dir(&home.dir, &backup);
        let mut server = home.serve();
        for reference in ["first", "second", "third"] {
            town.fund(&http, reference, "10").await;
            home.run(&["anchor", "now"]).expect(0);
        }
        server.stop();
        // All of it is put back as it was, what was signed as well: here nothing contradicts anything.
        fs::remove_dir_all(&home.dir).unwrap();
        copy_dir(&backup, &home.dir);
        gate.shut();
        let server = home.serve();
        town.fund(&http, "meanwhile", "10").await;
        let told = http.ok(&town.founder, "/readyz").await;
        assert!(told["ready"] == true && told["read_only"].is_null(), "{told}");
        gate.open();
        server.wait_for("/readyz", Duration::from_secs(120), |status| status == 503);
        let (_, told) = http.get(&town.founder, "/readyz").await;
        let reason = told["read_only"].as_str().unwrap();
        assert!(reason.contains("the anchor anchors/"), "{told}");
        let deposit = town.deposit("afterwards", "10");
        http.ask(&town.attester, "treasury.deposit", deposit).await.refused("read_only");
        let said = server.said();
        assert!(said.contains("this server only reads") && said.contains("alarm=true"), "{said}");
    });
}

/// In front of a store: lets everything through, or takes every connection and answers nothing.
struct Gate {
    endpoint: String,
    is_open: Arc<AtomicBool>,
}

impl Gate {
    fn before(endpoint: &str) -> Self {
        let to = endpoint.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let is_open = Arc::new(AtomicBool::new(true));
        let open = Arc::clone(&is_open);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (to, open) = (to.clone(), Arc::clone(&open));
                std::thread::spawn(move || {
                    while !open.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    let there = TcpStream::connect(to).unwrap();
                    let pass = |mut from: TcpStream, mut to: TcpStream| {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    };
                    let (back, forth) = (there.try_clone().unwrap(), stream.try_clone().unwrap());
                    std::thread::spawn(move || pass(back, forth));
                    pass(stream, there);
                });
            }
        });
        Self { endpoint, is_open }
    }

    fn shut(&self) {
        self.is_open.store(false, Ordering::Relaxed);
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }
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
