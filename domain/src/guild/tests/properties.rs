//! Whatever anybody sends in whatever order: no cycle, no lock-out, and the log replays to the state.

use proptest::prelude::*;

use super::hall::*;
use crate::citizen::command::{DeprovisionCitizen, ReinstateCitizen, SuspendCitizen};
use crate::command::Command;
use crate::guild::command::*;
use crate::guild::governance::*;
use crate::guild::lockout;
use crate::ids::{CitizenId, GuildId};
use crate::party::MemberId;
use crate::testing::{World, join, slug};
use crate::turn::Outcome;

const RANKS: [&str; 4] = ["founder", "coordinator", "gate", "member"];

/// One step: what is done, by whom, to whom, and a number for everything else.
type Step = (u8, u8, u8, u8);

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..24_u8, 0..6_u8, 0..6_u8, any::<u8>()), 1..most)
}

struct Town {
    world: World,
    people: Vec<CitizenId>,
    guilds: Vec<GuildId>,
}

impl Town {
    fn new() -> Self {
        let mut world = World::new();
        let people: Vec<_> = (0..6).map(|_| world.human()).collect();
        let guilds = vec![world.guild(people[0], "masons"), world.guild(people[1], "bakers")];
        for guild in &guilds {
            let founder = people[usize::from(*guild != guilds[0])];
            // Whoever is below the founder holds every scope too, so that other ways than theirs lead somewhere.
            for (person, rank) in [(2, "coordinator"), (3, "coordinator"), (4, "gate")] {
                let scopes = Some(Class::ALL.to_vec());
                assert_eq!(world.send(founder, join(*guild, people[person], rank, scopes)), DONE);
            }
        }
        Self { world, people, guilds }
    }

    fn document(&self, n: u8) -> Governance {
        let person = self.people[usize::from(n / 6) % self.people.len()];
        let tier = match n % 6 {
            0 => only(person),
            1 => consensus(&["founder"], 1 + u32::from(n / 36 % 3)),
            2 => consensus(&["founder", "coordinator", "gate"], 1 + u32::from(n / 36 % 3)),
            3 => named(&[person, self.people[2], self.people[3]], 2),
            4 => Tier::Delegated {
                delegations: Class::ALL
                    .iter()
                    .enumerate()
                    .map(|(i, class)| delegation(&format!("d-{i}"), *class, &[person], Vec::new()))
                    .collect(),
            },
            _ => Tier::Automated {
                rules: Class::ALL
                    .iter()
                    .enumerate()
                    .map(|(i, class)| {
                        let mut rule = rule(&format!("r-{i}"), *class, &[], Vec::new());
                        rule.ranks = vec![slug(RANKS[usize::from(n / 6) % 3])];
                        rule
                    })
                    .collect(),
            },
        };
        if n < 128 { document(tier) } else { except(consensus(&["founder"], 1), Class::Membership, tier) }
    }

    fn step(&mut self, (what, who, whom, n): Step) {
        let actor = self.people[usize::from(who)];
        let target = self.people[usize::from(whom)];
        let id = self.guilds[usize::from(n % 2)];
        let member = MemberId::Citizen(target);
        let guild = || id.into();
        let rank = slug(RANKS[usize::from(n / 2) % RANKS.len()]);
        let scopes = (n % 3 == 0).then(|| Class::ALL[..usize::from(n) % 7].to_vec());
        let open = self.world.guild_state(id).proposals();
        let proposal = open.keys().nth(usize::from(whom) % open.len().max(1)).copied();
        let command: Command = match what {
            0 | 1 => SetGovernance { guild: guild(), governance: Box::new(self.document(n)) }.into(),
            2 | 3 => AddMember { guild: guild(), member, kind: None, rank, scopes }.into(),
            4 => ChangeRank { guild: guild(), member, rank }.into(),
            5 => SetScopes { guild: guild(), member, scopes }.into(),
            6 => SuspendMember { guild: guild(), member, reason: None }.into(),
            7 => ReinstateMember { guild: guild(), member }.into(),
            8 => RemoveMember { guild: guild(), member, reason: None }.into(),
            9 => LeaveGuild { guild: guild() }.into(),
            10 => MarkDormant { guild: guild() }.into(),
            11 | 12 => WakeGuild { guild: guild() }.into(),
            13..=16 => match proposal {
                Some(proposal) => Ratify { guild: guild(), proposal }.into(),
                None => return,
            },
            17 => match proposal {
                Some(proposal) => RejectProposal { guild: guild(), proposal }.into(),
                None => return,
            },
            18 => return self.city(SuspendCitizen { citizen: target, reason: None }),
            19 | 20 => return self.city(ReinstateCitizen { citizen: target }),
            21 if n < 20 => return self.city(DeprovisionCitizen { citizen: target, reason: None }),
            22 => return self.city(AppointFounder { guild: guild(), member, as_parent: false }),
            _ => {
                self.world.pass_days(u32::from(n % 3));
                return;
            }
        };
        // A suspended citizen cannot act: identity says so before any rule is asked.
        if self.world.is_active(actor) {
            let sent = self.world.send(actor, command.clone());
            let lost = sent.is_ok() && self.world.types().iter().any(|kind| kind == "guild.became_leaderless.v1");
            assert!(!lost, "only a city act leaves a guild without leaders: {command:?}");
        }
    }

