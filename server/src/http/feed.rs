//! The live feed: every entry as it is committed, in order, over server-sent events; resumes where the reader stopped.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::turn::Permit;
use eventlog::{Follower, Stored};
use futures::stream;
use identity::Credential;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::App;
use super::asked::Asked;
use super::problem::{BUSY, Problem};
use super::questions::entries::Shown;
use super::standing::Refusal;

const BATCH: usize = 256;
/// A feed outlives the request it began with, so its permit is looked at again this often.
const RECHECK: Duration = Duration::from_secs(5);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// `GET /v1/entries/stream?from=`: from a position, from after `Last-Event-ID`, or from now on.
pub async fn stream(mut asked: Asked) -> Result<Response, Problem> {
    let from = asked.take::<u64>("from")?;
    asked.nothing_else()?;
    let resumed = match asked.headers.get(&LAST_EVENT_ID) {
        None => None,
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.parse::<u64>().ok());
            Some(id.ok_or_else(|| Problem::invalid("last-event-id", "a position"))?.saturating_add(1))
        }
    };
    let app = asked.app;
    let start = match resumed.or(from) {
        Some(start) => start,
        None => app.city.log.head().await?.size,
    };
    let place = Arc::clone(&app.feeds).try_acquire_owned();
    let place = place.map_err(|_| Problem::new(BUSY).detail("feeds").retry_after(Duration::from_secs(10)))?;
    let feed = Feed {
        follower: app.city.log.follow(start),
        stopping: app.city.stopping(),
        credential: asked.caller.credential,
        permit: asked.caller.permit,
        checked: Instant::now(),
        waiting: VecDeque::new(),
        ended: false,
        app,
        _place: place,
    };
    metrics::counter!("guildhall_feeds_total").increment(1);
    let events =
        stream::unfold(
            feed,
            |mut feed| async move { feed.next().await.map(|event| (Ok::<_, Infallible>(event), feed)) },
        );
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

struct Feed {
    app: Arc<App>,
    follower: Follower,
    stopping: watch::Receiver<bool>,
    credential: Credential,
    permit: Permit,
    checked: Instant,
    waiting: VecDeque<Stored>,
    ended: bool,
    /// Given back when the reader goes.
    _place: OwnedSemaphorePermit,
}

impl Feed {
    /// The next event; `None` ends the feed.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.ended {
                return None;
            }
            if self.checked.elapsed() >= RECHECK {
                if let Some(code) = self.refused().await {
                    return Some(self.end(&code));
                }
                self.checked = Instant::now();
            }
            if let Some(stored) = self.waiting.pop_front() {
                return Some(self.event(&stored));
            }
            let batch = tokio::select! {
                _ = self.stopping.wait_for(|stop| *stop) => None,
                () = tokio::time::sleep(RECHECK) => Some(Ok(Vec::new())),
                batch = self.follower.next_batch(BATCH) => Some(batch),
            };
            match batch {
                None => return Some(self.end("stopping")),
                Some(Ok(batch)) => self.waiting.extend(batch),
                Some(Err(failure)) => {
                    tracing::warn!(%failure, "a feed ends");
                    return Some(self.end("unavailable"));
                }
            }
        }
    }

    async fn refused(&mut self) -> Option<String> {
        match self.app.city.standing.still(&self.credential, "query.feed").await {
            Ok(permit) => {
                self.permit = permit;
                None
            }
            Err(Refusal::Rejected(rejection)) => Some(rejection.code.to_string()),
            Err(Refusal::Failure(_)) => Some("unavailable".to_owned()),
        }
    }

    fn event(&self, stored: &Stored) -> Event {
        let shown = Shown::to(&self.permit, stored);
        let event = Event::default().id(stored.position.to_string()).event(shown.kind());
        event.json_data(&shown).unwrap_or_else(|_| Event::default().comment("an entry that cannot be shown"))
    }

    /// Says why, so that a reader knows whether to come back.
    fn end(&mut self, why: &str) -> Event {
        self.ended = true;
        Event::default().event("end").data(why)
    }
}
