//! What a store's answers mean to us.

use anchor::AnchorError;
use anchor::proof_of_lock::Answer;
use anchor::store::{Lock, Mode};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ObjectLockMode, ObjectLockRetentionMode};
use jiff::Timestamp;

/// The status and the name of an error; status 0 when there was no answer.
pub fn answer<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Answer {
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or(match error {
        SdkError::TimeoutError(_) => "Timeout",
        SdkError::DispatchFailure(_) => "Unreachable",
        _ => "",
    });
    Answer::new(status, code)
}

/// The answer to what succeeded.
pub fn done() -> Answer {
    Answer::new(200, "")
}

/// Whether the store says that there is no such thing.
pub fn is_missing(answer: &Answer) -> bool {
    answer.status == 404
}

/// Time mends what was not answered, or answered with 5xx; the rest somebody has to look at.
pub fn failed<E>(what: &str, error: &SdkError<E, HttpResponse>) -> AnchorError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Answer { status, code } = answer(error);
    let told = format!("{what}: {status} {code}");
    match status {
        0 => AnchorError::Unreachable(format!("{what}: {}", cause(error))),
        500.. | 408 | 429 => AnchorError::Unreachable(told),
        _ => AnchorError::Store(told),
    }
}

/// The last cause says most: that a connection was refused, that a name is not known.
fn cause(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

/// What an object says, and how long it is: its bytes only if they are no more than `most`, whatever length the store gives.
pub async fn body(
    key: &str,
    mut told: ByteStream,
    given: Option<i64>,
    most: u64,
) -> Result<(Vec<u8>, u64), AnchorError> {
    let given = given.and_then(|given| u64::try_from(given).ok()).unwrap_or(0);
    if given > most {
        return Ok((Vec::new(), given));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(given).unwrap_or_default());
    while let Some(part) = told.next().await {
        bytes.extend_from_slice(&part.map_err(|error| AnchorError::Unreachable(format!("reading {key}: {error}")))?);
        if bytes.len() as u64 > most {
            return Ok((Vec::new(), bytes.len() as u64));
        }
    }
    let length = bytes.len() as u64;
    Ok((bytes, length))
}

pub fn lock(mode: Option<&ObjectLockMode>, until: Option<&DateTime>) -> Option<Lock> {
    let mode = match mode? {
        ObjectLockMode::Compliance => Mode::Compliance,
        ObjectLockMode::Governance => Mode::Governance,
        _ => return None,
    };
    let until = Timestamp::from_second(until?.secs()).ok()?;
    Some(Lock { mode, until })
}

pub fn lock_mode(mode: Mode) -> ObjectLockMode {
    match mode {
        Mode::Compliance => ObjectLockMode::Compliance,
        Mode::Governance => ObjectLockMode::Governance,
    }
}

pub fn retention_mode(mode: Mode) -> ObjectLockRetentionMode {
    match mode {
        Mode::Compliance => ObjectLockRetentionMode::Compliance,
        Mode::Governance => ObjectLockRetentionMode::Governance,
    }
}

/// In whole seconds, as stores keep times.
pub fn date(until: Timestamp) -> DateTime {
    DateTime::from_secs(until.as_second())
}
