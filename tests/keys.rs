//! The log's signing key as operators live with it: rotated under load and kills, held elsewhere, stolen, and the city frozen.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use chain::Hash;
use chain::checkpoint::{self, Checkpoint};
use chain::key::{SigningKey, VerifierKey};
use chain::note::Note;
use chain::policy::Policy;
use chain::receipt::{ReceiptEntry, SignedReceipt};
use chain::witness::{Request, monitoring_path};
use eventlog::testing::ORIGIN;
use guildhall_tests::courier::{Courier as _, Reply};
use guildhall_tests::http::Http;
use guildhall_tests::kept;
use guildhall_tests::programs::{self, auditor, guildhall};
use guildhall_tests::server::{Home, Place, Server, status};
use guildhall_tests::town::Town;
use guildhall_tests::witness::Witness;
use guildhall_tests::{Dice, Engine, block_on, tools};
use serde_json::{Value, json};

/// A city that runs.
struct City {
    place: Place,
    server: Server,
    http: Http,
    town: Town,
}

impl City {
    async fn found(engine: Engine) -> Self {
        Self::found_with(Place::new(engine).await).await
    }

    async fn found_with(place: Place) -> Self {
        let server = place.home.serve();
        let http = server.first_caller();
        let town = Town::found(&http).await;
        Self { place, server, http, town }
    }

    fn home(&self) -> &Home {
        &self.place.home
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.home().dir.parent().unwrap().join(name)
    }

    fn run(&self, command: &[&str]) -> Value {
        let said = self.home().run(&[command, &["--json"]].concat()).expect(0).stdout;
        serde_json::from_str(&said).unwrap()
    }

    /// The newest key in force.
    fn rotate(&self) -> VerifierKey {
        let told = self.run(&["signing-key", "rotate"]);
        VerifierKey::parse(told["vkey"].as_str().unwrap()).unwrap()
    }

    fn retire(&self, key: &VerifierKey) {
        self.run(&["signing-key", "retire", &chain::hex::encode(&key.key_id())]);
    }

    /// The keys in force, oldest first, as the policy says that the city publishes.
    fn published(&self) -> Vec<VerifierKey> {
        let text = fs::read_to_string(self.home().dir.join("public/policy")).unwrap();
        Policy::parse(&text).unwrap().logs
    }

    fn note(&self) -> String {
        fs::read_to_string(self.home().dir.join("public/checkpoint")).unwrap()
    }

    /// Whether the newest checkpoint has exactly the lines of these keys, and they verify.
    fn is_signed_by(&self, keys: &[&VerifierKey]) -> bool {
        let note = Note::parse(&self.note()).unwrap();
        let by = |index: usize, key: &VerifierKey| {
            note.signatures[index].is_by(key) && key.verify_raw(note.text.as_bytes(), &note.signatures[index].signature)
        };
        let own = note.signatures.iter().filter(|line| line.name == ORIGIN).count();
        own == keys.len() && keys.iter().enumerate().all(|(index, key)| by(index, key))
    }

    async fn pay(&self, reference: &str) -> Reply {
        self.town.fund(&self.http, reference, "1").await
    }

    /// The audit of an export under a policy of these keys.
    fn audit(&self, name: &str, keys: &[&VerifierKey]) -> programs::Ended {
        let (out, policy) = (self.beside(name), self.beside(&format!("{name}.policy")));
        let logs: String = keys.iter().map(|key| format!("log {}\n", key.vkey())).collect();
        fs::write(&policy, format!("{logs}quorum none\n")).unwrap();
        self.home().run(&["export", "--out", out.to_str().unwrap()]).expect(0);
        programs::run(&auditor(), &["verify", out.to_str().unwrap(), "--policy", policy.to_str().unwrap()])
    }
}

