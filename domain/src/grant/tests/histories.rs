//! Random commands, and what their log says.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::event::Event;
use crate::grant::event::{EndedBy, GrantEvent, Granted};

/// One random step of a small shop: five people, two skills.
#[derive(Debug, Clone)]
enum Step {
    Grant { to: usize, name: usize, days: Option<u32> },
    Import { to: usize, name: usize },
    Revoke { by: usize, of: usize, name: usize },
    Delegate { from: usize, to: usize, name: usize },
    Attenuate { of: usize, name: usize, days: Option<u32>, read_only: bool },
    Find { of: usize, name: usize, verdict: Verdict },
    Suspend { who: usize },
    Reinstate { who: usize },
    Deprovision { who: usize },
    Pass { days: u32 },
    Expire { of: usize, name: usize },
}

fn any_step() -> impl Strategy<Value = Step> {
    let (who, name) = (0_usize..5, 0_usize..2);
    let verdict = proptest::sample::select(vec![
        Verdict::Alive,
        Verdict::Gone,
        Verdict::Revoked,
        Verdict::Expired,
        Verdict::Unknown(FailureKind::TimedOut),
    ]);
    prop_oneof![
        3 => (who.clone(), name.clone(), proptest::option::of(1_u32..5)).prop_map(|(to, name, days)| Step::Grant { to, name, days }),
        3 => (who.clone(), name.clone()).prop_map(|(to, name)| Step::Import { to, name }),
        3 => (who.clone(), who.clone(), name.clone()).prop_map(|(by, of, name)| Step::Revoke { by, of, name }),
        6 => (who.clone(), who.clone(), name.clone()).prop_map(|(from, to, name)| Step::Delegate { from, to, name }),
        3 => (who.clone(), name.clone(), proptest::option::of(1_u32..4), any::<bool>())
            .prop_map(|(of, name, days, read_only)| Step::Attenuate { of, name, days, read_only }),
        2 => (who.clone(), name.clone(), verdict).prop_map(|(of, name, verdict)| Step::Find { of, name, verdict }),
        1 => who.clone().prop_map(|who| Step::Suspend { who }),
        1 => who.clone().prop_map(|who| Step::Reinstate { who }),
        1 => who.clone().prop_map(|who| Step::Deprovision { who }),
        1 => (1_u32..3).prop_map(|days| Step::Pass { days }),
        1 => (who, name).prop_map(|(of, name)| Step::Expire { of, name }),
    ]
}

fn play(world: &mut World, owner: CitizenId, people: &[CitizenId], step: &Step) {
    let name = |name: usize| ["weld", "forge"][name];
    let held = |world: &World, of: usize, which: usize| named(world, people[of], name(which));
    let last = |world: &World, of: usize, which: usize| last_begun(world, people[of], name(which));
    let none = GrantId::from_bits(1);
    let done = match step {
        Step::Grant { to, name: which, days } => {
            let expires_at = days.map(|days| world.now.plus_days(days));
            world.send(owner, GrantCapability { expires_at, ..skill(people[*to], name(*which)) })
        }
        Step::Import { to, name: which } => world.send(world.principal, listed(people[*to], name(*which))),
        // The living one, or the one that ended last: whoever takes it away may come too late.
        Step::Revoke { by, of, name } => {
            let grant = held(world, *of, *name).or_else(|| last(world, *of, *name)).unwrap_or(none);
            world.send(people[*by], revoke(people[*of], grant))
        }
        Step::Delegate { from, to, name } => {
            let grant = held(world, *from, *name).unwrap_or(none);
            world.send(people[*from], hand_on(people[*from], grant, people[*to]))
        }
        Step::Attenuate { of, name, days, read_only } => {
            let grant = held(world, *of, *name).unwrap_or(none);
            let scope = Scope { read_only: *read_only, ..Scope::default() };
            let expires_at = days.map(|days| world.now.plus_days(days));
            world.send(owner, AttenuateGrant { holder: people[*of].into(), grant, scope, expires_at })
        }
        Step::Find { of, name, verdict } => {
            let grant = held(world, *of, *name).unwrap_or(none);
            world.send_system(found(people[*of], grant, *verdict))
        }
        Step::Suspend { who } => world.send(world.principal, SuspendCitizen { citizen: people[*who], reason: None }),
        Step::Reinstate { who } => world.send(world.principal, ReinstateCitizen { citizen: people[*who] }),
        Step::Deprovision { who } => {
            world.send(world.principal, DeprovisionCitizen { citizen: people[*who], reason: None })
        }
        Step::Pass { days } => {
            world.pass_days(*days);
            return;
        }
        Step::Expire { of, name } => {
            let grant = held(world, *of, *name).unwrap_or(none);
            world.send_system(ExpireGrant { holder: people[*of].into(), grant })
        }
    };
    // Refusals are lawful too; what must hold is checked after every step.
    let _ = done;
}

/// The newest grant of that name, living or not.
fn last_begun(world: &World, of: CitizenId, name: &str) -> Option<GrantId> {
    world.log.iter().rev().find_map(|(_, event, _)| match event {
        Event::Grant(GrantEvent::Granted(begun)) => {
            (begun.holder == of.into() && begun.reference.to_string() == name).then_some(begun.grant)
        }
        _ => None,
    })
}

type Name = (HolderId, CapabilityKind, String);

