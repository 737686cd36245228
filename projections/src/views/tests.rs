//! What single events do to single rows.
#![allow(clippy::unwrap_used)]

use domain::citizen::event::{AgentFacts, CitizenEvent, SuspensionCause};
use domain::event::Event;
use domain::guild::event::{Ending, GuildEvent, Vote};
use domain::guild::governance::{Class, Ground};
use domain::ids::{EvidenceId, HoldId, KeyId, MovementId, ProposalId, ReputationId, Stream, TreasuryId};
use domain::key::event::KeyEvent;
use domain::money::{self, LegRole, Legs};
use domain::party::{CitizenKind, MemberId, MemberKind};
use domain::reputation::event::ReputationEvent;
use domain::reputation::evidence::{EvidenceType, Stake};
use domain::text::Digest;
use domain::time::Time;
use domain::treasury::event::{MovementKind, TreasuryEvent};

use super::{ViewTables, ViewsDb};
use crate::projector::Tables;
use crate::recorded::Recorded;
use tokio::sync::watch;

use crate::testing::{
    Life, Town, amount, beginning, citizen, currency, deposit, found, guild, member_added, moved, payment, sealed, slug,
};

/// The views after these events, the first at position 0 and time 1000.
fn after(events: impl IntoIterator<Item = (Stream, Event)>) -> ViewTables {
    let mut tables = ViewTables::new(1_000, true);
    for (position, (stream, event)) in (0_u64..).zip(events) {
        let (kind, _) = event.to_parts();
        tables.fold(&Recorded {
            position,
            stream: stream.to_string(),
            version: 0,
            at: Time::from_micros(1_000 + position as i64),
            actor: ("human".to_owned(), citizen(1).to_string()),
            on_behalf_of: None,
            command: "cmd".to_owned(),
            event: Some(event),
            kind,
        });
    }
    tables
}

fn in_guild(event: GuildEvent) -> (Stream, Event) {
    (Stream::Guild(guild(1)), event.into())
}

fn in_treasury(event: TreasuryEvent) -> (Stream, Event) {
    (Stream::Treasury(purse()), event.into())
}

fn purse() -> TreasuryId {
    TreasuryId::of_citizen(citizen(1))
}

const ADA: MemberId = MemberId::Citizen(citizen(1));
const BOB: MemberId = MemberId::Citizen(citizen(2));

#[test]
fn a_founder_who_is_appointed_is_raised_or_joins_at_the_founder_rank() {
    let appointed = |member| in_guild(GuildEvent::FounderAppointed { member, kind: MemberKind::Human, by: citizen(9) });
    let mut events = found(1, "alpha");
    events.truncate(1);
    events.extend([
        member_added(1, 1, "member"),
        in_guild(GuildEvent::MemberSuspended { member: ADA, reason: None }),
        in_guild(GuildEvent::BecameLeaderless {}),
        appointed(ADA),
        appointed(BOB),
    ]);
    let mut tables = after(events);
    assert!(!tables.guilds.get(&(guild(1),)).unwrap().leaderless);
    let ada = tables.roster.get(&(guild(1), ADA)).unwrap().clone();
    let bob = tables.roster.get(&(guild(1), BOB)).unwrap();
    assert_eq!((ada.joined_position, ada.status.as_str(), ada.rank.as_str()), (1, "active", "founder"));
    assert_eq!(
        (bob.joined_position, bob.rank.as_str(), bob.scopes.as_ref().unwrap().0.len()),
        (5, "founder", Class::ALL.len())
    );
}

