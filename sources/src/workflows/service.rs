//! The automation service over HTTP: one address, one token, limits and patience.

use std::sync::Arc;
use std::time::Duration;

use domain::grant::event::FailureKind;
use futures::StreamExt as _;
use reqwest::{Client, Response, StatusCode, Url, header, redirect};
use serde_json::Value;

use crate::Unlisted;
use crate::address::{Outside, is_outside};
use crate::map::Web;

pub(super) const VERSION: &str = "2021-07-28";
const PAGE: usize = 100;
pub(super) const MAX_BODY: usize = 8 << 20;
/// Attempts at one page, when the service asks for patience or fails.
const ATTEMPTS: u32 = 4;
const LONGEST_WAIT: Duration = Duration::from_secs(30);

pub(super) struct Service {
    client: Client,
    pub base: Url,
    location: String,
    token: String,
}

/// One answer, or why there is none; with a wait if it is worth asking again.
enum Asked {
    Page(Value),
    Again(Option<Duration>, Unlisted),
    No(Unlisted),
}

impl Service {
    pub fn open(web: &Web) -> Result<Self, Unlisted> {
        let forbidden = |what: &str| Unlisted::new(FailureKind::Forbidden, &web.url, what);
        let mut base: Url = web.url.parse().map_err(|_| forbidden("is no URL"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() || !base.username().is_empty() {
            return Err(forbidden("is no plain http or https address"));
        }
        if base.scheme() == "http" && !web.allow_private {
            return Err(forbidden("would send the token in clear: https, or allow_private = true"));
        }
        // A name is looked at when it is looked up; an address in its own right is not looked up.
        let literal = base.host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
        if !web.allow_private && literal.is_some_and(|address| !is_outside(address)) {
            return Err(forbidden("lies inside a private network; allow_private = true calls it"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let token = std::env::var(&web.credential_env)
            .map_err(|_| Unlisted::new(FailureKind::Unauthorized, &web.credential_env, "is not set"))?;
        let mut builder = Client::builder()
            .timeout(Duration::from_secs(web.timeout_seconds))
            // Whoever answers may not send us elsewhere, where nobody looked first.
            .redirect(redirect::Policy::none())
            .no_proxy();
        if !web.allow_private {
            builder = builder.dns_resolver(Arc::new(Outside));
        }
        crate::prepare_tls();
        let client = builder.build().map_err(|error| Unlisted::unreachable(&web.url, error))?;
        Ok(Self { client, base, location: web.location.clone(), token })
    }

    /// Everything at once, from a service that knows of no pages.
    pub fn all(&self) -> Result<Url, Unlisted> {
        let mut url = self.base.join("workflows/").map_err(|error| Unlisted::unreachable(&self.base, error))?;
        url.query_pairs_mut().append_pair("locationId", &self.location);
        Ok(url)
    }

    pub fn page(&self, skip: usize) -> Result<Url, Unlisted> {
        let mut url = self.all()?;
        url.query_pairs_mut().append_pair("skip", &skip.to_string()).append_pair("limit", &PAGE.to_string());
        Ok(url)
    }

    /// A link to the next page leads to the same service: it gets the same token.
    pub fn own(&self, link: &str) -> Result<Url, Unlisted> {
        let url = self.base.join(link).ok().filter(|url| url.origin() == self.base.origin());
        url.ok_or_else(|| Unlisted::new(FailureKind::Forbidden, "nextPageUrl", "leads to another service"))
    }

    pub async fn get(&self, url: &Url) -> Result<Value, Unlisted> {
        let mut wait = Duration::from_millis(200);
        for attempt in 1.. {
            match self.ask(url).await {
                Asked::Page(page) => return Ok(page),
                Asked::No(unlisted) => return Err(unlisted),
                Asked::Again(_, unlisted) if attempt == ATTEMPTS => return Err(unlisted),
                Asked::Again(asked, unlisted) => {
                    let pause = asked.unwrap_or(wait);
                    if pause > LONGEST_WAIT {
                        return Err(unlisted);
                    }
                    tokio::time::sleep(pause).await;
                    wait *= 2;
                }
            }
        }
        unreachable!("the last attempt answers")
    }

    async fn ask(&self, url: &Url) -> Asked {
        let place = url.path();
        let request = self
            .client
            .get(url.clone())
            .bearer_auth(&self.token)
            .header("Version", VERSION)
            .header(header::ACCEPT, "application/json");
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return failed(place, &error),
        };
        let status = response.status();
        let unlisted = |kind, what: String| Unlisted::new(kind, place, what);
        match status {
            StatusCode::OK => match body(response).await {
                Ok(page) => Asked::Page(page),
                Err(Broken::Answer(what)) => Asked::No(unlisted(FailureKind::Malformed, what.to_owned())),
                Err(Broken::Off(kind)) => Asked::Again(None, unlisted(kind, "the answer broke off".to_owned())),
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Asked::No(unlisted(
                FailureKind::Unauthorized,
                format!("the service answers {status} to this credential"),
            )),
            StatusCode::TOO_MANY_REQUESTS => {
                let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                let after = after.and_then(patience);
                Asked::Again(after, unlisted(FailureKind::RateLimited, "the service asks for patience".to_owned()))
            }
            status if status.is_server_error() => {
                Asked::Again(None, unlisted(FailureKind::Unreachable, format!("the service answers {status}")))
            }
            status => Asked::No(unlisted(FailureKind::Malformed, format!("the service answers {status}"))),
        }
    }
}

/// The cause and never the URL, which may hold more than an address.
fn failed(place: &str, error: &reqwest::Error) -> Asked {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let what = cause.to_string();
    if error.is_timeout() {
        return Asked::Again(None, Unlisted::new(FailureKind::TimedOut, place, "no answer in time"));
    }
    if what.contains("private networks") {
        return Asked::No(Unlisted::new(FailureKind::Forbidden, place, what));
    }
    Asked::Again(None, Unlisted::unreachable(place, what))
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn patience(retry_after: &str) -> Option<Duration> {
    if let Ok(seconds) = retry_after.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(retry_after.trim()).ok()?.timestamp();
    // A date that is over asks for nothing.
    Some(Duration::try_from(until.duration_since(jiff::Timestamp::now())).unwrap_or_default())
}

/// Why an answer is none.
enum Broken {
    Answer(&'static str),
    /// Before its end.
    Off(FailureKind),
}

/// The JSON of an answer.
async fn body(response: Response) -> Result<Value, Broken> {
    let mut bytes = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            Broken::Off(if error.is_timeout() { FailureKind::TimedOut } else { FailureKind::Unreachable })
        })?;
        if bytes.len() + chunk.len() > MAX_BODY {
            return Err(Broken::Answer("the answer is longer than 8 MiB"));
        }
        bytes.extend_from_slice(&chunk);
    }
    let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&bytes).ok()).await.ok().flatten();
    parsed.ok_or(Broken::Answer("the answer is no whole JSON"))
}
