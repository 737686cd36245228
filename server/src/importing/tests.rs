//! What an import counts, before a desk that says what became of it.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use domain::grant::command::Verdict;
use domain::ids::{CitizenId, GuildId, Slug};

use super::*;

/// Holds these grants, of which some end before anything is settled.
#[derive(Default)]
struct Fake {
    held: Vec<Holding>,
    dead: Vec<GrantId>,
    asked: Vec<Import>,
    found: Vec<Finding>,
}

impl Guilds for Fake {
    async fn guild(&mut self, _: &Slug) -> anyhow::Result<Option<GuildId>> {
        Ok(None)
    }
}

impl Desk for Fake {
    async fn admit(&mut self, _: Source) -> anyhow::Result<Time> {
        Ok(now())
    }

    async fn holdings(&mut self, _: Source, after: Option<GrantId>) -> anyhow::Result<Vec<Holding>> {
        Ok(if after.is_none() { self.held.clone() } else { Vec::new() })
    }

    async fn settle(
        &mut self,
        _: Source,
        imports: Vec<Import>,
        Findings { all: findings, .. }: Findings,
        _: bool,
    ) -> anyhow::Result<Settlement> {
        let settled = imports.iter().map(|_| Settled::Done).collect();
        self.asked.extend(imports);
        self.found.extend(findings.clone());
        let dead = findings.iter().map(|finding| finding.grant).filter(|grant| self.dead.contains(grant)).collect();
        Ok(Settlement { imports: settled, dead, refused: Vec::new() })
    }
}

const ADA: CitizenId = CitizenId::from_bits(1);

fn holding(number: u128, expires_at: Option<Time>) -> Holding {
    Holding {
        grant: GrantId::from_bits(number),
        holder: HolderId::Citizen(ADA),
        kind: CapabilityKind::Template,
        reference: format!("skill-{number}").parse().unwrap(),
        scope: Scope::default(),
        expires_at,
    }
}

/// Imports a tree of these skills.
async fn imported(skills: std::ops::Range<u32>, desk: &mut Fake) -> Report {
    let dir = tempfile::tempdir().unwrap();
    for number in skills {
        let folder = dir.path().join(format!("skills/skill-{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("SKILL.md"), format!("---\nname: s{number}\n---\n")).unwrap();
    }
    let map = format!("paths = ['skills']\ndefault = '{ADA}'\n");
    listed(dir.path(), Source::FsSkills, &map, Duration::from_secs(60), desk).await
}

async fn listed(dir: &Path, source: Source, map: &str, patience: Duration, desk: &mut Fake) -> Report {
    let path = dir.join("map.toml");
    std::fs::write(&path, map).unwrap();
    let map = Map::read(source, &path).unwrap();
    let options = Options { dry_run: false, confirm_loss: false, patience, scratch: dir.to_owned() };
    run(map, Arc::new(|_| String::new()), desk, &options, &|_, _| ()).await.unwrap()
}

#[tokio::test]
async fn what_ended_meanwhile_is_neither_confirmed_nor_gone() {
    let held = (1..=10).map(|number| holding(number, None)).collect();
    let dead = [1, 10].map(GrantId::from_bits).to_vec();
    let mut desk = Fake { held, dead, ..Fake::default() };
    // The ninth and the tenth are not listed.
    let report = imported(1..9, &mut desk).await;
    let counts = (report.confirmed, report.gone, report.overtaken);
    assert_eq!(counts, (7, 1, 2), "{report:?}");
    assert_eq!(report.changes.len(), 1, "{report:?}");
}

#[tokio::test]
async fn what_is_past_its_end_is_not_held() {
    let over = Some(Time::from_micros(now().micros() - 1));
    let held = vec![holding(1, over), holding(2, None), holding(3, over)];
    let mut desk = Fake { held, ..Fake::default() };
    let report = imported(1..3, &mut desk).await;
    assert_eq!((report.confirmed, report.added, report.gone), (1, 1, 0), "{report:?}");
    assert_eq!(desk.asked.len(), 1);
    assert_eq!(desk.asked[0].reference.as_str(), "skill-1", "it is given anew, or withheld");
}

#[tokio::test]
async fn a_row_that_ends_a_token_ends_it_wherever_it_stands() {
    let token = |agent: &str, active: bool| {
        format!(r#"{{"token_hash":"{}","agent":"{agent}","active":{active}}}"#, "ab".repeat(32))
    };
    let map = format!("paths = ['t.json']\n[holders]\nloom = '{ADA}'\n");
    for (agent, unmapped, wrong) in [("ghost", 1, 0), ("loom", 0, 1)] {
        for ends_first in [false, true] {
            let mut rows = [token("loom", true), token(agent, false)];
            if ends_first {
                rows.reverse();
            }
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("t.json"), format!("[{}]", rows.join(","))).unwrap();
            let reference = "abababababababab".parse().unwrap();
            let held = Holding { kind: CapabilityKind::Credential, reference, ..holding(1, None) };
            let mut desk = Fake { held: vec![held], ..Fake::default() };
            let report = listed(dir.path(), Source::D1Tokens, &map, Duration::from_secs(60), &mut desk).await;
            let counts = (report.ended, report.confirmed, report.added, report.unmapped, report.wrong);
            assert_eq!(counts, (1, 0, 0, unmapped, wrong), "{agent}, {ends_first}: {report:?}");
            assert!(matches!(&desk.found[..], [Finding { verdict: Verdict::Revoked, .. }]), "{:?}", desk.found);
            let mut desk = Fake::default();
            let report = listed(dir.path(), Source::D1Tokens, &map, Duration::from_secs(60), &mut desk).await;
            assert_eq!((report.added, report.ignored), (0, 1), "what ended is not given again: {report:?}");
        }
    }
}

#[tokio::test]
async fn a_source_without_an_end_is_given_up_and_nothing_of_it_is_gone() {
    use sqlx::ConnectOptions as _;
    let dir = tempfile::tempdir().unwrap();
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(dir.path().join("t.sqlite")).create_if_missing(true);
    let mut conn = options.connect().await.unwrap();
    let sql = "create view tokens as with recursive n(id) as (select 1 union all select id + 1 from n)
               select id, 'gaf' as workspace, 'agent' as token_type, '' as token_hash, null as revoked_at from n where id < 0";
    sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
    let mut desk = Fake { held: vec![holding(1, None)], ..Fake::default() };
    let started = std::time::Instant::now();
    let map = "paths = ['t.sqlite']\n";
    let report = listed(dir.path(), Source::D1Tokens, map, Duration::from_secs(1), &mut desk).await;
    let unlisted = report.unlisted.as_ref().unwrap();
    assert!(unlisted.contains("not listed within 1 s (sources.listing_seconds)"), "{unlisted}");
    assert!(!report.is_clean() && report.gone == 0 && desk.found.is_empty(), "{report:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}