fn receipt_of(reply: &Reply) -> SignedReceipt {
    serde_json::from_value(reply.body["receipt"].clone()).unwrap_or_else(|error| panic!("{error}: {}", reply.body))
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn a_running_city_changes_its_key(engine: Engine) {
    block_on(async {
        let mut city = City::found(engine).await;
        let [old]: [VerifierKey; 1] = city.published().try_into().unwrap();
        receipt_of(&city.pay("first").await).verify(&old).unwrap();
        city.run(&["anchor", "now"]);

        let new = city.rotate();
        assert_eq!(city.published(), [old.clone(), new.clone()]);
        assert!(city.is_signed_by(&[&old, &new]), "{}", city.note());
        receipt_of(&city.pay("second").await).verify(&new).unwrap();
        let again = city.home().run(&["signing-key", "rotate"]).expect(2).stderr;
        assert!(again.contains("has not ended"), "{again}");

        // It survives the end of the process, however that comes.
        city.server.kill();
        city.server = city.home().serve();
        receipt_of(&city.pay("third").await).verify(&new).unwrap();
        until("both sign after a restart", || city.is_signed_by(&[&old, &new])).await;
        let said = city.audit("overlap", &[&old]).expect(0).stdout;
        assert!(said.contains(&new.vkey()), "who knows the old key is told the new one: {said}");

        city.retire(&old);
        assert_eq!(city.published(), std::slice::from_ref(&new));
        assert!(city.is_signed_by(&[&new]), "{}", city.note());
        receipt_of(&city.pay("fourth").await).verify(&new).unwrap();
        city.run(&["anchor", "now"]);
        city.server.kill();
        // The old key is destroyed, as it should be.
        fs::remove_file(city.home().dir.join("signing.key")).unwrap();
        city.server = city.home().serve();
        receipt_of(&city.pay("fifth").await).verify(&new).unwrap();
        until("the new key signs alone", || city.is_signed_by(&[&new])).await;

        for keys in [&[&old, &new][..], &[&new]] {
            let said = city.audit("whole", keys).expect(0).stdout;
            assert!(said.contains("clean") && said.contains("signed by"), "{said}");
        }
        let said = city.audit("old", &[&old]).expect(1).stdout;
        assert!(said.contains("[checkpoint]"), "{said}");
        let stranger = SigningKey::from_seed(ORIGIN, [9; 32]).verifier();
        let said = city.audit("stranger", &[&new, &stranger]).expect(1).stdout;
        assert!(said.contains("no rotation leads to it"), "{said}");
        // A verifier that knows nothing of rotations, with every key that there was.
        let (folder, policy) = (city.beside("whole"), city.beside("all.policy"));
        fs::write(&policy, format!("log {}\nlog {}\nquorum none\n", old.vkey(), new.vkey())).unwrap();
        let arguments = [folder.as_os_str(), OsStr::new("--key"), policy.as_os_str()];
        let said = tools::python("verify.py", &arguments).expect(0).stdout;
        assert!(said.starts_with("ok: "), "{said}");
        city.home().run(&["doctor"]).expect(0);
    });
}

#[test]
fn a_running_city_changes_its_key_on_sqlite() {
    a_running_city_changes_its_key(Engine::Sqlite);
}

#[test]
fn a_running_city_changes_its_key_on_postgres() {
    a_running_city_changes_its_key(Engine::Postgres);
}

#[test]
fn killed_at_any_point_of_a_rotation_the_city_goes_on_with_the_keys_that_its_log_names() {
    block_on(async {
        let mut city = City::found(Engine::Sqlite).await;
        let mut dice = Dice(7);
        let mut rotated = 0;
        let mut known = city.published();
        for round in 0..8 {
            let mut command = std::process::Command::new(guildhall());
            command.args(city.home().arguments(&["signing-key", "rotate"]));
            let mut asked = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // Between nothing done yet and everything done.
            tokio::time::sleep(Duration::from_millis(20 + 15 * round + dice.below(40))).await;
            city.server.kill();
            let _ = asked.kill();
            asked.wait().unwrap();
            city.server = city.home().serve();
            let reply = city.pay(&format!("round {round}")).await;
            let in_force = city.published();
            assert!(in_force.starts_with(&known) && in_force.len() <= 2, "{in_force:?} after {known:?}");
            receipt_of(&reply).verify(in_force.last().unwrap()).unwrap();
            let keys: Vec<&VerifierKey> = in_force.iter().collect();
            until("the keys in force sign", || city.is_signed_by(&keys)).await;
            if let [old, new] = &in_force[..] {
                city.retire(old);
                known = vec![new.clone()];
                rotated += 1;
            }
        }
        if rotated == 0 {
            let (old, new) = (known[0].clone(), city.rotate());
            city.retire(&old);
            known = vec![new];
        }
        let said = city.audit("whole", &[&known[0]]).expect(0).stdout;
        assert!(said.contains("clean"), "{said}");
    });
}

fn policy_of(path: &Path, keys: &[&VerifierKey], witnesses: &[Witness], quorum: &str) {
    let logs: String = keys.iter().map(|key| format!("log {}\n", key.vkey())).collect();
    let lines: String = witnesses.iter().map(Witness::line).collect();
    fs::write(path, format!("{logs}{lines}{quorum}\n")).unwrap();
}

/// A city with two witnesses, both of whom have to cosign.
async fn witnessed() -> (City, Vec<Witness>, PathBuf) {
    let mut city = City::found(Engine::Sqlite).await;
    let [key]: [VerifierKey; 1] = city.published().try_into().unwrap();
    let logs = city.beside("logs.policy");
    policy_of(&logs, &[&key], &[], "quorum none");
    let dir = city.home().dir.parent().unwrap().to_owned();
    let witnesses: Vec<Witness> = ["w1", "w2"].map(|name| Witness::ours(&dir, name, &logs)).into();
    let policy = city.beside("city.policy");
    policy_of(&policy, &[&key], &witnesses, "group both all w1 w2\nquorum both");
    city.server.stop();
    city.place.home.settings.push(("GUILDHALL_WITNESS__POLICY", policy.to_str().unwrap().to_owned()));
    city.server = city.home().serve();
    (city, witnesses, logs)
}

/// Size of the newest checkpoint that both cosigned.
fn cosigned(city: &City) -> Option<u64> {
    fs::read_to_string(city.home().dir.join("public/witnessed")).ok()?.lines().nth(1)?.parse().ok()
}

#[test]
fn a_witness_that_knows_the_old_key_alone_works_until_that_is_retired() {
    block_on(async {
        let (city, mut witnesses, logs) = witnessed().await;
        let [old]: [VerifierKey; 1] = city.published().try_into().unwrap();
        let position = city.pay("before").await.position();
        until("cosigned before", || cosigned(&city) > Some(position)).await;
        let new = city.rotate();
        let position = city.pay("during").await.position();
        until("cosigned in the overlap, with no change at the witness", || cosigned(&city) > Some(position)).await;
        assert!(city.is_signed_by(&[&old, &new]));

        // One operator does as told, the other one does not.
        policy_of(&logs, &[&old, &new], &[], "quorum none");
        witnesses[0].kill();
        witnesses[0].again();
        city.retire(&old);
        let position = city.pay("after").await.position();
        until("shown without its quorum", || {
            let size = city.note().lines().nth(1).unwrap().parse::<u64>().unwrap();
            size > position && city.is_signed_by(&[&new])
        })
        .await;
        let held = |witness: &Witness| fs::read_to_string(witness.memory()).unwrap();
        until("the one who was told cosigns", || {
            held(&witnesses[0]).lines().nth(1).unwrap().parse::<u64>().unwrap() > position
        })
        .await;
        assert!(cosigned(&city).unwrap() <= position, "the other one refuses");
        witnesses[1].kill();
        witnesses[1].again();
        until("both cosign again", || cosigned(&city) > Some(position)).await;
    });
}

/// A key that is easy to look for.
const CANARY: &str = "c0ffee11c0ffee22c0ffee33c0ffee44c0ffee55c0ffee66c0ffee77c0ffee88";

#[test]
fn a_key_from_the_environment_is_nowhere_to_be_seen() {
    block_on(async {
        let mut place = Place::new(Engine::Sqlite).await;
        place.home.settings.push(("GUILDHALL_SIGNING_KEY", CANARY.to_owned()));
        place.home.settings.push(("GUILDHALL_LOG__FILTER", "trace".to_owned()));
        let mut city = City::found_with(place).await;
        let key = SigningKey::from_seed(ORIGIN, chain::hex::decode(CANARY).unwrap()).verifier();
        assert_eq!(city.published(), std::slice::from_ref(&key));
        let reply = city.pay("first").await;
        receipt_of(&reply).verify(&key).unwrap();
        assert!(!city.home().dir.join("signing.key").exists(), "none is made beside it");

        // Half a key, a key in capitals, its bytes in decimal or base64: none of it.
        let bytes: [u8; 32] = chain::hex::decode(CANARY).unwrap();
        let decimal = bytes[..6].iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let shows = |text: &str| {
            text.to_lowercase().contains(&CANARY[..16]) || text.contains(&decimal) || text.contains("wP/uEcD/7iL")
        };
        let command_line = fs::read_to_string(format!("/proc/{}/cmdline", city.server.id())).unwrap();
        assert!(!shows(&command_line), "{command_line}");
        for command in
            [&["doctor"][..], &["signing-key", "list"], &["anchor", "status"], &["signing-key", "list", "--json"]]
        {
            let ended = city.home().run(command);
            assert!(!shows(&ended.stdout) && !shows(&ended.stderr), "{command:?}: {}{}", ended.stdout, ended.stderr);
        }
        let (_, told) = city.http.get(&city.town.principal, "/v1/audit").await;
        assert!(!shows(&told.to_string()));
        let metrics = reqwest::get(format!("{}/metrics", city.http.base)).await.unwrap().text().await.unwrap();
        assert!(!shows(&metrics));
        city.server.stop();
        assert!(!shows(&city.server.said()), "in the server's own log");

        // One that cannot be read is refused without being repeated.
        city.place.home.settings.retain(|(name, _)| *name != "GUILDHALL_SIGNING_KEY");
        city.place.home.settings.push(("GUILDHALL_SIGNING_KEY", format!("{CANARY}ff")));
        let refused = city.home().run(&["serve"]).expect(2);
        assert!(refused.stderr.contains("GUILDHALL_SIGNING_KEY") && !shows(&refused.stderr), "{}", refused.stderr);
        // Nor does the city start with another one, or with none.
        city.place.home.settings.retain(|(name, _)| *name != "GUILDHALL_SIGNING_KEY");
        let refused = city.home().run(&["serve"]).expect(2).stderr;
        assert!(refused.contains("signing.key is missing"), "{refused}");
        city.place.home.settings.push(("GUILDHALL_SIGNING_KEY", "0d".repeat(32)));
        let refused = city.home().run(&["serve"]).expect(2).stderr;
        assert!(refused.contains("none of the keys that sign this log is here"), "{refused}");
    });
}

/// A signer outside: a script around openssl, with a key of its own. It fails while the file `broken` is there.
fn external(dir: &Path, seed: u8) -> (String, VerifierKey) {
    let der = [&chain::hex::decode::<16>("302e020100300506032b657004220420").unwrap()[..], &[seed; 32]].concat();
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("key.der"), der).unwrap();
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let script = format!(
        "#!/bin/sh\nenv > {environment}\nwhile read -r verb message; do\n  [ -e {broken} ] && exit 1\n  echo \"$message\" | base64 -d > {message}\n  \
         openssl pkeyutl -sign -inkey {key} -keyform DER -rawin -in {message} | base64 -w0\n  echo\ndone\n",
        environment = at("environment"),
        broken = at("broken"),
        message = at("message"),
        key = at("key.der")
    );
    fs::write(dir.join("signer"), script).unwrap();
    fs::set_permissions(dir.join("signer"), fs::Permissions::from_mode(0o700)).unwrap();
    let key = SigningKey::from_seed(ORIGIN, [seed; 32]).verifier();
    (format!("{{command=[\"{}\"],vkey=\"{}\"}}", at("signer"), key.vkey()), key)
}

