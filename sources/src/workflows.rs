//! `ghl:workflows`: the automation service's list over HTTP, page by page, within limits and with patience.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::grant::event::FailureKind;
use domain::grant::kind::CapabilityKind;
use futures::StreamExt as _;
use reqwest::{Client, Response, StatusCode, Url, header, redirect};
use serde_json::{Map as Fields, Value};

use crate::address::{Outside, is_outside};
use crate::details::{self, Secrets};
use crate::map::Web;
use crate::shape::{self, Shape};
use crate::{About, Life, Listed, Map, Place, Sink, Unlisted, reference};

const VERSION: &str = "2021-07-28";
const PAGE: usize = 100;
const MAX_PAGES: usize = 10_000;
/// Empty pages in a row, each with a link to the next: behind that there is nothing.
const MAX_EMPTY: usize = 100;
const MAX_BODY: usize = 8 << 20;
/// Attempts at one page, when the service asks for patience or fails.
const ATTEMPTS: u32 = 4;
const REPEATS: &str =
    "repeats what was listed already; of a service that knows of no pages, the map says single_page = true";
const MOVED: &str = "does not begin with what the page before ended with: the list changed while it was read, or the page repeats; of a \
    service that knows of no pages, the map says single_page = true";
const EMPTY: &str = "lists no workflow at all; of a location that has none, the map says may_be_empty = true";
const LONGEST_WAIT: Duration = Duration::from_secs(30);

const OPTIONAL: [(&str, Shape); 3] =
    [("createdAt", Shape::Time), ("updatedAt", Shape::Time), ("locationId", Shape::Text)];

pub(crate) async fn list(map: &Map, sink: &Sink) -> Result<(), Unlisted> {
    let Place::Web(web) = &map.place else { return Ok(()) };
    let service = Service::open(web)?;
    let mut seen = HashSet::new();
    let mut next = Some(if web.single_page { service.all()? } else { service.page(0)? });
    let (mut count, mut empty, mut by_link, mut last) = (0, 0, false, Vec::<Value>::new());
    for number in 0..MAX_PAGES {
        let Some(url) = next.take() else {
            // What fails quietly looks the same.
            let nothing = count == 0 && !web.may_be_empty;
            return if nothing { Err(Unlisted::unreachable(service.base.path(), EMPTY)) } else { Ok(()) };
        };
        let place = format!("page {}", number + 1);
        let page = service.get(&url).await?;
        sink.still_heard()?;
        let workflows = match page.get("workflows") {
            Some(Value::Array(workflows)) => workflows,
            _ => return Err(Unlisted::new(FailureKind::Malformed, place, "has no list of workflows")),
        };
        // A page by number begins with the end of the one before: otherwise something came or went meanwhile, and what lies between the
        // two is not known.
        let overlap = usize::from(number > 0 && !by_link);
        if overlap == 1 && !follows(&last, workflows) {
            return Err(Unlisted::new(FailureKind::Malformed, place, MOVED));
        }
        let workflows = &workflows[overlap..];
        let rows: Vec<(String, Result<Listed, String>)> = workflows
            .iter()
            .enumerate()
            .map(|(index, _)| format!("{place}, workflow {}", index + 1))
            .zip(workflows)
            .map(|(place, workflow)| (place.clone(), read(workflow, &web.location, &place)))
            .collect();
        empty = if workflows.is_empty() { empty + 1 } else { 0 };
        if empty > MAX_EMPTY {
            return Err(Unlisted::unreachable(place, "is one of too many empty pages"));
        }
        if !workflows.is_empty() && (is_known(&rows, &seen) || workflows == last) {
            // Never the end: a page that was asked for did not come, and what is on it and behind it is not known.
            return Err(Unlisted::new(FailureKind::Malformed, place, REPEATS));
        }
        for ((place, row), workflow) in rows.into_iter().zip(workflows) {
            match row {
                Ok(listed) if seen.insert(listed.reference.to_string()) => sink.listed(listed).await,
                Ok(_) => {}
                Err(what) => sink.wrong(place, what, about(workflow)).await,
            }
        }
        if !workflows.is_empty() {
            last = workflows.to_vec();
        }
        count += workflows.len();
        let link = page.get("meta").and_then(|meta| meta.get("nextPageUrl"));
        next = match link {
            // It has links, and this was the last one.
            Some(Value::Null) => None,
            Some(Value::String(link)) if link.trim().is_empty() => None,
            Some(Value::String(link)) => {
                by_link = true;
                Some(service.own(link)?)
            }
            Some(_) => return Err(Unlisted::new(FailureKind::Malformed, place, "has a nextPageUrl that is no text")),
            None if by_link || web.single_page || workflows.is_empty() => None,
            // A page may be short because the service gives fewer at a time than it was asked for: only one with nothing new is the end.
            None => Some(service.page(count - 1)?),
        };
    }
    Err(Unlisted::new(FailureKind::Malformed, web.url.as_str(), "has no last page"))
}

