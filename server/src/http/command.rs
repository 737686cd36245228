//! From a request to a settled command, and from its answer to a signed receipt.

use axum::body::Body;
use axum::extract::RawPathParams;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use chain::receipt::{ReceiptEntry, SignedReceipt};
use commands::{Answer, Request, Verdict};
use domain::ids::Stream;
use domain::secrets::without_secrets;
use futures::StreamExt as _;
use identity::{ApiKey, Credential};
use serde::Serialize;
use serde_json::{Map, Value};

use super::guard::Caller;
use super::problem::{BODY_TOO_LARGE, INVALID_FIELD, INVALID_HEADER, MALFORMED_JSON, NOT_JSON, Problem, answer_status};
use super::routes::CommandRoute;
use super::{App, json, keys, opened, slugs};
use crate::city::City;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const EXPECTED_VERSION: HeaderName = HeaderName::from_static("expected-version");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const MAX_KEY_BYTES: usize = 255;

/// Reads, submits, answers.
pub async fn settle(
    app: &App,
    route: &CommandRoute,
    caller: Caller,
    path: &RawPathParams,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let idempotency_key = idempotency_key(headers)?;
    let expected_version = expected_version(headers)?;
    let mut fields = read_fields(app, headers, body).await?;
    merge_path(&mut fields, path)?;

    let asked = Asked { action: route.action, fields, idempotency_key, expected_version };
    let settled = settle_fields(&app.city, caller.credential, asked).await?;
    let answer = &settled.answer;
    Ok(match settled.problem() {
        Some(problem) => marked(answer, problem.into_response()),
        None => {
            let told = settled.told(&app.city).await;
            marked(answer, (answer_status(answer), axum::Json(told)).into_response())
        }
    })
}

/// The fields of a body, within what a body may be.
pub async fn read_fields(app: &App, headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, Problem> {
    let limits = &app.city.settings.limits;
    let bytes = read_body(headers, body, limits.body_bytes).await?;
    json::read(&bytes, limits.json_depth).map_err(|error| Problem::new(MALFORMED_JSON).detail(without_secrets(&error)))
}

/// A command as it was asked for, wherever from.
pub struct Asked {
    pub action: &'static str,
    pub fields: Map<String, Value>,
    pub idempotency_key: Option<String>,
    pub expected_version: Option<(Stream, u64)>,
}

/// A settled command, and the key that was made for it.
pub struct Settled {
    pub answer: Answer,
    api_key: Option<ApiKey>,
    keyed: bool,
}

/// Submits a command of an admitted caller.
pub async fn settle_fields(city: &City, credential: Credential, asked: Asked) -> Result<Settled, Problem> {
    let Asked { action, mut fields, idempotency_key, expected_version } = asked;
    slugs::resolve(city, action, &mut fields).await?;
    let made = keys::make(city, action, &mut fields)?;
    let mut request = parse(credential, action, Value::Object(fields))?;
    request.expected_version = expected_version;
    let keyed = idempotency_key.is_some();
    request.idempotency_key = idempotency_key;
    let api_key = made.map(|made| {
        // The secret is new every time; what the caller sent is what makes two requests equal.
        request.digest = made.digest;
        made.api_key
    });
    let answer = city.pipeline.submit(request).await?;
    Ok(Settled { answer, api_key, keyed })
}

impl Settled {
    pub fn problem(&self) -> Option<Problem> {
        Problem::of_answer(&self.answer, self.keyed)
    }

    /// What the caller is told of an accepted command.
    pub async fn told<'a>(&'a self, city: &'a City) -> Accepted<'a> {
        let Self { answer, api_key, .. } = self;
        // On a replay the key made for this request was never issued.
        let api_key =
            api_key.as_ref().filter(|_| !answer.replayed && answer.verdict == Verdict::Done).map(ApiKey::expose);
        let unsafe_settings = &city.log.safety().unsafe_settings;
        let (receipt, unsigned) = match receipt(city, answer).await {
            Ok(receipt) => (receipt, None),
            Err(reason) => (None, Some(reason)),
        };
        Accepted { answer, receipt, unsigned, api_key, unsafe_settings }
    }
}

/// The answer, its receipt, and what is said only once.
#[derive(Serialize)]
pub struct Accepted<'a> {
    #[serde(flatten)]
    answer: &'a Answer,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<SignedReceipt>,
    /// Why there is no signed receipt, although something was recorded: the command counts all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsigned: Option<String>,
    /// A new key's whole text: shown here and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    /// What this answer is worth less for: the database may lose commits (`--unsafe`).
    #[serde(rename = "unsafe", skip_serializing_if = "<[String]>::is_empty")]
    unsafe_settings: &'a [String],
}

