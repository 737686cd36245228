//! Cloudflare R2 with bucket locks: rules of the bucket refuse to delete and to overwrite what lies under a prefix. There are no versions and no
//! locks on objects, and whoever administers the account can take the rules away.

use std::sync::Arc;

use anchor::AnchorError;
use anchor::proof_of_lock::Tamper;
use anchor::store::{Kind, Object, Page, Put, Retention, Store, Version, Written};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::ChecksumAlgorithm;

use crate::answers::{answer, failed, is_missing};
use crate::canary::Prover;
use crate::client::{Bucket, Credentials};

/// What R2 calls it when a rule of the bucket refuses (error 10069).
pub const LOCKED: &str = "ObjectLockedByBucketPolicy";

/// A bucket with bucket-lock rules.
pub struct R2BucketLock {
    bucket: Bucket,
    client: Client,
    prover: Option<Arc<Prover>>,
}

impl R2BucketLock {
    /// `writer` puts and reads; `prover` may delete, and only ever touches canaries.
    pub fn new(bucket: Bucket, writer: &Credentials, prover: Option<&Credentials>) -> Self {
        let client = bucket.client(writer);
        let prover = prover.map(|prover| Arc::new(Prover::of_keys(bucket.clone(), prover)));
        Self { bucket, client, prover }
    }

    /// Same bytes are fine, others never are.
    async fn compare(&self, key: &str, bytes: &[u8]) -> Result<Option<Written>, AnchorError> {
        let Some(there) = self.get(key, None).await? else { return Ok(None) };
        if there.bytes != bytes {
            return Err(AnchorError::OtherBytes(key.to_owned()));
        }
        Ok(Some(Written { put: Put::Same, version: None, lock: None }))
    }
}

#[async_trait]
impl Store for R2BucketLock {
    fn kind(&self) -> Kind {
        Kind::R2BucketLock
    }

    fn place(&self) -> String {
        self.bucket.place()
    }

    fn guarantee(&self) -> &'static str {
        "mirror grade: bucket-lock rules refuse to delete and to overwrite, but an administrator of the account can remove the rules; how long \
         they hold is set there, not here"
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, _retention: Retention) -> Result<Written, AnchorError> {
        // Asked first: where a rule is missing, a put would replace.
        if let Some(same) = self.compare(key, &bytes).await? {
            return Ok(same);
        }
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket.name)
            .key(self.bucket.key(key))
            // SHA-256 is not taken there for whole objects.
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            // Two that write at the same time; not relied on alone.
            .if_none_match("*")
            .body(bytes.clone().into());
        if let Err(error) = put.send().await {
            let answer = answer(&error);
            // Somebody was faster, perhaps an attempt of ours whose answer was lost.
            if answer.status == 412 || answer.code == LOCKED {
                let same = self.compare(key, &bytes).await?;
                return same.ok_or_else(|| AnchorError::Store(format!("{key} is locked and cannot be read")));
            }
            return Err(failed(&format!("writing {key}"), &error));
        }
        let back = self.get(key, None).await?;
        if back.is_none_or(|back| back.bytes != bytes) {
            return Err(AnchorError::Store(format!("{key} does not read back")));
        }
        Ok(Written { put: Put::New, version: None, lock: None })
    }

    async fn get(&self, key: &str, _version: Option<&str>) -> Result<Option<Object>, AnchorError> {
        let get = self.client.get_object().bucket(&self.bucket.name).key(self.bucket.key(key));
        let told = match get.send().await {
            Ok(told) => told,
            Err(error) => {
                let answer = answer(&error);
                return if is_missing(&answer) { Ok(None) } else { Err(failed(&format!("reading {key}"), &error)) };
            }
        };
        let bytes = told.body.collect().await;
        let bytes = bytes.map_err(|error| AnchorError::Unreachable(format!("reading {key}: {error}")))?.to_vec();
        Ok(Some(Object { bytes, version: None, lock: None }))
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, AnchorError> {
        let list = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket.name)
            .prefix(self.bucket.key(prefix))
            .set_start_after(after.map(|after| self.bucket.key(after)));
        let page = list.send().await.map_err(|error| failed(&format!("listing {prefix}"), &error))?;
        let more = page.is_truncated == Some(true);
        let keys = page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key);
        let mut versions: Vec<_> = keys
            .filter_map(|key| {
                let key = key.strip_prefix(&self.bucket.prefix)?.to_owned();
                Some(Version { key, version: None, marker: false })
            })
            .collect();
        versions.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(Page { more: more && !versions.is_empty(), versions })
    }

    fn tamper(&self) -> Option<Arc<dyn Tamper>> {
        self.prover.clone().map(|prover| prover as Arc<dyn Tamper>)
    }
}
