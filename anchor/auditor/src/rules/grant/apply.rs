//! What each event of an inventory must find true, and what it changes.

use std::collections::{HashMap, HashSet};

use super::{
    Attenuated, By, DAY, Delegated, DelegationEnded, Ended, Event, Failed, Gone, Grant, Granted, Holder, Left, Link,
    MAX_ACTIONS, MAX_DEPTH, MAX_DESCENDANTS, Name, Scope, Source, Which, Word, hash,
};
use crate::rules::act::Due;
use crate::rules::citizen::Kind as CitizenKind;
use crate::rules::governance::Class;
use crate::rules::values::{CitizenId, GrantId, Time};
use crate::rules::{Actor, Entry, Notes, World};

pub fn apply(event: &Event, id: Holder, entry: &Entry, world: &mut World, notes: &mut Notes) {
    if let Event::Granted(granted) = event {
        return begin(granted, id, entry, world, notes);
    }
    if let Event::Pruned(Which { grant }) = event {
        let ended = world.inventories.ended.remove(grant);
        let due = ended.is_some_and(|ended| ended.at.0 + 30 * DAY <= entry.at.0);
        notes.expect(due, || format!("{grant} is pruned, and did not end 30 days ago"));
        return;
    }
    if let Event::Withheld(Which { grant }) = event {
        return withhold(*grant, id, world, notes);
    }
    let which = match event {
        Event::Granted(_) | Event::Pruned(_) | Event::Withheld(_) => return,
        Event::Delegated(Delegated { grant, .. })
        | Event::DelegationEnded(DelegationEnded { grant, .. })
        | Event::Attenuated(Attenuated { grant, .. })
        | Event::ReverificationRequested(Which { grant })
        | Event::Verified(Which { grant })
        | Event::VerificationFailed(Failed { grant, .. })
        | Event::WentStale(Which { grant })
        | Event::Revoked(Ended { grant, .. })
        | Event::Expired(Ended { grant, .. })
        | Event::Orphaned(Ended { grant, .. }) => *grant,
    };
    let Some(grant) = world.inventories.living.get(&which) else {
        return notes.add(format!("{which} is not living"));
    };
    notes.expect(grant.name.0 == id, || format!("{which} belongs to another inventory"));
    match event {
        Event::Revoked(Ended { by, .. }) | Event::Expired(Ended { by, .. }) | Event::Orphaned(Ended { by, .. }) => {
            let timed = matches!((event, by), (Event::Expired(_), By::City));
            let over = grant.expires_at.is_some_and(|end| end <= entry.at);
            notes.expect(!timed || over, || format!("{which} expires before its time"));
            let fits = match event {
                Event::Revoked(_) => true,
                Event::Expired(_) => matches!(by, By::City | By::Source),
                _ => *by == By::Source,
            };
            notes.expect(fits, || format!("{which} does not end like that by {by:?}"));
            let asked = grant.source.is_imported() && grant.parent.is_none();
            notes.expect(*by != By::Source || asked, || format!("{which} has no source that ends it"));
            let follows = matches!((event, by), (Event::Revoked(_), By::City));
            let computed = grant.source.is_computed();
            notes.expect(!computed || follows, || format!("{which} ends by itself, and follows from something else"));
            end(which, *by, entry, world, notes);
        }
        _ => change(which, event, entry, world, notes),
    }
}

/// An actor's no to what had ended already.
fn withhold(which: GrantId, id: Holder, world: &mut World, notes: &mut Notes) {
    let Some(Gone { name, source, .. }) = world.inventories.ended.get(&which) else {
        return notes.add(format!("{which} is withheld, and did not end, or is pruned"));
    };
    notes.expect(name.0 == id, || format!("{which} belongs to another inventory"));
    notes.expect(source.is_imported(), || format!("{which} has no source that would give it again"));
    let living = world.inventories.names.contains_key(name);
    notes.expect(!living, || format!("{which} is withheld beside a living grant of the same holder, kind and ref"));
    world.inventories.words.entry(*name).or_default().insert(*source, Word::Nothing);
}

