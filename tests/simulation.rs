//! Chance against the rules: seeded random commands through the real pipeline on both engines, and after every one of them the money
//! is all there. At the end the tables made again from the log are the tables.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use guildhall_tests::courier::{Courier as _, Reply, Who};
use guildhall_tests::hall::Hall;
use guildhall_tests::ledger::{Ledger, Purse, guards, minor};
use guildhall_tests::town::{CURRENCY, SOURCE, Town, guild, human, in_seconds};
use guildhall_tests::{Dice, Engine, block_on};
use projections::replay;
use projections::views::ViewsDb;
use serde_json::{Value, json};
use tokio::sync::watch;

const STEPS: u32 = 1500;

/// A seed of its own on request: GUILDHALL_SEED=... repeats a run, or looks for new ones.
fn seed() -> u64 {
    std::env::var("GUILDHALL_SEED").map_or(0x6775_696c, |seed| seed.parse().expect("GUILDHALL_SEED is a number"))
}

/// A city at play: three guilds of different governance, and people who try everything.
struct Play {
    hall: Hall,
    town: Town,
    dice: Dice,
    treasuries: Vec<String>,
    guilds: Vec<String>,
    people: Vec<(String, Who)>,
    /// What the answers said so far: the shadow that the tables must match.
    purses: BTreeMap<(String, String), Purse>,
    external: i128,
    holds: Vec<(String, String)>,
    offers: Vec<(String, String)>,
    proposals: Vec<(String, String)>,
    accepted: u32,
    codes: BTreeMap<String, u32>,
}

impl Play {
    async fn set_up(engine: Engine) -> Self {
        let hall = Hall::open(engine).await;
        let town = Town::found(&hall).await;
        let mut people = vec![(town.founder_id.clone(), town.founder.clone())];
        for name in ["Ann", "Ben", "Cyd"] {
            people.push(human(&hall, "worker", name).await);
        }
        let (mut guilds, mut treasuries) = (vec![town.guild.clone()], vec![town.treasury.clone()]);
        for (slug, founder) in [("tanners", 1), ("smiths", 2)] {
            let (id, treasury) = guild(&hall, &people[founder].1, slug).await;
            guilds.push(id);
            treasuries.push(treasury);
        }
        // The second guild votes: two of three.
        for member in [0, 2] {
            let add =
                json!({"guild": guilds[1], "member": people[member].0, "rank": "coordinator", "scopes": ["finance"]});
            hall.ask(&people[1].1, "guild.add_member", add).await.accepted();
        }
        let ratifiers: Vec<&String> = people[..3].iter().map(|person| &person.0).collect();
        let consensus = json!({"default": {"tier": "consensus", "ratifiers": {"members": ratifiers}, "needed": 2}});
        let set = json!({"guild": guilds[1], "governance": consensus});
        hall.ask(&people[1].1, "guild.set_governance", set).await.accepted();
        treasuries.extend(people.iter().map(|(id, _)| id.replace("cit_", "try_")));
        Self {
            hall,
            town,
            dice: Dice(seed()),
            treasuries,
            guilds,
            people,
            purses: BTreeMap::new(),
            external: 0,
            holds: Vec::new(),
            offers: Vec::new(),
            proposals: Vec::new(),
            accepted: 0,
            codes: BTreeMap::new(),
        }
    }

    fn amount(&mut self) -> String {
        let minor = if self.dice.below(8) == 0 { self.dice.below(100_000) } else { self.dice.below(900) + 1 };
        format!("{}.{:02}", minor / 100, minor % 100)
    }

    fn treasury(&mut self) -> String {
        self.dice.pick(&self.treasuries).clone()
    }

    fn one_of(&mut self, which: &[(String, String)]) -> (String, String) {
        if which.is_empty() {
            ("try_00000000000000000000000001".to_owned(), String::new())
        } else {
            self.dice.pick(which).clone()
        }
    }