    fn city(&mut self, command: impl Into<Command>) {
        let _ = self.world.send(self.world.principal, command);
    }

    fn check(&self) {
        for id in &self.guilds {
            let guild = self.world.guild_state(*id);
            assert_eq!(lockout::is_led(guild), !guild.is_leaderless(), "the flag says how it is");
        }
    }

    /// A path is not a predicate but people: somebody can really change the governance, alone or with the votes.
    fn somebody_changes_the_governance(&self, id: GuildId) -> bool {
        let guild = self.world.guild_state(id);
        let days = 1 + guild.governance().proposal_days % 9;
        // What a city act left short elsewhere in the document is mended on the way.
        let governance = Governance { proposal_days: days, ..document(only(self.leader(id))) };
        let mut awake = self.world.clone();
        self.together(&mut awake, &WakeGuild { guild: id.into() }.into());
        self.together(&mut awake, &SetGovernance { guild: id.into(), governance: Box::new(governance.clone()) }.into());
        *awake.guild_state(id).governance() == governance
    }

    /// Everybody tries, and everybody votes for what somebody proposed.
    fn together(&self, world: &mut World, command: &Command) {
        for actor in self.people.iter().filter(|actor| self.world.is_active(**actor)) {
            if let Ok(Outcome::Proposed(guild, proposal)) = world.send(*actor, command.clone()) {
                for voter in self.people.iter().filter(|voter| self.world.is_active(**voter)) {
                    let _ = world.send(*voter, Ratify { guild: guild.into(), proposal });
                }
            }
        }
    }

    /// An active founder who could be the decider.
    fn leader(&self, id: GuildId) -> CitizenId {
        let guild = self.world.guild_state(id);
        let fits = |person: &&CitizenId| {
            let member = guild.active_member(**person);
            member.is_some_and(|member| guild.holds_scope(member, Class::Governance))
        };
        *self.people.iter().find(fits).expect("somebody active holds the scope for governance")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_commands_and_city_acts_locks_a_led_guild(steps in steps(60)) {
        let mut town = Town::new();
        for step in steps {
            town.step(step);
            town.check();
        }
        for id in &town.guilds {
            let guild = town.world.guild_state(*id);
            if !guild.is_leaderless() {
                prop_assert!(town.somebody_changes_the_governance(*id), "{guild:?}");
            }
        }
        town.world.check_replay();
    }

    #[test]
    fn no_order_of_proposals_and_consents_makes_a_cycle_or_a_ninth_level(
        steps in prop::collection::vec((0..3_u8, 0..12_usize, 0..12_usize), 1..150)
    ) {
        let mut world = World::new();
        let ann = world.human();
        let guilds: Vec<_> = (0..12).map(|n| world.guild(ann, &format!("guild-{n}"))).collect();
        for (what, a, b) in steps {
            let (a, b) = (guilds[a], guilds[b]);
            let command: Command = match what {
                0 => ProposeParent { guild: a.into(), parent: b.into() }.into(),
                1 => AcceptChild { guild: b.into(), child: a.into() }.into(),
                _ => DetachChild { guild: b.into(), child: a.into() }.into(),
            };
            let _ = world.send(ann, command);
            if what == 0 {
                let _ = world.send(ann, AcceptChild { guild: b.into(), child: a.into() });
            }
            for start in &guilds {
                let (mut depth, mut above) = (1, world.guild_state(*start).parent());
                if let Some(parent) = above {
                    prop_assert!(world.guild_state(parent).children().contains(start), "both sides say the same");
                }
                while let Some(parent) = above {
                    depth += 1;
                    prop_assert!(depth <= 8, "a cycle or a ninth level above {start}");
                    above = world.guild_state(parent).parent();
                }
            }
        }
        world.check_replay();
    }
}
