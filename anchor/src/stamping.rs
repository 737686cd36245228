//! Has anchors stamped, and says how that goes. An authority that is down stops nothing, unless it is required.

use std::sync::Arc;

use chain::Hash;
use serde::Serialize;
use timestamp::MOST_APART;
use tokio::sync::watch;

use crate::AnchorError;
use crate::anchor_format::Anchor;
use crate::publisher::approximate;
use crate::time::{Authority, TimeFailure};

/// Who is asked for the time of each anchor.
#[derive(Debug, Clone)]
pub struct TimeSource {
    pub authority: Arc<dyn Authority>,
    /// Rather no anchor than one without a token.
    pub required: bool,
}

/// How it stands with the time authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimeStatus {
    pub authority: String,
    pub required: bool,
    /// The newest anchor with a token, as far as this process has seen.
    pub newest: Option<Seen>,
    /// Why the last anchor has none, if so.
    pub trouble: Option<String>,
}

/// An anchor that somebody else has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    pub seq: u64,
    /// When, by the authority's clock.
    pub at: String,
    pub by: String,
}

/// The one who asks, if anybody is to be asked.
pub struct Stamping {
    source: Option<(TimeSource, watch::Sender<TimeStatus>)>,
}

impl Stamping {
    pub fn new(source: Option<TimeSource>) -> Self {
        let source = source.map(|source| {
            let (authority, required) = (source.authority.place(), source.required);
            (source, watch::Sender::new(TimeStatus { authority, required, newest: None, trouble: None }))
        });
        Self { source }
    }

    /// Missing when nobody is configured.
    pub fn status(&self) -> Option<TimeStatus> {
        self.source.as_ref().map(|(_, status)| status.borrow().clone())
    }

    /// A token over this anchor. Nothing when nobody is configured, or when there is none to be had and none is required.
    ///
    /// # Errors
    /// When one is required.
    pub async fn stamp(&self, anchor: &Anchor) -> Result<Option<Vec<u8>>, AnchorError> {
        let Some((source, status)) = &self.source else { return Ok(None) };
        match ask(source.authority.as_ref(), anchor).await? {
            Ok((token, seen)) => {
                metrics::counter!("guildhall_time_tokens_total").increment(1);
                status.send_modify(|status| (status.newest, status.trouble) = (Some(seen), None));
                Ok(Some(token))
            }
            Err(failure) => {
                metrics::counter!("guildhall_time_tokens_missing_total").increment(1);
                tracing::warn!(%failure, seq = anchor.seq, required = source.required, "an anchor has no time token");
                status.send_modify(|status| status.trouble = Some(failure.to_string()));
                if source.required { Err(failure.into()) } else { Ok(None) }
            }
        }
    }

    /// Takes up what an earlier run left: the token of the newest anchor in the store.
    pub fn found(&self, anchor: &Anchor) {
        let Some((source, status)) = &self.source else { return };
        let known = status.borrow().newest.as_ref().is_some_and(|newest| newest.seq >= anchor.seq);
        let (Some(token), Ok(imprint), false) = (anchor.token(), anchor.imprint(), known) else { return };
        match source.authority.verify(&token, imprint) {
            Ok(stamp) => {
                let seen = Seen { seq: anchor.seq, at: stamp.gen_time.to_string(), by: stamp.authority };
                status.send_modify(|status| status.newest = Some(seen));
            }
            // Another authority's, or one whose root was exchanged: auditors have the roots of that time.
            Err(fault) => tracing::warn!(%fault, seq = anchor.seq, "the time token of this anchor does not hold here"),
        }
    }
}

async fn ask(authority: &dyn Authority, anchor: &Anchor) -> Result<Result<(Vec<u8>, Seen), TimeFailure>, AnchorError> {
    let imprint: Hash = anchor.imprint()?;
    let answered = match authority.stamp(imprint).await {
        Ok(answered) => answered,
        Err(failure) => return Ok(Err(failure)),
    };
    let at = answered.stamp.gen_time;
    if at.seconds_from(&anchor.at).is_none_or(|apart| apart > MOST_APART) {
        let (place, seen) = (authority.place(), at.to_string());
        return Ok(Err(TimeFailure::Apart { place, seen, at: anchor.at.clone() }));
    }
    metrics::gauge!("guildhall_time_stamped_at_seconds").set(approximate(at.unix_seconds()));
    Ok(Ok((answered.token, Seen { seq: anchor.seq, at: at.to_string(), by: answered.stamp.authority })))
}
