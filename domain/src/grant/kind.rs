//! What a capability is: its kind, the reference by which its source knows it, and the source.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize as _, Deserializer, de};

use crate::ids::{GuildId, Malformed, text_serde};
use crate::secrets::looks_like_secret;
use crate::text::{is_blank, is_invisible};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CapabilityKind {
    Credential,
    Tool,
    Automation,
    Template,
    OauthConnection,
    GuildRole,
    DataAccess,
    McpServer,
}

impl CapabilityKind {
    pub const ALL: [Self; 8] = [
        Self::Credential,
        Self::Tool,
        Self::Automation,
        Self::Template,
        Self::OauthConnection,
        Self::GuildRole,
        Self::DataAccess,
        Self::McpServer,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Tool => "tool",
            Self::Automation => "automation",
            Self::Template => "template",
            Self::OauthConnection => "oauth_connection",
            Self::GuildRole => "guild_role",
            Self::DataAccess => "data_access",
            Self::McpServer => "mcp_server",
        }
    }

    /// Kinds that follow from memberships and roles: nobody grants them by hand.
    pub const fn is_computed(self) -> bool {
        matches!(self, Self::GuildRole | Self::DataAccess)
    }
}

impl fmt::Display for CapabilityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CapabilityKind {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let expected =
                "credential, tool, automation, template, oauth_connection, guild_role, data_access or mcp_server";
            Malformed::new(expected, text)
        })
    }
}

text_serde!(CapabilityKind);

/// The name by which a source knows a capability: 1 to 200 bytes, printable, not padded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CapabilityRef(Arc<str>);

/// Longest reference, in bytes of UTF-8.
pub const MAX_REF_BYTES: usize = 200;

impl CapabilityRef {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that comes in: it looks like no secret. One that is on record is only read, whatever it looks like by now.
    pub fn offered(text: &str) -> Result<Self, Malformed> {
        if text.len() > MAX_REF_BYTES {
            return Err(Malformed::new("a capability ref of at most 200 bytes", "a longer one"));
        }
        if looks_like_secret(text) {
            // The text stays out of the answer: it may be what it looks like.
            return Err(Malformed::new("a capability ref that does not look like a secret", "(not shown)"));
        }
        text.parse()
    }

    /// The guild whose names begin like this: `gld_<ULID>/...`.
    pub fn guild(&self) -> Option<GuildId> {
        guild_of(&self.0)
    }
}

fn guild_of(reference: &str) -> Option<GuildId> {
    reference.split_once('/')?.0.parse().ok()
}

impl fmt::Display for CapabilityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CapabilityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CapabilityRef {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let sized = (1..=MAX_REF_BYTES).contains(&text.len());
        let unseen = |c: char| c != ' ' && (is_invisible(c) || is_blank(c));
        if !sized || text.trim() != text || text.chars().any(unseen) {
            return Err(Malformed::new("a capability ref of 1 to 200 printable bytes without spaces around it", text));
        }
        let like_a_guilds = text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("gld_"));
        if like_a_guilds && guild_of(text).is_none() {
            return Err(Malformed::new("a capability ref that begins with a guild's id and /, or not like one", text));
        }
        Ok(Self(text.into()))
    }
}

text_serde!(CapabilityRef);

/// Reads the ref of a command: see [`CapabilityRef::offered`].
pub fn offered<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CapabilityRef, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    CapabilityRef::offered(&text).map_err(de::Error::custom)
}

/// Where the truth about a capability lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Tokens of the edge database and the message bus.
    D1Tokens,
    /// Tools and servers that plugin manifests declare.
    PluginYaml,
    /// Workflows of the automation service.
    GhlWorkflows,
    /// Skills in a tree of directories.
    FsSkills,
    /// Tool connections of profiles.
    PgConnections,
    /// The guild itself: its coordinators grant inside it.
    Guild(GuildId),
    /// The city itself.
    City,
    /// Follows from memberships.
    Membership,
    /// Follows from role assignments.
    Roles,
}

impl Source {
    /// The five that an importer reads.
    pub const IMPORTED: [Self; 5] =
        [Self::D1Tokens, Self::PluginYaml, Self::GhlWorkflows, Self::FsSkills, Self::PgConnections];

    /// Whether the truth lives outside the city, so that it has to be verified again and again.
    pub fn is_imported(self) -> bool {
        Self::IMPORTED.contains(&self)
    }

