//! Every way to be let in, and every way not to be.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use domain::Event;
use domain::citizen::event::{CitizenEvent, SuspensionCause};
use domain::city::event::CityEvent;
use domain::city::policy::POLICY;
use domain::city::seed_role;
use domain::key::event::KeyEvent;
use domain::party::CitizenKind;
use domain::text::{Digest, Sealed};
use domain::turn::Claim;

use super::*;
use crate::key::ApiKey;

const CITIZEN: CitizenId = CitizenId::from_bits(1);
const KEY: KeyId = KeyId::from_bits(2);
const NOW: Time = Time::from_micros(1_000_000);

/// A city folded from a few events; streams that were not named are not loaded.
#[derive(Default)]
struct Folded(HashMap<Stream, Arc<State>>);

impl Scene for Folded {
    fn state(&self, stream: Stream) -> Option<&Arc<State>> {
        self.0.get(&stream)
    }

    fn claim(&self, _claim: &Claim) -> Option<Option<&str>> {
        None
    }
}

impl Folded {
    /// One service of that tier with one key.
    fn with(tier: Tier, key: KeyEvent) -> Self {
        let name = Sealed { ciphertext: Digest([0; 32]), commitment: Digest([0; 32]), subject: "city".to_owned() };
        let registered = CitizenEvent::Registered { kind: CitizenKind::Service, name, agent: None };
        Self::default()
            .and(Stream::City, CityEvent::Founded { principal: CitizenId::from_bits(9) })
            .and(Stream::Citizen(CITIZEN), registered)
            .and(Stream::Citizen(CITIZEN), CitizenEvent::RoleAssigned { role: seed_role(tier) })
            .and(Stream::Key(KEY), key)
    }

    fn of(tier: Tier) -> Self {
        Self::with(tier, issued_key(None, None))
    }

    fn and(mut self, stream: Stream, event: impl Into<Event>) -> Self {
        let state = self.0.entry(stream).or_insert_with(|| Arc::new(State::empty(stream)));
        Arc::make_mut(state).evolve(&event.into(), NOW);
        self
    }

    fn and_citizen(self, event: CitizenEvent) -> Self {
        self.and(Stream::Citizen(CITIZEN), event)
    }

    fn and_key(self, event: KeyEvent) -> Self {
        self.and(Stream::Key(KEY), event)
    }

    fn asks(&self, action: &str) -> Result<Permit, Refused> {
        self.asks_at(action, NOW)
    }

    fn asks_at(&self, action: &str, now: Time) -> Result<Permit, Refused> {
        authorize(self, &Credential::Key(KEY), action, now).map_err(refused)
    }
}

fn refused(stop: Stop) -> Refused {
    match stop {
        Stop::Rejected(rejection) => rejection.into(),
        Stop::Missing(missing) => panic!("not loaded: {missing:?}"),
    }
}

fn issued_key(actions: Option<&[&str]>, expires_at: Option<Time>) -> KeyEvent {
    KeyEvent::Issued {
        citizen: CITIZEN,
        verifier: Digest([5; 32]),
        actions: actions.map(|actions| actions.iter().map(ToString::to_string).collect()),
        expires_at,
        replaces: None,
    }
}

#[track_caller]
fn assert_refused(answer: Result<Permit, Refused>, code: Code, verdict: Verdict) {
    let refused = answer.unwrap_err();
    assert_eq!((refused.rejection.code, refused.verdict), (code, verdict));
}

#[test]
fn a_permit_names_the_citizen_their_tier_and_the_credential() {
    let permit = Folded::of(Tier::Gate).asks("query.audit").unwrap();
    assert_eq!(permit.actor, Actor::Citizen { kind: CitizenKind::Service, id: CITIZEN });
    assert_eq!(permit.tier, Tier::Gate);
    assert_eq!(permit.via, Some(KEY));
}

#[test]
fn every_action_is_allowed_from_its_tier_on_and_below_it_to_nobody() {
    for tier in Tier::ALL {
        let scene = Folded::of(tier);
        for (action, lowest) in POLICY {
            match scene.asks(action) {
                Ok(_) => assert!(tier >= *lowest, "{action} as {tier:?}"),
                answer => {
                    assert!(tier < *lowest, "{action} as {tier:?}");
                    assert_refused(answer, Code::NotPermitted, Verdict::Forbidden);
                }
            }
        }
    }
}

