//! What follows from memberships and roles, and what guilds grant.

use std::collections::BTreeSet;

use super::*;
use crate::citizen::command::{AssignRole, UnassignRole};
use crate::grant::decide::MAX_GUILD_GRANTS;
use crate::guild::command::{AddMember, ChangeRank, FinalizeDissolution, FoundGuild, InitiateDissolution, LeaveGuild};
use crate::guild::event::GuildKind;
use crate::guild::membership::MAX_GUILDS;
use crate::ids::{GuildId, SquadId, TreasuryId};
use crate::money::{Account, Share};
use crate::party::MemberId;

/// The refs of one kind that somebody has.
fn refs(world: &World, holder: CitizenId, kind: CapabilityKind) -> BTreeSet<String> {
    inventory(world, holder).of_kind(kind).map(|grant| grant.reference().to_string()).collect()
}

#[test]
fn guild_roles_and_data_access_follow_what_they_come_from() {
    let mut world = World::new();
    let ann = world.human();
    let guild: GuildId = world.guild(ann, "smiths");
    let cat = world.member(ann, guild, "member");
    let role = |rank: &str| BTreeSet::from([format!("{guild}/{rank}")]);
    let roles = |world: &World| refs(world, cat, CapabilityKind::GuildRole);
    assert_eq!(refs(&world, ann, CapabilityKind::GuildRole), role("founder"));
    assert_eq!(roles(&world), role("member"));
    let member = MemberId::Citizen(cat);
    world.send(ann, ChangeRank { guild: guild.into(), member, rank: slug("builder") }).unwrap();
    assert_eq!(roles(&world), role("builder"));
    world.send(world.principal, SuspendCitizen { citizen: cat, reason: None }).unwrap();
    assert_eq!(roles(&world), BTreeSet::new());
    world.send(world.principal, ReinstateCitizen { citizen: cat }).unwrap();
    assert_eq!(roles(&world), role("builder"));
    world.send(cat, LeaveGuild { guild: guild.into() }).unwrap();
    assert_eq!(roles(&world), BTreeSet::new());
    world.send(world.principal, AssignRole { citizen: cat, role: slug("knight") }).unwrap();
    assert_eq!(
        refs(&world, cat, CapabilityKind::DataAccess),
        BTreeSet::from(["role/knight", "role/observer"].map(str::to_owned))
    );
    let grant = inventory(&world, cat).of_kind(CapabilityKind::DataAccess).map(Grant::id).next().unwrap();
    assert_eq!(world.send(world.principal, revoke(cat, grant)), Err(Code::ComputedCapability));
    world.send(world.principal, UnassignRole { citizen: cat, role: slug("knight") }).unwrap();
    assert_eq!(refs(&world, cat, CapabilityKind::DataAccess), BTreeSet::from(["role/observer".to_owned()]));
    world.send(world.principal, AssignRole { citizen: cat, role: slug("knight") }).unwrap();
    world.send(world.principal, DeprovisionCitizen { citizen: cat, reason: Some(text("gone")) }).unwrap();
    assert!(inventory(&world, cat).living().is_empty());
    world.check_replay();
}

#[test]
fn nobody_ends_or_narrows_what_follows_from_something_else() {
    let mut world = World::new();
    let (ann, ben) = (world.human(), world.human());
    let guild = world.guild(ann, "smiths");
    world.member(ann, guild, "member");
    let end = Some(world.now.plus_days(1));
    let scope = Scope { read_only: true, ..Scope::default() };
    for kind in [CapabilityKind::GuildRole, CapabilityKind::DataAccess] {
        let grant = inventory(&world, ann).of_kind(kind).map(Grant::id).next().unwrap();
        let holder = HolderId::Citizen(ann);
        for sender in [ann, world.principal] {
            let computed = Err(Code::ComputedCapability);
            assert_eq!(world.send(sender, revoke(ann, grant)), computed);
            let shorter = AttenuateGrant { holder, grant, scope: Scope::default(), expires_at: end };
            assert_eq!(world.send(sender, shorter), computed);
            let narrower = AttenuateGrant { holder, grant, scope: scope.clone(), expires_at: None };
            assert_eq!(world.send(sender, narrower), computed);
            assert_eq!(world.send(sender, hand_on(ann, grant, ben)), Err(Code::NotDelegable));
            assert_eq!(world.send(sender, ReverifyGrant { holder, grant }), Err(Code::NothingToVerify));
        }
        assert_eq!(world.send_system(ExpireGrant { holder, grant }), Err(Code::GrantNotExpired));
        assert_eq!(world.send_system(PruneGrant { holder, grant }), Err(Code::GrantNotPrunable));
        for verdict in [Verdict::Gone, Verdict::Revoked, Verdict::Expired] {
            assert_eq!(world.send_system(found(ann, grant, verdict)), Err(Code::NothingToVerify));
        }
        assert!(inventory(&world, ann).grant(grant).is_some());
    }
}

#[test]
fn a_squad_of_the_bits_of_a_citizen_is_somebody_else() {
    let mut world = World::new();
    let ann = world.human();
    let guild = world.guild(ann, "smiths");
    let squad = SquadId::from_bits(ann.bits());
    let grant = |holder| GrantCapability { holder, source: Source::City, ..skill(ann, "weld") };
    assert_eq!(
        world.send(world.principal, grant(squad.into())),
        Err(Code::HolderNotActive),
        "no guild has such a squad"
    );
    let member = MemberId::Squad(squad);
    let join = AddMember { guild: guild.into(), member, kind: None, rank: slug("member"), scopes: None };
    assert_eq!(world.send(ann, join), DONE);
    assert_eq!(refs(&world, ann, CapabilityKind::GuildRole), BTreeSet::from([format!("{guild}/founder")]));
    assert_eq!(inventory(&world, squad).living().len(), 1);
    assert_eq!(world.send(world.principal, grant(squad.into())), DONE);
    assert_eq!(world.send(world.principal, grant(ann.into())), DONE, "the name is free for the citizen");
    let theirs = named(&world, squad, "weld").unwrap();
    assert_eq!(world.send(ann, revoke(ann, theirs)), Err(Code::GrantNotLiving));
    world.check_replay();
}

