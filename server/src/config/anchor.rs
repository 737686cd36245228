//! Settings of publishing and anchoring. Keys of a store are no settings: they come from the environment alone.

use std::path::PathBuf;

use anchor::store::Kind;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Anchoring {
    /// Seconds between checkpoints while the log grows.
    pub checkpoint_seconds: u64,
    /// Seconds between anchors while the log grows.
    pub anchor_seconds: u64,
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
            prove_seconds: 24 * 60 * 60,
            kind: Kind::Directory,
            directory: None,
            immutable: false,
            retention_years: 7,
            margin_days: 30,
            s3: None,
        }
    }
}

impl Anchoring {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            (1..=100).contains(&self.retention_years),
            "settings: anchor.retention_years is 1 to 100: what is locked cannot be removed earlier, by anybody"
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
        anyhow::ensure!(
            s3.endpoint.starts_with("https://") || s3.endpoint.starts_with("http://"),
            "settings: anchor.s3.endpoint must begin with https:// or http://"
        );
        anyhow::ensure!(!s3.bucket.is_empty(), "settings: anchor.s3.bucket is empty");
        anyhow::ensure!(
            s3.prefix.is_empty() || s3.prefix.ends_with('/'),
            "settings: anchor.s3.prefix must end with a slash"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn s3(endpoint: &str, prefix: &str) -> Option<S3> {
        Some(S3 { endpoint: endpoint.into(), bucket: "worm".into(), region: everywhere(), prefix: prefix.into() })
    }

    #[test]
    fn a_store_that_cannot_be_is_refused_by_name() {
        let good = Anchoring { kind: Kind::S3ObjectLock, s3: s3("https://s3", "city/"), ..Anchoring::default() };
        good.check().unwrap();
        let bad = [
            (Anchoring { s3: None, ..good.clone() }, "anchor.s3.bucket"),
            (Anchoring { kind: Kind::Directory, ..good.clone() }, "anchor.kind is directory"),
            (Anchoring { s3: s3("s3.example", ""), ..good.clone() }, "anchor.s3.endpoint"),
            (Anchoring { s3: s3("https://s3", "city"), ..good.clone() }, "anchor.s3.prefix"),
            (Anchoring { retention_years: 0, ..good }, "anchor.retention_years"),
        ];
        for (settings, name) in bad {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