#[test]
fn the_highest_role_counts() {
    let scene = Folded::of(Tier::Coordinator).and_citizen(CitizenEvent::RoleAssigned { role: seed_role(Tier::Worker) });
    assert_eq!(scene.asks("query.city").unwrap().tier, Tier::Coordinator);
}

#[test]
fn a_role_allows_the_actions_it_lists_without_raising_the_tier() {
    let role: domain::ids::Slug = "auditor".parse().unwrap();
    let actions = vec!["query.audit".to_owned()];
    let defined = CityEvent::RoleDefined { role: role.clone(), tier: Tier::Customer, actions, mfa_required: false };
    let scene = Folded::of(Tier::Observer).and(Stream::City, defined);
    assert_refused(scene.asks("query.audit"), Code::NotPermitted, Verdict::Forbidden);
    let scene = scene.and_citizen(CitizenEvent::RoleAssigned { role });
    assert_eq!(scene.asks("query.audit").unwrap().tier, Tier::Customer);
    assert_refused(scene.asks("admin.replay"), Code::NotPermitted, Verdict::Forbidden);
}

#[test]
fn a_citizen_without_roles_may_do_nothing() {
    let scene =
        Folded::of(Tier::Principal).and_citizen(CitizenEvent::RoleUnassigned { role: seed_role(Tier::Principal) });
    for (action, _) in POLICY {
        assert_refused(scene.asks(action), Code::NotPermitted, Verdict::Forbidden);
    }
}

#[test]
fn a_role_that_nobody_defined_permits_nothing() {
    let scene = Folded::of(Tier::Observer).and_citizen(CitizenEvent::RoleAssigned { role: "emperor".parse().unwrap() });
    assert_eq!(scene.asks("query.city").unwrap().tier, Tier::Observer);
    assert_refused(scene.asks("guild.found"), Code::NotPermitted, Verdict::Forbidden);
}

#[test]
fn an_action_that_is_not_listed_is_denied_to_a_principal_too() {
    assert_refused(Folded::of(Tier::Principal).asks("city.fly"), Code::UnknownAction, Verdict::Forbidden);
}

#[test]
fn a_key_that_was_never_issued_authenticates_nobody() {
    let empty = Arc::new(State::empty(Stream::Key(KEY)));
    let scene = Folded(HashMap::from([(Stream::Key(KEY), empty)]));
    assert_refused(scene.asks("query.city"), Code::CredentialInvalid, Verdict::Unauthenticated);
}

#[test]
fn a_revoked_key_authenticates_nobody() {
    let scene = Folded::of(Tier::Principal).and_key(KeyEvent::Revoked {});
    assert_refused(scene.asks("query.city"), Code::CredentialRevoked, Verdict::Unauthenticated);
}

#[test]
fn a_key_is_good_until_its_end_and_not_at_it() {
    let end = NOW.plus_seconds(10);
    let scene = Folded::with(Tier::Worker, issued_key(None, Some(end)));
    assert!(scene.asks_at("query.city", Time::from_micros(end.micros() - 1)).is_ok());
    assert_refused(scene.asks_at("query.city", end), Code::CredentialExpired, Verdict::Unauthenticated);
}

#[test]
fn a_rotated_key_is_good_until_its_overlap_ends() {
    let end = NOW.plus_seconds(10);
    let scene = Folded::of(Tier::Worker).and_key(KeyEvent::Retired { expires_at: end });
    assert!(scene.asks("query.city").is_ok());
    assert_refused(scene.asks_at("query.city", end), Code::CredentialExpired, Verdict::Unauthenticated);
}

#[test]
fn a_scoped_key_allows_what_it_lists_and_never_more_than_its_citizen_may() {
    let scene = Folded::with(Tier::Worker, issued_key(Some(&["query.city", "admin.replay"]), None));
    assert!(scene.asks("query.city").is_ok());
    assert_refused(scene.asks("query.guild"), Code::CredentialScope, Verdict::Forbidden);
    assert_refused(scene.asks("admin.replay"), Code::NotPermitted, Verdict::Forbidden);
}