fn change(which: GrantId, event: &Event, entry: &Entry, world: &mut World, notes: &mut Notes) {
    let verifier = matches!(entry.actor, Actor::System | Actor::Citizen { kind: CitizenKind::Service, .. });
    match event {
        Event::Delegated(Delegated { child, .. }) => {
            let hangs = above(world, child.grant).any(|above| above == which);
            notes.expect(hangs, || format!("{} does not hang on {which}", child.grant));
            world.act.delegated.insert(child.grant);
        }
        Event::DelegationEnded(DelegationEnded { children, .. }) => {
            for child in children {
                let living = world.inventories.living.contains_key(&child.grant);
                notes.expect(!living, || format!("{} has not ended", child.grant));
            }
        }
        Event::VerificationFailed(_) => {
            notes.expect(verifier, || "only verifiers say what a source could not".to_owned());
        }
        _ => {}
    }
    let Some(grant) = world.inventories.living.get_mut(&which) else { return };
    let asked = grant.source.is_imported() && grant.parent.is_none();
    match event {
        Event::Attenuated(Attenuated { scope, expires_at, told, .. }) => {
            let later = grant.expires_at.is_some_and(|end| expires_at.is_none_or(|wanted| wanted > end));
            notes.expect(scope.is_within(&grant.scope) && !later, || format!("{which} gets wider"));
            notes.expect(scope.is_short(), || format!("{which} lists more than {MAX_ACTIONS} actions"));
            notes.expect(!told || asked, || format!("{which} has no source that narrows it"));
            notes.expect(!grant.source.is_computed(), || {
                format!("{which} is narrowed, and follows from something else")
            });
            if !told && grant.parent.is_none() {
                let left = grant.left.get_or_insert_default();
                if grant.scope != *scope {
                    left.scope = scope.clone();
                }
                if grant.expires_at != *expires_at {
                    left.end = *expires_at;
                }
            }
            grant.scope = scope.clone();
            grant.expires_at = *expires_at;
        }
        Event::ReverificationRequested(_) => {
            notes.expect(asked, || format!("{which} has no source to ask"));
        }
        Event::VerificationFailed(_) => {
            notes.expect(asked, || format!("{which} has no source to ask"));
        }
        Event::Verified(_) => {
            notes.expect(verifier, || "only verifiers say what a source has".to_owned());
            notes.expect(asked, || format!("{which} has no source to ask"));
            grant.fresh_since = entry.at;
            grant.stale = false;
        }
        Event::WentStale(_) => {
            let old = entry.at.0 - grant.fresh_since.0 > DAY;
            notes.expect(old && !grant.stale, || format!("{which} goes stale before its time, or twice"));
            grant.stale = true;
        }
        _ => {}
    }
}