/// A living grant, from the log alone.
struct Lives {
    name: Name,
    source: Source,
    parent: Option<GrantId>,
    scope: Scope,
    expires_at: Option<Time>,
    /// What somebody left of it: a scope, an end.
    left: (Option<Scope>, Option<Time>),
}

/// What somebody said of a name: nothing of it, or no more than this.
type Said = Option<(Option<Scope>, Option<Time>)>;

/// What the log alone says about grants: told apart from the states that decide.
#[derive(Default)]
struct Told {
    living: BTreeMap<GrantId, Lives>,
    ended: BTreeMap<GrantId, (Name, Source)>,
    said: BTreeMap<(Name, Source), Said>,
}

impl Told {
    fn read(&mut self, events: &[(Stream, Event, Time)]) {
        for (_, event, at) in events {
            if let Event::Grant(event) = event {
                self.hear(event, *at);
            }
        }
    }

    fn hear(&mut self, event: &GrantEvent, at: Time) {
        match event {
            GrantEvent::Granted(begun) => self.begin(begun, at),
            GrantEvent::Attenuated { grant, scope, expires_at, told } => {
                let lives = self.living.get_mut(grant).unwrap();
                if !told && lives.parent.is_none() {
                    let (left, end) = &mut lives.left;
                    *left = if lives.scope == *scope { left.take() } else { Some(scope.clone()) };
                    *end = if lives.expires_at == *expires_at { *end } else { *expires_at };
                }
                (lives.scope, lives.expires_at) = (scope.clone(), *expires_at);
            }
            GrantEvent::Revoked { grant, by, .. } => self.end(*grant, *by == EndedBy::Actor),
            GrantEvent::Expired { grant, .. } | GrantEvent::Orphaned { grant, .. } => self.end(*grant, false),
            GrantEvent::Withheld { grant, .. } => {
                let (name, source) = self.ended.get(grant).cloned().unwrap();
                assert!(source.is_imported() && self.living.values().all(|lives| lives.name != name), "{name:?}");
                self.said.insert((name, source), None);
            }
            _ => {}
        }
    }

    fn begin(&mut self, begun: &Granted, at: Time) {
        let name = (begun.holder, begun.kind, begun.reference.to_string());
        let parent = begun.parent.map(|link| link.grant);
        let mut left = (None, None);
        if begun.granted_by.is_none() && begun.source.is_imported() {
            for said in self.said.iter().filter(|((of, _), _)| *of == name).map(|(_, said)| said) {
                let Some((scope, end)) = said else { panic!("an importer brought back {name:?}") };
                assert!(end.is_none_or(|end| end > at && begun.expires_at.is_some_and(|new| new <= end)), "{begun:?}");
                assert!(scope.as_ref().is_none_or(|scope| begun.scope.is_within(scope)), "{begun:?}");
            }
            left = self.said.get(&(name.clone(), begun.source)).cloned().flatten().unwrap_or_default();
        } else if parent.is_none() {
            self.said.remove(&(name.clone(), begun.source));
            left = (Some(begun.scope.clone()).filter(|scope| *scope != Scope::default()), begun.expires_at);
        }
        let (scope, expires_at) = (begun.scope.clone(), begun.expires_at);
        self.living.insert(begun.grant, Lives { name, source: begun.source, parent, scope, expires_at, left });
    }

    fn end(&mut self, grant: GrantId, by_actor: bool) {
        let Some(Lives { name, source, left, .. }) = self.living.remove(&grant) else { return };
        self.ended.insert(grant, (name.clone(), source));
        if by_actor {
            self.said.insert((name, source), None);
        } else if left != (None, None) {
            self.said.insert((name, source), Some(left));
        }
    }

    fn check(&self) {
        let names: BTreeSet<_> = self.living.values().map(|lives| &lives.name).collect();
        assert_eq!(names.len(), self.living.len(), "two living grants of one name");
        for (grant, lives) in &self.living {
            let above = lives.parent.is_none_or(|parent| self.living.contains_key(&parent));
            assert!(above, "{grant} lives below one that ended");
        }
    }

    /// Nothing begins below a grant whose time is over, whether or not that is on record.
    fn check_above(&self, events: &[(Stream, Event, Time)]) {
        for (_, event, at) in events {
            let Event::Grant(GrantEvent::Granted(begun)) = event else { continue };
            let mut above = begun.parent.map(|link| link.grant);
            while let Some(lives) = above.and_then(|grant| self.living.get(&grant)) {
                assert!(lives.expires_at.is_none_or(|end| end > *at), "begun below a grant whose time is over");
                above = lives.parent;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn no_history_breaks_what_is_always_true(steps in proptest::collection::vec(any_step(), 1..60)) {
        let (mut world, owner) = shop();
        let people: Vec<CitizenId> = (0..5).map(|_| world.human()).collect();
        let mut told = Told::default();
        told.read(&world.log.clone());
        for step in &steps {
            let before = world.log.len();
            play(&mut world, owner, &people, step);
            told.read(&world.log[before..]);
            told.check();
            told.check_above(&world.log[before..]);
        }
        for person in &people {
            let living: BTreeSet<GrantId> = inventory(&world, *person).living().keys().copied().collect();
            let holder = HolderId::Citizen(*person);
            let said = told.living.iter().filter(|(_, told)| told.name.0 == holder).map(|(id, _)| *id).collect();
            prop_assert_eq!(living, said, "the state and the log agree");
        }
        world.check_replay();
    }
}