#[test]
fn figures_computed_as_of_a_time_before_what_is_known_are_outdated() {
    let holder = citizen(1);
    let about = |event: ReputationEvent| (Stream::Reputation(ReputationId::of(holder)), Event::from(event));
    let evidence = EvidenceId::from_bits(1);
    let attested = about(ReputationEvent::EvidenceRecorded {
        evidence,
        holder,
        kind: EvidenceType::AuditClean,
        weight: EvidenceType::AuditClean.weight(Stake::T3),
        scope: guild(1),
        attested_by: citizen(2),
        effective_at: Time::from_micros(1),
        stake: Some(Stake::T3),
        work_lookup: None,
        work: None,
        proof: None,
        note: None,
    });
    let reversed = about(ReputationEvent::EvidenceReversed { evidence, by: citizen(3), reason: None });
    let computed = |as_of| {
        let as_of = Time::from_micros(as_of);
        about(ReputationEvent::Recomputed { holder, as_of, rows: [].into(), gone: Vec::new() })
    };
    // The first event is recorded at 1000, the next at 1001, and so on.
    let outdated = |events: &[(Stream, Event)]| after(events.to_vec()).reputed.get(&(holder,)).unwrap().outdated;
    assert!(outdated(std::slice::from_ref(&attested)));
    assert!(!outdated(&[attested.clone(), computed(1_000)]));
    assert!(outdated(&[attested.clone(), computed(999)]), "recorded while it was computed");
    assert!(outdated(&[attested.clone(), computed(1_000), attested.clone()]));
    assert!(outdated(&[attested.clone(), computed(1_000), reversed.clone()]));
    assert!(outdated(&[attested.clone(), reversed.clone(), computed(1_000)]), "taken back while it was computed");
    assert!(!outdated(&[attested, reversed, computed(1_001)]));
}

#[test]
fn a_membership_that_ends_keeps_its_row_and_its_end() {
    let mut events = found(1, "alpha");
    events.extend([
        member_added(1, 2, "member"),
        in_guild(GuildEvent::MemberRemoved { member: BOB, reason: Some(sealed(1)) }),
    ]);
    let mut tables = after(events);
    assert_eq!(tables.roster.get(&(guild(1), BOB)), None);
    let rows: Vec<_> = tables.each().into_iter().flat_map(|staged| staged.changes()).collect();
    let written = rows.iter().any(|change| match change {
        eventlog::sql::Change::Insert { table, rows } => {
            table.name == "guild_roster"
                && rows[0][6] == eventlog::sql::Cell::Text("removed".to_owned())
                && rows[0][9] == eventlog::sql::Cell::Int(1_003)
        }
        _ => false,
    });
    assert!(written, "{rows:?}");
}

#[test]
fn a_guild_shows_its_parent_charter_and_end() {
    let mut events = found(1, "alpha");
    events.extend([
        in_guild(GuildEvent::ParentProposed { parent: guild(2) }),
        in_guild(GuildEvent::ParentSet { parent: guild(2) }),
        in_guild(GuildEvent::CharterAmended { version: 1, digest: Digest([5; 32]), location: sealed(2) }),
        in_guild(GuildEvent::DissolutionInitiated { shares: Vec::new(), fallback: purse() }),
    ]);
    let row = after(events.clone()).guilds.get(&(guild(1),)).unwrap().clone();
    assert_eq!((row.parent, row.proposed_parent, row.charter_version), (Some(guild(2)), None, 1));
    assert_eq!((row.status.as_str(), row.dissolution.is_some()), ("dissolving", true));
    events.extend([in_guild(GuildEvent::ParentCleared { parent: guild(2) }), in_guild(GuildEvent::Dissolved {})]);
    let row = after(events).guilds.get(&(guild(1),)).unwrap().clone();
    assert_eq!((row.parent, row.status.as_str()), (None, "dissolved"));
}