#[test]
fn a_guild_grants_names_of_its_own_to_active_members_for_as_long_as_they_are() {
    let mut world = World::new();
    let ann = world.human();
    let guild = world.guild(ann, "smiths");
    let (cat, ben) = (world.member(ann, guild, "member"), world.member(ann, guild, "member"));
    let outsider = world.human();
    let own = format!("{guild}/lathe");
    let lathe = |holder: CitizenId, name: &str| GrantCapability {
        kind: CapabilityKind::Tool,
        source: Source::Guild(guild),
        ..skill(holder, name)
    };
    assert_eq!(world.send(ann, lathe(cat, "payments")), Err(Code::RefNotOfSource), "anybody founds a guild");
    let other = format!("{}/lathe", GuildId::from_bits(9));
    assert_eq!(world.send(ann, lathe(cat, &other)), Err(Code::RefNotOfSource));
    let city = GrantCapability { source: Source::City, ..lathe(cat, &own) };
    assert_eq!(world.send(world.principal, city), Err(Code::RefNotOfSource), "nobody speaks for the guild");
    assert_eq!(world.send(ann, lathe(outsider, &own)), Err(Code::NotInsideGuild));
    for member in [ann, cat, ben] {
        assert_eq!(world.send(ann, lathe(member, &own)), DONE);
    }
    let tool = |world: &World, holder: CitizenId| {
        inventory(world, holder).named(CapabilityKind::Tool, &own.parse().unwrap()).map(Grant::id)
    };
    let handed = hand_on(cat, tool(&world, cat).unwrap(), outsider);
    assert_eq!(world.send(cat, handed), DONE);
    assert_eq!(world.send(cat, LeaveGuild { guild: guild.into() }), DONE);
    assert_eq!((tool(&world, cat), tool(&world, outsider)), (None, None), "and what was handed on from it");
    assert_eq!(world.send(world.principal, SuspendCitizen { citizen: ben, reason: None }), DONE);
    assert_eq!(tool(&world, ben), None);
    assert!(tool(&world, ann).is_some());
    world.check_replay();
}

#[test]
fn a_dissolved_guild_has_given_nothing_and_has_nothing() {
    let mut world = World::new();
    let ann = world.human();
    let guild = world.guild(ann, "smiths");
    let name = format!("{guild}/lathe");
    let lathe = |holder: HolderId| GrantCapability { holder, source: Source::Guild(guild), ..skill(ann, &name) };
    assert_eq!(world.send(ann, lathe(ann.into())), DONE);
    assert_eq!(world.send(ann, lathe(guild.into())), DONE);
    let heir = TreasuryId::of_citizen(ann);
    let shares = vec![Share { to: Account::Treasury(heir), basis_points: 10_000 }];
    assert_eq!(world.send(ann, InitiateDissolution { guild: guild.into(), shares, fallback: heir }), DONE);
    assert_eq!(world.send(ann, FinalizeDissolution { guild: guild.into() }), DONE);
    let kinds: Vec<_> = inventory(&world, ann).living().values().map(Grant::kind).collect();
    assert_eq!(kinds, [CapabilityKind::DataAccess], "neither the guild's role nor what it granted");
    assert!(inventory(&world, guild).living().is_empty());
    world.check_replay();
}

#[test]
fn nobody_is_kept_because_their_end_were_too_much_at_once() {
    let mut world = World::new();
    let (ann, ben) = (world.human(), world.human());
    let guilds: Vec<GuildId> = (0..MAX_GUILDS).map(|number| world.guild(ann, &format!("guild-{number}"))).collect();
    let found = |name: &str| FoundGuild {
        slug: slug(name),
        kind: GuildKind::Project,
        name: text(name),
        ranks: None,
        governance: None,
    };
    assert_eq!(world.send(ann, found("one-more")), Err(Code::TooManyGuilds));
    let lathe = |guild: GuildId, number: usize| GrantCapability {
        source: Source::Guild(guild),
        ..skill(ann, &format!("{guild}/lathe-{number}"))
    };
    let mut given = 0;
    for guild in guilds.iter().take(MAX_GUILD_GRANTS / 20) {
        for number in 0..19 {
            assert_eq!(world.send(ann, lathe(*guild, number)), DONE);
        }
        let first = named(&world, ann, &format!("{guild}/lathe-0")).unwrap();
        assert_eq!(world.send(ann, hand_on(ann, first, ben)), DONE);
        given += 20;
    }
    assert_eq!(given, MAX_GUILD_GRANTS);
    assert_eq!(world.send(ann, lathe(guilds[0], 99)), Err(Code::TooManyGuildGrants));
    let second = named(&world, ann, &format!("{}/lathe-1", guilds[0])).unwrap();
    assert_eq!(world.send(ann, hand_on(ann, second, ben)), Err(Code::TooManyGuildGrants));
    assert_eq!(world.send(world.principal, SuspendCitizen { citizen: ann, reason: None }), DONE);
    assert_eq!(refs(&world, ann, CapabilityKind::GuildRole), BTreeSet::new());
    assert_eq!(world.send(world.principal, ReinstateCitizen { citizen: ann }), DONE);
    assert_eq!(world.send(world.principal, DeprovisionCitizen { citizen: ann, reason: None }), DONE);
    assert!(inventory(&world, ann).living().is_empty());
}
