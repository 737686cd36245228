//! What an import counts, before a desk that says what became of it.
#![allow(clippy::unwrap_used)]

use domain::ids::{CitizenId, GuildId, Slug};

use super::*;

/// Holds these grants, of which some end before anything is settled.
struct Fake {
    held: Vec<Holding>,
    dead: Vec<GrantId>,
    asked: Vec<Import>,
}

impl Guilds for Fake {
    async fn guild(&mut self, _: &Slug) -> anyhow::Result<Option<GuildId>> {
        Ok(None)
    }
}

impl Desk for Fake {
    async fn holdings(&mut self, _: Source, after: Option<GrantId>) -> anyhow::Result<Vec<Holding>> {
        Ok(if after.is_none() { self.held.clone() } else { Vec::new() })
    }

    async fn settle(
        &mut self,
        _: Source,
        imports: Vec<Import>,
        findings: Vec<Finding>,
        _: bool,
    ) -> anyhow::Result<Settlement> {
        let settled = imports.iter().map(|_| Settled::Done).collect();
        self.asked.extend(imports);
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
    let path = dir.path().join("map.toml");
    std::fs::write(&path, format!("paths = ['skills']\ndefault = '{ADA}'\n")).unwrap();
    let map = Map::read(Source::FsSkills, &path).unwrap();
    let options = Options { dry_run: false, confirm_loss: false };
    run(map, Arc::new(|_| String::new()), desk, &options, &|_| ()).await.unwrap()
}

#[tokio::test]
async fn what_ended_meanwhile_is_neither_confirmed_nor_gone() {
    let held = (1..=10).map(|number| holding(number, None)).collect();
    let dead = [1, 10].map(GrantId::from_bits).to_vec();
    let mut desk = Fake { held, dead, asked: Vec::new() };
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
    let mut desk = Fake { held, dead: Vec::new(), asked: Vec::new() };
    let report = imported(1..3, &mut desk).await;
    assert_eq!((report.confirmed, report.added, report.gone), (1, 1, 0), "{report:?}");
    assert_eq!(desk.asked.len(), 1);
    assert_eq!(desk.asked[0].reference.as_str(), "skill-1", "it is given anew, or withheld");
}
