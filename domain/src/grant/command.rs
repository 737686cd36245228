//! What can be asked of the inventory.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::event::FailureKind;
use super::kind::{CapabilityKind, CapabilityRef, Source, offered};
use super::scope::Scope;
use crate::guild::command::command;
use crate::ids::GrantId;
use crate::party::HolderId;
use crate::secrets::{holds_secret, looks_like_secret};
use crate::text::Text;
use crate::time::Time;

command! {
    /// Grants a capability to a holder. The caller owns the source, or coordinates the guild that is the source.
    GrantCapability {
        holder: HolderId,
        kind: CapabilityKind,
        #[serde(rename = "ref", deserialize_with = "offered")] reference: CapabilityRef,
        source: Source,
        #[serde(default)] scope: Scope,
        #[serde(default)] delegable: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")] expires_at: Option<Time>,
    }
    /// What a source listed, as an importer met it. Never brings back what an actor revoked.
    ImportCapability {
        holder: HolderId,
        kind: CapabilityKind,
        #[serde(rename = "ref", deserialize_with = "offered")] reference: CapabilityRef,
        source: Source,
        #[serde(default)] scope: Scope,
        #[serde(default, skip_serializing_if = "Option::is_none")] expires_at: Option<Time>,
        /// Fields of the source beyond these, as one document; sealed.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "harmless")] details: Option<Text>,
    }
    RevokeGrant {
        holder: HolderId,
        grant: GrantId,
        #[serde(default, skip_serializing_if = "Option::is_none")] reason: Option<Text>,
    }
    /// Only ever narrower: a scope within the present one, an end no later.
    AttenuateGrant {
        holder: HolderId,
        grant: GrantId,
        scope: Scope,
        #[serde(default, skip_serializing_if = "Option::is_none")] expires_at: Option<Time>,
    }
    /// Hands a delegable grant on, whole or narrower.
    DelegateGrant {
        holder: HolderId,
        grant: GrantId,
        to: HolderId,
        #[serde(default, skip_serializing_if = "Option::is_none")] scope: Option<Scope>,
        #[serde(default)] delegable: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")] expires_at: Option<Time>,
    }
    /// Asks for a verification now, ahead of its hour.
    ReverifyGrant { holder: HolderId, grant: GrantId }
    /// What verifiers found out, up to 1000 grants at once.
    RecordVerifications {
        findings: Vec<Finding>,
        /// When the source was asked: what it has got since, it is not missing.
        #[serde(default, skip_serializing_if = "Option::is_none")] asked_at: Option<Time>,
    }
    /// Puts on record that a grant's time is over.
    ExpireGrant { holder: HolderId, grant: GrantId }
    /// Takes a grant that has been dead for 30 days out of the table.
    PruneGrant { holder: HolderId, grant: GrantId }
}

/// Whoever reads sources cleans what they send; this is the door for everybody else.
fn harmless<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Text>, D::Error> {
    let text = Option::<Text>::deserialize(deserializer)?;
    match &text {
        // The text stays out of the answer: it may be what it looks like.
        Some(Text::Plain(plain)) if is_harmful(plain) => {
            Err(de::Error::custom("it looks like a secret, or is named like one"))
        }
        _ => Ok(text),
    }
}

/// Details are one document: what its fields are called counts as well.
fn is_harmful(plain: &str) -> bool {
    match serde_json::from_str(plain) {
        Ok(document) => holds_secret(&document),
        Err(_) => looks_like_secret(plain),
    }
}

/// What a verifier found out about one grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    pub holder: HolderId,
    pub grant: GrantId,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The source has it.
    Alive,
    /// The source does not know it.
    Gone,
    /// The source says that it was taken away.
    Revoked,
    /// The source says that its time is over.
    Expired,
    /// The source could not say, and why.
    Unknown(FailureKind),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_secret_comes_in_neither_as_a_ref_nor_in_details() {
        let import = |reference: &str, details: &str| {
            let holder = "cit_01J80000000000000000000001";
            from_value::<ImportCapability>(
                json!({"holder": holder, "kind": "tool", "ref": reference, "source": "plugin:yaml", "details": details}),
            )
            .map_err(|error| error.to_string())
        };
        assert!(import("post_invoice", r#"{"label": "x", "needs_token": true}"#).is_ok());
        assert!(import("post_invoice", "a plain text").is_ok());
        for (reference, details) in [
            ("call/sk-loom-c0ffeec0ffeec0ffee", "{}"),
            ("t", r#"{"env": {"LEDGER_API_KEY": "hunter2"}}"#),
            ("t", r#"{"deep": [{"raw_token": "hunter2"}]}"#),
            ("t", r#"{"url": "https://bus/sk-loom-c0ffeec0ffeec0ffee"}"#),
            ("t", r#"{"note": "\u0073k-loom-c0ffeec0ffeec0ffee"}"#),
            ("t", "password=hunter2"),
        ] {
            let refused = import(reference, details).unwrap_err();
            assert!(
                refused.contains("secret") && !refused.contains("hunter2") && !refused.contains("c0ffee"),
                "{refused}"
            );
        }
    }
}
