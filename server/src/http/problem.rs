//! How every "no" looks over HTTP (RFC 9457). The only file that knows status codes.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use commands::{Answer, SubmitError, Verdict};
use domain::secrets::without_secrets;
use domain::{Code, Rejection};
use eventlog::Failure;
use serde::Serialize;

/// One refusal or failure. Boxed, so that results that are nearly always good stay small.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Document>);

/// A refusal or failure as the caller sees it.
#[derive(Debug, Clone, Serialize)]
pub struct Document {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Stable: what programs look at.
    pub code: String,
    /// The field of the request concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The command's id, when there was a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What the caller can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// What the transport refuses, before or beside the rules: code, status, sentence.
macro_rules! refusals {
    ($($name:ident = $code:literal, $status:ident, $title:literal;)*) => {
        $(pub const $name: (&str, StatusCode, &str) = ($code, StatusCode::$status, $title);)*
        /// All of them, for the documentation and its test.
        pub const TRANSPORT: &[(&str, StatusCode, &str)] = &[$($name),*];
    };
}

refusals! {
    MALFORMED_JSON = "malformed_json", BAD_REQUEST, "the body is not one JSON object";
    INVALID_FIELD = "invalid_field", UNPROCESSABLE_ENTITY, "a field of the request is missing, unknown or malformed";
    INVALID_HEADER = "invalid_header", BAD_REQUEST, "a header of the request is malformed";
    UNAUTHENTICATED = "unauthenticated", UNAUTHORIZED, "this needs an API key: Authorization: Bearer gh_...";
    CREDENTIAL_MALFORMED = "credential_malformed", UNAUTHORIZED, "what was presented is not an API key";
    NOT_FOUND = "not_found", NOT_FOUND, "there is nothing at this address";
    METHOD_NOT_ALLOWED = "method_not_allowed", METHOD_NOT_ALLOWED, "this address does not take this method";
    PUBLISHED_ELSEWHERE = "published_elsewhere", SERVICE_UNAVAILABLE, "another server publishes this log, from another place: ask there";
    BODY_TOO_LARGE = "body_too_large", PAYLOAD_TOO_LARGE, "the body is larger than this server takes";
    NOT_JSON = "not_json", UNSUPPORTED_MEDIA_TYPE, "the body must be application/json";
    RATE_LIMITED = "rate_limited", TOO_MANY_REQUESTS, "this credential sends more than its share";
    BUSY = "busy", TOO_MANY_REQUESTS, "too much is waiting already";
    TOO_SLOW = "timeout", SERVICE_UNAVAILABLE, "this took too long";
    UNAVAILABLE = "unavailable", SERVICE_UNAVAILABLE, "the event log cannot be used right now";
    READ_ONLY = "read_only", SERVICE_UNAVAILABLE, "this server only reads";
    STOPPING = "stopping", SERVICE_UNAVAILABLE, "this server is stopping";
    BEHIND = "behind", SERVICE_UNAVAILABLE, "the tables have not reached that position yet";
    INTERNAL = "internal", INTERNAL_SERVER_ERROR, "this is a bug of the server";
}

const RETRY: &str = "retry later with the same idempotency key";
const NEW_KEY: &str = "this answer is kept under its idempotency key: a new attempt takes a new key";

impl Deref for Problem {
    type Target = Document;

    fn deref(&self) -> &Document {
        &self.0
    }
}

impl DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Document {
        &mut self.0
    }
}

