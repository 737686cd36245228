//! One way of sending commands for both: a city in this process, or a server behind HTTP.

use serde_json::{Map, Value, json};

/// Who sends: a key's id in process, a key's whole text over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who(pub String);

/// What came back.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// As HTTP says it; in process 200, 202 or 422.
    pub status: u16,
    /// `done`, `already_done`, `proposed`, or the code of the refusal.
    pub outcome: String,
    pub proposal: Option<String>,
    pub entries: Vec<Value>,
    pub body: Value,
    /// Whether this answer was given before.
    pub replayed: bool,
}

impl Reply {
    /// From the JSON of an answer or of a problem document.
    pub fn of(status: u16, body: Value) -> Self {
        let outcome = body["code"].as_str().or(body["outcome"].as_str()).unwrap_or("").to_owned();
        let proposal = body["proposal"].as_str().map(str::to_owned);
        let entries = body["entries"].as_array().cloned().unwrap_or_default();
        Self { status, outcome, proposal, entries, body, replayed: false }
    }

    pub fn is_accepted(&self) -> bool {
        matches!(self.status, 200 | 202)
    }

    /// The reply, which must be an acceptance.
    #[track_caller]
    pub fn accepted(self) -> Self {
        assert!(self.is_accepted(), "{}: {}", self.status, self.body);
        self
    }

    /// The reply, which must be a refusal with this code.
    #[track_caller]
    pub fn refused(self, code: &str) -> Self {
        assert!(!self.is_accepted() && self.outcome == code, "wanted {code}, got {}: {}", self.status, self.body);
        self
    }

    /// The reply, which must be a proposal; its id.
    #[track_caller]
    pub fn proposed(self) -> String {
        assert!(self.status == 202 && self.outcome == "proposed", "{}: {}", self.status, self.body);
        self.proposal.unwrap()
    }

    /// The stream of the first entry of this type.
    #[track_caller]
    pub fn stream_of(&self, kind: &str) -> String {
        self.entry(kind)["stream"].as_str().unwrap().to_owned()
    }

