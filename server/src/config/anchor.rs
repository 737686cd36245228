//! Settings of publishing and anchoring. Keys of a store are no settings: they come from the environment alone.

use std::path::PathBuf;

use anchor::WrongClock;
use anchor::store::Kind;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Anchoring {
    /// Seconds between checkpoints while the log grows.
    pub checkpoint_seconds: u64,
    /// Seconds between anchors while the log grows.
    pub anchor_seconds: u64,
    /// Seconds between anchors of a log that does not grow; a day at most, because auditors take more for silence.
    pub heartbeat_seconds: u64,
    /// Seconds between attempts on the store's lock.
    pub prove_seconds: u64,
    /// What sort of store anchors go to: `directory`, `s3-object-lock`, `r2-bucket-lock`.
    pub kind: Kind,
    /// Where anchors go; `worm` in the data directory when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Give files there the file system's immutable attribute. Takes root.
    pub immutable: bool,
    /// Calendar years for which what is anchored is locked.
    pub retention_years: u16,
    /// Days on top, within which an attempt can be repeated.
    pub margin_days: u16,
    /// The bucket, for both kinds that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
    /// Who is asked for the time of each anchor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeAuthority>,
    /// Stores of other owners, to which everything that is anchored is carried as well.
    pub mirrors: Vec<Mirror>,
}

/// A time-stamping authority (RFC 3161).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeAuthority {
    pub url: String,
    /// A PEM file with the root certificates that its tokens must lead to: what would prove nothing is not kept.
    pub roots: PathBuf,
    /// Rather no anchor than one without a token.
    #[serde(default)]
    pub required: bool,
    /// What becomes of an anchor when a token that holds says that this server's clock is off by more than a minute: `refuse`, or `warn` and
    /// write it without the token.
    #[serde(default)]
    pub wrong_clock: WrongClock,
    /// How long it may take to answer, in milliseconds.
    #[serde(default = "five_seconds")]
    pub deadline_ms: u64,
}

fn five_seconds() -> u64 {
    5000
}

/// A store that is to have everything that the first one has.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// What it is called in reports and metrics.
    pub name: String,
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    #[serde(default)]
    pub immutable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
    /// The variables of the environment that hold its credential. Its owner is another, so nothing else is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id_from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_from: Option<String>,
}

impl Mirror {
    fn check(&self) -> anyhow::Result<()> {
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        anyhow::ensure!(
            (1..=64).contains(&self.name.len()) && self.name.chars().all(known),
            "settings: anchor.mirrors: a name is 1 to 64 characters of a-z 0-9 -"
        );
        let place = format!("anchor.mirrors {}", self.name);
        if self.kind == Kind::Directory {
            anyhow::ensure!(self.directory.is_some(), "settings: {place}: kind directory needs directory");
            anyhow::ensure!(self.s3.is_none(), "settings: {place}: s3 names a bucket, but kind is directory");
            return Ok(());
        }
        let kind = self.kind.as_str();
        let s3 = self.s3.as_ref();
        let s3 = s3.ok_or_else(|| anyhow::anyhow!("settings: {place}: kind {kind} needs s3.endpoint and s3.bucket"))?;
        s3.check(&format!("{place}: s3"))?;
        anyhow::ensure!(
            self.key_id_from.is_some() && self.secret_from.is_some(),
            "settings: {place}: kind {kind} needs key_id_from and secret_from, the names of two variables of the environment"
        );
        Ok(())
    }
}

/// Where a bucket is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    pub endpoint: String,
    pub bucket: String,
    /// `auto` on R2.
    #[serde(default = "everywhere")]
    pub region: String,
    /// Put before every key, such as `city/`.
    #[serde(default)]
    pub prefix: String,
}

fn everywhere() -> String {
    "us-east-1".to_owned()
}

impl Default for Anchoring {
    fn default() -> Self {
        Self {
            checkpoint_seconds: 1,
            anchor_seconds: 900,
            heartbeat_seconds: DAY,
            prove_seconds: DAY,
            kind: Kind::Directory,
            directory: None,
            immutable: false,
            retention_years: 7,
            margin_days: 30,
            s3: None,
            time: None,
            mirrors: Vec::new(),
        }
    }
}

const DAY: u64 = 24 * 60 * 60;

