//! Three days of a simulated clock: what a source told of is asked for again, and nothing gets old while the source is well.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use commands::Request;
use domain::grant::command::DelegateGrant;
use domain::guild::command::AddMember;
use domain::ids::SquadId;
use domain::party::{HolderId, MemberId};
use domain::{Command, Time};
use futures::StreamExt as _;
use guildhall::city::reconciler::{Round, end_what_is_left, round};
use guildhall::http::now;
use identity::{Credential, PresentedKey};
use serde_json::{Value, json};
use support::Town;

const HOUR: i64 = 3_600_000_000;
const SKILLS: usize = 200;

struct Clock<'a> {
    town: &'a Town,
    skew: i64,
}

impl Clock<'_> {
    fn now(&self) -> Time {
        Time::from_micros(now().micros() + self.skew)
    }

    /// An hour later, and what the reconciler does then.
    async fn hour(&mut self) -> Round {
        self.skew += HOUR;
        self.town.open.city.log.skew_clock(self.skew);
        round(&self.town.open.city, self.now(), false).await.unwrap()
    }

    async fn grants(&self, holder: &str, ended: bool) -> Vec<Value> {
        let path = format!("/holders/{holder}/grants?source=fs:skills&limit=500&ended={ended}");
        let size = self.town.open.city.log.head().await.unwrap().size;
        let page = self.town.get_after(&self.town.key, &path, size - 1).await.ok();
        page.body["items"].as_array().unwrap().clone()
    }

    /// The age of what was verified longest ago, in hours.
    async fn oldest(&self, holder: &str) -> i64 {
        let verified = |grant: &Value| grant["verified_at"].as_str().unwrap().parse::<Time>().unwrap().micros();
        let oldest = self.grants(holder, false).await.iter().map(verified).min().unwrap();
        (self.now().micros() - oldest) / HOUR
    }
}

