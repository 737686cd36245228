//! Proofs of single entries: for everybody that a position is in the log, for those who may see the entry also what it says.

use std::collections::BTreeMap;

use anchor::{EntryReceipt, OpenedText, Proved};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chain::Hash;
use chain::proof::TlogProof;
use domain::{Code, Rejection};
use serde_json::{Value, json};

use crate::city::City;
use crate::http::asked::{self, Asked};
use crate::http::opened;
use crate::http::problem::{NOT_FOUND, PUBLISHED_ELSEWHERE, Problem, not_yet};
use crate::http::questions::entries::may_see;
use crate::http::standing::Refusal;

/// A checkpoint is made every second while the log grows.
const RETRY_SECONDS: u64 = 1;

/// Whether the checkpoint that a proof leads to has its quorum of witnesses.
const WITNESSED: HeaderName = HeaderName::from_static("guildhall-witnessed");

/// `GET /v1/receipts/{position}?form=proof|entry&witnessed=required`
pub async fn receipt(mut asked: Asked) -> Result<Response, Problem> {
    let position: u64 = asked.path("position")?;
    let form = asked.take::<String>("form")?;
    let required = match asked.take::<String>("witnessed")?.as_deref() {
        None => false,
        Some("required") => true,
        Some(_) => return Err(Problem::invalid("witnessed", "required, or nothing")),
    };
    asked.nothing_else()?;
    let city = &asked.app.city;
    let size = city.log.head().await?.size;
    if position >= size {
        return Err(Problem::new(NOT_FOUND).field("position").detail(format!("the log has {size} entries")));
    }
    let whole = match form.as_deref() {
        Some("proof") => false,
        Some("entry") => permitted(&asked, position).await.map(|()| true)?,
        None => permitted(&asked, position).await.is_ok(),
        Some(_) => return Err(Problem::invalid("form", "proof or entry")),
    };
    if whole {
        return match city.anchoring.receipt(position).await? {
            Some(Proved { what: mut receipt, witnessed }) if witnessed || !required => {
                receipt.opened = opened_texts(&asked, &receipt).await?;
                Ok(marked(witnessed, asked::json(&receipt)?))
            }
            proved => pending(city, position, proved.is_some()),
        };
    }
    match city.anchoring.proof(position).await? {
        Some(proved) if proved.witnessed || !required => Ok(proof_file(&proved)),
        proved => pending(city, position, proved.is_some()),
    }
}

/// The proof alone, for everybody.
pub async fn bare(city: &City, position: u64) -> Result<Response, Problem> {
    let size = city.log.head().await?.size;
    if position >= size {
        return Err(Problem::new(NOT_FOUND).field("position").detail(format!("the log has {size} entries")));
    }
    match city.anchoring.proof(position).await? {
        Some(proved) => Ok(proof_file(&proved)),
        None => pending(city, position, false),
    }
}

fn proof_file(proved: &Proved<TlogProof>) -> Response {
    let file = ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], proved.what.format()).into_response();
    marked(proved.witnessed, file)
}

fn marked(witnessed: bool, mut response: Response) -> Response {
    let value = HeaderValue::from_static(if witnessed { "yes" } else { "no" });
    response.headers_mut().insert(WITNESSED, value);
    response
}

fn pending(city: &City, position: u64, covered: bool) -> Result<Response, Problem> {
    here(city)?;
    let because = if covered { "no witnessed checkpoint covers it yet" } else { "no checkpoint covers it yet" };
    let body = json!({ "status": "pending", "position": position, "witnessed": false, "because": because });
    Ok(not_yet(RETRY_SECONDS, axum::Json(body)))
}

/// Where another place publishes, waiting for it here leads to nothing.
pub fn here(city: &City) -> Result<(), Problem> {
    if city.anchoring.is_elsewhere() { Err(Problem::new(PUBLISHED_ELSEWHERE)) } else { Ok(()) }
}

async fn permitted(asked: &Asked, position: u64) -> Result<(), Problem> {
    let city = &asked.app.city;
    match city.standing.still(&asked.caller.credential, "query.entry").await {
        Ok(permit) => {
            let found = city.log.read(position, 1).await?;
            let seen = found.iter().all(|stored| may_see(&permit, &stored.stream));
            let detail = "what is attested of others is theirs to see, and the city's gate's";
            if seen { Ok(()) } else { Err(Problem::rejected(&Rejection::new(Code::NotPermitted).detail(detail))) }
        }
        Err(Refusal::Rejected(rejection)) => Err(Problem::rejected(&rejection)),
        Err(Refusal::Failure(failure)) => Err(failure.into()),
    }
}

/// The entry's sealed texts that this caller may read, with the salts that prove them against its commitments.
async fn opened_texts(asked: &Asked, receipt: &EntryReceipt) -> Result<BTreeMap<String, OpenedText>, Problem> {
    let entry: Value = serde_json::from_str(&receipt.entry).unwrap_or_default();
    let sealed: BTreeMap<String, _> = entry["sealed"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(path, value)| Some((path.clone(), opened::reference(value)?)))
        .collect();
    let texts = opened::texts(asked, sealed.values().cloned().collect()).await?;
    let open = |(path, sealed): (String, eventlog::vault::SealedRef)| {
        let opened = texts.get(&sealed.ciphertext)?;
        Some((path, OpenedText { text: opened.text.as_str().to_owned(), salt: Hash(opened.salt) }))
    };
    Ok(sealed.into_iter().filter_map(open).collect())
}

/// `GET /v1/checkpoint`
pub async fn checkpoint(asked: Asked) -> Result<Response, Problem> {
    asked.nothing_else()?;
    here(&asked.app.city)?;
    match asked.app.city.anchoring.checkpoint().await? {
        Some(note) => Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note).into_response()),
        None => Ok(not_yet(RETRY_SECONDS, axum::Json(json!({ "status": "pending" })))),
    }
}
