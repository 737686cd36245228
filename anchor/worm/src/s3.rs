//! S3 with Object Lock: every object is a version, locked in COMPLIANCE mode until years from now.

use std::sync::Arc;

use anchor::AnchorError;
use anchor::proof_of_lock::Tamper;
use anchor::store::{Kind, Lock, Mode, Object, Page, Put, Retention, Store, Version, Written, most_bytes};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{ChecksumAlgorithm, ObjectLockMode};
use jiff::Timestamp;

use crate::answers::{answer, body, date, failed, is_missing, lock};
use crate::canary::Prover;
use crate::client::{Bucket, Credentials};

/// A bucket with Object Lock.
pub struct S3ObjectLock {
    bucket: Bucket,
    client: Client,
    prover: Option<Arc<Prover>>,
}

impl S3ObjectLock {
    /// `writer` puts and reads; `prover` may do anything, and only ever touches canaries.
    pub fn new(bucket: Bucket, writer: &Credentials, prover: Option<&Credentials>) -> Self {
        let client = bucket.client(writer);
        let prover = prover.map(|prover| Arc::new(Prover::of_versions(bucket.clone(), prover)));
        Self { bucket, client, prover }
    }

    /// What stands under this key already, if it is what is to be written and is kept for long enough; `alone`, or beside what others put there.
    async fn found(
        &self,
        key: &str,
        bytes: &[u8],
        retention: Retention,
        alone: bool,
    ) -> Result<Option<Written>, AnchorError> {
        let mut found = None;
        let versions = self.versions(key, None).await?;
        for version in versions.into_iter().filter(|version| version.key == key && !version.marker) {
            let object = self.get(key, version.version.as_deref()).await?;
            let object = object.ok_or_else(|| AnchorError::Store(format!("{key} is listed and cannot be read")))?;
            if object.bytes != bytes {
                if alone {
                    return Err(AnchorError::OtherBytes(key.to_owned()));
                }
                continue;
            }
            if is_kept(object.lock, retention.at_least) {
                found.get_or_insert(Written { put: Put::Same, version: object.version, lock: object.lock });
            }
        }
        Ok(found)
    }

    /// Writes one more version.
    async fn write(&self, key: &str, bytes: Vec<u8>, retention: Retention) -> Result<Written, AnchorError> {
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket.name)
            .key(self.bucket.key(key))
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .object_lock_mode(ObjectLockMode::Compliance)
            .object_lock_retain_until_date(date(retention.until))
            .body(bytes.clone().into());
        let put = put.send().await.map_err(|error| failed(&format!("writing {key}"), &error))?;
        let version = put.version_id.ok_or_else(|| {
            AnchorError::Store(format!("{key} was written without a version: the bucket has no versioning, so no lock"))
        })?;
        // Read back what this very version is: a store that says yes and keeps nothing is found out now, not in seven years. Some do not
        // even compare the checksum they are sent.
        let back = self.get(key, Some(&version)).await?;
        let lock = back.as_ref().and_then(|back| back.lock);
        if back.is_none_or(|back| back.bytes != bytes) {
            return Err(AnchorError::Store(format!("{key} does not read back")));
        }
        if !is_kept(lock, retention.until) {
            return Err(AnchorError::Store(format!("{key} is not locked as was asked: {lock:?}")));
        }
        Ok(Written { put: Put::New, version: Some(version), lock })
    }
}

/// A version, and when it was written.
type Listed = (Option<i128>, Version);

/// S3 lists the newest version first, and markers apart. Where times are equal the order listed is turned round, for the same reason.
fn oldest_first(mut found: Vec<Listed>) -> Vec<Version> {
    found.reverse();
    found.sort_by(|(time, one), (other_time, other)| one.key.cmp(&other.key).then(time.cmp(other_time)));
    found.into_iter().map(|(_, version)| version).collect()
}

fn is_kept(lock: Option<Lock>, until: Timestamp) -> bool {
    lock.is_some_and(|lock| lock.mode == Mode::Compliance && lock.until.as_second() >= until.as_second())
}

