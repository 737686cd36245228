//! The class table under all four tiers: every command does what its class says, and none is forgotten.

use super::hall::*;
use super::scenarios::{Stage, WAYS, Way, scenario};
use crate::command::{Command, Governed};
use crate::guild::governance::*;
use crate::party::{Actor, Tier as CityTier};
use crate::rejection::Code;
use crate::testing::{World, join};
use crate::turn::Outcome;

fn send(stage: &mut Stage, actor: Actor, command: &Command) -> Result<Outcome, Code> {
    let tier = match actor.citizen() {
        Some(id) if id == stage.hall.world.principal => CityTier::Principal,
        Some(_) if command.action() == "reputation.attest" || command.action() == "reputation.reverse" => {
            CityTier::Gate
        }
        Some(_) => CityTier::Worker,
        None => CityTier::Principal,
    };
    stage.hall.world.send_as(actor, tier, command, &[evidence("audit")]).map_err(|no| no.code)
}

/// The grounds on which the guild's last entries say it decided.
fn grounds(world: &World) -> Vec<String> {
    let ground = |kind: String, data: serde_json::Value| {
        (kind == "guild.decided.v1").then(|| data["ground"]["by"].as_str().unwrap().to_owned())
    };
    let parts = world.recorded().iter().map(|(_, event, _)| event.to_parts());
    parts.filter_map(|(kind, data)| ground(kind, data)).collect()
}

fn check_governed(action: &str, way: Way, mut stage: Stage, actor: Actor, command: &Command) {
    let says = |who: &str| format!("{action} under {way:?}, sent by {who}");
    // Whoever the tier does not name is refused, members of the guild included.
    let mut other = stage.clone();
    let refused = other.hall.world.send(other.hall.ben, command.clone());
    match way {
        Way::PrincipalOnly => assert_eq!(refused, Err(Code::NotTheDecider), "{}", says("Ben")),
        Way::Consensus => assert!(matches!(refused, Ok(Outcome::Proposed(..))), "{}: {refused:?}", says("Ben")),
        Way::Delegated => assert_eq!(refused, Err(Code::NoDelegation), "{}", says("Ben")),
        Way::Automated => assert_eq!(refused, Err(Code::NoRuleMatches), "{}, no evidence", says("Ben")),
    }
    let mut outside = stage.clone();
    assert_eq!(outside.hall.world.send(stage.eve, command.clone()), Err(Code::NotAMember), "{}", says("Eve"));
    let mut plain = stage.clone();
    assert!(plain.hall.world.send(stage.cat, command.clone()).is_err(), "{}", says("Cat"));
    let outcome = send(&mut stage, actor, command);
    if way == Way::Consensus {
        let proposal = World::proposal(outcome);
        assert_eq!(grounds(&stage.hall.world), [""; 0], "{}: no effect before the votes", says("Ann"));
        assert_eq!(stage.hall.ben(stage.hall.ratify(proposal)), DONE, "{}", says("Ann"));
        let closed = stage.hall.world.log.iter().rev().find_map(|(_, event, _)| match event.to_parts() {
            (kind, data) if kind == "guild.proposal_closed.v1" => Some(data["ending"]["result"].clone()),
            _ => None,
        });
        assert_eq!(closed.unwrap(), "passed", "{}", says("Ann"));
    } else {
        assert_eq!(outcome, DONE, "{}", says("Ann"));
    }
    assert_eq!(grounds(&stage.hall.world), [way.ground()], "{}", says("Ann"));
    stage.hall.world.check_replay();
}

fn check_ungoverned(action: &str, way: Way, mut stage: Stage, actor: Actor, command: &Command) {
    let outcome = send(&mut stage, actor, command);
    match (action, way) {
        ("city.found", _) => return assert!(outcome.is_err(), "a city is founded once"),
        // Votes exist where votes decide.
        ("guild.propose", Way::Consensus) => assert!(matches!(outcome, Ok(Outcome::Proposed(..))), "{outcome:?}"),
        ("guild.propose", _) => return assert_eq!(outcome, Err(Code::NotUnderConsensus)),
        ("guild.ratify" | "guild.reject_proposal" | "guild.withdraw_proposal" | "guild.expire_proposal", other)
            if other != Way::Consensus =>
        {
            return assert_eq!(outcome, Err(Code::ProposalNotOpen));
        }
        _ => assert_eq!(outcome, DONE, "{action} under {way:?}"),
    }
    match action {
        "guild.ratify" => assert_eq!(grounds(&stage.hall.world), ["proposal"]),
        "guild.appoint_founder" => assert_eq!(grounds(&stage.hall.world), ["appointment"]),
        _ => assert_eq!(grounds(&stage.hall.world), [""; 0], "{action} under {way:?} needed no decision"),
    }
    stage.hall.world.check_replay();
}

#[test]
fn the_class_table_under_all_four_tiers() {
    for way in WAYS {
        let fresh = Stage::new(way);
        for (action, governed) in Command::TABLE {
            let mut stage = fresh.clone();
            let (actor, command) = scenario(action, &mut stage);
            assert_eq!(command.action(), *action, "the scenario of {action} sends another command");
            match governed {
                Governed::By(_) => check_governed(action, way, stage, actor, &command),
                Governed::No(reason) => {
                    assert!(!reason.is_empty(), "{action} is ungoverned for no reason");
                    check_ungoverned(action, way, stage, actor, &command);
                }
            }
        }
    }
}

#[test]
fn every_governed_command_is_refused_without_its_scope() {
    for class in Class::ALL {
        let others: Vec<_> = Class::ALL.into_iter().filter(|other| *other != class).collect();
        let of_class = Command::TABLE.iter().filter(|(_, governed)| *governed == Governed::By(class));
        for (action, _) in of_class {
            let mut stage = Stage::new(Way::PrincipalOnly);
            let (_, command) = scenario(action, &mut stage);
            let zoe = stage.hall.world.human();
            let world = &mut stage.hall.world;
            let status = world.guild_state(stage.hall.guild).status();
            if status != crate::guild::Status::Active {
                continue; // Nobody joins a guild that rests or ends; Cat below has no scope at all.
            }
            let joined = world.send(stage.hall.ann, join(stage.hall.guild, zoe, "coordinator", Some(others.clone())));
            assert_eq!(joined, DONE);
            assert_eq!(world.send(zoe, command), Err(Code::MissingScope), "{action} without {class:?}");
        }
    }
}
