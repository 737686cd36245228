//! Cloudflare R2 with bucket locks: rules of the bucket refuse to delete and to overwrite what lies under a prefix. There are no versions and no
//! locks on objects, and whoever administers the account can take the rules away.

use std::sync::Arc;

use anchor::AnchorError;
use anchor::proof_of_lock::Tamper;
use anchor::store::{Kind, Object, Page, Put, Retention, Store, Version, Written, most_bytes};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::ChecksumAlgorithm;

use crate::answers::{answer, body, failed, is_missing};
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
        let (bytes, length) = body(key, told.body, told.content_length, most_bytes(key)).await?;
        Ok(Some(Object { bytes, length, version: None, lock: None }))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use zeroize::Zeroizing;

    use super::*;

    /// 20 bytes in a chunk.
    const CHUNK: &[u8] = b"14\r\n00000000000000000000\r\n";

    /// A store that answers every request with this head, and with zeros for as long as anybody listens.
    fn endless(head: &'static str, part: &'static [u8]) -> R2BucketLock {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
                while stream.write_all(part).is_ok() {}
            }
        });
        let bucket = Bucket { endpoint, region: "auto".into(), name: "b".into(), prefix: String::new() };
        let writer = Credentials { key_id: "id".into(), secret: Zeroizing::new("s".into()), session_token: None };
        R2BucketLock::new(bucket, &writer, None)
    }

    #[tokio::test]
    async fn an_object_that_is_larger_than_its_kind_can_be_is_not_read() {
        // What it says that it is long, and what it is when it does not say.
        let said = endless("content-length: 3221225472", &[0; 1024]);
        let silent = endless("transfer-encoding: chunked", CHUNK);
        for (store, length) in [(&said, 3_221_225_472), (&silent, 33)] {
            for key in ["tile/0/000.p/1", "anchors/00000000000000000000-00000000000000000002.json"] {
                let object = store.get(key, None).await.unwrap().unwrap();
                assert!(object.bytes.is_empty() && object.length >= length, "{key}: {} bytes", object.length);
                assert!(object.too_large(key).unwrap().contains("bytes long, and such a file has"));
            }
        }
    }
}