#[test]
fn an_external_signer_that_fails_costs_a_command_its_signature_and_nothing_else() {
    block_on(async {
        let mut place = Place::new(Engine::Sqlite).await;
        let dir = place.home.dir.parent().unwrap().join("signer");
        let (setting, key) = external(&dir, 21);
        place.home.settings.push(("GUILDHALL_SIGNING__EXTERNAL", format!("[{setting}]")));
        let mut city = City::found_with(place).await;
        assert_eq!(city.published(), std::slice::from_ref(&key));
        receipt_of(&city.pay("first").await).verify(&key).unwrap();
        until("it signs checkpoints", || city.is_signed_by(&[&key])).await;
        assert!(!city.home().dir.join("signing.key").exists());
        let environment = fs::read_to_string(dir.join("environment")).unwrap();
        assert!(environment.contains("PATH=") && !environment.contains("GUILDHALL_"), "{environment}");

        fs::write(dir.join("broken"), "").unwrap();
        let reply = city.pay("without a signature").await;
        let why = reply.body["unsigned"].as_str().unwrap_or_else(|| panic!("{}", reply.body));
        assert!(why.contains("not signed") && reply.body["receipt"].is_null(), "{}", reply.body);
        assert_eq!(reply.entries.len(), 1, "it is in the log: {}", reply.body);
        let position = reply.position();
        let status = city.run(&["anchor", "status"]);
        until("the alarm is raised", || city.server.said().contains("answered without a signed receipt")).await;
        let size = |city: &City| city.note().lines().nth(1).unwrap().parse::<u64>().unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(size(&city) <= position, "checkpoints wait: {status}");
        let status = city.run(&["anchor", "status"]);
        assert!(status["trouble"].as_str().unwrap().contains("does not sign"), "{status}");
        let metrics = reqwest::get(format!("{}/metrics", city.http.base)).await.unwrap().text().await.unwrap();
        assert!(metrics.contains("guildhall_receipts_unsigned_total"), "{metrics}");

        fs::remove_file(dir.join("broken")).unwrap();
        until("checkpoints go on", || size(&city) > position).await;
        let reply = city.pay("signed again").await;
        receipt_of(&reply).verify(&key).unwrap();
        // To another one of its kind, while the city runs.
        let (second, next) = external(&dir.join("second"), 22);
        city.server.stop();
        city.place.home.settings.retain(|(name, _)| *name != "GUILDHALL_SIGNING__EXTERNAL");
        city.place.home.settings.push(("GUILDHALL_SIGNING__EXTERNAL", format!("[{setting},{second}]")));
        city.server = city.home().serve();
        city.run(&["signing-key", "rotate", "--to", &next.vkey()]);
        city.retire(&key);
        until("the second one signs", || city.is_signed_by(&[&next])).await;
        city.server.stop();
        city.audit("whole", &[&next]).expect(0);
    });
}