#[test]
fn a_key_scoped_to_nothing_allows_nothing() {
    let scene = Folded::with(Tier::Principal, issued_key(Some(&[]), None));
    assert_refused(scene.asks("query.city"), Code::CredentialScope, Verdict::Forbidden);
}

#[test]
fn a_citizen_who_is_not_active_acts_no_more() {
    for end in [
        CitizenEvent::Suspended { cause: SuspensionCause::Direct, reason: None },
        CitizenEvent::Suspended { cause: SuspensionCause::Operator, reason: None },
        CitizenEvent::Deprovisioned { reason: None },
    ] {
        let scene = Folded::of(Tier::Principal).and_citizen(end);
        assert_refused(scene.asks("query.city"), Code::ActorNotActive, Verdict::Forbidden);
    }
    let back = CitizenEvent::Suspended { cause: SuspensionCause::Direct, reason: None };
    let scene = Folded::of(Tier::Worker).and_citizen(back).and_citizen(CitizenEvent::Reinstated {});
    assert!(scene.asks("query.city").is_ok());
}

#[test]
fn streams_that_were_not_loaded_are_asked_for() {
    for stream in [Stream::Key(KEY), Stream::Citizen(CITIZEN), Stream::City] {
        let mut scene = Folded::of(Tier::Worker);
        scene.0.remove(&stream);
        let stop = authorize(&scene, &Credential::Key(KEY), "query.city", NOW).unwrap_err();
        assert_eq!(stop, Stop::Missing(Missing::Stream(stream)));
    }
}

#[test]
fn workers_found_the_city_and_record_expiries_and_nothing_else() {
    let allowed: Vec<_> = POLICY
        .iter()
        .map(|(action, _)| *action)
        .filter(|action| authorize(&Folded::default(), &Credential::System, action, NOW).is_ok())
        .collect();
    let expected = [
        "city.found",
        "key.recover",
        "guild.expire_proposal",
        "treasury.expire_hold",
        "treasury.expire_transfer",
        "grant.record_verifications",
        "grant.expire",
        "grant.prune",
        "reputation.recompute",
    ];
    assert_eq!(allowed, expected);
    let made_up = authorize(&Folded::default(), &Credential::System, "city.expire_everything", NOW).map_err(refused);
    assert_refused(made_up, Code::NotPermitted, Verdict::Forbidden);
}

#[test]
fn workers_hold_no_tier_and_no_credential() {
    let permit = authorize(&Folded::default(), &Credential::System, "city.found", NOW).unwrap();
    assert_eq!((permit.actor, permit.tier, permit.via), (Actor::System, Tier::Observer, None));
}

#[test]
fn a_presented_key_is_the_credential_it_was_issued_as() {
    let pepper = Pepper::new([1; 32]);
    let key = ApiKey::generate(KEY).unwrap();
    let issued = KeyEvent::Issued {
        citizen: CITIZEN,
        verifier: pepper.verifier(&key.presented()),
        actions: None,
        expires_at: None,
        replaces: None,
    };
    let scene = Folded::with(Tier::Worker, issued);
    assert_eq!(authenticate(&scene, &key.presented(), &pepper), Ok(Credential::Key(KEY)));
    // A wrong secret, another server's pepper, and a key that never was: one answer.
    let guess = ApiKey::generate(KEY).unwrap().presented();
    let unknown = ApiKey::generate(KeyId::from_bits(3)).unwrap().presented();
    let stream = Stream::Key(KeyId::from_bits(3));
    let scene = Folded(scene.0.into_iter().chain([(stream, Arc::new(State::empty(stream)))]).collect());
    let invalid = Err(Stop::from(Code::CredentialInvalid));
    assert_eq!(authenticate(&scene, &guess, &pepper), invalid);
    assert_eq!(authenticate(&scene, &key.presented(), &Pepper::new([2; 32])), invalid);
    assert_eq!(authenticate(&scene, &unknown, &pepper), invalid);
}
