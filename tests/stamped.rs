//! A city whose anchors carry the time of a real authority, and what an auditor finds about times that do not fit.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chain::hash::sha256;
use guildhall_tests::authority::{Answer, Authority, serve};
use guildhall_tests::http::Http;
use guildhall_tests::kept;
use guildhall_tests::programs::{self, Ended, auditor};
use guildhall_tests::server::{Place, Server, copy_dir};
use guildhall_tests::town::Town;
use guildhall_tests::{Engine, block_on, tools};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A running city that has its anchors stamped.
struct City {
    authority: Arc<Authority>,
    /// By how many seconds the authority's clock is ahead.
    ahead: Arc<AtomicI64>,
    place: Place,
    server: Server,
    http: Http,
    town: Town,
    roots: PathBuf,
    dir: tempfile::TempDir,
}

impl City {
    async fn new() -> Self {
        let authority = Arc::new(Authority::new());
        let answering = Arc::clone(&authority);
        let ahead = Arc::new(AtomicI64::new(0));
        let off = Arc::clone(&ahead);
        let url = serve(move |query| {
            let seconds = off.load(Ordering::Relaxed);
            Answer::Body(match seconds {
                0 => answering.reply(query, "authority", &[]),
                _ => by_another_clock(&answering, query, seconds),
            })
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let roots = dir.path().join("roots.pem");
        fs::write(&roots, authority.certificate("root")).unwrap();
        let mut place = Place::new(Engine::Sqlite).await;
        place.home.settings = vec![
            ("GUILDHALL_ANCHOR__TIME__URL", url),
            ("GUILDHALL_ANCHOR__TIME__ROOTS", roots.to_str().unwrap().to_owned()),
        ];
        let server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        Self { authority, ahead, place, server, http, town, roots, dir }
    }

    async fn anchor(&self, reference: &str) -> Value {
        self.town.fund(&self.http, reference, "10").await;
        self.json(&["anchor", "now"])
    }

    fn json(&self, command: &[&str]) -> Value {
        let ended = self.place.home.run(&[command, &["--json"]].concat()).expect(0);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    fn export(&self) -> PathBuf {
        let out = self.dir.path().join("export");
        self.place.home.run(&["export", "--out", out.to_str().unwrap()]).expect(0);
        let policy = self.dir.path().join("policy");
        if !policy.exists() {
            fs::copy(out.join("policy"), policy).unwrap();
        }
        out
    }

    /// Audits a folder.
    fn audit(&self, folder: &Path, more: &[&str]) -> Ended {
        let policy = self.dir.path().join("policy");
        let arguments = ["verify", folder.to_str().unwrap(), "--policy", policy.to_str().unwrap()];
        programs::run(&auditor(), &[&arguments, more].concat())
    }

    fn with_roots(&self, folder: &Path) -> Ended {
        self.audit(folder, &["--time-roots", self.roots.to_str().unwrap()])
    }

    /// A copy of the export in which an attacker with every key but the authority's made the chain of anchors anew.
    fn remade(&self, name: &str, edit: impl Fn(u64, &mut Value)) -> PathBuf {
        let folder = self.dir.path().join(name);
        copy_dir(&self.dir.path().join("export"), &folder);
        let mut names: Vec<_> =
            fs::read_dir(folder.join("anchors")).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort_unstable();
        let mut previous: Option<Value> = None;
        for (seq, path) in (0..).zip(&names) {
            let mut anchor: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            if let Some(previous) = previous {
                anchor["previous"] = previous;
            }
            edit(seq, &mut anchor);
            let key = kept::signing_key(&self.place.home.dir, anchor["origin"].as_str().unwrap());
            kept::sign_anchor(&mut anchor, &key);
            let bytes = chain::canonical::to_bytes(&anchor).unwrap();
            let key = format!("anchors/{}", path.file_name().unwrap().to_str().unwrap());
            previous = Some(json!({"key": key, "sha256": sha256(&[&bytes])}));
            fs::remove_file(path).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    /// The anchor says that it was made so many seconds later than it was, and its token that it was seen so many seconds later.
    fn stamp(&self, anchor: &mut Value, later: i64, seen_later: i64) {
        let made: Timestamp = anchor["at"].as_str().unwrap().parse().unwrap();
        let at = made + SignedDuration::from_secs(later);
        anchor["at"] = at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string().into();
        for added in ["time", "signature"] {
            anchor.as_object_mut().unwrap().remove(added);
        }
        let bytes = chain::canonical::to_bytes(anchor).unwrap();
        let honest = self.authority.token(&bytes, "authority", &[]);
        let seen = (made + SignedDuration::from_secs(seen_later)).strftime("%Y%m%d%H%M%S").to_string();
        let content = at_time(self.authority.content(&honest), &seen);
        let token = self.authority.sign(&content, "authority", &[]);
        anchor["time"] = json!({"token": chain::text::to_base64(&token)});
    }
}

/// What an authority answers whose clock is so many seconds ahead.
fn by_another_clock(authority: &Authority, query: &[u8], seconds: i64) -> Vec<u8> {
    let honest = authority.reply(query, "authority", &["-token_out"]);
    let at = Timestamp::now() + SignedDuration::from_secs(seconds);
    let content = at_time(authority.content(&honest), &at.strftime("%Y%m%d%H%M%S").to_string());
    let token = authority.sign(&content, "authority", &[]);
    let granted = [&[0x30, 0x03, 0x02, 0x01, 0x00], token.as_slice()].concat();
    let length = u16::try_from(granted.len()).unwrap().to_be_bytes();
    [&[0x30, 0x82, length[0], length[1]], granted.as_slice()].concat()
}

/// A time stamp with another second in it.
fn at_time(mut content: Vec<u8>, second: &str) -> Vec<u8> {
    let is_time = |window: &[u8]| window[0] == 0x18 && window[2..].iter().all(u8::is_ascii_digit);
    let place = 2 + content.windows(16).position(is_time).unwrap();
    content[place..place + 14].copy_from_slice(second.as_bytes());
    content
}

#[test]
fn anchors_carry_the_time_of_an_authority_and_an_auditor_says_who_saw_them_when() {
    block_on(async {
        let mut city = City::new().await;
        city.anchor("first").await;
        let newest = city.anchor("second").await["seq"].clone();
        let status = city.json(&["anchor", "status"]);
        assert_eq!(
            (&status["time"]["newest"]["seq"], &status["time"]["trouble"]),
            (&newest, &Value::Null),
            "{status:#}"
        );
        assert_eq!(status["time"]["newest"]["by"], "CN=authority");
        let words = city.place.home.run(&["anchor", "status"]).expect(0).stdout;
        assert!(words.contains("seen at 2") && words.contains("by CN=authority"), "{words}");
        let shown: Value = reqwest::get(format!("{}/audit.json", city.http.base)).await.unwrap().json().await.unwrap();
        assert_eq!(shown["store"]["time"]["newest"]["seq"], newest, "{shown:#}");
        assert!(shown["store"]["time"]["newest"]["age_seconds"].is_u64(), "{shown:#}");
        let listed = city.json(&["anchor", "list"]);
        let count = listed.as_array().unwrap().len();
        assert!(listed.as_array().unwrap().iter().all(|anchor| anchor["stamped"] == true), "{listed}");
        let export = city.export();
        // What the store tells, the next start knows.
        city.server.stop();
        city.server = city.place.home.serve();
        let seen = || city.json(&["anchor", "status"])["time"]["newest"]["seq"].clone();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while seen() != newest {
            assert!(std::time::Instant::now() < deadline, "{}", seen());
            std::thread::sleep(std::time::Duration::from_millis(200));
        }

        let seen = city.with_roots(&export).expect(0).stdout;
        assert!(seen.contains(&format!("{count} anchors seen by CN=authority: anchor 0 at 2")), "{seen}");
        assert!(!seen.contains("carry no time") && !seen.contains("no roots given"), "{seen}");
        let unchecked = city.audit(&export, &[]).expect(0).stdout;
        assert!(unchecked.contains(&format!("the time tokens of {count} anchors: no roots given")), "{unchecked}");
        let nowhere =
            city.audit(&export, &["--time-roots", city.dir.path().join("policy").to_str().unwrap()]).expect(2);
        assert!(nowhere.stderr.contains("it holds no certificate"), "{}", nowhere.stderr);
        let key = city.dir.path().join("policy");
        let second = tools::python("verify.py", &[export.as_os_str(), "--key".as_ref(), key.as_os_str()]).expect(0);
        assert!(second.stdout.contains(&format!("{count} anchors")), "{}", second.stdout);
    });
}

#[test]
fn an_authority_that_is_gone_leaves_anchors_without_a_time_and_one_that_is_required_leaves_none() {
    block_on(async {
        let mut city = City::new().await;
        let stamped = city.anchor("first").await["seq"].as_u64().unwrap();
        city.server.stop();
        let gone = ("GUILDHALL_ANCHOR__TIME__URL", "http://name:secret@127.0.0.1:9/stamp".to_owned());
        city.place.home.settings[0] = gone;
        city.server = city.place.home.serve();
        let untold = city.anchor("second").await["seq"].as_u64().unwrap();
        assert!(untold > stamped);
        let status = city.json(&["anchor", "status"]);
        let trouble = status["time"]["trouble"].as_str().unwrap();
        assert!(trouble.contains("http://127.0.0.1:9") && status["trouble"].is_null(), "{status:#}");
        let said = city.server.said();
        assert!(said.contains("an anchor has no time token") && !said.contains("secret"), "{said}");
        let (_, metrics) = city.http.get(&city.town.founder, "/metrics").await;
        assert!(metrics.as_str().unwrap().contains("guildhall_time_tokens_missing_total"), "{metrics}");
        let export = city.export();
        let text = city.with_roots(&export).expect(0).stdout;
        assert!(
            text.contains(&format!("to {untold} carry no time"))
                || text.contains(&format!("anchor {untold} carries no time")),
            "{text}"
        );

        city.server.stop();
        city.place.home.settings.push(("GUILDHALL_ANCHOR__TIME__REQUIRED", "true".to_owned()));
        city.server = city.place.home.serve();
        city.town.fund(&city.http, "third", "10").await;
        let refused = city.place.home.run(&["anchor", "now"]).expect(2);
        assert!(refused.stderr.contains("no anchor is written without a time token"), "{}", refused.stderr);
        let newest = city.json(&["anchor", "list"]).as_array().unwrap().last().unwrap()["seq"].clone();
        assert_eq!(newest, untold, "none was written");
        city.town.fund(&city.http, "fourth", "10").await;
    });
}

#[test]
fn a_server_whose_clock_is_wrong_anchors_nothing_unless_it_is_told_to_and_says_so() {
    block_on(async {
        let mut city = City::new().await;
        let good = city.anchor("first").await["seq"].as_u64().unwrap();
        city.ahead.store(2 * 24 * 3600, Ordering::Relaxed);
        city.town.fund(&city.http, "second", "10").await;
        let refused = city.place.home.run(&["anchor", "now"]).expect(2).stderr;
        assert!(refused.contains("no anchor is written by a clock that is wrong"), "{refused}");
        assert_eq!(city.json(&["anchor", "list"]).as_array().unwrap().last().unwrap()["seq"], good);
        let said = city.server.said();
        assert!(said.contains("a clock that is wrong") && said.contains("alarm=true"), "{said}");
        let doctor = city.place.home.run(&["doctor"]).expect(1).stdout;
        // What becomes of anchors is another line.
        let clock = doctor.lines().find(|line| line.starts_with("WRONG   clock "));
        assert!(clock.is_some_and(|line| line.contains("and this server")), "{doctor}");
        // Signing and commands go on, and whoever watches the city hears of it.
        let gauge = async || city.http.get(&city.town.founder, "/metrics").await.1.as_str().unwrap().to_owned();
        let ready = async || city.http.ok(&city.town.founder, "/readyz").await;
        let told = ready().await;
        let says = told["wrong_clock"].as_str();
        assert!(told["ready"] == true && says.is_some_and(|says| says.contains("and this server")), "{told}");
        assert!(gauge().await.contains("guildhall_clock_wrong 1"));
        // And so do anchors once both agree.
        city.ahead.store(0, Ordering::Relaxed);
        assert!(city.anchor("third").await["seq"].as_u64().unwrap() > good);
        let status = city.json(&["anchor", "status"]);
        assert!(status["time"]["wrong_clock"].is_null() && status["trouble"].is_null(), "{status:#}");
        assert!(ready().await["wrong_clock"].is_null() && gauge().await.contains("guildhall_clock_wrong 0"));

        // Where the authority is the one that is wrong.
        city.server.stop();
        city.place.home.settings.push(("GUILDHALL_ANCHOR__TIME__WRONG_CLOCK", "warn".to_owned()));
        city.server = city.place.home.serve();
        city.ahead.store(2 * 24 * 3600, Ordering::Relaxed);
        let untold = city.anchor("fourth").await["seq"].clone();
        let rows = city.json(&["anchor", "list"]);
        let row = rows.as_array().unwrap().iter().find(|row| row["seq"] == untold).unwrap();
        assert_eq!(row["stamped"], false, "{rows:#}");
    });
}

/// That these words are in the report, of an audit that ends with a finding.
#[track_caller]
fn told(ended: Ended, words: &str) {
    let text = ended.expect(1).stdout;
    assert!(text.contains(words), "{text}");
}

#[test]
fn a_back_dated_anchor_is_found_by_its_time_token() {
    block_on(async {
        let city = City::new().await;
        city.anchor("first").await;
        city.anchor("second").await;
        city.export();
        let day = 24 * 3600;
        // All of them, so that their own times are in order.
        let back = city.remade("back", |_, anchor| city.stamp(anchor, -day, 0));
        told(city.with_roots(&back), "and its time token that it was seen at");
        // Without roots nobody sees it.
        let unseen = city.audit(&back, &[]).stdout;
        assert!(!unseen.contains("it was seen at"), "{unseen}");
        let ahead = city.remade("ahead", |_, anchor| city.stamp(anchor, day, 0));
        told(city.with_roots(&ahead), "and its time token that it was seen at");
        // What was made anew at the right times has nothing wrong with its times.
        let honest = city.with_roots(&city.remade("honest", |_, anchor| city.stamp(anchor, 1, 1))).stdout;
        assert!(!honest.contains("time token"), "{honest}");
    });
}

#[test]
fn a_token_that_goes_back_or_does_not_fit_the_entries_is_found() {
    block_on(async {
        let city = City::new().await;
        city.anchor("first").await;
        let last = city.anchor("second").await["seq"].as_u64().unwrap();
        city.export();
        // Each is within five minutes of its anchor's own time.
        let goes_back =
            city.remade("goes-back", |seq, anchor| city.stamp(anchor, 0, if seq == last { 0 } else { 200 }));
        told(city.with_roots(&goes_back), "that of an anchor before it of");
        let late = city.remade("late", |_, anchor| city.stamp(anchor, 900, 900));
        told(city.with_roots(&late), "after the log says that it was written");
    });
}

#[test]
fn a_token_of_another_anchor_or_authority_proves_nothing() {
    block_on(async {
        let city = City::new().await;
        let first = city.anchor("first").await;
        city.anchor("second").await;
        let export = city.export();
        let other = city.dir.path().join("other.pem");
        fs::write(&other, Authority::new().certificate("root")).unwrap();
        let stranger = city.audit(&export, &["--time-roots", other.to_str().unwrap()]);
        told(stranger, "its time token proves nothing: its certificate does not lead to a configured root");
        let token = fs::read(export.join(first["key"].as_str().unwrap())).unwrap();
        let token = serde_json::from_slice::<Value>(&token).unwrap()["time"].clone();
        let swapped = city.remade("swapped", |seq, anchor| {
            if seq > first["seq"].as_u64().unwrap() {
                anchor["time"] = token.clone();
            }
        });
        told(city.with_roots(&swapped), "its time token proves nothing: it is a time stamp over something else");
        let flipped = city.remade("flipped", |_, anchor| anchor["time"]["token"] = "AAAA".into());
        told(city.with_roots(&flipped), "its time token proves nothing");
    });
}
