//! `ghl:workflows`: the automation service's list over HTTP, page by page, within limits and with patience.

mod service;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use domain::grant::event::FailureKind;
use domain::grant::kind::CapabilityKind;
use serde_json::{Map as Fields, Value};

use crate::details::{self, Secrets};
use crate::map::Web;
use crate::shape::{self, Shape};
use crate::{About, Life, Listed, Map, Place, Sink, Unlisted, reference};
use service::Service;

const MAX_PAGES: usize = 10_000;
/// Empty pages in a row, each with a link to the next: behind that there is nothing.
const MAX_EMPTY: usize = 100;
const REPEATS: &str =
    "repeats what was listed already; of a service that knows of no pages, the map says single_page = true";
const MOVED: &str = "does not begin with what the page before ended with: the list changed while it was read, or the page repeats; of a \
    service that knows of no pages, the map says single_page = true";
const EMPTY: &str = "lists no workflow at all; of a location that has none, the map says may_be_empty = true";
const NO_TOTAL: &str = "has a total that is no number";

const OPTIONAL: [(&str, Shape); 3] =
    [("createdAt", Shape::Time), ("updatedAt", Shape::Time), ("locationId", Shape::Text)];

pub(crate) async fn list(map: &Map, sink: &Sink) -> Result<(), Unlisted> {
    let Place::Web(web) = &map.place else { return Ok(()) };
    let service = Service::open(web)?;
    let mut seen = Seen::default();
    let mut next = Some(if web.single_page { service.all()? } else { service.page(0)? });
    let (mut empty, mut by_link, mut last) = (0, false, Vec::<Value>::new());
    for number in 0..MAX_PAGES {
        let Some(url) = next.take() else { return seen.is_whole(&service, web) };
        let place = format!("page {}", number + 1);
        let Page { workflows, rows, link, total } = read_page(service.get(&url).await?, &place, &web.location).await?;
        sink.still_heard()?;
        seen.total = total.or(seen.total);
        // A page by number begins with the end of the one before: otherwise something came or went meanwhile, and what lies between the
        // two is not known.
        let overlap = usize::from(number > 0 && !by_link);
        if overlap == 1 && !follows(&last, &workflows) {
            return Err(Unlisted::new(FailureKind::Malformed, place, MOVED));
        }
        let fresh = &workflows[overlap..];
        empty = if fresh.is_empty() { empty + 1 } else { 0 };
        if empty > MAX_EMPTY {
            return Err(Unlisted::unreachable(place, "is one of too many empty pages"));
        }
        if !fresh.is_empty() && (seen.has_all(&rows[overlap..]) || fresh == last) {
            // Never the end: a page that was asked for did not come, and what is on it and behind it is not known.
            return Err(Unlisted::new(FailureKind::Malformed, place, REPEATS));
        }
        // What was listed and understood as it stands there is not listed again.
        let again = usize::from(overlap == 1 && last.last() == workflows.first());
        for (index, row) in rows.into_iter().enumerate().skip(again) {
            match row {
                Ok(listed) => {
                    if seen.is_news(&listed, number) {
                        sink.listed(listed).await;
                    }
                }
                Err((what, about)) => {
                    seen.count += u64::from(index >= overlap);
                    sink.wrong(place_of(&place, index), what, about).await;
                }
            }
        }
        let is_empty = fresh.is_empty();
        seen.met += fresh.len();
        if !is_empty {
            last = fresh.to_vec();
        }
        next = match link {
            Link::To(link) => {
                by_link = true;
                Some(service.own(&link)?)
            }
            // Nobody who gives pages by number has a last link.
            Link::Last if by_link || seen.total.is_some_and(|total| total <= seen.count) => None,
            _ if by_link || web.single_page || is_empty => None,
            // A page may be short because the service gives fewer at a time than it was asked for: only one with nothing new is the end.
            _ => Some(service.page(seen.met - 1)?),
        };
    }
    Err(Unlisted::new(FailureKind::Malformed, web.url.as_str(), "has no last page"))
}

/// Whether a page begins with the workflow that the one before ended with; with the same id, where it has one: the rest may have changed.
fn follows(last: &[Value], page: &[Value]) -> bool {
    let (Some(last), Some(first)) = (last.last(), page.first()) else { return false };
    if last.get("id").is_some() { last.get("id") == first.get("id") } else { last == first }
}

/// A workflow, or what is wrong with it and which one it may be.
type Row = Result<Listed, (String, About)>;