#[test]
fn a_proposal_keeps_the_last_vote_of_everybody_and_says_why_it_failed() {
    let proposal = ProposalId::from_bits(1);
    let voted = |voter, vote| in_guild(GuildEvent::ProposalVoted { proposal, voter: citizen(voter), vote });
    let command = domain::guild::command::WakeGuild { guild: guild(1).into() };
    let opened = GuildEvent::ProposalOpened {
        proposal,
        proposer: citizen(1),
        class: Class::Lifecycle,
        command: Box::new(command.into()),
        expires_at: Time::from_micros(9),
        hold: None,
        reserved: None,
    };
    let ending = Ending::Failed { code: "guild_not_dormant".to_owned() };
    let closed = GuildEvent::ProposalClosed { proposal, ending };
    let ground = Ground::Decider { citizen: citizen(1) };
    let decided = GuildEvent::Decided { action: "guild.wake".to_owned(), class: Class::Lifecycle, ground, spend: None };
    let events = [
        in_guild(opened),
        voted(1, Vote::No),
        voted(2, Vote::Yes),
        voted(1, Vote::Yes),
        in_guild(closed),
        in_guild(decided),
    ];
    let mut tables = after(events);
    let row = tables.proposals.get(&(proposal,)).unwrap();
    assert_eq!(
        (row.status.as_str(), row.code.as_deref(), row.ended_at),
        ("failed", Some("guild_not_dormant"), Some(Time::from_micros(1_004)))
    );
    assert_eq!(row.votes.0, [(citizen(1), Vote::Yes), (citizen(2), Vote::Yes)].into());
    assert_eq!(row.action, "guild.wake");
}

#[test]
fn a_hold_is_reserved_confirmed_captured_in_parts_and_ends() {
    let hold = HoldId::from_bits(1);
    let usd = || currency("USD");
    let placed = TreasuryEvent::HoldPlaced {
        hold,
        currency: usd(),
        amount: amount(50, 2),
        legs: Vec::new(),
        expires_at: Time::from_micros(5),
        purpose: None,
        proposal: Some(ProposalId::from_bits(1)),
    };
    let captured = |minor, released, closed| TreasuryEvent::HoldCaptured {
        hold,
        currency: usd(),
        legs: Vec::new(),
        captured: amount(minor, 2),
        released: amount(released, 2),
        closed,
    };
    let mut events = deposit(1, purse(), "USD", 100, 2);
    events.push(in_treasury(placed));
    assert_eq!(after(events.clone()).holds.get(&(hold,)).unwrap().status, "reserved");
    events.push(in_treasury(TreasuryEvent::HoldConfirmed { hold, expires_at: Time::from_micros(99) }));
    events.push(in_treasury(captured(20, 0, false)));
    let row = after(events.clone()).holds.get(&(hold,)).unwrap().clone();
    assert_eq!((row.status.as_str(), row.captured, row.remaining, row.expires_at.micros()), ("open", 20, 30, 99));
    events.push(in_treasury(captured(10, 20, true)));
    let mut tables = after(events);
    let row = tables.holds.get(&(hold,)).unwrap();
    assert_eq!((row.status.as_str(), row.captured, row.remaining, row.ended_at.is_some()), ("captured", 30, 0, true));
    let account = tables.accounts.get(&(purse(), usd())).unwrap();
    assert_eq!((account.balance, account.held), (100, 0));
}

#[test]
fn conservation_counts_a_movement_once_and_sums_to_zero() {
    let other = TreasuryId::of_citizen(citizen(2));
    let mut events = deposit(1, purse(), "USD", 100, 2);
    events.extend(payment(2, purse(), other, "USD", amount(40, 2)));
    let out = Legs::pay(
        money::Account::Treasury(other),
        vec![
            (money::Account::External, amount(10, 2), LegRole::Principal),
            (money::Account::External, amount(1, 2), LegRole::Fee),
        ],
    );
    let debited = moved(3, MovementKind::Withdrawal, &currency("USD"), amount(11, 2), &out.unwrap());
    assert_eq!(debited.movement, MovementId::from_bits(3));
    events.push((Stream::Treasury(other), TreasuryEvent::Debited(debited).into()));
    let mut tables = after(events);
    let row = tables.conservation.get(&(currency("USD"),)).unwrap();
    assert_eq!((row.treasuries.0, row.external.0, row.movements), (89, -89, 3));
}