#[async_trait]
impl Store for S3ObjectLock {
    fn kind(&self) -> Kind {
        Kind::S3ObjectLock
    }

    fn place(&self) -> String {
        self.bucket.place()
    }

    fn guarantee(&self) -> &'static str {
        "locked in COMPLIANCE mode for years: nobody can delete, change or unlock a version through S3, the account's owner included; \
         markers and new versions can be laid over it, and are found; whoever runs the storage itself is not held by it"
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, retention: Retention) -> Result<Written, AnchorError> {
        match self.found(key, &bytes, retention, true).await? {
            Some(written) => Ok(written),
            None => self.write(key, bytes, retention).await,
        }
    }

    async fn put_listed(&self, key: &str, bytes: Vec<u8>, retention: Retention) -> Result<Written, AnchorError> {
        match self.found(key, &bytes, retention, false).await? {
            Some(written) => Ok(written),
            None => self.write(key, bytes, retention).await,
        }
    }

    async fn get(&self, key: &str, version: Option<&str>) -> Result<Option<Object>, AnchorError> {
        let oldest;
        let version = if let Some(version) = version {
            version
        } else {
            let versions = self.versions(key, None).await?;
            let first = versions.into_iter().find(|version| version.key == key && !version.marker);
            let Some(first) = first.and_then(|first| first.version) else { return Ok(None) };
            oldest = first;
            &oldest
        };
        let get = self.client.get_object().bucket(&self.bucket.name).key(self.bucket.key(key)).version_id(version);
        let told = match get.send().await {
            Ok(told) => told,
            Err(error) => {
                let answer = answer(&error);
                return if is_missing(&answer) { Ok(None) } else { Err(failed(&format!("reading {key}"), &error)) };
            }
        };
        let lock = lock(told.object_lock_mode.as_ref(), told.object_lock_retain_until_date.as_ref());
        let (bytes, length) = body(key, told.body, told.content_length, most_bytes(key)).await?;
        Ok(Some(Object { bytes, length, version: Some(version.to_owned()), lock }))
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, AnchorError> {
        let mut found: Vec<Listed> = Vec::new();
        let (mut key_marker, mut version_marker) = (after.map(|after| self.bucket.key(after)), None);
        loop {
            let list = self
                .client
                .list_object_versions()
                .bucket(&self.bucket.name)
                .prefix(self.bucket.key(prefix))
                .set_key_marker(key_marker.take())
                .set_version_id_marker(version_marker.take());
            let page = list.send().await.map_err(|error| failed(&format!("listing {prefix}"), &error))?;
            let versions = page.versions.unwrap_or_default().into_iter();
            let versions = versions.map(|version| (version.key, version.version_id, version.last_modified, false));
            let markers = page.delete_markers.unwrap_or_default().into_iter();
            let markers = markers.map(|marker| (marker.key, marker.version_id, marker.last_modified, true));
            let named = versions.chain(markers).filter_map(|(key, version, time, marker)| {
                let key = key?.strip_prefix(&self.bucket.prefix)?.to_owned();
                // Ceph begins with the key it was to begin after.
                let comes_after = after.is_none_or(|after| key.as_str() > after);
                comes_after.then(|| (time.map(|time| time.as_nanos()), Version { key, version, marker }))
            });
            found.extend(named);
            (key_marker, version_marker) = (page.next_key_marker, page.next_version_id_marker);
            let more = page.is_truncated == Some(true) && key_marker.is_some();
            if !more {
                return Ok(Page { versions: oldest_first(found), more });
            }
            // The last key may go on in the next page: it is left to whoever asks for that, unless it is all there is.
            let last = found.iter().map(|(_, version)| version.key.clone()).max();
            if let Some(last) = last.filter(|last| found.iter().any(|(_, version)| version.key < *last)) {
                found.retain(|(_, version)| version.key < last);
                return Ok(Page { versions: oldest_first(found), more });
            }
        }
    }

    fn tamper(&self) -> Option<Arc<dyn Tamper>> {
        self.prover.clone().map(|prover| prover as Arc<dyn Tamper>)
    }
}
