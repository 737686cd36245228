//! A city whose clock is led through days, with a file of tokens as its source.

use std::path::PathBuf;

use commands::Request;
use domain::Command;
use domain::grant::command::ImportCapability;
use domain::grant::kind::{CapabilityKind, Source};
use domain::grant::scope::Scope;
use domain::guild::command::{AddMember, FoundGuild};
use domain::guild::event::GuildKind;
use domain::ids::{GuildRef, Slug, SquadId};
use domain::party::{HolderId, MemberId};
use domain::text::Text;
use domain::time::Time;
use futures::StreamExt as _;
use guildhall::city::Open;
use guildhall::city::reconciler::{self, Round};
use guildhall::config::Settings;
use identity::{Credential, PresentedKey};
use serde_json::{Value, json};

const HOUR: i64 = 3_600_000_000;
/// Holders, among whom the tokens are spread.
const HOLDERS: usize = 100;
/// Imports at once.
const AT_ONCE: usize = 256;
/// A grant is due eighteen hours after it was verified, so one that is a day old has been due for six.
const OVERDUE: i64 = 6 * HOUR;

pub struct Days {
    pub open: Open,
    credential: Credential,
    tokens: PathBuf,
    listed: usize,
    skew: i64,
    _dir: tempfile::TempDir,
}

impl Days {
    /// A new city that lies so many days in the past: no log takes entries of the future.
    pub async fn begin(days: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (map, tokens) = (dir.path().join("tokens.toml"), dir.path().join("tokens.json"));
        let holders: String = (0..HOLDERS).map(|number| format!("agent-{number} = '{}'\n", squad(number))).collect();
        std::fs::write(&map, format!("paths = ['tokens.json']\n[holders]\n{holders}")).unwrap();
        let skew = -days * 24 * HOUR;
        eventlog::open_with_clock_skew(skew);
        let mut settings = Settings::in_dir(&dir.path().join("data"));
        settings.sources.tokens = Some(map);
        let open = Open::start(settings).await.unwrap();
        let key = &open.first.as_ref().unwrap().api_key;
        let credential = Credential::Key(PresentedKey::parse(key).unwrap().id());
        crews(&open, credential).await;
        Self { open, credential, tokens, listed: 0, skew, _dir: dir }
    }

    fn now(&self) -> Time {
        Time::from_micros(self.open.city.log.clock())
    }

    /// The source lists more tokens, and they are imported.
    pub async fn add(&mut self, count: usize) {
        let new = self.listed..self.listed + count;
        self.listed += count;
        std::fs::write(&self.tokens, Value::from((0..self.listed).map(token).collect::<Vec<_>>()).to_string()).unwrap();
        let credential = self.credential;
        let imported = new.map(|number| {
            let pipeline = self.open.city.pipeline.clone();
            async move {
                let answer = pipeline.submit(Request::of(credential, import(number))).await.unwrap();
                assert!(!answer.is_rejected(), "{answer:?}");
            }
        });
        futures::stream::iter(imported).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    }

    /// An hour later, and what the reconciler does then. Just before that, nothing may be a day old.
    pub async fn hour(&mut self) -> Round {
        self.skew += HOUR;
        let city = &self.open.city;
        city.log.skew_clock(self.skew);
        let size = city.log.head().await.unwrap().size;
        assert!(city.views_reach(size - 1, std::time::Duration::from_secs(300)).await.unwrap());
        let a_day_old = Time::from_micros(self.now().micros() - OVERDUE);
        let mut tables = city.views.reader().await.unwrap();
        let old = queries::due::grants_to_verify(&mut tables, a_day_old, 1).await.unwrap();
        assert!(old.is_empty(), "older than a day: {old:?}");
        drop(tables);
        reconciler::round(city, self.now(), false).await.unwrap()
    }

    pub async fn end(self) {
        self.open.close().await;
    }
}

/// The guild whose squads they are.
async fn crews(open: &Open, credential: Credential) {
    let slug: Slug = "crews".parse().unwrap();
    let name = Text::Plain("Crews".to_owned());
    let found = FoundGuild { slug: slug.clone(), kind: GuildKind::Company, name, ranks: None, governance: None };
    let join = |number| AddMember {
        guild: GuildRef::Slug(slug.clone()),
        member: MemberId::Squad(squad(number)),
        kind: None,
        rank: "member".parse().unwrap(),
        scopes: None,
    };
    let commands = std::iter::once(Command::from(found)).chain((0..HOLDERS).map(|number| join(number).into()));
    for command in commands {
        let answer = open.city.pipeline.submit(Request::of(credential, command)).await.unwrap();
        assert!(!answer.is_rejected(), "{answer:?}");
    }
}

fn squad(number: usize) -> SquadId {
    SquadId::from_bits((number % HOLDERS) as u128 + 1)
}

fn hash(number: usize) -> String {
    format!("{number:016x}{}", "0".repeat(48))
}

fn token(number: usize) -> Value {
    json!({ "token_hash": hash(number), "agent": format!("agent-{}", number % HOLDERS), "active": true })
}

fn import(number: usize) -> ImportCapability {
    ImportCapability {
        holder: HolderId::Squad(squad(number)),
        kind: CapabilityKind::Credential,
        reference: hash(number)[..16].parse().unwrap(),
        source: Source::D1Tokens,
        scope: Scope::default(),
        expires_at: None,
        details: None,
    }
}
