//! `governance_log`: every governed action that took effect: who decided, on what ground, with which votes or evidence.

use domain::guild::event::GuildEvent;
use domain::guild::governance::Ground;
use domain::ids::GuildId;
use domain::money::Currency;
use domain::time::Time;

use crate::field::{json, word};
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Journal;

record! {
    /// `decided_by` is the kind of ground; `ground` the whole of it; the actor is who sent the deciding command.
    Decision in "governance_log" by (guild: GuildId, position: u64) {
        at: Time,
        action: String,
        class: String,
        decided_by: String,
        ground: String,
        actor_kind: String,
        actor: String,
        command: String,
        currency: Option<Currency>,
        amount: Option<i128>,
    }
}

pub(super) fn fold(decisions: &mut Journal<Decision>, recorded: &Recorded, guild: GuildId, event: &GuildEvent) {
    let GuildEvent::Decided { action, class, ground, spend } = event else { return };
    decisions.push(Decision {
        guild,
        position: recorded.position,
        at: recorded.at,
        action: action.clone(),
        class: word(class),
        decided_by: kind(ground).to_owned(),
        ground: json(ground),
        actor_kind: recorded.actor.0.clone(),
        actor: recorded.actor.1.clone(),
        command: recorded.command.clone(),
        currency: spend.as_ref().map(|spend| spend.currency.clone()),
        amount: spend.as_ref().map(|spend| spend.amount.minor()),
    });
}

const fn kind(ground: &Ground) -> &'static str {
    match ground {
        Ground::Decider { .. } => "decider",
        Ground::Proposal { .. } => "proposal",
        Ground::Delegation { .. } => "delegation",
        Ground::Rule { .. } => "rule",
        Ground::Mandate { .. } => "mandate",
        Ground::Appointment { .. } => "appointment",
    }
}