/// Signed after the commit: the promise is about what is there already.
async fn receipt(city: &City, answer: &Answer) -> Result<Option<SignedReceipt>, String> {
    let entries: Vec<ReceiptEntry> = answer
        .entries
        .iter()
        .map(|entry| ReceiptEntry {
            stream: entry.stream.clone(),
            version: entry.version,
            position: entry.position,
            entry_hash: entry.entry_hash,
        })
        .collect();
    if entries.is_empty() {
        return Ok(None);
    }
    city.keys.receipt(entries).await.map(Some)
}

fn marked(answer: &Answer, mut response: Response) -> Response {
    if answer.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Reads a command; an unreadable one names the field.
fn parse(credential: Credential, action: &str, body: Value) -> Result<Request, Problem> {
    // What the city seals, nobody sends sealed: such an object would only be taken for a text that it vouches for.
    if let Some(field) = json::find(&body, &|value| opened::reference(value).is_some()) {
        return Err(Problem::invalid(&field, "a text is sent as a string"));
    }
    let unreadable = match Request::parse(credential, action, body.clone()) {
        Ok(request) => return Ok(request),
        Err(unreadable) => unreadable,
    };
    let object_to = |body: &Value| Request::parse(credential, action, body.clone()).err().map(|error| error.message);
    // What was sent may be a secret that stands in the wrong place.
    let mut problem = Problem::new(INVALID_FIELD).detail(without_secrets(&unreadable.message));
    problem.field =
        json::culprit(&body, &unreadable.message, &object_to).map(|field| without_secrets(&field).into_owned());
    Err(problem)
}

fn merge_path(fields: &mut Map<String, Value>, path: &RawPathParams) -> Result<(), Problem> {
    for (name, value) in path {
        let value = Value::String(value.to_owned());
        match fields.get(name) {
            Some(given) if *given != value => return Err(Problem::invalid(name, "the address names another one")),
            _ => fields.insert(name.to_owned(), value),
        };
    }
    Ok(())
}

async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<BytesMut, Problem> {
    let too_large = || Problem::new(BODY_TOO_LARGE).detail(format!("at most {limit} bytes"));
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|declared| declared > limit) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::new(MALFORMED_JSON).detail("the body ended early"))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    if !bytes.is_empty() && !is_json(headers) {
        return Err(Problem::new(NOT_JSON));
    }
    Ok(bytes)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let invalid = |what: &str| Problem::new(INVALID_HEADER).field(name.as_str()).detail(what);
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid("given twice"));
    }
    value.to_str().map(Some).map_err(|_| invalid("visible ASCII characters only"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = one(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Problem::new(INVALID_HEADER).field("idempotency-key").detail("1 to 255 characters"));
    }
    Ok(Some(key.to_owned()))
}

fn expected_version(headers: &HeaderMap) -> Result<Option<(Stream, u64)>, Problem> {
    let Some(text) = one(headers, &EXPECTED_VERSION)? else { return Ok(None) };
    let parsed = text.split_once('@').and_then(|(stream, count)| Some((stream.parse().ok()?, count.parse().ok()?)));
    let expected = "<stream>@<number of its entries>, e.g. gld_01J...@3";
    parsed.map(Some).ok_or_else(|| Problem::new(INVALID_HEADER).field("expected-version").detail(expected))
}