    /// The first entry of this type.
    #[track_caller]
    pub fn entry(&self, kind: &str) -> &Value {
        let found = self.entries.iter().find(|entry| entry["type"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {}", self.body))
    }

    /// The position of the last entry.
    #[track_caller]
    pub fn position(&self) -> u64 {
        self.entries.last().and_then(|entry| entry["position"].as_u64()).unwrap_or_else(|| panic!("{}", self.body))
    }
}

/// Sends commands somewhere.
pub trait Courier: Sync {
    /// Sends a command by its action name, with a key for retries if there is one.
    fn send(&self, who: &Who, action: &str, body: Value, key: Option<&str>) -> impl Future<Output = Reply> + Send;

    /// The one who was made at the first start.
    fn principal(&self) -> Who;

    /// Issues a key for a citizen.
    fn issue_key(&self, citizen: &str) -> impl Future<Output = Who> + Send;

    /// Sends without a key.
    fn ask(&self, who: &Who, action: &str, body: Value) -> impl Future<Output = Reply> + Send {
        self.send(who, action, body, None)
    }
}

/// Where HTTP takes each action, with the fields that go into the address.
const ADDRESSES: &[(&str, &str)] = &[
    ("city.register_currency", "/currencies"),
    ("city.define_role", "/roles"),
    ("city.assign_source", "/capability-sources"),
    ("grant.grant", "/holders/{holder}/grants"),
    ("grant.import", "/holders/{holder}/grants/import"),
    ("grant.revoke", "/holders/{holder}/grants/{grant}/revoke"),
    ("reputation.attest", "/citizens/{holder}/outcomes"),
    ("citizen.register", "/citizens"),
    ("citizen.suspend", "/citizens/{citizen}/suspend"),
    ("citizen.reinstate", "/citizens/{citizen}/reinstate"),
    ("citizen.deprovision", "/citizens/{citizen}/deprovision"),
    ("citizen.assign_role", "/citizens/{citizen}/roles"),
    ("citizen.unassign_role", "/citizens/{citizen}/roles/unassign"),
    ("citizen.grant_attestation", "/citizens/{citizen}/attestations"),
    ("citizen.withdraw_attestation", "/citizens/{citizen}/attestations/withdraw"),
    ("key.issue", "/keys"),
    ("key.rotate", "/keys/{old}/rotate"),
    ("key.revoke", "/keys/{key}/revoke"),
    ("guild.found", "/guilds"),
    ("guild.rename", "/guilds/{guild}/rename"),
    ("guild.propose_parent", "/guilds/{guild}/parent"),
    ("guild.accept_child", "/guilds/{guild}/children"),
    ("guild.detach_child", "/guilds/{guild}/children/detach"),
    ("guild.amend_charter", "/guilds/{guild}/charter"),
    ("guild.define_ranks", "/guilds/{guild}/ranks"),
    ("guild.add_member", "/guilds/{guild}/members"),
    ("guild.change_rank", "/guilds/{guild}/members/{member}/rank"),
    ("guild.set_scopes", "/guilds/{guild}/members/{member}/scopes"),
    ("guild.suspend_member", "/guilds/{guild}/members/{member}/suspend"),
    ("guild.reinstate_member", "/guilds/{guild}/members/{member}/reinstate"),
    ("guild.remove_member", "/guilds/{guild}/members/{member}/remove"),
    ("guild.leave", "/guilds/{guild}/leave"),
    ("guild.mark_dormant", "/guilds/{guild}/dormant"),
    ("guild.wake", "/guilds/{guild}/wake"),
    ("guild.initiate_dissolution", "/guilds/{guild}/dissolution"),
    ("guild.cancel_dissolution", "/guilds/{guild}/dissolution/cancel"),
    ("guild.finalize_dissolution", "/guilds/{guild}/dissolution/finalize"),
    ("guild.set_governance", "/guilds/{guild}/governance"),
    ("guild.propose", "/guilds/{guild}/proposals"),
    ("guild.ratify", "/guilds/{guild}/proposals/{proposal}/ratify"),
    ("guild.reject_proposal", "/guilds/{guild}/proposals/{proposal}/reject"),
    ("guild.withdraw_proposal", "/guilds/{guild}/proposals/{proposal}/withdraw"),
    ("guild.expire_proposal", "/guilds/{guild}/proposals/{proposal}/expire"),
    ("guild.appoint_founder", "/guilds/{guild}/founder"),
    ("treasury.deposit", "/treasuries/{treasury}/deposits"),
    ("treasury.withdraw", "/treasuries/{treasury}/withdrawals"),
    ("treasury.hold", "/treasuries/{treasury}/holds"),
    ("treasury.capture", "/treasuries/{treasury}/holds/{hold}/capture"),
    ("treasury.release", "/treasuries/{treasury}/holds/{hold}/release"),
    ("treasury.expire_hold", "/treasuries/{treasury}/holds/{hold}/expire"),
    ("treasury.offer_transfer", "/treasuries/{treasury}/transfers"),
    ("treasury.accept_transfer", "/treasuries/{treasury}/transfers/{offer}/accept"),
    ("treasury.reject_transfer", "/treasuries/{treasury}/transfers/{offer}/reject"),
    ("treasury.cancel_transfer", "/treasuries/{treasury}/transfers/{offer}/cancel"),
    ("treasury.expire_transfer", "/treasuries/{treasury}/transfers/{offer}/expire"),
    ("treasury.split_transfer", "/treasuries/{treasury}/splits"),
    ("treasury.freeze", "/treasuries/{treasury}/freeze"),
    ("treasury.unfreeze", "/treasuries/{treasury}/unfreeze"),
    ("treasury.settle", "/treasuries/{treasury}/settle"),
    ("treasury.set_auto_accept", "/treasuries/{treasury}/auto-accept"),
];

/// The address of an action; the fields it takes leave the body.
pub(crate) fn address(action: &str, body: Value) -> (String, Value) {
    let known = ADDRESSES.iter().find(|(name, _)| *name == action);
    let template = known.unwrap_or_else(|| panic!("no address for {action}")).1;
    let Value::Object(mut fields) = body else { panic!("a command is an object: {body}") };
    let path: Vec<String> = template.split('/').map(|part| fill(part, &mut fields)).collect();
    (format!("/v1{}", path.join("/")), json!(fields))
}

fn fill(part: &str, fields: &mut Map<String, Value>) -> String {
    let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else { return part.to_owned() };
    let value = fields.remove(name).unwrap_or_else(|| panic!("the address needs {name}"));
    value.as_str().unwrap().to_owned()
}
