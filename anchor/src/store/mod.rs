//! Where anchors go. What a store promises differs, and each says plainly what it does.

#[cfg(feature = "testing")]
pub mod contract;
mod directory;

use std::sync::Arc;

use async_trait::async_trait;
use chain::Hash;
use chain::hash::sha256;
use jiff::tz::Offset;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::AnchorError;
use crate::proof_of_lock::Tamper;

pub use directory::Directory;

/// What sort of place a store is, and so what it can promise at best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Directory,
    #[serde(rename = "s3-object-lock")]
    S3ObjectLock,
    #[serde(rename = "r2-bucket-lock")]
    R2BucketLock,
}

impl Kind {
    /// Its name in settings, events and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::S3ObjectLock => "s3-object-lock",
            Self::R2BucketLock => "r2-bucket-lock",
        }
    }

    /// Whether there is a lock that somebody could try to break.
    pub fn has_lock(self) -> bool {
        self != Self::Directory
    }
}

/// How a write ended that may never replace anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    New,
    /// It was there with the same bytes, kept for long enough: an earlier attempt got this far.
    Same,
}

/// What was written, as the store tells it when it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub put: Put,
    pub version: Option<String>,
    pub lock: Option<Lock>,
}

/// Who can take a lock off before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nobody.
    Compliance,
    /// Whoever has a permission of its own for it.
    Governance,
}

/// How long an object is kept, and against whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    pub mode: Mode,
    pub until: Timestamp,
}

/// One object as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Nothing of one that is larger than a file of its name can be (FORMAT.md section 9.1): it is there, and it is none of this log's.
    pub bytes: Vec<u8>,
    /// How many bytes the store has of it.
    pub length: u64,
    /// Missing where a store has no versions.
    pub version: Option<String>,
    /// Missing where nothing keeps it.
    pub lock: Option<Lock>,
}

impl Object {
    /// That it is too large to be what its key says, if so.
    pub fn too_large(&self, key: &str) -> Option<String> {
        let Self { bytes, length, .. } = self;
        let what =
            || format!("it is {length} bytes long, and such a file has {} at most: it was not read", most_bytes(key));
        (*length > bytes.len() as u64).then(what)
    }
}

/// The most bytes that are read of the object of this key.
pub fn most_bytes(key: &str) -> u64 {
    chain::limits::most_bytes(key).unwrap_or(chain::limits::LARGEST)
}

/// One version of one key. What a marker hides is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub key: String,
    pub version: Option<String>,
    pub marker: bool,
}

/// A part of a listing: whole keys, ascending, of each key all versions, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub versions: Vec<Version>,
    /// Whether keys come after the last of these, which then is there.
    pub more: bool,
}

/// How long what is written now has to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// What is asked for.
    pub until: Timestamp,
    /// What an earlier attempt must have asked for to be good enough.
    pub at_least: Timestamp,
}

impl Retention {
    /// So many calendar years from `now`, and some days more, so that an attempt made days ago still reaches far enough. Years are those
    /// of the calendar: seven times 365 days are a day or two short of seven years. From a 29 February they end on a 28 February at most,
    /// so one day is added to them all.
    ///
    /// # Errors
    /// When the calendar ends before that.
    pub fn from(now: Timestamp, years: u16, margin_days: u16) -> Result<Self, AnchorError> {
        let beyond = |error: jiff::Error| AnchorError::Store(format!("the retention is out of reach: {error}"));
        let after = |years: u16, days: u16| {
            let span = Span::new().try_years(i64::from(years))?.try_days(i64::from(days))?;
            Offset::UTC.to_timestamp(Offset::UTC.to_datetime(now).checked_add(span)?)
        };
        let at_least = after(years, 1).map_err(beyond)?;
        let until = after(years, margin_days.saturating_add(1)).map_err(beyond)?;
        Ok(Self { until, at_least })
    }
}

/// A place that keeps what it is given. An object is written once; its key then stands for these bytes for ever.
#[async_trait]
pub trait Store: Send + Sync {
    fn kind(&self) -> Kind;

    /// Where it is, for operators: never with a secret in it.
    fn place(&self) -> String;

    /// What it guarantees, in a sentence for operators and auditors.
    fn guarantee(&self) -> &'static str;

    /// Writes an object. When this returns it is durable, locked where the store has locks, and was read back. The same bytes once more
    /// make no second version.
    ///
    /// # Errors
    /// [`AnchorError::OtherBytes`] when the key holds others, in any version; [`AnchorError::Store`] when the store did not keep what it was
    /// told to; [`AnchorError::Unreachable`] when it is not known whether it did.
    async fn put(&self, key: &str, bytes: Vec<u8>, retention: Retention) -> Result<Written, AnchorError>;