/// Whether a page begins with the workflow that the one before ended with; with the same id, where it has one: the rest may have changed.
fn follows(last: &[Value], page: &[Value]) -> bool {
    let (Some(last), Some(first)) = (last.last(), page.first()) else { return false };
    if last.get("id").is_some() { last.get("id") == first.get("id") } else { last == first }
}

/// Whether there is something on a page, and nothing that was not listed before.
fn is_known(rows: &[(String, Result<Listed, String>)], seen: &HashSet<String>) -> bool {
    let mut listed = rows.iter().filter_map(|(_, row)| row.as_ref().ok()).peekable();
    listed.peek().is_some() && listed.all(|listed| seen.contains(listed.reference.as_str()))
}

fn about(workflow: &Value) -> About {
    let id = workflow.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
    id.map_or(About::Anything, About::named)
}

fn read(workflow: &Value, location: &str, place: &str) -> Result<Listed, String> {
    let fields = workflow.as_object().ok_or("is no object")?;
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
        Some(_) => Err(format!("{name} is no text, or empty")),
        None => Err(format!("{name} is missing")),
    };
    // Whoever edits a workflow names it: the name is nobody's holder.
    let (id, _) = (text("id")?, text("name")?);
    let life = match text("status")? {
        "published" | "active" => Life::Living,
        "draft" | "inactive" => Life::Revoked,
        _ => return Err("status is not published, active, draft or inactive".to_owned()),
    };
    shape::check(fields, &OPTIONAL)?;
    // A service that does not keep to what it was asked for says nothing of this location.
    if fields.get("locationId").and_then(Value::as_str).is_some_and(|theirs| theirs != location) {
        return Err("locationId is another location".to_owned());
    }
    let secrets = Secrets::of(fields);
    secrets.check("id", id)?;
    let kept: Fields<String, Value> = fields
        .iter()
        .filter(|(name, _)| *name != "id" && *name != "status")
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    Ok(Listed {
        names: vec![id.to_owned()],
        whose: None,
        kind: CapabilityKind::Automation,
        reference: reference(id)?,
        life,
        expires_at: None,
        read_only: false,
        details: details::document(kept, &secrets, []),
        place: place.to_owned(),
    })
}

struct Service {
    client: Client,
    base: Url,
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
    fn open(web: &Web) -> Result<Self, Unlisted> {
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
    fn all(&self) -> Result<Url, Unlisted> {
        let mut url = self.base.join("workflows/").map_err(|error| Unlisted::unreachable(&self.base, error))?;
        url.query_pairs_mut().append_pair("locationId", &self.location);
        Ok(url)
    }

    fn page(&self, skip: usize) -> Result<Url, Unlisted> {
        let mut url = self.all()?;
        url.query_pairs_mut().append_pair("skip", &skip.to_string()).append_pair("limit", &PAGE.to_string());
        Ok(url)
    }

    /// A link to the next page leads to the same service: it gets the same token.
    fn own(&self, link: &str) -> Result<Url, Unlisted> {
        let url = self.base.join(link).ok().filter(|url| url.origin() == self.base.origin());
        url.ok_or_else(|| Unlisted::new(FailureKind::Forbidden, "nextPageUrl", "leads to another service"))
    }

    async fn get(&self, url: &Url) -> Result<Value, Unlisted> {
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
fn patience(retry_after: &str) -> Option<Duration> {
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
    serde_json::from_slice(&bytes).map_err(|_| Broken::Answer("the answer is no whole JSON"))
}

#[cfg(test)]
mod tests;
