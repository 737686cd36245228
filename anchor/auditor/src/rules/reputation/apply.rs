//! What each event does to a reputation, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CIRCLE_DAYS, Computed, DAY, Disputed, Event, Figure, Gone, Kind, Opinion, Piece, Recorded, Reversed, Row, Stake,
    figures,
};
use crate::rules::city::{Tier, tier_of};
use crate::rules::values::{CitizenId, EvidenceId, GuildId, ReputationId};
use crate::rules::{Actor, Entry, Notes, World};

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
        Event::OpinionGiven(opinion) => {
            let Opinion { giver, kind, scope, .. } = opinion;
            notes.expect(*giver == own && actor == Some(own), || "an opinion is another's than the actor's".to_owned());
            notes.expect(is_peer(*kind), || "that is no opinion".to_owned());
            let mine = world.reputations.of.entry(own).or_default();
            let has_shown = mine.standing.get(scope).is_some_and(|pieces| *pieces > 0);
            notes.expect(has_shown, || format!("{own} has shown nothing in {scope}"));
            if let Some(why) = mine.give(opinion, entry.at.0) {
                notes.add(format!("{own} {why}"));
            }
            world.act.opinions.push((entry.position, *opinion));
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
            let (attester, scope) = (piece.by, piece.scope);
            if !twice
                && let Some(left) = world.reputations.of.get_mut(&own).and_then(|own| own.standing.get_mut(&scope))
            {
                *left = left.saturating_sub(1);
            }
            notes.expect(tier_of(world, *by) >= Some(Tier::Gate), || format!("{by} reverses evidence and is no gate"));
            for other in [attester, own] {
                let same = world.answers_for(*by) == world.answers_for(other);
                notes.expect(!same, || format!("{by} reverses evidence about or of their own household"));
            }
        }
        Event::Recomputed(computed) => recomputed(computed, own, entry, world, notes),
    }
}

fn piece<'w>(world: &'w mut World, own: CitizenId, id: EvidenceId, notes: &mut Notes) -> Option<&'w mut Piece> {
    let mine = world.reputations.of.entry(own).or_default();
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
    let guild = world.guilds.get(scope);
    let member = guild.is_some_and(|guild| guild.is_active_member(*attested_by));
    notes.expect(member, || format!("{attested_by} is no active member of {scope}"));
    notes.expect(guild.is_some_and(|guild| guild.is_awake()), || format!("{scope} is no active guild"));
    notes.expect(effective_at.0 <= entry.at.0, || format!("{evidence} takes effect in the future"));
    let now = u128::try_from(entry.at.0.div_euclid(1000)).unwrap_or(0);
    notes.expect(evidence.millis() == now, || format!("the id of the new evidence {evidence} is not of this moment"));
    notes.expect(world.reputations.is_new(*evidence), || format!("the id {evidence} is used twice"));
    let wanted = match recorded.stake {
        None if is_peer(*kind) => opinion_weight(recorded, own, entry, world, notes),
        Some(stake) if !is_peer(*kind) => {
            check_outcome(recorded, world, notes);
            base(*kind) * quarters(stake) / 4
        }
        _ => return notes.add(format!("{evidence} has a stake and is an opinion, or neither")),
    };
    notes.expect(weight.0 == wanted, || format!("{evidence} weighs {}, not {wanted} thousandths", weight.0));
    let mine = world.reputations.of.entry(own).or_default();
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
    *mine.standing.entry(*scope).or_default() += 1;
}

const fn is_peer(kind: Kind) -> bool {
    matches!(kind, Kind::PeerEndorsed | Kind::PeerFlagged)
}

/// An opinion is evidence once, at once, and speaks of no work.
fn opinion_weight(recorded: &Recorded, own: CitizenId, entry: &Entry, world: &mut World, notes: &mut Notes) -> i64 {
    let Recorded { evidence, kind, scope, attested_by, .. } = recorded;
    let opinion = Opinion { giver: *attested_by, to: own, kind: *kind, scope: *scope };
    match world.act.opinions.iter().position(|(_, given)| *given == opinion) {
        Some(place) => drop(world.act.opinions.swap_remove(place)),
        None => notes.add(format!("{evidence} is an opinion that nobody gave")),
    }
    let now = recorded.effective_at == entry.at;
    notes.expect(now, || format!("{evidence} is an opinion of another time than it was given"));
    let bare = recorded.work_lookup.is_none() && recorded.proof.is_none();
    notes.expect(bare, || format!("{evidence} is an opinion and names a work"));
    let circle = *kind == Kind::PeerEndorsed && is_circle(world, *attested_by, own, entry.at.0 - CIRCLE_DAYS * DAY);
    base(*kind) / if circle { 4 } else { 1 }
}

/// An outcome is attested by a gate, with a proof, and of one work once.
fn check_outcome(recorded: &Recorded, world: &mut World, notes: &mut Notes) {
    let Recorded { evidence, holder, kind, attested_by, .. } = recorded;
    let gate = tier_of(world, *attested_by) >= Some(Tier::Gate);
    notes.expect(gate, || format!("{attested_by} attests an outcome and is no gate"));
    let (Some(work), Some(_)) = (recorded.work_lookup, recorded.proof) else {
        return notes.add(format!("{evidence} names no work, or nothing that proves it"));
    };
    let claim = chain::hash::sha256(&[b"outcome\n", &work.0, format!("{kind:?}{holder}").as_bytes()]).0;
    let new = world.references.insert(u128::from_be_bytes(claim[..16].try_into().unwrap_or_default()));
    notes.expect(new, || "that outcome of that work was attested before".to_owned());
}

/// Whether `to` reaches `from` by endorsements of the window, of whatever scopes, in at most three steps.
fn is_circle(world: &World, from: CitizenId, to: CitizenId, since: i64) -> bool {
    let of = |one: CitizenId| world.reputations.of.get(&one);
    let endorsed = |one: CitizenId| of(one).into_iter().flat_map(move |one| one.endorsed_since(since));
    let endorses = |one: CitizenId| of(one).is_some_and(|one| one.endorses(from, since));
    endorses(to) || endorsed(to).any(|one| endorses(one) || endorsed(one).any(endorses))
}

fn recomputed(computed: &Computed, own: CitizenId, entry: &Entry, world: &mut World, notes: &mut Notes) {
    let Computed { holder, as_of, rows, gone } = computed;
    notes.expect(*holder == own, || "figures are recorded in another's stream".to_owned());
    notes.expect(entry.actor == Actor::System, || "somebody sets figures, which only follow".to_owned());
    notes.expect(as_of.0 <= entry.at.0, || "figures of the future are recorded".to_owned());
    let mine = world.reputations.of.entry(own).or_default();
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
