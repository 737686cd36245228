//! Rules of reputation: who may attest what, what it weighs, and that every figure on record is what the evidence says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;

use super::values::{CitizenId, Digest, EvidenceId, FromText, GuildId, ReputationId, Time, read_text};
use super::{Actor, Entry, Notes, World, events};

mod figures;

const DAY: i64 = 86_400_000_000;

events! {
    "reputation.evidence_recorded.v1" => EvidenceRecorded(Box<Recorded>), ["work?", "note?"], "attested by the actor, of another household, a member of the scope; weighs what its kind and stake give; an outcome of one work once";
    "reputation.opinion_given.v1" => OpinionGiven(Opinion), [], "by the actor, in their own stream, not twice in 30 days";
    "reputation.evidence_disputed.v1" => EvidenceDisputed(Disputed), ["reason?"], "by its holder";
    "reputation.evidence_reversed.v1" => EvidenceReversed(Reversed), ["reason?"], "it was disputed; by the actor, of another household than the attester's and the holder's";
    "reputation.recomputed.v1" => Recomputed(Computed), [], "by the city, not of the future; every row is what the evidence gives, and none is missing";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    AuditClean,
    AuditViolation,
    PeerEndorsed,
    PeerFlagged,
    TaskAbandoned,
    TaskCompleted,
    TaskFailed,
    VerificationFailed,
    VerificationPassed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Stake {
    T1,
    T2,
    T3,
    T4,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    Compliance,
    Overall,
    Quality,
    Reliability,
}

/// Thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(i64);

impl FromText for Weight {
    const EXPECTED: &'static str = "a decimal of three places";

    fn from_text(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, rest) = digits.split_once('.')?;
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if rest.len() != 3
            || !plain(rest)
            || !plain(whole)
            || whole.len() > 4
            || (whole.len() > 1 && whole.starts_with('0'))
        {
            return None;
        }
        let size: i64 = format!("{whole}{rest}").parse().ok()?;
        let negative = text.len() > digits.len();
        if negative && size == 0 { None } else { Some(Self(if negative { -size } else { size })) }
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    evidence: EvidenceId,
    holder: CitizenId,
    kind: Kind,
    weight: Weight,
    scope: GuildId,
    attested_by: CitizenId,
    effective_at: Time,
    stake: Option<Stake>,
    work_lookup: Option<Digest>,
    proof: Option<Digest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opinion {
    giver: CitizenId,
    to: CitizenId,
    kind: Kind,
    scope: GuildId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disputed {
    evidence: EvidenceId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reversed {
    evidence: EvidenceId,
    by: CitizenId,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    figure: Figure,
    scope: Option<GuildId>,
    evidence: u64,
    score: Box<str>,
    mu: Box<str>,
    phi: Box<str>,
    sigma: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone {
    figure: Figure,
    scope: Option<GuildId>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Computed {
    holder: CitizenId,
    as_of: Time,
    rows: Vec<Row>,
    #[serde(default)]
    gone: Vec<Gone>,
}

#[derive(Debug, Clone)]
struct Piece {
    kind: Kind,
    weight: i64,
    scope: GuildId,
    by: CitizenId,
    effective_at: i64,
    recorded_at: i64,
    disputed: bool,
    reversed_at: Option<i64>,
}

/// What is known of one citizen. Evidence lasts: this grows with what was attested, and with nothing else.
#[derive(Debug, Default)]
struct Reputation {
    evidence: Vec<Piece>,
    places: HashMap<EvidenceId, usize>,
    given: HashMap<(CitizenId, GuildId, Kind), i64>,
    /// The names of the rows on record, and as of when.
    rows: BTreeSet<(Figure, Option<GuildId>)>,
    as_of: Option<i64>,
}

/// The reputations of everybody.
#[derive(Debug, Default)]
pub struct Reputations(HashMap<CitizenId, Reputation>);

const fn base(kind: Kind) -> i64 {
    match kind {
        Kind::TaskCompleted => 1000,
        Kind::TaskFailed => -800,
        Kind::TaskAbandoned => -300,
        Kind::VerificationPassed => 1500,
        Kind::VerificationFailed => -1200,
        Kind::AuditClean => 200,
        Kind::AuditViolation => -3000,
        Kind::PeerEndorsed => 500,
        Kind::PeerFlagged => -1000,
    }
}

const fn quarters(stake: Stake) -> i64 {
    match stake {
        Stake::T1 => 1,
        Stake::T2 => 2,
        Stake::T3 => 4,
        Stake::T4 => 6,
    }
}

pub fn apply(event: &Event, id: ReputationId, entry: &Entry, world: &mut World, notes: &mut Notes) {
    let own = CitizenId { 0: id.0 };
    let actor = match entry.actor {
        Actor::Citizen { id, .. } => Some(id),
        Actor::System => None,
    };
    match event {
        Event::EvidenceRecorded(recorded) => record(recorded, own, actor, entry, world, notes),
        Event::OpinionGiven(Opinion { giver, to, kind, scope }) => {
            notes.expect(*giver == own && actor == Some(own), || "an opinion is another's than the actor's".to_owned());
            notes.expect(matches!(kind, Kind::PeerEndorsed | Kind::PeerFlagged), || "that is no opinion".to_owned());
            let has_shown = world.reputations.0.get(&own).is_some_and(|mine| {
                mine.evidence.iter().any(|piece| piece.scope == *scope && piece.reversed_at.is_none())
            });
            notes.expect(has_shown, || format!("{own} has shown nothing in {scope}"));
            let mine = world.reputations.0.entry(own).or_default();
            let last = mine.given.insert((*to, *scope, *kind), entry.at.0);
            let soon = last.is_some_and(|last| entry.at.0 - last < 30 * DAY);
            notes.expect(!soon, || format!("{own} gives the same opinion of {to} again within 30 days"));
            world.act.opinions.push((own, *to, *scope, *kind));
        }
        Event::EvidenceDisputed(Disputed { evidence }) => {
            notes.expect(actor == Some(own), || "evidence is disputed by somebody else than its holder".to_owned());
            if let Some(piece) = piece(world, own, *evidence, notes) {
                let twice = std::mem::replace(&mut piece.disputed, true);
                notes.expect(!twice, || format!("{evidence} is disputed twice"));
            }
        }
        Event::EvidenceReversed(Reversed { evidence, by }) => {
            notes.expect(actor == Some(*by), || "evidence is reversed by somebody else than it says".to_owned());
            let Some(piece) = piece(world, own, *evidence, notes) else { return };
            notes.expect(piece.disputed, || format!("{evidence} was not disputed"));
            let twice = piece.reversed_at.replace(entry.at.0).is_some();
            notes.expect(!twice, || format!("{evidence} is reversed twice"));
            let attester = piece.by;
            for other in [attester, own] {
                let same = world.answers_for(*by) == world.answers_for(other);
                notes.expect(!same, || format!("{by} reverses evidence about or of their own household"));
            }
        }
        Event::Recomputed(computed) => recomputed(computed, own, entry, world, notes),
    }
}

fn piece<'w>(world: &'w mut World, own: CitizenId, id: EvidenceId, notes: &mut Notes) -> Option<&'w mut Piece> {
    let mine = world.reputations.0.entry(own).or_default();
    match mine.places.get(&id) {
        Some(place) => mine.evidence.get_mut(*place),
        None => {
            notes.add(format!("there is no evidence {id} about {own}"));
            None
        }
    }
}

fn record(
    recorded: &Recorded,
    own: CitizenId,
    actor: Option<CitizenId>,
    entry: &Entry,
    world: &mut World,
    notes: &mut Notes,
) {
    let Recorded { evidence, holder, kind, weight, scope, attested_by, effective_at, .. } = recorded;
    notes.expect(*holder == own, || "evidence is recorded in another's stream".to_owned());
    notes.expect(actor == Some(*attested_by), || format!("{evidence} is attested by somebody else than the actor"));
    let same = world.answers_for(*attested_by) == world.answers_for(own);
    notes.expect(!same, || format!("{attested_by} attests for their own household"));
    notes.expect(world.citizens.contains_key(holder), || format!("{holder} is not registered"));
    let member = world.guilds.get(scope).is_some_and(|guild| guild.is_active_member(*attested_by));
    notes.expect(member, || format!("{attested_by} is no active member of {scope}"));
    notes.expect(effective_at.0 <= entry.at.0, || format!("{evidence} takes effect in the future"));
    let now = u128::try_from(entry.at.0.div_euclid(1000)).unwrap_or(0);
    notes.expect(evidence.millis() == now, || format!("the id of the new evidence {evidence} is not of this moment"));
    let peer = matches!(kind, Kind::PeerEndorsed | Kind::PeerFlagged);
    let wanted = match recorded.stake {
        None if peer => {
            let given = world.act.opinions.contains(&(*attested_by, own, *scope, *kind));
            notes.expect(given, || format!("{evidence} is an opinion that nobody gave"));
            let circle =
                *kind == Kind::PeerEndorsed && is_circle(world, *attested_by, own, *scope, entry.at.0 - 90 * DAY);
            base(*kind) / if circle { 4 } else { 1 }
        }
        Some(stake) if !peer => base(*kind) * quarters(stake) / 4,
        _ => return notes.add(format!("{evidence} has a stake and is an opinion, or neither")),
    };
    notes.expect(weight.0 == wanted, || format!("{evidence} weighs {}, not {wanted} thousandths", weight.0));
    if !peer {
        let (Some(work), Some(_)) = (recorded.work_lookup, recorded.proof) else {
            return notes.add(format!("{evidence} names no work, or nothing that proves it"));
        };
        let claim = chain::hash::sha256(&[b"outcome\n", &work.0, format!("{kind:?}{holder}").as_bytes()]).0;
        let new = world.references.insert(u128::from_be_bytes(claim[..16].try_into().unwrap_or_default()));
        notes.expect(new, || "that outcome of that work was attested before".to_owned());
    }
    let mine = world.reputations.0.entry(own).or_default();
    mine.places.insert(*evidence, mine.evidence.len());
    mine.evidence.push(Piece {
        kind: *kind,
        weight: weight.0,
        scope: *scope,
        by: *attested_by,
        effective_at: effective_at.0,
        recorded_at: entry.at.0,
        disputed: false,
        reversed_at: None,
    });
}

/// Whether `to` reaches `from` by endorsements of the window in at most three steps.
fn is_circle(world: &World, from: CitizenId, to: CitizenId, scope: GuildId, since: i64) -> bool {
    let mut reached = BTreeSet::from([to]);
    for _ in 0..3 {
        let endorsed = reached.iter().filter_map(|one| world.reputations.0.get(one)).flat_map(|one| {
            let fresh = one
                .given
                .iter()
                .filter(|((_, place, kind), at)| *place == scope && *kind == Kind::PeerEndorsed && **at >= since);
            fresh.map(|((to, ..), _)| *to)
        });
        reached = endorsed.collect();
        if reached.contains(&from) {
            return true;
        }
    }
    false
}

fn recomputed(computed: &Computed, own: CitizenId, entry: &Entry, world: &mut World, notes: &mut Notes) {
    let Computed { holder, as_of, rows, gone } = computed;
    notes.expect(*holder == own, || "figures are recorded in another's stream".to_owned());
    notes.expect(entry.actor == Actor::System, || "somebody sets figures, which only follow".to_owned());
    notes.expect(as_of.0 <= entry.at.0, || "figures of the future are recorded".to_owned());
    let mine = world.reputations.0.entry(own).or_default();
    notes.expect(mine.as_of.is_none_or(|last| last < as_of.0), || "older figures replace newer ones".to_owned());
    mine.as_of = Some(as_of.0);
    let wanted: BTreeMap<(Figure, Option<GuildId>), Row> = figures::all(&mine.evidence, as_of.0);
    let found: BTreeMap<(Figure, Option<GuildId>), &Row> =
        rows.iter().map(|row| ((row.figure, row.scope), row)).collect();
    notes.expect(found.len() == rows.len(), || "a row is recorded twice".to_owned());
    for (name, row) in &found {
        match wanted.get(name) {
            Some(wanted) => {
                notes.expect(wanted == *row, || {
                    format!("{own} has {row:?} on record, and the evidence gives {wanted:?}")
                });
            }
            None => notes.add(format!("{own} has a row for {name:?} and no evidence for it")),
        }
    }
    for name in wanted.keys().filter(|name| !found.contains_key(*name)) {
        notes.add(format!("{own} has evidence for {name:?}, and no row"));
    }
    let rows: BTreeSet<(Figure, Option<GuildId>)> = found.into_keys().collect();
    let left: BTreeSet<Gone> =
        mine.rows.difference(&rows).map(|(figure, scope)| Gone { figure: *figure, scope: *scope }).collect();
    notes.expect(left == gone.iter().copied().collect(), || format!("{own} does not say which rows are gone"));
    mine.rows = rows;
}
