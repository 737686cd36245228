//! Checks answer from memory, and never what is not so any more; on both engines.
#![allow(clippy::unwrap_used)]

use domain::citizen::event::{CitizenEvent, SuspensionCause};
use domain::city::event::CityEvent;
use domain::event::Event;
use domain::grant::check::{Answer, Denied};
use domain::grant::event::{EndedBy, GrantEvent, Granted, Link};
use domain::grant::kind::{CapabilityKind, Source};
use domain::grant::scope::{Effect, Scope};
use domain::guild::event::GuildEvent;
use domain::ids::{GrantId, SquadId, Stream, TreasuryId};
use domain::party::{HolderId, HolderKind};
use domain::time::Time;
use eventlog::sql::Conn;
use guildhall_queries as queries;
use projections::testing::{Town, beginning, citizen, deposit, guild};
use queries::checks::{Checked, Checks, Question};

const NOW: Time = Time::from_micros(1_800_000_000_000_000);

async fn on_both(test: impl AsyncFn(Town)) {
    test(Town::sqlite().await).await;
    test(Town::postgres().await).await;
}

fn granted(number: u128, holder: HolderId, holder_kind: HolderKind, parent: Option<Link>) -> (Stream, Event) {
    let begun = Granted {
        grant: GrantId::from_bits(number),
        holder,
        holder_kind,
        kind: CapabilityKind::Tool,
        reference: "lathe".parse().unwrap(),
        source: Source::City,
        scope: Scope::default(),
        delegable: true,
        granted_by: Some(citizen(1)),
        expires_at: None,
        parent,
        verified: false,
        details: None,
    };
    (Stream::Inventory(holder), GrantEvent::Granted(Box::new(begun)).into())
}

fn revoked(number: u128, holder: HolderId) -> (Stream, Event) {
    let event = GrantEvent::Revoked { grant: GrantId::from_bits(number), by: EndedBy::Actor, reason: None };
    (Stream::Inventory(holder), event.into())
}

fn question(holder: HolderId) -> Question {
    Question {
        holder,
        kind: CapabilityKind::Tool,
        reference: "lathe".parse().unwrap(),
        action: "turn".parse().unwrap(),
        max_age_seconds: 60,
    }
}

/// A town, its checks, and how often a connection was asked for.
struct Asked {
    town: Town,
    checks: Checks,
}

impl Asked {
    fn of(town: Town) -> Self {
        Self { checks: Checks::new(town.log.clone()), town }
    }

    async fn happen(&mut self, act: Vec<(Stream, Event)>) {
        self.town.append(&[act]).await.unwrap();
        self.town.catch_up().await;
    }

    /// The answer, and whether the tables were read for it.
    async fn ask(&self, holder: HolderId) -> (Checked, bool) {
        let reached = self.town.log.head().await.unwrap().size;
        let mut read = false;
        let reader = async || -> queries::Result<Conn> {
            read = true;
            Ok(self.town.views.reader().await?)
        };
        let checked = self.checks.check(&question(holder), NOW, reached, reader).await.unwrap();
        (checked, read)
    }

    async fn allowed(&self, holder: HolderId) -> bool {
        self.ask(holder).await.0.answer.is_yes()
    }
}

fn because(checked: &Checked) -> Option<Denied> {
    match checked.answer {
        Answer::Yes { .. } => None,
        Answer::No { because, .. } => Some(because),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_read_once_until_something_that_it_depends_on_happens() {
    on_both(async |town| {
        let mut asked = Asked::of(town);
        let (ann, ben): (HolderId, HolderId) = (citizen(1).into(), citizen(2).into());
        asked.happen(beginning(3, 1)).await;
        let (none, read) = asked.ask(ben).await;
        assert_eq!((because(&none), read), (Some(Denied::NoGrant), true));
        let above = Link { holder: ann, grant: GrantId::from_bits(1) };
        let human = HolderKind::Human;
        asked.happen(vec![granted(1, ann, human, None), granted(2, ben, human, Some(above))]).await;
        let (yes, read) = asked.ask(ben).await;
        assert_eq!((because(&yes), yes.chain.len(), read), (None, 2, true), "what was not there is there now");
        assert_eq!(yes.chain[1].source, Some(Source::City));
        assert_eq!(asked.ask(ben).await, (yes.clone(), false));
        asked.happen(deposit(1, TreasuryId::of_citizen(citizen(1)), "USD", 1, 2)).await;
        assert_eq!(asked.ask(ben).await, (yes, false), "money changes no capability");

        let cause = SuspensionCause::Direct;
        let suspended = CitizenEvent::Suspended { cause, reason: None };
        asked.happen(vec![(Stream::Citizen(citizen(1)), suspended.into())]).await;
        assert_eq!(because(&asked.ask(ben).await.0), Some(Denied::HolderNotActive), "above");
        asked.happen(vec![(Stream::Citizen(citizen(1)), CitizenEvent::Reinstated {}.into())]).await;
        assert!(asked.allowed(ben).await);

        let (kind, action, effect) = (CapabilityKind::Tool, "turn".parse().unwrap(), Effect::Read);
        asked.happen(vec![(Stream::City, CityEvent::ActionRegistered { kind, action, effect }.into())]).await;
        assert_eq!(asked.ask(ben).await.0.effect, Effect::Read);

        asked.happen(vec![revoked(1, ann), revoked(2, ben)]).await;
        assert_eq!(because(&asked.ask(ben).await.0), Some(Denied::NoGrant));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guild_and_a_squad_count_while_they_are_there() {
    on_both(async |town| {
        let mut asked = Asked::of(town);
        asked.happen(beginning(2, 1)).await;
        let (smiths, crew): (HolderId, HolderId) = (guild(1).into(), SquadId::from_bits(1).into());
        asked
            .happen(vec![granted(1, smiths, HolderKind::Guild, None), granted(2, crew, HolderKind::Squad, None)])
            .await;
        assert!(asked.allowed(smiths).await);
        assert_eq!(because(&asked.ask(crew).await.0), Some(Denied::HolderNotActive), "no guild has it");
        let (stream, event) = granted(3, crew, HolderKind::Squad, None);
        let Event::Grant(GrantEvent::Granted(mut role)) = event else { unreachable!() };
        role.kind = CapabilityKind::GuildRole;
        role.source = Source::Membership;
        asked.happen(vec![(stream, GrantEvent::Granted(role).into())]).await;
        assert!(asked.allowed(crew).await);
        asked.happen(vec![(Stream::Guild(guild(1)), GuildEvent::MarkedDormant {}.into())]).await;
        assert_eq!(because(&asked.ask(smiths).await.0), Some(Denied::HolderNotActive));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_remembered_across_views_that_begin_anew() {
    on_both(async |town| {
        let mut asked = Asked::of(town);
        asked.happen(beginning(2, 1)).await;
        let ann = citizen(1).into();
        asked.happen(vec![granted(1, ann, HolderKind::Human, None)]).await;
        assert!(asked.ask(ann).await.1);
        assert!(!asked.ask(ann).await.1);
        let mut read = false;
        let back = async || -> queries::Result<Conn> {
            read = true;
            Ok(asked.town.views.reader().await?)
        };
        asked.checks.check(&question(ann), NOW, 1, back).await.unwrap();
        assert!(read, "it was in memory, from tables that are not there any more");
    })
    .await;
}
