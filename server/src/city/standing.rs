//! How what is published stands with its witnesses and its store, in what everybody may know.

use std::time::Duration;

use anchor::{AnchorError, LockStatus, MirrorStatus, TimeStatus, WitnessStatus};
use chain::Hash;
use chain::checkpoint::{self, Examined};
use chain::policy::Policy;
use serde::{Serialize, Serializer};
use serde_json::json;

#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    pub checkpoint: Option<Shown>,
    pub quorum: Quorum,
    pub witnesses: Vec<Seen>,
    pub store: Kept,
}

#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    pub size: u64,
    pub root: Hash,
    /// Since it was written here.
    pub age_seconds: u64,
}

/// Whether the quorum cosigned what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Quorum {
    Met,
    Missed,
    /// No quorum is asked for.
    Unasked,
}

#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    pub name: String,
    pub key: String,
    /// Whether its line stands on what is shown.
    pub cosigned: bool,
    pub cosigned_at: Option<u64>,
    pub trouble: Option<String>,
}

/// Where anchors go, and what that is worth.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    pub name: &'static str,
    pub guarantee: &'static str,
    /// How this process found its lock; missing while another one publishes.
    pub lock: Option<LockStatus>,
    /// Who says when anchors were made; missing while another one publishes, or nobody is asked.
    pub time: Option<TimeStatus>,
    #[serde(serialize_with = "without_places")]
    pub mirrors: Vec<MirrorStatus>,
}

/// Where exactly they are is for operators, and so are the words in which they fail.
fn without_places<S: Serializer>(mirrors: &[MirrorStatus], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(mirrors.iter().map(|mirror| {
        let MirrorStatus { name, store, guarantee, newest, behind, trouble, .. } = mirror;
        json!({
            "name": name, "store": store, "guarantee": guarantee, "newest": newest, "behind": behind, "failing": trouble.is_some()
        })
    }))
}

impl Standing {
    pub fn of(
        (note, age): (Option<String>, Option<Duration>),
        policy: &Policy,
        statuses: Vec<WitnessStatus>,
        store: Kept,
    ) -> Result<Self, AnchorError> {
        let examined = note.and_then(|note| checkpoint::examine(&note, policy).ok());
        let seen = policy.witnesses.iter().map(|witness| {
            let (key, status) = (witness.key.name(), statuses.iter().find(|status| status.name == witness.name));
            let line = examined.as_ref().and_then(|shown| shown.cosigned.iter().find(|(name, _)| name == key));
            Seen {
                name: witness.name.clone(),
                key: key.to_owned(),
                cosigned: line.is_some(),
                cosigned_at: line.map(|line| line.1).or(status.and_then(|status| status.cosigned_at)),
                trouble: status.and_then(|status| status.trouble.clone()),
            }
        });
        let quorum = match &examined {
            _ if policy.quorum.is_none() => Quorum::Unasked,
            Some(Examined { witnessed: true, .. }) => Quorum::Met,
            _ => Quorum::Missed,
        };
        Ok(Self {
            witnesses: seen.collect(),
            quorum,
            checkpoint: examined.map(|Examined { checkpoint, .. }| Shown {
                size: checkpoint.size,
                root: checkpoint.root,
                age_seconds: age.unwrap_or_default().as_secs(),
            }),
            store,
        })
    }
}