fn skill(root: &Path, number: usize) {
    let folder = root.join(format!("skill-{number}"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("SKILL.md"), format!("---\nname: s{number}\n---\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_healthy_source_nothing_gets_older_than_a_day_and_what_is_gone_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (root, away) = (dir.path().join("skills"), dir.path().join("away"));
    (0..SKILLS).for_each(|number| skill(&root, number));
    let map = dir.path().join("skills.toml");
    // The log begins six days ago: no database takes entries of the future.
    eventlog::open_with_clock_skew(-144 * HOUR);
    let town = Town::start_with(|settings| settings.sources.skills = Some(map.clone())).await;
    let (ada, _) = town.citizen("Ada", &[]).await;
    fs::write(&map, format!("paths = ['skills']\ndefault = '{ada}'\n")).unwrap();
    for number in 0..SKILLS {
        let listed = json!({ "kind": "template", "ref": format!("skill-{number}"), "source": "fs:skills" });
        town.post(&town.key, &format!("/holders/{ada}/grants/import"), listed).await.ok();
    }
    let mut clock = Clock { town: &town, skew: -144 * HOUR };
    let mut verified = 0;
    for hour in 1..=72 {
        let round = clock.hour().await;
        assert_eq!((round.unknown, round.gone), (0, 0), "hour {hour}: {round:?}");
        verified += round.alive;
        assert!(clock.oldest(&ada).await < 24, "hour {hour}");
    }
    assert!((3 * SKILLS as u64..=4 * SKILLS as u64).contains(&verified), "{verified}: each about every eighteen hours");

    // One skill is gone.
    fs::remove_dir_all(root.join("skill-7")).unwrap();
    let mut gone = 0;
    for _ in 0..20 {
        gone += clock.hour().await.gone;
    }
    assert_eq!(gone, 1);
    let ended = clock.grants(&ada, true).await;
    assert!(ended.iter().any(|grant| grant["reference"] == "skill-7" && grant["status"] == "orphaned"));

    // The whole tree is away: nothing is said about any of them, until they are too old to be relied on.
    fs::rename(&root, &away).unwrap();
    for _ in 0..26 {
        let round = clock.hour().await;
        assert_eq!((round.alive, round.gone), (0, 0), "{round:?}");
    }
    let grants = clock.grants(&ada, false).await;
    assert_eq!(grants.len(), SKILLS - 1);
    assert!(grants.iter().all(|grant| grant["status"] == "stale" && grant["last_error"] == "unreachable"));
    let check = format!("/holders/{ada}/check?kind=template&ref=skill-1&action=use");
    assert_eq!(town.get(&town.key, &check).await.ok().body["because"], "stale");
    for _ in 0..12 {
        clock.hour().await;
    }
    let stuck = town.get(&town.key, "/grants/stuck?limit=500").await.ok();
    assert_eq!(stuck.body["items"].as_array().unwrap().len(), SKILLS - 1, "somebody should look");

    // An empty tree in its place is not believed either; the real one is, and all is as it was.
    fs::create_dir(&root).unwrap();
    assert!(clock.hour().await.trouble["fs:skills"].contains("lists 199 of 199 living grants no more"));
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    clock.hour().await;
    let grants = clock.grants(&ada, false).await;
    assert!(grants.iter().all(|grant| grant["status"] == "active" && grant["failed_attempts"] == 0), "back by itself");
    town.end().await;
}

/// Tokens in a file, each with a grant; what is written there later is found out after nineteen hours.
struct Tokens {
    town: Town,
    dir: tempfile::TempDir,
    ada: String,
    skew: i64,
}

fn hash(number: usize) -> String {
    format!("{number:016x}{}", "0".repeat(48))
}

fn token(number: usize) -> Value {
    json!({ "token_hash": hash(number), "agent": "ada", "active": true })
}

impl Tokens {
    async fn open(count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let map = dir.path().join("tokens.toml");
        eventlog::open_with_clock_skew(-144 * HOUR);
        let town = Town::start_with(|settings| settings.sources.tokens = Some(map.clone())).await;
        let (ada, _) = town.citizen("Ada", &[]).await;
        fs::write(&map, format!("paths = ['tokens.json']\n[holders]\nada = '{ada}'\n")).unwrap();
        for number in 0..count {
            let listed = json!({ "kind": "credential", "ref": &hash(number)[..16], "source": "d1:tokens" });
            town.post(&town.key, &format!("/holders/{ada}/grants/import"), listed).await.ok();
        }
        Self { town, dir, ada, skew: -144 * HOUR }
    }

    /// What a round finds when every grant is due and this is the file.
    async fn find(&mut self, rows: Vec<Value>) -> Round {
        fs::write(self.dir.path().join("tokens.json"), Value::from(rows).to_string()).unwrap();
        self.skew += 19 * HOUR;
        self.town.open.city.log.skew_clock(self.skew);
        // A batch that was open while the clock jumped is dated by the old one. Once this is answered, it is over.
        self.town.citizen("Bystander", &[]).await;
        round(&self.town.open.city, Time::from_micros(now().micros() + self.skew), false).await.unwrap()
    }

    async fn living(&self) -> usize {
        let size = self.town.open.city.log.head().await.unwrap().size;
        let path = format!("/holders/{}/grants?source=d1:tokens&limit=500", self.ada);
        self.town.get_after(&self.town.key, &path, size - 1).await.ok().body["items"].as_array().unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_wrong_is_not_gone_and_of_two_the_first_counts() {
    let mut tokens = Tokens::open(10).await;
    let all = || (0..10).map(token).collect::<Vec<_>>();
    let found = |round: &Round| (round.alive, round.gone, round.revoked, round.unknown);

    let mut rows = all();
    rows[3]["agent"] = json!(7);
    rows[4]["agent"] = json!("nobody-knows");
    let round = tokens.find(rows).await;
    assert_eq!((found(&round), round.wrong["d1:tokens"]), ((8, 0, 0, 2), 1), "{round:?}");

    let mut rows = all();
    rows[3] = json!({ "agent": "ada", "active": true });
    let round = tokens.find(rows).await;
    assert_eq!(found(&round), (9, 0, 0, 1), "nobody can say which one that row is: {round:?}");
    assert_eq!(tokens.living().await, 10);

    let mut rows = all();
    rows.push(json!({ "token_hash": hash(5), "agent": "ada", "active": false }));
    rows.push(json!({ "token_hash": hash(6), "agent": "nobody-knows", "active": false }));
    rows.remove(3);
    let round = tokens.find(rows).await;
    assert_eq!((found(&round), round.wrong["d1:tokens"]), ((7, 1, 2, 0), 1), "what ends in any row ends: {round:?}");
    assert_eq!(tokens.living().await, 7);
    let Tokens { town, .. } = tokens;
    town.end().await;
}

/// Skills of Ada's, of which the first few have a thousand grants below each.
struct Forest {
    town: Town,
    dir: tempfile::TempDir,
    ada: String,
}

const TREES: usize = 11;

impl Forest {
    async fn grow() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let map = dir.path().join("skills.toml");
        eventlog::open_with_clock_skew(-24 * HOUR);
        let town = Town::start_with(|settings| settings.sources.skills = Some(map.clone())).await;
        let (ada, key) = town.citizen("Ada", &["customer"]).await;
        fs::write(&map, format!("paths = ['skills']\ndefault = '{ada}'\n")).unwrap();
        let owned = json!({ "source": "fs:skills", "owner": town.principal });
        town.post(&town.key, "/capability-sources", owned).await.ok();
        let guild = town.guild(&town.key, "crews").await;
        crews(&town, &guild).await;
        for number in 0..60 {
            skill(&dir.path().join("skills"), number);
            let reference = format!("skill-{number}");
            let granted = json!({ "kind": "template", "ref": reference, "source": "fs:skills", "delegable": true });
            let reply = town.post(&town.key, &format!("/holders/{ada}/grants"), granted).await.ok();
            if number < TREES {
                let path = format!("/holders/{ada}/grants?source=fs:skills&ref={reference}");
                let held = town.get_after(&key, &path, reply.position()).await.ok();
                hand_on(&town, &key, &ada, held.body["items"][0]["grant_id"].as_str().unwrap()).await;
            }
        }
        Self { town, dir, ada }
    }

    async fn living(&self, holder: &str) -> usize {
        let size = self.town.open.city.log.head().await.unwrap().size;
        let path = format!("/holders/{holder}/grants?source=fs:skills&limit=500");
        self.town.get_after(&self.town.key, &path, size - 1).await.ok().body["items"].as_array().unwrap().len()
    }
}

const CREWS: u128 = 1000;

/// A thousand squads join a guild.
async fn crews(town: &Town, guild: &str) {
    let join = |number| AddMember {
        guild: guild.parse().unwrap(),
        member: MemberId::Squad(SquadId::from_bits(number)),
        kind: None,
        rank: "member".parse().unwrap(),
        scopes: None,
    };
    send(town, &town.key, (1..=CREWS).map(join)).await;
}

/// To all of them.
async fn hand_on(town: &Town, key: &str, holder: &str, grant: &str) {
    let handed_on = |number| DelegateGrant {
        holder: holder.parse().unwrap(),
        grant: grant.parse().unwrap(),
        to: HolderId::Squad(SquadId::from_bits(number)),
        scope: None,
        delegable: false,
        expires_at: None,
    };
    send(town, key, (1..=CREWS).map(handed_on)).await;
}

async fn send(town: &Town, key: &str, commands: impl Iterator<Item = impl Into<Command>>) {
    let credential = Credential::Key(PresentedKey::parse(key).unwrap().id());
    let sent = commands.map(|command| {
        let (pipeline, request) = (town.open.city.pipeline.clone(), Request::of(credential, command));
        async move {
            let answer = pipeline.submit(request).await.unwrap();
            assert!(!answer.is_rejected(), "{answer:?}");
        }
    });
    futures::stream::iter(sent).buffer_unordered(500).collect::<Vec<()>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_ends_more_than_one_append_takes_is_halved() {
    let forest = Forest::grow().await;
    let squad = SquadId::from_bits(7).to_string();
    assert_eq!(forest.living(&squad).await, TREES);
    for number in 0..TREES {
        fs::remove_dir_all(forest.dir.path().join(format!("skills/skill-{number}"))).unwrap();
    }
    let city = &forest.town.open.city;
    let now = Time::from_micros(now().micros() - 24 * HOUR);
    let round = round(city, now, false).await.unwrap();
    assert_eq!((round.alive, round.gone), (49, 11), "{round:?}");
    assert_eq!((forest.living(&forest.ada).await, forest.living(&squad).await), (49, 0));
    forest.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_holder_is_finished_by_the_workers() {
    let forest = Forest::grow().await;
    let squad = SquadId::from_bits(7).to_string();
    let (town, ada) = (&forest.town, &forest.ada);
    town.post(&town.key, &format!("/citizens/{ada}/deprovision"), json!({})).await.ok();
    assert!(forest.living(&squad).await > 0, "one append has no room for all of it");
    let check = format!("/holders/{squad}/check?kind=template&ref=skill-10&action=use");
    let checked = town.get(&town.key, &check).await.ok().body;
    assert_eq!((&checked["allowed"], &checked["because"]), (&json!(false), &json!("holder_not_active")), "{checked}");
    end_what_is_left(&town.open.city).await.unwrap();
    assert_eq!((forest.living(ada).await, forest.living(&squad).await), (0, 0));
    forest.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_hangs_stops_neither_the_others_nor_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (skills, workflows) = (dir.path().join("skills.toml"), dir.path().join("workflows.toml"));
    // Takes connections, and says nothing ever.
    eventlog::open_with_clock_skew(-24 * HOUR);
    let silence = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silence.local_addr().unwrap());
    let town = Town::start_with(|settings| {
        settings.sources.skills = Some(skills.clone());
        settings.sources.workflows = Some(workflows.clone());
        settings.sources.listing_seconds = Some(1);
    })
    .await;
    let (ada, _) = town.citizen("Ada", &[]).await;
    skill(&dir.path().join("skills"), 1);
    fs::write(&skills, format!("paths = ['skills']\ndefault = '{ada}'\n")).unwrap();
    let map = "location = 'l'\ncredential_env = 'HOME'\nallow_private = true\ntimeout_seconds = 60";
    fs::write(&workflows, format!("url = '{url}'\n{map}\n")).unwrap();
    for (kind, reference, source) in [("automation", "w1", "ghl:workflows"), ("template", "skill-1", "fs:skills")] {
        let listed = json!({ "kind": kind, "ref": reference, "source": source });
        town.post(&town.key, &format!("/holders/{ada}/grants/import"), listed).await.ok();
    }
    let city = &town.open.city;
    // What the tables do not know yet is not due.
    let size = city.log.head().await.unwrap().size;
    assert!(city.views_reach(size - 1, Duration::from_secs(10)).await.unwrap());
    city.log.skew_clock(-5 * HOUR);
    let later = || Time::from_micros(now().micros() - 5 * HOUR);
    let given_up = tokio::time::timeout(Duration::from_millis(300), round(city, later(), true)).await;
    assert!(given_up.is_err(), "it hangs");
    let (mut connection, _) = silence.accept().await.unwrap();
    let mut said = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut connection, &mut said);
    tokio::time::timeout(Duration::from_secs(5), closed).await.expect("whoever gives a round up hangs up").unwrap();

    let asked = std::time::Instant::now();
    let round = round(city, later(), false).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!((round.alive, round.unknown), (1, 1), "{round:?}");
    assert_eq!(round.trouble["ghl:workflows"], "is not listed within 1 s");
    town.end().await;
}
