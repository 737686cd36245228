//! A request id, a line of log and two numbers for every request. Addresses appear by their row of the table, never as sent.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use super::problem::ProblemCode;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub async fn observe(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = accept(request.headers().get(&REQUEST_ID)).unwrap_or_else(generate);
    let method = known(request.method());
    // An address that is not in the table is whatever somebody typed.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("http", request = %id, %method, %route);

    let mut response = next.run(request).instrument(span.clone()).await;

    let (status, took) = (response.status(), started.elapsed());
    span.in_scope(|| {
        let (status, millis) = (status.as_u16(), took.as_millis());
        let code = response.extensions().get::<ProblemCode>().map_or("", |code| code.0.as_str());
        match status {
            500.. => tracing::warn!(status, millis, code, "failed"),
            400.. => tracing::info!(status, millis, code, "refused"),
            _ => tracing::debug!(status, millis, "answered"),
        }
    });
    let labels = [("method", method.to_owned()), ("route", route), ("status", status.as_str().to_owned())];
    metrics::counter!("guildhall_http_requests_total", &labels).increment(1);
    metrics::histogram!("guildhall_http_seconds", &labels[..2]).record(took.as_secs_f64());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// A method's name. Callers can invent any number of others, and each would be a series of its own.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// The caller's own id, when it can neither break a log line nor carry much.
fn accept(given: Option<&HeaderValue>) -> Option<String> {
    let text = given?.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    // What looks like an API key is not repeated, wherever it was put.
    let good = (1..=128).contains(&text.len()) && text.bytes().all(plain) && !text.contains("gh_");
    good.then(|| text.to_owned())
}

fn generate() -> String {
    let mut bytes = [0; 16];
    // An id that is all zeros after a failure of the system's randomness is still an id.
    let _ = getrandom::fill(&mut bytes);
    chain::hex::encode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invented_method_is_no_label_of_its_own() {
        let invented = Method::from_bytes(b"AAAA1").expect("a token");
        assert_eq!((known(&invented), known(&Method::GET)), ("other", "GET"));
    }

    #[test]
    fn only_plain_ids_are_repeated() {
        let accepted = |text: &'static str| accept(Some(&HeaderValue::from_static(text)));
        assert_eq!(accepted("abc-1.2_3").as_deref(), Some("abc-1.2_3"));
        for bad in ["", "a b", "a\"b", "gh_01J80000000000000000000001_x"] {
            assert_eq!(accepted(bad), None, "{bad}");
        }
        assert_eq!(generate().len(), 32);
    }
}