    /// One command, often a foolish one.
    fn command(&mut self, step: u32) -> (Who, &'static str, Value) {
        let who = self.dice.pick(&self.people).1.clone();
        let (treasury, other, amount) = (self.treasury(), self.treasury(), self.amount());
        let reference = format!("{}", self.dice.below(u64::from(STEPS)));
        let hold = self.one_of(&self.holds.clone());
        let offer = self.one_of(&self.offers.clone());
        let (guild, proposal) = self.one_of(&self.proposals.clone());
        let money = json!({"treasury": treasury, "currency": CURRENCY, "amount": amount});
        let with = |more: Value| {
            let mut fields = money.as_object().unwrap().clone();
            fields.extend(more.as_object().unwrap().clone());
            Value::Object(fields)
        };
        let expires_at = in_seconds(3600);
        match self.dice.below(20) {
            0..=3 => {
                let fee = if self.dice.below(2) == 0 { "0.01" } else { "0" };
                (
                    self.town.attester.clone(),
                    "treasury.deposit",
                    with(json!({"source": SOURCE, "reference": reference, "fee": fee})),
                )
            }
            4..=5 => (who, "treasury.withdraw", with(json!({"reference": format!("out {step}"), "fee": "0.01"}))),
            6..=7 => (who, "treasury.offer_transfer", with(json!({"to": other}))),
            8 => (who, "treasury.accept_transfer", json!({"treasury": offer.0, "offer": id(&offer.1)})),
            9 => (who, "treasury.reject_transfer", json!({"treasury": offer.0, "offer": id(&offer.1)})),
            10 => (who, "treasury.cancel_transfer", json!({"treasury": offer.0, "offer": id(&offer.1)})),
            11..=12 => {
                let legs =
                    json!([{"to": other, "amount": amount}, {"to": "external", "amount": "0.05", "role": "fee"}]);
                let hold = json!({"treasury": treasury, "currency": CURRENCY, "legs": legs, "expires_at": expires_at});
                (who, "treasury.hold", hold)
            }
            13 => {
                let leg = json!([{"to": "external", "amount": "0.02", "role": "fee"}]);
                let last = self.dice.below(2) == 0;
                (who, "treasury.capture", json!({"treasury": hold.0, "hold": id(&hold.1), "legs": leg, "final": last}))
            }
            14 => (who, "treasury.release", json!({"treasury": hold.0, "hold": id(&hold.1)})),
            15 => {
                let shares = json!([{"to": other, "basis_points": 3333}, {"to": "external", "basis_points": 6667}]);
                (who, "treasury.split_transfer", with(json!({"shares": shares})))
            }
            16 => (
                who,
                "guild.ratify",
                json!({"guild": guild_or(&guild, &self.guilds), "proposal": proposal_id(&proposal)}),
            ),
            17 => (
                who,
                "guild.reject_proposal",
                json!({"guild": guild_or(&guild, &self.guilds), "proposal": proposal_id(&proposal)}),
            ),
            18 => (who, "treasury.set_auto_accept", json!({"treasury": treasury, "from": [other]})),
            _ if self.dice.below(6) == 0 => {
                (who, "treasury.freeze", json!({"treasury": treasury, "reason": "to see what happens"}))
            }
            _ => (who, "treasury.unfreeze", json!({"treasury": treasury})),
        }
    }

    async fn step(&mut self, step: u32) {
        let (who, action, body) = self.command(step);
        let reply = self.hall.ask(&who, action, body.clone()).await;
        assert_ne!(reply.status, 503, "step {step}: {action} {body}: {}", reply.outcome);
        if reply.is_accepted() {
            self.accepted += 1;
            self.follow(&reply);
            if let Some(proposal) = &reply.proposal {
                self.proposals.push((reply.body["guild"].as_str().unwrap().to_owned(), proposal.clone()));
            }
        } else {
            assert!(reply.entries.is_empty());
            *self.codes.entry(reply.outcome).or_default() += 1;
        }
        let inside: i128 = self.purses.values().map(|purse| purse.balance).sum();
        assert_eq!(inside, -self.external, "step {step}: {action} {body}");
        assert!(
            self.purses.values().all(|purse| 0 <= purse.held && purse.held <= purse.balance),
            "step {step}: {action} {body}"
        );
        let alive = |(_, purse): &(&(String, String), &Purse)| **purse != Purse::default();
        let table = guards(&self.hall.log).await.unwrap();
        let (live, shadow): (Vec<_>, Vec<_>) =
            (table.iter().filter(alive).collect(), self.purses.iter().filter(alive).collect());
        assert_eq!(live, shadow, "step {step}: {action} {body}");
    }