    /// The kinds of capability this source speaks of; empty = any that is not computed.
    pub const fn kinds(self) -> &'static [CapabilityKind] {
        match self {
            Self::D1Tokens => &[CapabilityKind::Credential],
            Self::PluginYaml => &[CapabilityKind::Tool, CapabilityKind::McpServer],
            Self::GhlWorkflows => &[CapabilityKind::Automation],
            Self::FsSkills => &[CapabilityKind::Template],
            Self::PgConnections => &[CapabilityKind::OauthConnection],
            Self::Membership => &[CapabilityKind::GuildRole],
            Self::Roles => &[CapabilityKind::DataAccess],
            Self::Guild(_) | Self::City => &[],
        }
    }

    pub fn speaks_of(self, kind: CapabilityKind) -> bool {
        let kinds = self.kinds();
        if kinds.is_empty() { !kind.is_computed() } else { kinds.contains(&kind) }
    }

    /// Whether a name is this source's to give. A guild has the names that begin with its own id, and they are nobody else's: what a
    /// guild calls its own is never taken for what the city or an importer knows.
    pub fn names(self, reference: &CapabilityRef) -> bool {
        match (self, reference.guild()) {
            (Self::Guild(guild), named) => named == Some(guild),
            (Self::Membership, named) => named.is_some(),
            (_, named) => named.is_none(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::D1Tokens => f.write_str("d1:tokens"),
            Self::PluginYaml => f.write_str("plugin:yaml"),
            Self::GhlWorkflows => f.write_str("ghl:workflows"),
            Self::FsSkills => f.write_str("fs:skills"),
            Self::PgConnections => f.write_str("pg:profile_tool_connections"),
            Self::Guild(guild) => fmt::Display::fmt(guild, f),
            Self::City => f.write_str("city"),
            Self::Membership => f.write_str("membership"),
            Self::Roles => f.write_str("roles"),
        }
    }
}

impl FromStr for Source {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.starts_with("gld_") {
            return text.parse().map(Self::Guild);
        }
        let named = Self::IMPORTED.into_iter().chain([Self::City, Self::Membership, Self::Roles]);
        named.into_iter().find(|source| source.to_string() == text).ok_or_else(|| {
            let expected =
                "d1:tokens, plugin:yaml, ghl:workflows, fs:skills, pg:profile_tool_connections, city, or a guild's id or slug";
            Malformed::new(expected, text)
        })
    }
}

text_serde!(Source);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_ref_is_printable_and_short() {
        for good in ["a", "post_invoice", "Skill of the week", "9f86d081884c7d65", "größe", &"r".repeat(200)] {
            assert_eq!(good.parse::<CapabilityRef>().unwrap().as_str(), good);
        }
        let own = format!("{}/lathe", GuildId::from_bits(u128::MAX));
        assert_eq!(own.parse::<CapabilityRef>().unwrap().guild(), Some(GuildId::from_bits(u128::MAX)));
        let unlike = [own.to_lowercase(), own.to_uppercase(), own.replace('/', ":"), own.replace("/lathe", "")];
        for bad in unlike.iter().map(String::as_str).chain(["a\u{202e}b", "x\u{200b}", "a\u{a0}b"]) {
            assert!(bad.parse::<CapabilityRef>().is_err(), "{bad:?}");
        }
        for bad in ["", " a", "a ", "a\nb", "\u{7f}", &"r".repeat(201)] {
            assert!(bad.parse::<CapabilityRef>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_looks_like_a_secret_is_offered_in_vain_and_not_repeated() {
        for secret in [
            "sk-loom-0123456789abcdef",
            "call/sk-loom-c0ffeec0ffeec0ffee",
            "[ghp_0123456789abcdefghij0123]",
            "postgres://admin:Sup3rS3cretPassw0rd@db.internal/prod",
            "https://hooks.slack.com/services/T00000000/B00000000/a8Zk3Qw9mN7pL2xR4vT6yB1c",
        ] {
            let refused = CapabilityRef::offered(secret).unwrap_err().to_string();
            assert!(!refused.contains(secret), "{refused}");
            assert_eq!(secret.parse::<CapabilityRef>().unwrap().as_str(), secret, "what is on record can be read");
        }
        assert_eq!(CapabilityRef::offered("post_invoice").unwrap().as_str(), "post_invoice");
        assert!(CapabilityRef::offered(" a").is_err());
    }

    #[test]
    fn every_source_has_one_spelling() {
        let guild = Source::Guild(GuildId::from_bits(7));
        for source in Source::IMPORTED.into_iter().chain([guild, Source::City, Source::Membership, Source::Roles]) {
            assert_eq!(source.to_string().parse::<Source>().unwrap(), source);
        }
        assert!("d1:token".parse::<Source>().is_err());
    }

    #[test]
    fn every_kind_has_a_source_that_speaks_of_it() {
        let sources = Source::IMPORTED.into_iter().chain([Source::Membership, Source::Roles]);
        for kind in CapabilityKind::ALL {
            assert!(sources.clone().any(|source| source.speaks_of(kind)), "{kind:?}");
        }
        assert!(!Source::City.speaks_of(CapabilityKind::GuildRole));
    }
}
