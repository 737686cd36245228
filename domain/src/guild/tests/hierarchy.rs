//! Parents and children.

use super::hall::*;
use crate::guild::command::{AcceptChild, DetachChild, ProposeParent};
use crate::ids::{CitizenId, GuildId};
use crate::rejection::Code;
use crate::testing::World;
use crate::turn::Outcome;

fn propose(child: GuildId, parent: GuildId) -> ProposeParent {
    ProposeParent { guild: child.into(), parent: parent.into() }
}

fn accept(parent: GuildId, child: GuildId) -> AcceptChild {
    AcceptChild { guild: parent.into(), child: child.into() }
}

fn detach(parent: GuildId, child: GuildId) -> DetachChild {
    DetachChild { guild: parent.into(), child: child.into() }
}

/// Ann's guilds, without parents.
fn grove(count: usize) -> (World, CitizenId, Vec<GuildId>) {
    let mut world = World::new();
    let ann = world.human();
    let guilds = (0..count).map(|n| world.guild(ann, &format!("guild-{n}"))).collect();
    (world, ann, guilds)
}

fn put(world: &mut World, ann: CitizenId, parent: GuildId, child: GuildId) -> Result<Outcome, Code> {
    world.send(ann, propose(child, parent))?;
    world.send(ann, accept(parent, child))
}

#[test]
fn a_parent_takes_effect_when_the_parent_accepts() {
    let (mut world, ann, g) = grove(2);
    assert_eq!(world.send(ann, accept(g[0], g[1])), Err(Code::ParentNotProposed));
    assert_eq!(world.send(ann, propose(g[1], g[0])), DONE);
    assert_eq!(world.send(ann, propose(g[1], g[0])), ALREADY);
    assert_eq!(world.guild_state(g[1]).parent(), None);
    assert_eq!(world.send(ann, accept(g[0], g[1])), DONE);
    assert_eq!(world.types(), ["guild.decided.v1", "guild.child_accepted.v1", "guild.parent_set.v1"]);
    assert_eq!(world.send(ann, accept(g[0], g[1])), ALREADY);
    assert_eq!(world.guild_state(g[1]).parent(), Some(g[0]));
    assert!(world.guild_state(g[0]).children().contains(&g[1]));
    world.check_replay();
}

#[test]
fn a_parent_may_detach_a_child_and_only_its_own() {
    let (mut world, ann, g) = grove(3);
    assert_eq!(put(&mut world, ann, g[0], g[1]), DONE);
    assert_eq!(world.send(ann, detach(g[0], g[2])), Err(Code::NotAChild));
    assert_eq!(world.send(ann, propose(g[1], g[2])), Err(Code::HasParent));
    assert_eq!(world.send(ann, detach(g[0], g[1])), DONE);
    assert_eq!(world.guild_state(g[1]).parent(), None);
    assert_eq!(put(&mut world, ann, g[2], g[1]), DONE);
}

#[test]
fn the_last_proposed_parent_is_the_one_that_counts() {
    let (mut world, ann, g) = grove(3);
    assert_eq!(world.send(ann, propose(g[2], g[0])), DONE);
    assert_eq!(world.send(ann, propose(g[2], g[1])), DONE);
    assert_eq!(world.send(ann, accept(g[0], g[2])), Err(Code::ParentNotProposed));
    assert_eq!(world.send(ann, accept(g[1], g[2])), DONE);
    assert_eq!(world.send(ann, accept(g[0], g[2])), Err(Code::HasParent));
}

#[test]
fn no_guild_becomes_its_own_ancestor_however_long_the_way() {
    let (mut world, ann, g) = grove(5);
    assert_eq!(world.send(ann, propose(g[0], g[0])), Err(Code::ParentCycle));
    for pair in g.windows(2) {
        assert_eq!(put(&mut world, ann, pair[0], pair[1]), DONE);
    }
    for below in &g[1..] {
        assert_eq!(world.send(ann, propose(g[0], *below)), Err(Code::ParentCycle));
    }
}

#[test]
fn a_cycle_is_seen_at_acceptance_too() {
    let (mut world, ann, g) = grove(3);
    // All three ask around in a ring while none has a parent: the last acceptance would close it.
    for (child, parent) in [(0, 1), (1, 2), (2, 0)] {
        assert_eq!(world.send(ann, propose(g[child], g[parent])), DONE);
    }
    assert_eq!(world.send(ann, accept(g[1], g[0])), DONE);
    assert_eq!(world.send(ann, accept(g[2], g[1])), DONE);
    assert_eq!(world.send(ann, accept(g[0], g[2])), Err(Code::ParentCycle));
}

#[test]
fn the_deepest_descendant_stays_within_eight() {
    let (mut world, ann, g) = grove(10);
    for pair in g[..8].windows(2) {
        assert_eq!(put(&mut world, ann, pair[0], pair[1]), DONE);
    }
    assert_eq!(world.send(ann, propose(g[8], g[7])), Err(Code::TooDeep));
    assert_eq!(put(&mut world, ann, g[8], g[9]), DONE);
    // g8 itself would be the eighth, its child the ninth.
    assert_eq!(world.send(ann, propose(g[8], g[6])), Err(Code::TooDeep));
    assert_eq!(world.send(ann, propose(g[8], g[5])), DONE);
    assert_eq!(world.send(ann, propose(g[0], g[9])), Err(Code::TooDeep));
}

#[test]
fn a_guild_that_rests_or_ends_is_no_parent_and_no_child() {
    let mut hall = hall();
    let (ann, world) = (hall.ann, &mut hall.world);
    let other = world.guild(ann, "smiths");
    assert_eq!(world.send(ann, propose(other, hall.guild)), DONE);
    assert_eq!(hall.ann(hall.sleep()), DONE);
    assert_eq!(hall.ann(accept(hall.guild, other)), Err(Code::GuildDormant));
    let third = hall.world.guild(ann, "bakers");
    assert_eq!(hall.ann(propose(third, hall.guild)), Err(Code::GuildNotActive));
    assert_eq!(hall.ann(hall.wake()), DONE);
    let heir = hall.world.human();
    assert_eq!(hall.ann(propose(hall.guild, third)), DONE);
    assert_eq!(hall.ann(hall.dissolve(heir)), DONE);
    assert_eq!(hall.ann(accept(hall.guild, other)), Err(Code::GuildDissolving), "new children are refused");
    assert_eq!(hall.ann(accept(third, hall.guild)), Err(Code::GuildNotActive));
}
