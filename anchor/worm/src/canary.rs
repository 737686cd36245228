//! The attacks on canaries, each one request over S3.

use anchor::proof_of_lock::{Answer, Sight, Tamper};
use anchor::store::Lock;
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketVersioningStatus, ObjectLockRetention, VersioningConfiguration};
use chain::hash::sha256;

use crate::answers::{answer, body, date, done, is_missing, lock, lock_mode, retention_mode};
use crate::client::{Bucket, Credentials};

/// Where canaries and what is beside them may lie. Nothing else is ever swept.
const CANARIES: [&str; 2] = ["canary/", "uncanary/"];
/// No canary is as long. Of one that is, nothing is left.
const MOST: u64 = 1 << 20;

/// A credential that could do harm.
pub struct Prover {
    bucket: Bucket,
    client: Client,
    has_versions: bool,
}

impl Prover {
    pub fn of_versions(bucket: Bucket, credentials: &Credentials) -> Self {
        Self { client: bucket.client_once(credentials), bucket, has_versions: true }
    }

    pub fn of_keys(bucket: Bucket, credentials: &Credentials) -> Self {
        Self { client: bucket.client_once(credentials), bucket, has_versions: false }
    }
}

#[async_trait]
impl Tamper for Prover {
    fn has_versions(&self) -> bool {
        self.has_versions
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, lock: Option<Lock>) -> (Answer, Option<String>) {
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket.name)
            .key(self.bucket.key(key))
            .set_object_lock_mode(lock.map(|lock| lock_mode(lock.mode)))
            .set_object_lock_retain_until_date(lock.map(|lock| date(lock.until)))
            .body(bytes.into());
        match put.send().await {
            Ok(put) => (done(), put.version_id),
            Err(error) => (answer(&error), None),
        }
    }

    async fn delete(&self, key: &str, version: Option<&str>, bypass: bool) -> Answer {
        let delete = self
            .client
            .delete_object()
            .bucket(&self.bucket.name)
            .key(self.bucket.key(key))
            .set_version_id(version.map(str::to_owned))
            .set_bypass_governance_retention(bypass.then_some(true));
        delete.send().await.map_or_else(|error| answer(&error), |_| Answer::new(204, ""))
    }

    async fn retain(&self, key: &str, version: &str, lock: Option<Lock>, bypass: bool) -> Answer {
        let retention = ObjectLockRetention::builder()
            .set_mode(lock.map(|lock| retention_mode(lock.mode)))
            .set_retain_until_date(lock.map(|lock| date(lock.until)))
            .build();
        let retain = self
            .client
            .put_object_retention()
            .bucket(&self.bucket.name)
            .key(self.bucket.key(key))
            .version_id(version)
            .retention(retention)
            .set_bypass_governance_retention(bypass.then_some(true));
        retain.send().await.map_or_else(|error| answer(&error), |_| done())
    }

    async fn versioning(&self, on: bool) -> Answer {
        let status = if on { BucketVersioningStatus::Enabled } else { BucketVersioningStatus::Suspended };
        let configuration = VersioningConfiguration::builder().status(status).build();
        let put = self.client.put_bucket_versioning().bucket(&self.bucket.name).versioning_configuration(configuration);
        put.send().await.map_or_else(|error| answer(&error), |_| done())
    }

    async fn look(&self, key: &str, version: Option<&str>) -> Sight {
        let get = self
            .client
            .get_object()
            .bucket(&self.bucket.name)
            .key(self.bucket.key(key))
            .set_version_id(version.map(str::to_owned));
        let told = match get.send().await {
            Ok(told) => told,
            Err(error) => {
                let answer = answer(&error);
                return if is_missing(&answer) { Sight::Gone } else { Sight::Unknown(answer) };
            }
        };
        let lock = lock(told.object_lock_mode.as_ref(), told.object_lock_retain_until_date.as_ref());
        match body(key, told.body, told.content_length, MOST).await {
            Ok((bytes, _)) => Sight::Seen { sha256: sha256(&[&bytes]), lock },
            Err(_) => Sight::Unknown(Answer::new(0, "Unreachable")),
        }
    }

    async fn sweep(&self, except: &str) {
        if !self.has_versions {
            return;
        }
        for prefix in CANARIES {
            let list = self.client.list_object_versions().bucket(&self.bucket.name).prefix(self.bucket.key(prefix));
            // One page a day is more than a day leaves behind; what is still locked is refused, and tried again tomorrow.
            let Ok(page) = list.send().await else { return };
            let versions = page.versions.unwrap_or_default().into_iter();
            let versions = versions.map(|version| (version.key, version.version_id));
            let markers = page.delete_markers.unwrap_or_default().into_iter();
            let markers = markers.map(|marker| (marker.key, marker.version_id));
            for (key, version) in versions.chain(markers) {
                let Some(key) = key.as_deref().and_then(|key| key.strip_prefix(&self.bucket.prefix)) else { continue };
                // What this run left is evidence until the next.
                if !key.starts_with(except) {
                    self.delete(key, version.as_deref(), false).await;
                }
            }
        }
    }
}
