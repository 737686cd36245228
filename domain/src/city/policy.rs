//! The closed list of actions, each with the lowest tier that may take it. What is not listed is denied to everybody.

use crate::party::Tier::{self, Builder, Coordinator, Customer, Gate, Observer, Partner, Principal, Worker};

/// Commands in the order of their table, then questions, then what operators do.
///
/// The tier is only the first of several keys: inside a guild, membership, scopes and governance still decide; for
/// treasuries ownership does; for citizens and keys nobody reaches above their own tier.
pub const POLICY: &[(&str, Tier)] = &[
    ("city.found", Principal),
    ("city.register_currency", Principal),
    ("city.define_role", Coordinator),
    ("city.assign_source", Principal),
    ("city.register_action", Coordinator),
    ("citizen.register", Coordinator),
    ("citizen.suspend", Coordinator),
    ("citizen.reinstate", Coordinator),
    ("citizen.deprovision", Coordinator),
    ("citizen.assign_role", Coordinator),
    ("citizen.unassign_role", Coordinator),
    // An attester decides how much money exists in the city.
    ("citizen.grant_attestation", Principal),
    ("citizen.withdraw_attestation", Coordinator),
    // Everybody keeps their own keys; those of others need a coordinator, which the rule of the command asks for.
    ("key.issue", Observer),
    ("key.rotate", Observer),
    ("key.revoke", Observer),
    // The rule of the command lets nobody but the city itself.
    ("key.recover", Principal),
    ("guild.found", Worker),
    ("guild.rename", Customer),
    ("guild.propose_parent", Customer),
    ("guild.accept_child", Customer),
    ("guild.detach_child", Customer),
    ("guild.amend_charter", Customer),
    ("guild.define_ranks", Customer),
    ("guild.add_member", Customer),
    ("guild.change_rank", Customer),
    ("guild.set_scopes", Customer),
    ("guild.suspend_member", Customer),
    ("guild.reinstate_member", Customer),
    // Nobody is kept against their will, whatever their tier.
    ("guild.leave", Observer),
    ("guild.remove_member", Customer),
    ("guild.mark_dormant", Customer),
    ("guild.wake", Customer),
    ("guild.initiate_dissolution", Customer),
    ("guild.cancel_dissolution", Customer),
    ("guild.finalize_dissolution", Customer),
    ("guild.set_governance", Customer),
    ("guild.propose", Customer),
    ("guild.ratify", Customer),
    ("guild.reject_proposal", Customer),
    ("guild.withdraw_proposal", Customer),
    ("guild.expire_proposal", Builder),
    ("guild.appoint_founder", Customer),
    ("treasury.deposit", Partner),
    ("treasury.withdraw", Customer),
    ("treasury.hold", Customer),
    ("treasury.capture", Customer),
    ("treasury.release", Customer),
    ("treasury.expire_hold", Builder),
    ("treasury.offer_transfer", Customer),
    ("treasury.accept_transfer", Customer),
    ("treasury.reject_transfer", Customer),
    ("treasury.cancel_transfer", Customer),
    ("treasury.expire_transfer", Builder),
    ("treasury.split_transfer", Customer),
    // As the city it takes a gate, which the rule of the command asks for.
    ("treasury.freeze", Customer),
    ("treasury.unfreeze", Customer),
    ("treasury.settle", Customer),
    ("treasury.set_auto_accept", Customer),
    ("grant.grant", Customer),
    ("grant.import", Coordinator),
    ("grant.revoke", Observer),
    ("grant.attenuate", Observer),
    ("grant.delegate", Customer),
    ("grant.reverify", Customer),
    // A service with a role that lists it; the rule of the command asks for the service.
    ("grant.record_verifications", Coordinator),
    ("grant.expire", Builder),
    ("grant.prune", Builder),
    ("reputation.attest", Gate),
    ("reputation.endorse", Customer),
    ("reputation.flag", Customer),
    ("reputation.dispute", Observer),
    ("reputation.reverse", Gate),
    // The city's own workers, which the rule of the command asks for.
    ("reputation.recompute", Principal),
    ("query.city", Observer),
    ("query.citizen", Observer),
    ("query.guild", Observer),
    ("query.treasury", Customer),
    ("query.proposal", Customer),
    ("query.governance_log", Customer),
    // Entries say what `query.treasury` asks a customer for.
    ("query.entry", Customer),
    ("query.receipt", Observer),
    ("query.feed", Customer),
    ("query.conservation", Observer),
    ("query.keys", Observer),
    ("query.audit", Gate),
    // Whose capabilities may be used up, the question itself asks.
    ("query.inventory", Customer),
    // Whose raw numbers are shown, the question itself asks.
    ("query.reputation", Observer),
    ("query.check", Customer),
    ("query.assert", Customer),
    ("admin.anchor", Principal),
    ("admin.replay", Principal),
    ("admin.metrics", Coordinator),
];

/// The lowest tier that may take this action; `None` when there is no such action.
pub fn lowest_tier(action: &str) -> Option<Tier> {
    POLICY.iter().find(|(name, _)| *name == action).map(|(_, tier)| *tier)
}