fn begin(granted: &Granted, id: Holder, entry: &Entry, world: &mut World, notes: &mut Notes) {
    let Granted { grant: which, holder, kind, source, scope, parent, expires_at, .. } = granted;
    let position = notes.position;
    let name = (*holder, *kind, hash(&granted.r#ref));
    world.inventories.kept = true;
    notes.expect(*holder == id, || format!("{which} begins in another holder's inventory"));
    let now = u128::try_from(entry.at.0.div_euclid(1000)).unwrap_or(0);
    notes.expect(which.millis() == now, || format!("the id of the new grant {which} is not of this moment"));
    notes.expect(source.speaks_of(*kind), || format!("the source of {which} does not speak of such capabilities"));
    notes.expect(source.names(&granted.r#ref), || format!("the source of {which} does not give such names"));
    notes.expect(scope.is_short(), || format!("{which} lists more than {MAX_ACTIONS} actions"));
    notes.expect(expires_at.is_none_or(|end| end > entry.at), || format!("{which} begins after its end"));
    world.act.due.push((position, Due::HolderOf { holder: *holder, kind: granted.holder_kind }));
    notes.expect(!world.is_gone(*holder), || format!("{which} begins for {holder}, who is gone"));
    match parent {
        Some(parent) => delegate(granted, parent, name, entry, world, notes),
        None => authorize(granted, name, entry, world, notes),
    }
    if let Some(living) = world.inventories.names.insert(name, *which) {
        notes.add(format!("{which} begins beside {living}, which is living and has the same holder, kind and ref"));
    }
    let left = match (granted.granted_by, parent) {
        (_, Some(_)) => None,
        (Some(_), None) => {
            if let Some(words) = world.inventories.words.get_mut(&name) {
                words.remove(source);
            }
            let limited = expires_at.is_some() || *scope != Scope::default();
            limited.then(|| Box::new(Left { scope: scope.clone(), end: *expires_at }))
        }
        (None, None) => match world.inventories.words.get(&name).and_then(|words| words.get(source)) {
            Some(Word::AtMost(left)) => Some(Box::new(left.clone())),
            _ => None,
        },
    };
    let grant = Grant {
        name,
        source: *source,
        scope: scope.clone(),
        delegable: granted.delegable,
        expires_at: *expires_at,
        parent: parent.map(|link| link.grant),
        children: HashSet::new(),
        fresh_since: entry.at,
        stale: false,
        left,
        follows: source.follows(*holder, &granted.r#ref).map(Box::new),
    };
    world.act.due.extend(grant.follows.as_deref().map(|due| (position, due.clone())));
    world.inventories.add(*which, grant);
}

/// What was not handed on by somebody: from its source, with that source's authority.
fn authorize(granted: &Granted, name: Name, entry: &Entry, world: &mut World, notes: &mut Notes) {
    let Granted { grant: which, source, granted_by, verified, .. } = granted;
    let told = granted_by.is_none();
    notes
        .expect(told == *verified, || format!("{which} counts as verified without its source, or the other way round"));
    if told {
        notes.expect(source.is_imported() || source.is_computed(), || format!("{which} is granted by nobody"));
        for word in world.inventories.words.get(&name).into_iter().flat_map(HashMap::values) {
            match word {
                Word::AtMost(left) if left.end.is_none_or(|end| end > entry.at) => {
                    let later = left.end.is_some_and(|end| granted.expires_at.is_none_or(|told| told > end));
                    let within = granted.scope.is_within(&left.scope) && !later;
                    notes.expect(within, || format!("{which} is imported wider than somebody left it"));
                }
                _ => notes.add(format!("{which} was taken away by somebody, and is imported again")),
            }
        }
        return;
    }
    notes.expect(!source.is_computed(), || format!("{which} follows from nothing"));
    is_actor(*granted_by, entry, which, notes);
    if let Source::Guild(guild) = source {
        world.needs_decision(*guild, Class::Work, "a guild grants a capability", notes);
        world.act.due.push((notes.position, Due::Inside { guild: *guild, holder: granted.holder }));
    }
}

fn is_actor(granted_by: Option<CitizenId>, entry: &Entry, which: &GrantId, notes: &mut Notes) {
    let actor = match entry.actor {
        Actor::Citizen { id, .. } => Some(id),
        Actor::System => None,
    };
    notes.expect(granted_by == actor, || format!("{which} is granted by somebody else than the actor"));
}

fn delegate(granted: &Granted, parent: &Link, name: Name, entry: &Entry, world: &mut World, notes: &mut Notes) {
    let which = granted.grant;
    is_actor(granted.granted_by, entry, &which, notes);
    let over = |grant: &GrantId| ended_by(world, *grant, entry.at);
    let late = std::iter::once(parent.grant).chain(above(world, parent.grant)).find(over);
    notes.expect(late.is_none(), || format!("{which} begins below a grant whose time is over"));
    let depth = 2 + above(world, parent.grant).count();
    notes.expect(depth <= MAX_DEPTH, || format!("{which} is deeper than {MAX_DEPTH} grants"));
    let top = above(world, parent.grant).last().unwrap_or(parent.grant);
    let Some(above) = world.inventories.living.get_mut(&parent.grant) else {
        return notes.add(format!("{which} is delegated from {}, which is not living", parent.grant));
    };
    let same = above.name.0 == parent.holder && (above.name.1, above.name.2) == (name.1, name.2);
    notes.expect(same && above.source == granted.source, || {
        format!("{which} is another capability than the one above it")
    });
    notes.expect(above.delegable, || format!("{} may not be handed on", parent.grant));
    let later = above.expires_at.is_some_and(|end| granted.expires_at.is_none_or(|wanted| wanted > end));
    let within = granted.scope.is_within(&above.scope) && !later;
    notes.expect(within, || format!("{which} is wider than the grant above it"));
    above.children.insert(which);
    let below = below(world, top).len();
    notes.expect(below <= MAX_DESCENDANTS, || format!("more than {MAX_DESCENDANTS} grants hang on {top}"));
    world.act.due.push((notes.position, Due::DelegationNoted(which)));
    match parent.holder {
        Holder::Guild(guild) => world.needs_decision(guild, Class::Work, "a guild hands a capability on", notes),
        Holder::Citizen(citizen) => {
            notes.expect(granted.granted_by == Some(citizen), || format!("{which} is handed on by somebody else"));
        }
        Holder::Squad(_) => notes.add(format!("{which} is handed on by a squad, for which nobody acts")),
    }
}

fn ended_by(world: &World, grant: GrantId, at: Time) -> bool {
    let grant = world.inventories.living.get(&grant);
    grant.and_then(|grant| grant.expires_at).is_some_and(|end| end <= at)
}

/// The living grants above one, the nearest first.
fn above(world: &World, grant: GrantId) -> impl Iterator<Item = GrantId> + '_ {
    let parent = move |grant: &GrantId| world.inventories.living.get(grant).and_then(|grant| grant.parent);
    // Longer than any chain can be, in case one comes back to itself.
    std::iter::successors(parent(&grant), parent).take(2 * MAX_DEPTH)
}

/// The living grants below one.
fn below(world: &World, grant: GrantId) -> Vec<GrantId> {
    let (mut found, mut next) = (Vec::new(), vec![grant]);
    while let Some(grant) = next.pop() {
        let children = world.inventories.living.get(&grant).map(|grant| &grant.children);
        for child in
            children.into_iter().flatten().copied().filter(|child| world.inventories.living.contains_key(child))
        {
            found.push(child);
            next.push(child);
        }
    }
    found
}

fn end(which: GrantId, by: By, entry: &Entry, world: &mut World, notes: &mut Notes) {
    let below = below(world, which);
    if !below.is_empty() {
        world.act.due.push((notes.position, Due::DescendantsEnded(below)));
    }
    let Some(grant) = world.inventories.remove(which) else { return };
    // Ended alone, it does not agree with what it follows from.
    world.act.due.extend(grant.follows.as_deref().map(|due| (notes.position, due.clone())));
    if by == By::Ancestor {
        let gone = grant.parent.is_some_and(|parent| !world.inventories.living.contains_key(&parent));
        notes.expect(gone, || format!("{which} ends with a grant above it that has not ended"));
    }
    if let Some(above) = grant.parent.and_then(|parent| world.inventories.living.get_mut(&parent)) {
        above.children.remove(&which);
    }
    world.inventories.ended.insert(which, Gone { at: entry.at, name: grant.name, source: grant.source });
    let word = match grant.left {
        _ if by == By::Actor => Word::Nothing,
        Some(left) => Word::AtMost(*left),
        None => return,
    };
    world.inventories.words.entry(grant.name).or_default().insert(grant.source, word);
}