impl Anchoring {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            (1..=100).contains(&self.retention_years),
            "settings: anchor.retention_years is 1 to 100: what is locked cannot be removed earlier, by anybody"
        );
        anyhow::ensure!(
            (1..=DAY).contains(&self.heartbeat_seconds),
            "settings: anchor.heartbeat_seconds is 1 to {DAY}: auditors take more than a day without an anchor for silence"
        );
        if let Some(time) = &self.time {
            anyhow::ensure!(is_web(&time.url), "settings: anchor.time.url must begin with https:// or http://");
            anyhow::ensure!(time.deadline_ms > 0, "settings: anchor.time.deadline_ms must be above zero");
        }
        self.mirrors.iter().try_for_each(Mirror::check)?;
        let mut names: Vec<_> = self.mirrors.iter().map(|mirror| &mirror.name).collect();
        names.sort_unstable();
        anyhow::ensure!(
            names.windows(2).all(|pair| pair[0] != pair[1]),
            "settings: anchor.mirrors: two of them have one name"
        );
        let Some(s3) = &self.s3 else {
            anyhow::ensure!(
                self.kind == Kind::Directory,
                "settings: anchor.kind {} needs anchor.s3.endpoint and anchor.s3.bucket",
                self.kind.as_str()
            );
            return Ok(());
        };
        anyhow::ensure!(
            self.kind != Kind::Directory,
            "settings: anchor.s3 names a bucket, but anchor.kind is directory: set it to s3-object-lock or r2-bucket-lock"
        );
        s3.check("anchor.s3")
    }
}

impl S3 {
    fn check(&self, place: &str) -> anyhow::Result<()> {
        anyhow::ensure!(is_web(&self.endpoint), "settings: {place}.endpoint must begin with https:// or http://");
        anyhow::ensure!(!self.bucket.is_empty(), "settings: {place}.bucket is empty");
        anyhow::ensure!(
            self.prefix.is_empty() || self.prefix.ends_with('/'),
            "settings: {place}.prefix must end with a slash"
        );
        Ok(())
    }
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn s3(endpoint: &str, prefix: &str) -> Option<S3> {
        Some(S3 { endpoint: endpoint.into(), bucket: "worm".into(), region: everywhere(), prefix: prefix.into() })
    }

    fn time(url: &str) -> TimeAuthority {
        TimeAuthority {
            url: url.into(),
            roots: "roots.pem".into(),
            required: false,
            wrong_clock: WrongClock::Refuse,
            deadline_ms: 1,
        }
    }

    fn mirror(name: &str) -> Mirror {
        let (name, directory) = (name.to_owned(), Some("mirror".into()));
        Mirror {
            name,
            kind: Kind::Directory,
            directory,
            immutable: false,
            s3: None,
            key_id_from: None,
            secret_from: None,
        }
    }

    fn with(mirror: Mirror) -> Anchoring {
        Anchoring { mirrors: vec![mirror], ..Anchoring::default() }
    }

    #[test]
    fn a_store_that_cannot_be_is_refused_by_name() {
        let good = Anchoring { kind: Kind::S3ObjectLock, s3: s3("https://s3", "city/"), ..Anchoring::default() };
        good.check().unwrap();
        Anchoring { time: Some(time("http://tsa")), ..with(mirror("other-owner")) }.check().unwrap();
        let bad = [
            (Anchoring { s3: None, ..good.clone() }, "anchor.s3.bucket"),
            (Anchoring { kind: Kind::Directory, ..good.clone() }, "anchor.kind is directory"),
            (Anchoring { s3: s3("s3.example", ""), ..good.clone() }, "anchor.s3.endpoint"),
            (Anchoring { s3: s3("https://s3", "city"), ..good.clone() }, "anchor.s3.prefix"),
            (Anchoring { retention_years: 0, ..good.clone() }, "anchor.retention_years"),
            (Anchoring { heartbeat_seconds: DAY + 1, ..good.clone() }, "anchor.heartbeat_seconds"),
            (Anchoring { time: Some(time("ftp://tsa")), ..good.clone() }, "anchor.time.url"),
            (Anchoring { mirrors: vec![mirror("Name")], ..good.clone() }, "a name is"),
            (Anchoring { mirrors: vec![mirror("one"), mirror("one")], ..good.clone() }, "have one name"),
            (with(Mirror { directory: None, ..mirror("one") }), "needs directory"),
            (with(Mirror { kind: Kind::S3ObjectLock, directory: None, ..mirror("one") }), "needs s3.endpoint"),
            (with(Mirror { kind: Kind::R2BucketLock, s3: s3("https://s3", ""), ..mirror("one") }), "key_id_from"),
        ];
        for (settings, name) in bad {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