fn a_frozen_city_takes_no_command(engine: Engine) {
    block_on(async {
        let mut city = City::found(engine).await;
        city.pay("before").await;
        let told = city.run(&["signing-key", "freeze"]);
        assert!(told["server"].as_str().unwrap().contains("takes no command"), "{told}");
        for restarts in 0..3 {
            let size = city.http.ok(&city.town.principal, "/v1/audit").await["size"].as_u64().unwrap();
            let deposit = city.town.deposit(&format!("while frozen {restarts}"), "1");
            let refused = city.http.ask(&city.town.attester, "treasury.deposit", deposit).await;
            assert_eq!(refused.status, 503, "{}", refused.body);
            let refused = refused.refused("read_only");
            let detail = refused.body["detail"].as_str().unwrap();
            assert!(detail.starts_with("frozen since ") && detail.contains("signing-key freeze"), "{detail}");
            let ready =
                reqwest::get(format!("{}/readyz", city.http.base)).await.unwrap().json::<Value>().await.unwrap();
            assert!(ready["read_only"].as_str().unwrap().starts_with("frozen since "), "{ready}");
            assert_eq!(city.http.ok(&city.town.principal, "/v1/audit").await["size"], size, "reading goes on");
            let doctor = city.home().run(&["doctor"]).expect(1).stdout;
            assert!(doctor.contains("frozen since "), "{doctor}");
            city.home().run(&["signing-key", "rotate"]).expect(2);
            if restarts == 0 {
                city.server.kill();
            } else {
                city.server.stop();
            }
            // Said once more, without a server: nothing changes.
            city.run(&["signing-key", "freeze"]);
            city.server = city.home().spawn();
            // From its first answer on, not only once somebody has looked.
            let base = city.home().base();
            let deadline = Instant::now() + Duration::from_secs(60);
            let first = loop {
                assert!(Instant::now() < deadline, "{}", city.server.said());
                match status(&base, "/readyz") {
                    None => tokio::time::sleep(Duration::from_millis(5)).await,
                    first => break first,
                }
            };
            assert_eq!(first, Some(503));
        }
        city.server.stop();
        fs::remove_file(city.home().dir.join("frozen")).unwrap();
        city.server = city.home().serve();
        city.pay("after").await;
    });
}