/// What was listed so far.
#[derive(Default)]
struct Seen {
    /// By id: on which page first, and what it said there.
    workflows: HashMap<String, (usize, Life)>,
    /// Different workflows, and rows that are none.
    count: u64,
    /// Rows, without those that begin a page because they ended the one before.
    met: usize,
    /// How many there are, as the service says.
    total: Option<u64>,
}

impl Seen {
    /// Whether a row is to be passed on. One that was on the page before is there again because pages overlap, unless it says something
    /// else by now; any other one is a second row of the same workflow, which is somebody else's to judge.
    fn is_news(&mut self, listed: &Listed, page: usize) -> bool {
        match self.workflows.entry(listed.reference.to_string()) {
            Entry::Vacant(new) => {
                new.insert((page, listed.life));
                self.count += 1;
                true
            }
            Entry::Occupied(known) => {
                let (first, life) = *known.get();
                first + 1 != page || life != listed.life
            }
        }
    }

    /// Whether there is something on a page, and nothing that was not listed before.
    fn has_all(&self, rows: &[Row]) -> bool {
        let mut listed = rows.iter().filter_map(|row| row.as_ref().ok()).peekable();
        listed.peek().is_some() && listed.all(|listed| self.workflows.contains_key(listed.reference.as_str()))
    }

    /// At the end of the list: whether it was all of it.
    fn is_whole(&self, service: &Service, web: &Web) -> Result<(), Unlisted> {
        if let Some(total) = self.total.filter(|total| *total > self.count) {
            let what = format!("lists {} workflows, and says that there are {total}", self.count);
            return Err(Unlisted::new(FailureKind::Malformed, service.base.path(), what));
        }
        // What fails quietly looks the same.
        let nothing = self.met == 0 && !web.may_be_empty;
        if nothing { Err(Unlisted::unreachable(service.base.path(), EMPTY)) } else { Ok(()) }
    }
}

/// What an answer says of the next page.
enum Link {
    Absent,
    /// It says that there is none.
    Last,
    To(String),
}

struct Page {
    workflows: Vec<Value>,
    rows: Vec<Row>,
    link: Link,
    total: Option<u64>,
}

/// Reads an answer, beside everything else that waits for the network: it may be long.
async fn read_page(mut answer: Value, place: &str, location: &str) -> Result<Page, Unlisted> {
    let (place, location) = (place.to_owned(), location.to_owned());
    let reading = tokio::task::spawn_blocking(move || {
        let malformed = |what: &str| Unlisted::new(FailureKind::Malformed, &place, what);
        let Some(Value::Array(workflows)) = answer.get_mut("workflows").map(Value::take) else {
            return Err(malformed("has no list of workflows"));
        };
        let meta = |name: &str| answer.get("meta").and_then(|meta| meta.get(name));
        let link = match meta("nextPageUrl") {
            None => Link::Absent,
            Some(Value::Null) => Link::Last,
            Some(Value::String(link)) if link.trim().is_empty() => Link::Last,
            Some(Value::String(link)) => Link::To(link.clone()),
            Some(_) => return Err(malformed("has a nextPageUrl that is no text")),
        };
        let total = match meta("total") {
            None | Some(Value::Null) => None,
            Some(Value::String(total)) => Some(total.trim().parse().map_err(|_| malformed(NO_TOTAL))?),
            Some(total) => Some(total.as_u64().ok_or_else(|| malformed(NO_TOTAL))?),
        };
        let row = |(index, workflow): (usize, &Value)| {
            read(workflow, &location, &place_of(&place, index)).map_err(|what| (what, about(workflow)))
        };
        let rows = workflows.iter().enumerate().map(row).collect();
        Ok(Page { workflows, rows, link, total })
    });
    reading.await.unwrap_or_else(|error| Err(Unlisted::unreachable("the listing", error)))
}

fn place_of(page: &str, index: usize) -> String {
    format!("{page}, workflow {}", index + 1)
}

/// Which workflow a row that is wrong is about. One that does not run does not, whatever else its row says.
fn about(workflow: &Value) -> About {
    let text = |name: &str| workflow.get(name).and_then(Value::as_str);
    let id = text("id").filter(|id| !id.is_empty());
    id.map_or(About::Anything, About::named).ending(text("status").and_then(life_of), None)
}

fn life_of(status: &str) -> Option<Life> {
    match status {
        "published" | "active" => Some(Life::Living),
        "draft" | "inactive" => Some(Life::Revoked),
        _ => None,
    }
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
    let life = life_of(text("status")?).ok_or("status is not published, active, draft or inactive")?;
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
        identity: None,
        life,
        expires_at: None,
        read_only: false,
        details: details::document(kept, &secrets, []),
        place: place.to_owned(),
    })
}

#[cfg(test)]
mod tests;