impl Problem {
    pub fn new((code, status, title): (&str, StatusCode, &str)) -> Self {
        Self(Box::new(Document {
            kind: format!("urn:guildhall:problem:{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: None,
            code: code.to_owned(),
            field: None,
            command: None,
            advice: None,
            retry_after: None,
        }))
    }

    pub fn detail(mut self, detail: impl std::fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    fn advice(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }

    /// A path or query parameter that cannot be read.
    pub fn invalid(field: &str, detail: impl std::fmt::Display) -> Self {
        Self::new(INVALID_FIELD).field(field).detail(without_secrets(&detail.to_string()))
    }

    /// What was presented is no key at all.
    pub fn credential(error: identity::KeyError) -> Self {
        Self::new(CREDENTIAL_MALFORMED).detail(error)
    }

    /// A rule of the domain said no to a question or to a credential.
    pub fn rejected(rejection: &Rejection) -> Self {
        let code = rejection.code;
        let mut problem = Self::new((code.as_str(), status(code), code.because()));
        problem.detail.clone_from(&rejection.detail);
        problem.field = rejection.field.map(str::to_owned);
        problem
    }

    /// What a question is about does not exist.
    pub fn missing(code: Code, what: impl std::fmt::Display) -> Self {
        Self::rejected(&Rejection::new(code).detail(what))
    }

    /// The same, to a command that was settled; `keyed`: the answer is kept under an idempotency key.
    pub fn of_answer(answer: &Answer, keyed: bool) -> Option<Self> {
        let Verdict::Rejected { code, because, detail, field } = &answer.verdict else { return None };
        let known = Code::ALL.iter().copied().find(|known| known.as_str() == code);
        let mut problem = Self::new((code, known.map_or(StatusCode::UNPROCESSABLE_ENTITY, command_status), because));
        problem.detail.clone_from(detail);
        problem.field.clone_from(field);
        problem.command = Some(answer.command.clone());
        problem.advice = keyed.then_some(NEW_KEY);
        Some(problem)
    }
}

/// What kind of "no" a rule's code is when a command ran into it: a conflict goes away when the world changes.
fn command_status(code: Code) -> StatusCode {
    match status(code) {
        // The command was read and refused: the address exists, the thing it names does not.
        StatusCode::NOT_FOUND => StatusCode::UNPROCESSABLE_ENTITY,
        other => other,
    }
}

fn status(code: Code) -> StatusCode {
    use Code::*;
    match code {
        CredentialInvalid | CredentialRevoked | CredentialExpired => StatusCode::UNAUTHORIZED,
        NotPermitted | CredentialScope | ActorNotActive | UnknownAction => StatusCode::FORBIDDEN,
        VersionConflict | SlugTaken | MemberExists | ReferenceReused | KeyReused | CurrencyExists | RoleExists
        | KeyExists | CityFounded => StatusCode::CONFLICT,
        CitizenNotFound | GuildNotFound | TreasuryNotFound | KeyNotFound | RoleNotFound | MemberNotFound
        | HolderNotFound | GrantNotFound | EvidenceNotFound => StatusCode::NOT_FOUND,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Denied(rejection) => Self::rejected(&rejection),
            SubmitError::KeyReused => Self::rejected(&Rejection::new(Code::KeyReused)),
            SubmitError::Busy { retry_after } => Self::new(BUSY).retry_after(retry_after).advice(RETRY),
            SubmitError::ReadOnly(reason) => Self::new(READ_ONLY).detail(reason),
            SubmitError::Failure(failure) => failure.into(),
            SubmitError::Bug(what) => {
                tracing::error!(%what, "a bug of ours");
                Self::new(INTERNAL)
            }
            SubmitError::Stopping => Self::new(STOPPING).retry_after(Duration::from_secs(2)).advice(RETRY),
        }
    }
}

impl From<Failure> for Problem {
    /// The failure's own words go to the log and not to the caller: they may name hosts and files.
    fn from(failure: Failure) -> Self {
        tracing::warn!(%failure, "the log failed");
        match &failure {
            Failure::Contradiction(_) => Self::new(INTERNAL),
            Failure::CommitUnknown(_) => {
                let advice = "the outcome is not known: a retry with the same idempotency key is safe";
                Self::new(UNAVAILABLE).retry_after(Duration::from_secs(1)).advice(advice)
            }
            _ => Self::new(UNAVAILABLE).retry_after(Duration::from_secs(1)).advice(RETRY),
        }
    }
}

impl From<anchor::AnchorError> for Problem {
    fn from(error: anchor::AnchorError) -> Self {
        tracing::warn!(%error, "what was published cannot be read");
        Self::new(UNAVAILABLE).detail("what was published cannot be read")
    }
}

impl From<queries::QueryError> for Problem {
    fn from(error: queries::QueryError) -> Self {
        match error {
            queries::QueryError::Cursor => Self::invalid("after", error),
            queries::QueryError::Failure(failure) => failure.into(),
        }
    }
}

/// Whether an answer is there already, or waits for votes.
pub fn answer_status(answer: &Answer) -> StatusCode {
    match answer.verdict {
        Verdict::Proposed { .. } => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    }
}

/// Not yet: ask again in so many seconds.
pub fn not_yet(seconds: u64, body: impl IntoResponse) -> Response {
    (StatusCode::ACCEPTED, [(header::RETRY_AFTER, seconds.to_string())], body).into_response()
}

/// Ready or not, for those who balance load.
pub fn readiness(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// Travels with the response to where it is logged: codes are a closed list, texts are not.
#[derive(Clone)]
pub struct ProblemCode(pub String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        response.extensions_mut().insert(ProblemCode(self.code.clone()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"guildhall\""));
        }
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_wrong_place_is_not_repeated_when_it_looks_like_a_secret() {
        let told =
            |sent: &str| Problem::invalid("kind", format!("{sent:?} is no kind")).detail.clone().unwrap_or_default();
        assert_eq!(told("toool"), "\"toool\" is no kind");
        let secret = "sk-loom-c0ffeec0ffeec0ffee";
        assert!(told(secret).contains("is no kind") && !told(secret).contains("c0ffee"), "{}", told(secret));
    }

    #[test]
    fn codes_of_transport_and_rules_do_not_mix() {
        for (code, _, _) in TRANSPORT {
            assert!(Code::ALL.iter().all(|rule| rule.as_str() != *code), "{code} is a rule's code too");
        }
    }

    #[test]
    fn every_rule_has_a_status_of_its_kind() {
        for code in Code::ALL {
            assert!(status(*code).is_client_error(), "{code}");
            assert_ne!(command_status(*code), StatusCode::NOT_FOUND, "{code}");
        }
    }
}
