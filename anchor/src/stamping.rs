//! Has anchors stamped, and says how that goes. An authority that is down stops nothing, unless it is required.

use std::sync::Arc;

use chain::Hash;
use serde::{Deserialize, Serialize};
use timestamp::MOST_APART;
use tokio::sync::watch;

use crate::AnchorError;
use crate::anchor_format::Anchor;
use crate::publisher::approximate;
use crate::time::{Authority, TimeFailure};

/// Two clocks that both are right are not further apart, with all that a request takes.
const A_MINUTE: u64 = 60;

/// Who is asked for the time of each anchor.
#[derive(Debug, Clone)]
pub struct TimeSource {
    pub authority: Arc<dyn Authority>,
    /// Rather no anchor than one without a token.
    pub required: bool,
    /// What becomes of an anchor when the authority says that this server's clock is wrong.
    pub wrong_clock: WrongClock,
}

/// What becomes of an anchor when a token that holds says that this server's clock is off by more than a minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WrongClock {
    /// It is not written: what says a wrong time could not be taken back for years.
    #[default]
    Refuse,
    /// It is written, without the token.
    Warn,
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
    /// What the authority said about this server's clock, when it was wrong the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong_clock: Option<String>,
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
            let status = TimeStatus { authority, required, newest: None, trouble: None, wrong_clock: None };
            (source, watch::Sender::new(status))
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
    /// When one is required; and when it says that this server's clock is wrong, unless anchors are to be written all the same.
    pub async fn stamp(&self, anchor: &Anchor, clock: fn() -> String) -> Result<Option<Vec<u8>>, AnchorError> {
        let Some((source, status)) = &self.source else { return Ok(None) };
        match ask(source, anchor, clock).await? {
            Ok((token, seen)) => {
                metrics::counter!("guildhall_time_tokens_total").increment(1);
                note_clock(false);
                status.send_modify(|status| {
                    (status.newest, status.trouble, status.wrong_clock) = (Some(seen), None, None);
                });
                Ok(Some(token))
            }
            Err(failure) => {
                metrics::counter!("guildhall_time_tokens_missing_total").increment(1);
                tracing::warn!(%failure, seq = anchor.seq, required = source.required, "an anchor has no time token");
                let told = status.borrow().wrong_clock.clone();
                let (failure, wrong_clock) = match failure {
                    TimeFailure::Apart { .. } => {
                        let told = failure.to_string();
                        (failure, Some(told))
                    }
                    TimeFailure::Behind { .. } => (failure, None),
                    // Who does not answer takes nothing back.
                    silent => match told {
                        Some(told) => {
                            (TimeFailure::Silent { told: told.clone(), what: silent.to_string() }, Some(told))
                        }
                        None => (silent, None),
                    },
                };
                let is_wrong = wrong_clock.is_some();
                note_clock(is_wrong);
                status.send_modify(|status| {
                    (status.trouble, status.wrong_clock) = (Some(failure.to_string()), wrong_clock);
                });
                if is_wrong && source.wrong_clock == WrongClock::Refuse {
                    return Err(AnchorError::Clock(failure));
                }
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

/// Commands are dated by this clock all the same: whoever watches the city has to hear of it.
fn note_clock(is_wrong: bool) {
    metrics::gauge!("guildhall_clock_wrong").set(f64::from(u8::from(is_wrong)));
}

async fn ask(
    source: &TimeSource,
    anchor: &Anchor,
    clock: fn() -> String,
) -> Result<Result<(Vec<u8>, Seen), TimeFailure>, AnchorError> {
    let imprint: Hash = anchor.imprint()?;
    let answered = match source.authority.stamp(imprint).await {
        Ok(answered) => answered,
        Err(failure) => return Ok(Err(failure)),
    };
    let (at, ours) = (answered.stamp.gen_time, clock());
    let (place, seen) = (source.authority.place(), at.to_string());
    let is_apart = |from: &str, most: u64| at.seconds_from(from).is_none_or(|apart| apart > most);
    // The limit of auditors is wider, and is for whoever only warns.
    let most = if source.wrong_clock == WrongClock::Refuse { A_MINUTE } else { MOST_APART };
    if is_apart(&ours, most) {
        return Ok(Err(TimeFailure::Apart { place, seen, at: ours }));
    }
    // An anchor is never older than the one before, which may have been made by a clock that was ahead.
    if is_apart(&anchor.at, MOST_APART) {
        return Ok(Err(TimeFailure::Behind { place, seen, at: anchor.at.clone() }));
    }
    metrics::gauge!("guildhall_time_stamped_at_seconds").set(approximate(at.unix_seconds()));
    Ok(Ok((answered.token, Seen { seq: anchor.seq, at: seen, by: answered.stamp.authority })))
}
