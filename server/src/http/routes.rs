//! Every address there is, in two tables: what can be asked for, and what can be asked. Each names the action it takes.

use futures::future::BoxFuture;

use super::asked::Asked;
use super::feed;
use super::problem::Problem;
use super::questions::{citizens, city, entries, guilds, inventory, receipts, reputation, treasuries};

/// One kind of command. The parameters of its path are fields of the command.
pub struct CommandRoute {
    pub path: &'static str,
    pub action: &'static str,
}

/// One kind of question.
pub struct QuestionRoute {
    pub path: &'static str,
    pub action: &'static str,
    pub answer: fn(Asked) -> BoxFuture<'static, Result<axum::response::Response, Problem>>,
}

macro_rules! commands {
    ($($path:literal => $action:literal;)*) => {
        /// All are POST, below `/v1`.
        pub const COMMANDS: &[CommandRoute] = &[$(CommandRoute { path: $path, action: $action }),*];
    };
}

commands! {
    "/currencies" => "city.register_currency";
    "/roles" => "city.define_role";

    "/citizens" => "citizen.register";
    "/citizens/{citizen}/suspend" => "citizen.suspend";
    "/citizens/{citizen}/reinstate" => "citizen.reinstate";
    "/citizens/{citizen}/deprovision" => "citizen.deprovision";
    "/citizens/{citizen}/roles" => "citizen.assign_role";
    "/citizens/{citizen}/roles/unassign" => "citizen.unassign_role";
    "/citizens/{citizen}/attestations" => "citizen.grant_attestation";
    "/citizens/{citizen}/attestations/withdraw" => "citizen.withdraw_attestation";

    "/keys" => "key.issue";
    "/keys/{old}/rotate" => "key.rotate";
    "/keys/{key}/revoke" => "key.revoke";

    "/guilds" => "guild.found";
    "/guilds/{guild}/rename" => "guild.rename";
    "/guilds/{guild}/parent" => "guild.propose_parent";
    "/guilds/{guild}/children" => "guild.accept_child";
    "/guilds/{guild}/children/detach" => "guild.detach_child";
    "/guilds/{guild}/charter" => "guild.amend_charter";
    "/guilds/{guild}/ranks" => "guild.define_ranks";
    "/guilds/{guild}/members" => "guild.add_member";
    "/guilds/{guild}/members/{member}/rank" => "guild.change_rank";
    "/guilds/{guild}/members/{member}/scopes" => "guild.set_scopes";
    "/guilds/{guild}/members/{member}/suspend" => "guild.suspend_member";
    "/guilds/{guild}/members/{member}/reinstate" => "guild.reinstate_member";
    "/guilds/{guild}/members/{member}/remove" => "guild.remove_member";
    "/guilds/{guild}/leave" => "guild.leave";
    "/guilds/{guild}/dormant" => "guild.mark_dormant";
    "/guilds/{guild}/wake" => "guild.wake";
    "/guilds/{guild}/dissolution" => "guild.initiate_dissolution";
    "/guilds/{guild}/dissolution/cancel" => "guild.cancel_dissolution";
    "/guilds/{guild}/dissolution/finalize" => "guild.finalize_dissolution";
    "/guilds/{guild}/governance" => "guild.set_governance";
    "/guilds/{guild}/proposals" => "guild.propose";
    "/guilds/{guild}/proposals/{proposal}/ratify" => "guild.ratify";
    "/guilds/{guild}/proposals/{proposal}/reject" => "guild.reject_proposal";
    "/guilds/{guild}/proposals/{proposal}/withdraw" => "guild.withdraw_proposal";
    "/guilds/{guild}/proposals/{proposal}/expire" => "guild.expire_proposal";
    "/guilds/{guild}/founder" => "guild.appoint_founder";

    "/treasuries/{treasury}/deposits" => "treasury.deposit";
    "/treasuries/{treasury}/withdrawals" => "treasury.withdraw";
    "/treasuries/{treasury}/holds" => "treasury.hold";
    "/treasuries/{treasury}/holds/{hold}/capture" => "treasury.capture";
    "/treasuries/{treasury}/holds/{hold}/release" => "treasury.release";
    "/treasuries/{treasury}/holds/{hold}/expire" => "treasury.expire_hold";
    "/treasuries/{treasury}/transfers" => "treasury.offer_transfer";
    "/treasuries/{treasury}/transfers/{offer}/accept" => "treasury.accept_transfer";
    "/treasuries/{treasury}/transfers/{offer}/reject" => "treasury.reject_transfer";
    "/treasuries/{treasury}/transfers/{offer}/cancel" => "treasury.cancel_transfer";
    "/treasuries/{treasury}/transfers/{offer}/expire" => "treasury.expire_transfer";
    "/treasuries/{treasury}/splits" => "treasury.split_transfer";
    "/treasuries/{treasury}/freeze" => "treasury.freeze";
    "/treasuries/{treasury}/unfreeze" => "treasury.unfreeze";
    "/treasuries/{treasury}/settle" => "treasury.settle";
    "/treasuries/{treasury}/auto-accept" => "treasury.set_auto_accept";

    "/capability-sources" => "city.assign_source";
    "/capability-actions" => "city.register_action";
    "/holders/{holder}/grants" => "grant.grant";
    "/holders/{holder}/grants/import" => "grant.import";
    "/holders/{holder}/grants/{grant}/revoke" => "grant.revoke";
    "/holders/{holder}/grants/{grant}/attenuate" => "grant.attenuate";
    "/holders/{holder}/grants/{grant}/delegate" => "grant.delegate";
    "/holders/{holder}/grants/{grant}/reverify" => "grant.reverify";
    "/holders/{holder}/grants/{grant}/expire" => "grant.expire";
    "/holders/{holder}/grants/{grant}/prune" => "grant.prune";
    "/verifications" => "grant.record_verifications";

    "/citizens/{holder}/outcomes" => "reputation.attest";
    "/citizens/{to}/endorsements" => "reputation.endorse";
    "/citizens/{to}/flags" => "reputation.flag";
    "/citizens/{holder}/evidence/{piece}/dispute" => "reputation.dispute";
    "/citizens/{holder}/evidence/{piece}/reverse" => "reputation.reverse";
}