    /// The same for what an anchor lists by its hash, and nobody takes for something else: where there are versions, it is written beside
    /// whatever others put under its name.
    async fn put_listed(&self, key: &str, bytes: Vec<u8>, retention: Retention) -> Result<Written, AnchorError> {
        self.put(key, bytes, retention).await
    }

    /// One version of an object, or the oldest there is: what was written later does not stand for the key. Never more than [`most_bytes`] are
    /// held in memory, whatever the store says or sends.
    async fn get(&self, key: &str, version: Option<&str>) -> Result<Option<Object>, AnchorError>;

    /// The next keys that begin with `prefix` and come after the key `after`, with EVERY version and every marker: as many as the store
    /// gives at once.
    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, AnchorError>;

    /// All of them.
    async fn versions(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Version>, AnchorError> {
        let mut page = self.page(prefix, after).await?;
        let mut all = std::mem::take(&mut page.versions);
        while page.more {
            let last = all.last().map(|version| version.key.clone());
            page = self.page(prefix, last.as_deref()).await?;
            all.append(&mut page.versions);
        }
        Ok(all)
    }

    /// Who may try to break the lock here, when a credential for it is configured.
    fn tamper(&self) -> Option<Arc<dyn Tamper>> {
        None
    }
}

/// The keys that begin with `prefix`, ascending. A marker hides nothing from here.
pub async fn keys(store: &dyn Store, prefix: &str) -> Result<Vec<String>, AnchorError> {
    keys_after(store, prefix, None).await
}

/// Those of them that come after the key `after`.
pub async fn keys_after(store: &dyn Store, prefix: &str, after: Option<&str>) -> Result<Vec<String>, AnchorError> {
    let versions = store.versions(prefix, after).await?;
    let mut keys: Vec<String> =
        versions.into_iter().filter(|version| !version.marker).map(|version| version.key).collect();
    keys.dedup();
    Ok(keys)
}

/// The version of this key that an anchor lists by its hash; where there is none, the oldest.
pub async fn get_listed(store: &dyn Store, key: &str, sha256_of_it: Hash) -> Result<Option<Object>, AnchorError> {
    let oldest = store.get(key, None).await?;
    let is_it = |object: &Object| sha256(&[&object.bytes]) == sha256_of_it;
    if oldest.as_ref().is_none_or(is_it) {
        return Ok(oldest);
    }
    // Somebody was there before it.
    for object in all_versions(store, key).await? {
        if is_it(&object) {
            return Ok(Some(object));
        }
    }
    Ok(oldest)
}

/// Every version of a key that is no marker, the oldest first.
pub async fn all_versions(store: &dyn Store, key: &str) -> Result<Vec<Object>, AnchorError> {
    let mut objects = Vec::new();
    for version in store.versions(key, None).await?.into_iter().filter(|version| version.key == key && !version.marker)
    {
        objects.extend(store.get(key, version.version.as_deref()).await?);
    }
    Ok(objects)
}

/// What lies beside an object that nobody here put there: markers that hide it, and versions with other bytes.
pub async fn strays(store: &dyn Store, key: &str, sha256_of_it: Hash) -> Result<Vec<String>, AnchorError> {
    let versions = store.versions(key, None).await?;
    strays_among(store, key, sha256_of_it, versions.into_iter().filter(|version| version.key == key)).await
}

/// The same of versions that were listed already.
pub async fn strays_among(
    store: &dyn Store,
    key: &str,
    sha256_of_it: Hash,
    versions: impl IntoIterator<Item = Version>,
) -> Result<Vec<String>, AnchorError> {
    let mut strays = Vec::new();
    for version in versions {
        let name = version.version.as_deref().unwrap_or("without a name");
        if version.marker {
            strays
                .push(format!("{key}: a delete marker, version {name}, hides it from whoever does not list versions"));
        } else {
            let object = store.get(key, version.version.as_deref()).await?;
            if object.is_some_and(|object| sha256(&[&object.bytes]) != sha256_of_it) {
                strays.push(format!("{key}: version {name} holds other bytes"));
            }
        }
    }
    Ok(strays)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seven_years_from(now: &str) -> Retention {
        Retention::from(now.parse().unwrap(), 7, 30).unwrap()
    }

    #[test]
    fn seven_years_are_years_of_the_calendar() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let retention = seven_years_from("2026-11-28T12:00:00Z");
        assert_eq!(retention.at_least, "2033-11-29T12:00:00Z".parse().unwrap());
        assert_eq!(retention.until, "2033-12-29T12:00:00Z".parse().unwrap());
        let by_days = now.checked_add(Span::new().hours(2555 * 24)).unwrap();
        assert!(by_days < "2033-11-28T12:00:00Z".parse().unwrap(), "seven times 365 days are short: {by_days}");
    }

    #[test]
    fn a_leap_day_ends_on_the_first_of_march() {
        let retention = seven_years_from("2028-02-29T00:00:00Z");
        assert_eq!(retention.at_least, "2035-03-01T00:00:00Z".parse().unwrap());
    }
}