#[test]
fn a_frozen_city_takes_no_command_whatever_is_restarted_on_sqlite() {
    a_frozen_city_takes_no_command(Engine::Sqlite);
}

#[test]
fn a_frozen_city_takes_no_command_whatever_is_restarted_on_postgres() {
    a_frozen_city_takes_no_command(Engine::Postgres);
}

/// What a witness says to a forged checkpoint so much larger than what it holds of this log.
async fn submit(witness: &Witness, thief: &SigningKey, more: u64) -> u16 {
    let mut old = 0;
    loop {
        let forged = Checkpoint { origin: ORIGIN.to_owned(), size: old + more, root: Hash([5; 32]) };
        let proof = if more == 0 || old == 0 { Vec::new() } else { vec![Hash::ZERO; 3] };
        let body = Request { old, proof, checkpoint: checkpoint::sign(&forged, thief) }.format();
        let sent = reqwest::Client::new().post(format!("{}/add-checkpoint", witness.url)).body(body).send();
        let answer = sent.await.unwrap();
        match answer.status().as_u16() {
            // It says what it holds. The city goes on meanwhile.
            409 => old = answer.text().await.unwrap().trim().parse().unwrap(),
            status => return status,
        }
    }
}

/// What the runbook in docs/compromise.md has an operator do, from the freeze to the new origin.
#[test]
fn a_stolen_key_forks_the_log_and_the_last_witnessed_checkpoint_stays_the_truth() {
    block_on(async {
        let (mut city, mut witnesses, logs) = witnessed().await;
        let [key]: [VerifierKey; 1] = city.published().try_into().unwrap();
        let position = city.pay("seen by all").await.position();
        until("cosigned", || cosigned(&city) > Some(position)).await;

        // The thief has the key and everything that is published, and writes another history.
        let stolen = fs::read_to_string(city.home().dir.join("signing.key")).unwrap();
        let thief = SigningKey::from_seed(ORIGIN, chain::hex::decode(stolen.trim()).unwrap());
        let truth = Checkpoint::parse_text(&Note::parse(&city.note()).unwrap().text).unwrap();
        for witness in &witnesses {
            assert_eq!(submit(witness, &thief, 0).await, 422, "another root at the size that it holds");
            assert_eq!(submit(witness, &thief, 5).await, 422, "a tree that does not continue it");
        }
        let entry = ReceiptEntry {
            stream: city.town.treasury.clone(),
            version: 9,
            position: truth.size + 2,
            entry_hash: Hash([5; 32]),
        };
        let promised = SignedReceipt::sign(ORIGIN, vec![entry], &thief);
        let (file, policy) = (city.beside("stolen.json"), city.beside("city.policy"));
        fs::write(&file, serde_json::to_string(&promised).unwrap()).unwrap();
        let arguments = ["receipt", file.to_str().unwrap(), "--policy", policy.to_str().unwrap()];
        let said = programs::run(&auditor(), &arguments).expect(0).stdout;
        assert!(said.contains("Whether it was kept shows in the published log"), "a promise, and no more: {said}");

        let told = city.run(&["signing-key", "freeze"]);
        assert_eq!(told["witnessed"].as_str().unwrap().parse::<u64>().ok(), cosigned(&city), "{told}");
        city.server.kill();
        city.server = city.home().spawn();
        city.server.wait_for("/readyz", Duration::from_secs(60), |status| status == 503);
        let refused = city.http.ask(&city.town.attester, "treasury.deposit", city.town.deposit("frozen", "1")).await;
        assert_eq!((refused.status, refused.outcome.as_str()), (503, "read_only"));

        let told = city.run(&["signing-key", "witnessed"]);
        let note = told["note"].as_str().unwrap();
        let trusted = Policy::parse(&fs::read_to_string(&policy).unwrap()).unwrap();
        let examined = checkpoint::examine(note, &trusted).unwrap();
        assert!(examined.witnessed && examined.checkpoint.size >= truth.size, "{told}");
        assert_eq!(told["root"], examined.checkpoint.root.to_string());
        let held = told["held"].as_array().unwrap();
        assert!(held.len() == 2 && held.iter().all(|held| held["contradicts"].is_null()), "{told}");

        // The evidence takes neither a server nor the key.
        let attester = city.http.ok(&city.town.attester, "/v1/whoami").await["citizen"].as_str().unwrap().to_owned();
        city.server.stop();
        let (out, kept_away) = (city.beside("export"), city.beside("stolen.key"));
        fs::rename(city.home().dir.join("signing.key"), &kept_away).unwrap();
        city.home().run(&["export", "--out", out.to_str().unwrap()]).expect(2);
        city.home().run(&["export", "--out", out.to_str().unwrap(), "--published"]).expect(0);
        // What the thief shows is none of the log that the witnesses know.
        let arguments = ["verify", out.to_str().unwrap(), "--policy", policy.to_str().unwrap()];
        programs::run(&auditor(), &arguments).expect(0);
        let forged = Checkpoint { origin: ORIGIN.to_owned(), size: truth.size, root: Hash([5; 32]) };
        fs::write(out.join("checkpoint"), checkpoint::sign(&forged, &thief)).unwrap();
        let said = programs::run(&auditor(), &arguments).expect(1).stdout;
        assert!(said.contains("the quorum of the policy did not cosign"), "{said}");

        // The witnesses, who watched no other log, cosign nothing of this one any more, and show what they did.
        fs::write(&logs, "quorum none\n").unwrap();
        for witness in &mut witnesses {
            witness.kill();
            witness.again();
            assert_eq!(submit(witness, &thief, 5).await, 404, "the thief is nobody any more");
            let shown = reqwest::get(format!("{}/{}", witness.url, monitoring_path(ORIGIN))).await.unwrap();
            let shown = Checkpoint::parse_text(&Note::parse(&shown.text().await.unwrap()).unwrap().text).unwrap();
            assert!(shown.size >= examined.checkpoint.size, "{shown:?}");
        }

        // The city goes on under another name, from what was witnessed last, with a key that the thief does not have.
        let witnessed = city.beside("witnessed.txt");
        fs::write(&witnessed, note).unwrap();
        let size = examined.checkpoint.size.to_string();
        let mut home = kept::successor(Engine::Sqlite, city.home().dir.parent().unwrap(), &[]).await;
        let (from, trusted) = (city.home().dir.to_str().unwrap(), policy.to_str().unwrap());
        let what = ["recover", "--new-origin", kept::SUCCESSOR, "--from", from, "--policy", trusted, "--json", "--yes"];
        let until_when = ["--at", &size, "--checkpoint", witnessed.to_str().unwrap()];
        let told = home.run(&[&what[..], &until_when].concat()).expect(0).json();
        assert!(told["witnessed"] == true && told["size"] == examined.checkpoint.size, "{told:#}");
        let first: Value = serde_json::from_slice(&home.log().await.read(0, 1).await.unwrap()[0].bytes).unwrap();
        assert_eq!((first["type"].as_str(), &first["data"]["checkpoint"]), (Some("log.continued.v1"), &json!(note)));
        assert_eq!(first["data"]["origin"], ORIGIN);

        // Witnesses are told the new key.
        let new = VerifierKey::parse(told["new_key"].as_str().unwrap()).unwrap();
        policy_of(&logs, &[&new], &[], "quorum none");
        for witness in &mut witnesses {
            witness.kill();
            witness.again();
        }
        let both = city.beside("both.policy");
        policy_of(&both, &[&new, &key], &witnesses, "group both all w1 w2\nquorum both");
        home.settings.push(("GUILDHALL_WITNESS__POLICY", both.to_str().unwrap().to_owned()));
        let key = home.run(&["keys", "recover", "--json"]).expect(0).json();
        let mut server = home.serve();
        let http = Http::new(&server.base, kept::who(&key));
        city.town.attester = http.issue_key(&attester).await;
        let position = city.town.fund(&http, "after the theft", "1").await.position();
        let cosigned = || {
            let note = fs::read_to_string(home.dir.join("public/witnessed")).unwrap_or_default();
            note.lines().nth(1).is_some_and(|size| size.parse::<u64>().unwrap() > position)
        };
        until("the new log is cosigned", cosigned).await;
        home.run(&["anchor", "now"]).expect(0);
        home.run(&["export", "--out", city.beside("export of two").to_str().unwrap()]).expect(0);
        server.stop();
        let (two, both) = (city.beside("export of two"), both.to_str().unwrap());
        let arguments =
            ["verify", two.to_str().unwrap(), "--policy", both, "--continues", out.to_str().unwrap(), "--json"];
        let report = programs::run(&auditor(), &arguments).expect(0).json();
        let continues = &report["continues"];
        assert!(continues["signature_checked"] == true && continues["compared"] == true, "{report:#}");
        assert_eq!(continues["size"], examined.checkpoint.size, "{report:#}");
    });
}