/// Commands that no address takes, and why.
pub const NO_ROUTE: &[(&str, &str)] = &[
    ("city.found", "the first start sends it, and nobody else ever"),
    ("key.recover", "whoever holds the city's secrets asks for it beside the server, and nobody over the network"),
    ("reputation.recompute", "the city's own workers compute, and nobody sets or orders a score"),
];

macro_rules! questions {
    ($($path:literal => $action:literal, $answer:path;)*) => {
        /// All are GET, below `/v1`.
        pub const QUESTIONS: &[QuestionRoute] =
            &[$(QuestionRoute { path: $path, action: $action, answer: |asked| Box::pin($answer(asked)) }),*];
    };
}

questions! {
    "/whoami" => "query.city", city::whoami;
    "/actions" => "query.city", city::actions;
    "/currencies" => "query.city", city::currencies;
    "/roles" => "query.city", city::roles;
    "/audit" => "query.audit", city::audit;
    "/conservation" => "query.conservation", treasuries::conservation;

    "/citizens/{citizen}" => "query.citizen", citizens::citizen;
    "/citizens/{citizen}/keys" => "query.keys", citizens::keys;

    "/guilds" => "query.guild", guilds::list;
    "/guilds/{guild}" => "query.guild", guilds::guild;
    "/guilds/{guild}/members" => "query.guild", guilds::members;
    "/guilds/{guild}/proposals" => "query.proposal", guilds::proposals;
    "/guilds/{guild}/governance-log" => "query.governance_log", guilds::governance_log;

    "/treasuries/{treasury}/balances" => "query.treasury", treasuries::balances;
    "/treasuries/{treasury}/statement" => "query.treasury", treasuries::statement;
    "/treasuries/{treasury}/holds" => "query.treasury", treasuries::holds;
    "/treasuries/{treasury}/transfers" => "query.treasury", treasuries::transfers;

    "/citizens/{citizen}/reputation" => "query.reputation", reputation::reputation;
    "/citizens/{citizen}/reputation/evidence" => "query.reputation", reputation::evidence;
    "/citizens/{citizen}/reputation/can-claim" => "query.reputation", reputation::can_claim;
    "/citizens/{citizen}/reputation/history" => "query.reputation", reputation::history;

    "/capability-sources" => "query.inventory", inventory::sources;
    "/capability-actions" => "query.inventory", inventory::actions;
    "/capabilities/{kind}" => "query.inventory", inventory::holders;
    "/holders/{holder}/grants" => "query.inventory", inventory::of_holder;
    "/holders/{holder}/check" => "query.check", inventory::check;
    "/grants/stuck" => "query.inventory", inventory::stuck;
    "/grants/{grant}" => "query.inventory", inventory::grant;
    "/grants/{grant}/history" => "query.inventory", inventory::history;

    "/entries" => "query.feed", entries::entries;
    "/entries/stream" => "query.feed", feed::stream;
    "/streams/{stream}/entries" => "query.entry", entries::of_stream;
    "/receipts/{position}" => "query.receipt", receipts::receipt;
    "/checkpoint" => "query.receipt", receipts::checkpoint;
}

