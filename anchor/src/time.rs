//! Asks somebody else for the time: a token that says when they saw a hash (RFC 3161).

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chain::Hash;
use reqwest::{Client, StatusCode, Url, header};
use timestamp::{Answered, Fault, MOST_BYTES, Roots, Stamp};

/// Why there is no token. Time may mend the first; the second needs somebody to look.
#[derive(Debug, thiserror::Error)]
pub enum TimeFailure {
    /// It could not be reached, was too slow, or answered something that is no answer.
    #[error("the time authority {place}: {what}")]
    Unreachable { place: String, what: String },
    /// It answered, and what it answered proves nothing under the roots configured for it.
    #[error("the time authority {place}: {fault}")]
    Refused { place: String, fault: Fault },
    /// Its clock and this server's are too far apart for both to be right: an auditor would take the anchor for a back-dated one.
    #[error("the time authority {place} says it is {seen}, and this server {at}")]
    Apart { place: String, seen: String, at: String },
    /// It said that this server's clock is wrong, and nothing since.
    #[error("{told}; and since then it says nothing: {what}")]
    Silent { told: String, what: String },
    /// This server's clock is right, and the anchor is not from now: the one before it was made by a clock that was ahead.
    #[error(
        "the time authority {place} says it is {seen}, and the anchor before this one says {at}: this one cannot be older"
    )]
    Behind { place: String, seen: String, at: String },
}

/// Somebody with a clock who signs what they saw.
#[async_trait]
pub trait Authority: Send + Sync + fmt::Debug {
    /// Where it is, for operators: never with a secret in it.
    fn place(&self) -> String;

    /// Whether a token that was kept holds, under the roots configured for this authority.
    ///
    /// # Errors
    /// Why it does not.
    fn verify(&self, token: &[u8], imprint: Hash) -> Result<Stamp, Fault>;

    /// A token over this hash. It was verified when this returns: whoever keeps it can rely on others finding it valid.
    ///
    /// # Errors
    /// When there is none, or none that holds; asking again is right after either, and never harms.
    async fn stamp(&self, imprint: Hash) -> Result<Answered, TimeFailure>;
}

/// An authority behind HTTP (RFC 3161 section 3.4).
#[derive(Clone)]
pub struct HttpAuthority {
    client: Client,
    url: Url,
    roots: Roots,
    deadline: Duration,
}

impl HttpAuthority {
    /// `deadline` is for one request from the first byte to the last.
    pub fn new(client: Client, url: Url, roots: Roots, deadline: Duration) -> Self {
        Self { client, url, roots, deadline }
    }

    async fn ask(&self, query: Vec<u8>) -> Result<Vec<u8>, String> {
        let asked = self.client.post(self.url.clone()).timeout(self.deadline);
        let asked = asked.header(header::CONTENT_TYPE, "application/timestamp-query").body(query);
        let mut answer = asked.send().await.map_err(|error| told(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answers {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| told(&error))? {
            // Before it is kept: whoever answers without end is not to fill our memory.
            if bytes.len() + part.len() > MOST_BYTES {
                return Err(format!("its answer is longer than {MOST_BYTES} bytes"));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}

impl fmt::Debug for HttpAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpAuthority({})", self.place())
    }
}

#[async_trait]
impl Authority for HttpAuthority {
    /// Without what an address may hold beside the place: a name, a password, a key.
    fn place(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    fn verify(&self, token: &[u8], imprint: Hash) -> Result<Stamp, Fault> {
        timestamp::verify(token, imprint.as_bytes(), &self.roots)
    }

    async fn stamp(&self, imprint: Hash) -> Result<Answered, TimeFailure> {
        let unreachable = |what: String| TimeFailure::Unreachable { place: self.place(), what };
        let refused = |fault: Fault| TimeFailure::Refused { place: self.place(), fault };
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(|error| unreachable(format!("no chance for a nonce: {error}")))?;
        let nonce = u64::from_be_bytes(nonce);
        let query = timestamp::request(imprint.as_bytes(), nonce).map_err(refused)?;
        let answer = self.ask(query).await.map_err(unreachable)?;
        timestamp::accept(&answer, imprint.as_bytes(), nonce, &self.roots).map_err(refused)
    }
}

/// The last cause says most, and unlike the first it does not repeat the address.
fn told(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    if error.is_timeout() { "it did not answer in time".to_owned() } else { last.to_string() }
}