    /// What an answer says happened.
    fn follow(&mut self, reply: &Reply) {
        for entry in &reply.entries {
            let (stream, data) = (entry["stream"].as_str().unwrap(), &entry["data"]);
            let text = |name: &str| data[name].as_str().unwrap_or("0");
            let kind = entry["type"].as_str().unwrap();
            let (balance, held) = match kind {
                "treasury.credited.v1" => (minor(text("amount")), 0),
                "treasury.debited.v1" => (-minor(text("amount")), 0),
                "treasury.hold_placed.v1" | "treasury.offer_made.v1" => (0, minor(text("amount"))),
                "treasury.hold_captured.v1" => (0, -minor(text("captured")) - minor(text("released"))),
                "treasury.hold_released.v1"
                | "treasury.offer_accepted.v1"
                | "treasury.offer_rejected.v1"
                | "treasury.offer_cancelled.v1" => (0, -minor(text("amount"))),
                _ => continue,
            };
            match kind {
                "treasury.hold_placed.v1" => self.holds.push((stream.to_owned(), text("hold").to_owned())),
                "treasury.offer_made.v1" => self.offers.push((stream.to_owned(), text("offer").to_owned())),
                _ => {}
            }
            let purse = self.purses.entry((stream.to_owned(), text("currency").to_owned())).or_default();
            purse.balance += balance;
            purse.held += held;
            let legs = data["legs"].as_array().filter(|_| balance != 0);
            let legs = legs.into_iter().flatten();
            // Each movement's part of the outside is told by the first treasury it names.
            let first = data["legs"].as_array().into_iter().flatten().find(|leg| leg["account"] != "external");
            if balance != 0 && first.is_some_and(|leg| leg["account"] == stream) {
                let outside = legs.filter(|leg| leg["account"] == "external");
                self.external += outside.map(|leg| minor(leg["amount"].as_str().unwrap())).sum::<i128>();
            }
        }
    }
}

fn id(text: &str) -> String {
    if text.is_empty() { "hld_00000000000000000000000001".to_owned() } else { text.to_owned() }
}

fn proposal_id(text: &str) -> String {
    if text.is_empty() { "prp_00000000000000000000000001".to_owned() } else { text.to_owned() }
}

fn guild_or(text: &str, guilds: &[String]) -> String {
    if text.starts_with("gld_") { text.to_owned() } else { guilds[1].clone() }
}

fn simulate(engine: Engine) {
    block_on(async {
        let mut play = Play::set_up(engine).await;
        for step in 0..STEPS {
            play.step(step).await;
        }
        // A simulation in which nothing succeeds, or nothing is refused, proves nothing.
        assert!(play.accepted > STEPS / 5, "{} accepted; {:?}", play.accepted, play.codes);
        assert!(play.codes.len() > 8, "{:?}", play.codes);
        let ledger = Ledger::read(&play.hall.log).await;
        ledger.assert_conserved();
        ledger.assert_guards_agree(&play.hall.log).await;
        replay_is_live(&play.hall, ledger.hashes.len() as u64).await;
    });
}

/// Lets the views catch up, and compares every table with one made from the log.
async fn replay_is_live(hall: &Hall, size: u64) {
    let views = ViewsDb::open(&hall.log, true).await.unwrap();
    let (stop, stopping) = watch::channel(false);
    let (reach, mut reached) = watch::channel(0);
    let worker = tokio::spawn(projections::views::run(hall.log.clone(), views.clone(), stopping, reach));
    reached.wait_for(|reached| *reached >= size).await.unwrap();
    stop.send_replace(true);
    worker.await.unwrap().unwrap();
    let mut differences = Vec::new();
    let mut note = |difference: replay::Difference| differences.push(difference.to_string());
    let checked = replay::check(&hall.log, &views, &mut |_, _| {}, &mut note).await.unwrap();
    assert_eq!(differences, Vec::<String>::new());
    assert_eq!((checked.guards, checked.views), (size, size));
}

#[test]
fn whatever_is_asked_the_money_is_all_there_on_sqlite() {
    simulate(Engine::Sqlite);
}

#[test]
fn whatever_is_asked_the_money_is_all_there_on_postgres() {
    simulate(Engine::Postgres);
}