/// Questions whose asking leaves something behind outside the log: POST, below `/v1`, with their parameters as a JSON object.
pub const ASSERTIONS: &[QuestionRoute] = &[QuestionRoute {
    path: "/holders/{holder}/assert",
    action: "query.assert",
    answer: |asked| Box::pin(inventory::assert(asked)),
}];

/// Addresses that ask for no credential, and why none is needed.
pub const OPEN: &[(&str, &str)] = &[
    ("/healthz", "says only that the process answers"),
    ("/readyz", "says only whether this server takes commands, and whether its clock is known to be wrong"),
    ("/metrics", "loopback only, or with admin.metrics; numbers, never names"),
    ("/checkpoint", "a signed tree head: public by design"),
    ("/tile/{*path}", "hashes: public by design"),
    ("/policy", "public keys and addresses of witnesses: what a stranger compares with their own"),
    ("/proof/{position}", "hashes and signatures: public by design, and as slow as strangers may be"),
    ("/audit", "a page that checks receipts in the visitor's browser"),
    ("/audit.json", "sizes, hashes, and how it stands with witnesses and anchors; never names"),
    ("/audit/{file}", "what that page is made of"),
];

/// Where an action is taken, as `METHOD /path`; none for what has no address of its own.
pub fn addresses(action: &str) -> Vec<String> {
    let commands = COMMANDS.iter().filter(|route| route.action == action).map(|route| ("POST", route.path));
    let questions = QUESTIONS.iter().filter(|route| route.action == action).map(|route| ("GET", route.path));
    let assertions = ASSERTIONS.iter().filter(|route| route.action == action).map(|route| ("POST", route.path));
    commands.chain(questions).chain(assertions).map(|(method, path)| format!("{method} /v1{path}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_has_one_address() {
        let routed: Vec<&str> =
            COMMANDS.iter().map(|route| route.action).chain(NO_ROUTE.iter().map(|no| no.0)).collect();
        let distinct: BTreeSet<&str> = routed.iter().copied().collect();
        assert_eq!(routed.len(), distinct.len());
        assert_eq!(distinct, domain::Command::ACTIONS.iter().copied().collect());
        let paths: BTreeSet<&str> = COMMANDS.iter().map(|route| route.path).collect();
        assert_eq!(paths.len(), COMMANDS.len());
    }

    #[test]
    fn no_address_sets_a_score() {
        let reputation: Vec<&str> =
            COMMANDS.iter().map(|route| route.action).filter(|action| action.starts_with("reputation.")).collect();
        let words = ["attest", "endorse", "flag", "dispute", "reverse"].map(|word| format!("reputation.{word}"));
        assert_eq!(reputation, words.each_ref().map(String::as_str), "what others attest, and nothing else");
    }

    #[test]
    fn every_question_takes_a_known_action() {
        for route in QUESTIONS.iter().chain(ASSERTIONS) {
            assert!(domain::city::policy::lowest_tier(route.action).is_some(), "{}: {}", route.path, route.action);
        }
    }
}