#[test]
fn citizens_and_keys_show_their_lives() {
    let (ada, agent, key) = (citizen(1), citizen(2), KeyId::from_bits(1));
    let facts = AgentFacts { operator: ada, model_family: slug("claude"), instructions: Digest([1; 32]) };
    let registered = CitizenEvent::Registered { kind: CitizenKind::Agent, name: sealed(1), agent: Some(facts) };
    let of_agent = |event: CitizenEvent| (Stream::Citizen(agent), Event::from(event));
    let of_key = |event: KeyEvent| (Stream::Key(key), Event::from(event));
    let issued = KeyEvent::Issued {
        citizen: agent,
        verifier: Digest([0xab; 32]),
        actions: Some(vec!["guild.found".to_owned()]),
        expires_at: None,
        replaces: None,
    };
    let mut tables = after([
        of_agent(registered),
        of_agent(CitizenEvent::RoleAssigned { role: slug("worker") }),
        of_agent(CitizenEvent::AttestationGranted { source: slug("bank"), currency: currency("USD") }),
        of_agent(CitizenEvent::AttestationWithdrawn { source: slug("bank"), currency: currency("USD") }),
        of_agent(CitizenEvent::Suspended { cause: SuspensionCause::Operator, reason: None }),
        of_key(issued),
        of_key(KeyEvent::Retired { expires_at: Time::from_micros(7) }),
        of_key(KeyEvent::Revoked {}),
    ]);
    let row = tables.citizens.get(&(agent,)).unwrap();
    assert_eq!((row.kind.as_str(), row.status.as_str(), row.operator), ("agent", "suspended", Some(ada)));
    assert_eq!((row.roles.0.len(), row.attestations.0.len()), (1, 0));
    let row = tables.keys.get(&(key,)).unwrap();
    assert_eq!((row.expires_at, row.revoked_at), (Some(Time::from_micros(7)), Some(Time::from_micros(1_007))));
    let written = format!("{:?}", tables.each().into_iter().flat_map(|staged| staged.changes()).collect::<Vec<_>>());
    assert!(!written.contains(&"ab".repeat(32)), "a verifier must not reach a view");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_follow_one_log_fold_every_entry_once() {
    let mut town = Town::postgres().await;
    town.append(&[beginning(5, 3)]).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let workers: Vec<_> = (0..2)
        .map(|_| tokio::spawn(super::run(town.log.clone(), town.views.clone(), stopped.clone(), watch::channel(0).0)))
        .collect();
    let mut life = Life::new(3, 5, 3);
    for _ in 0..60 {
        let batch: Vec<_> = (0..10).map(|_| life.act()).filter(|act| !act.is_empty()).collect();
        town.append(&batch).await.unwrap();
    }
    town.catch_up().await;
    stop.send_replace(true);
    for worker in workers {
        worker.await.unwrap().unwrap();
    }
    let mut found = Vec::new();
    let checked =
        crate::replay::check(&town.log, &town.views, &mut |_, _| {}, &mut |difference| found.push(difference))
            .await
            .unwrap();
    assert_eq!((found, checked.views), (Vec::new(), checked.guards));
}

#[tokio::test(flavor = "multi_thread")]
async fn views_of_another_version_are_made_again_by_who_runs_the_worker_and_by_nobody_else() {
    let mut town = Town::sqlite().await;
    town.append(&[beginning(2, 1)]).await.unwrap();
    town.catch_up().await;
    let mut conn = town.views.writer().await.unwrap();
    assert!(super::position(&mut conn).await.unwrap() > 0);
    assert!(ViewsDb::open(&town.log, false).await.is_ok());
    conn.script("pragma user_version = 1").await.unwrap();
    drop(conn);
    assert!(matches!(ViewsDb::open(&town.log, false).await, Err(eventlog::Failure::Missing(_))));
    town.views = ViewsDb::open(&town.log, true).await.unwrap();
    assert_eq!(super::position(&mut town.views.writer().await.unwrap()).await.unwrap(), 0);
    town.catch_up().await;
    assert!(super::position(&mut town.views.writer().await.unwrap()).await.unwrap() > 0);
}
