//! Where capabilities come from: five kinds of source, each read as it is and told in one shape.
//!
//! Invariants:
//! - A source is only ever read.
//! - No raw secret leaves this crate: tokens are keyed-hashed as they are read, and what looks like a secret is not passed on.
//! - A row that cannot be understood costs itself alone, and says where it stands and what it may have been about: of that nothing is
//!   known, and least of all that it is gone. A source that cannot be read says nothing about what it does not list.

mod account;
mod address;
mod connections;
mod details;
mod files;
mod map;
mod plugins;
mod shape;
mod skills;
mod table;
mod tokens;
mod told;
mod workflows;

use std::sync::Arc;

use domain::grant::event::FailureKind;
use domain::grant::kind::{CapabilityKind, CapabilityRef, Source};
use domain::ids::{CitizenId, Slug};
use domain::time::Time;
use tokio::sync::mpsc;

pub use account::{Account, Identity, Met, is_too_much};
pub use details::shown;
pub use map::{Map, MapError, Place};
pub use told::toml_error;

/// Hashes with the city's key, in hexadecimal: what is kept of a secret.
pub type KeyedHash = Arc<dyn Fn(&[u8]) -> String + Send + Sync>;

/// Whether a source still gives what it lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Living,
    /// Taken away, or switched off.
    Revoked,
    Expired,
}

/// Whom a source itself names as the holder, in the city's own terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    Guild(Slug),
    Citizen(CitizenId),
}

/// One capability as its source lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The names that the map file may have for its holder, the most telling first. Where a source has several kinds of names, all
    /// but the first kind say which they are: `owner:kasra`, `workspace:gaf`, `author:loom`.
    pub names: Vec<String>,
    /// Whose it is if the map has none of the names.
    pub whose: Option<Whose>,
    pub kind: CapabilityKind,
    pub reference: CapabilityRef,
    /// What tells it from something else under the same ref, where the source has that.
    pub identity: Option<Identity>,
    pub life: Life,
    pub expires_at: Option<Time>,
    pub read_only: bool,
    /// Further fields as one JSON document, without anything that looks like a secret.
    pub details: Option<String>,
    /// File and line, or row.
    pub place: String,
}

/// What a listing comes to, piece by piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Listed(Box<Listed>),
    Wrong(Wrong),
}

/// A row that cannot be understood: where it stands, and what it may have been about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub place: String,
    pub what: String,
    pub about: About,
}

impl Wrong {
    pub(crate) fn new(place: impl ToString, what: impl ToString, about: About) -> Self {
        Self { place: shown(&place.to_string()), what: shown(&what.to_string()), about }
    }
}

/// What a row that cannot be understood may stand for. Of that, nothing is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// These refs, whoever holds them. Without any: nothing that can be held here.
    Refs(Vec<CapabilityRef>),
    /// These refs; and that the source took them away, whatever else the row says.
    Ended(Vec<CapabilityRef>),
    /// These refs; and that they end at this time.
    Over(Vec<CapabilityRef>, Time),
    /// These refs, under which the source lists more than one thing: nobody knows which is meant.
    Twice(Vec<CapabilityRef>),
    /// Anything that is not listed elsewhere.
    Anything,
}

impl About {
    /// What is no ref was never held.
    pub(crate) fn named(text: &str) -> Self {
        Self::Refs(text.parse().into_iter().collect())
    }

    /// What is known of a row whose holder nobody here is known for: nothing, or that nobody has it any more.
    pub fn unheld(listed: &Listed) -> Self {
        Self::Refs(vec![listed.reference.clone()]).ending(Some(listed.life), listed.expires_at)
    }

    /// The row says of what it is about how it ends: what it says of its life, as far as that can be read, and its end.
    pub(crate) fn ending(self, life: Option<Life>, end: Option<Time>) -> Self {
        match (self, life, end) {
            (Self::Refs(refs), Some(Life::Revoked), _) => Self::Ended(refs),
            (Self::Refs(refs), Some(Life::Expired), _) => Self::Over(refs, Time::from_micros(i64::MIN)),
            (Self::Refs(refs), _, Some(end)) => Self::Over(refs, end),
            (other, ..) => other,
        }
    }
}

/// Why a source could not be listed to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Unlisted {
    pub kind: FailureKind,
    pub place: String,
    pub what: String,
}

impl Unlisted {
    pub(crate) fn new(kind: FailureKind, place: impl ToString, what: impl ToString) -> Self {
        Self { kind, place: shown(&place.to_string()), what: shown(&what.to_string()) }
    }

    pub(crate) fn unreachable(place: impl ToString, what: impl ToString) -> Self {
        Self::new(FailureKind::Unreachable, place, what)
    }
}

/// Where items go as they are read: at most a few are on their way.
#[derive(Clone)]
pub struct Sink(mpsc::Sender<Item>);

impl Sink {
    pub fn new(items: mpsc::Sender<Item>) -> Self {
        Self(items)
    }

    /// Nobody listens any more: whoever reads on does it for nothing.
    pub(crate) fn still_heard(&self) -> Result<(), Unlisted> {
        if self.0.is_closed() { Err(Unlisted::unreachable("the listing", "was given up")) } else { Ok(()) }
    }

    pub(crate) async fn listed(&self, listed: Listed) {
        // Whoever does not listen any more does not want to hear that either.
        let _ = self.0.send(Item::Listed(Box::new(listed))).await;
    }

    pub(crate) async fn wrong(&self, place: impl ToString, what: impl ToString, about: About) {
        let _ = self.0.send(Item::Wrong(Wrong::new(place, what, about))).await;
    }

    pub(crate) fn blocking(&self, listed: Listed) {
        let _ = self.0.blocking_send(Item::Listed(Box::new(listed)));
    }

    pub(crate) fn blocking_wrong(&self, place: impl ToString, what: impl ToString, about: About) {
        let _ = self.0.blocking_send(Item::Wrong(Wrong::new(place, what, about)));
    }
}

/// Lists everything that the map says this domain consists of.
///
/// # Errors
/// When a part of it could not be read to its end: what was not listed may be there all the same.
pub async fn list(map: &Map, keyed: &KeyedHash, sink: &Sink) -> Result<(), Unlisted> {
    match map.source {
        Source::D1Tokens => tokens::list(map, keyed, sink).await,
        Source::PluginYaml => plugins::list(map, sink).await,
        Source::GhlWorkflows => workflows::list(map, sink).await,
        Source::FsSkills => skills::list(map, sink).await,
        Source::PgConnections => connections::list(map, keyed, sink).await,
        Source::Guild(_) | Source::City | Source::Membership | Source::Roles => {
            Err(Unlisted::new(FailureKind::Malformed, map.source, "the city itself is this source"))
        }
    }
}

/// Makes TLS ready for every HTTP client of this process. Once is enough, and more do no harm.
pub fn prepare_tls() {
    // Whoever came first has done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What the map file may call a holder: the plain name, and then a name of another kind. A plain name that looks like one of another
/// kind would be taken for it, so it is none.
pub(crate) fn names(plain: &str, kind: &str, other: Option<&str>) -> Vec<String> {
    let plain = Some(plain.to_owned()).filter(|name| !name.contains(':'));
    plain.into_iter().chain(other.map(|name| format!("{kind}:{name}"))).collect()
}

/// Reads a ref, or says why it is none.
pub(crate) fn reference(text: &str) -> Result<CapabilityRef, String> {
    CapabilityRef::offered(text).map_err(|error| error.to_string())
}
