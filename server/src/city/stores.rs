//! The stores that anchors go to, as the settings name them, with the keys that the environment holds.

use std::sync::Arc;

use anchor::Directory;
use anchor::store::{Kind, Store};
use anyhow::Context as _;
use worm::{Bucket, Credentials, R2BucketLock, S3ObjectLock};
use zeroize::Zeroizing;

use crate::config::{Mirror, S3, Settings};

/// Puts and reads; nothing else.
const WRITER: (&str, &str) = ("GUILDHALL_WORM_KEY_ID", "GUILDHALL_WORM_SECRET");
/// May do anything to the bucket, and is used on canaries alone.
const PROVER: (&str, &str) = ("GUILDHALL_PROVER_KEY_ID", "GUILDHALL_PROVER_SECRET");
/// Where everybody else keeps them.
const USUAL: (&str, &str) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");

/// The store of these settings. Nothing is asked of it yet.
pub fn open(settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    let anchor = &settings.anchor;
    let Some(s3) = anchor.s3.as_ref().filter(|_| anchor.kind != Kind::Directory) else {
        return Ok(Arc::new(Directory::new(settings.worm_dir()).immutable(anchor.immutable)));
    };
    let usual = || credentials(USUAL).map(|usual| usual.map(with_session));
    let writer = credentials(WRITER).transpose().or_else(|| usual().transpose()).transpose()?;
    let writer = writer.with_context(|| {
        format!("anchor.kind {} needs {} and {} in the environment", anchor.kind.as_str(), WRITER.0, WRITER.1)
    })?;
    let prover = credentials(PROVER)?;
    if prover.as_ref().is_some_and(|prover| prover.key_id == writer.key_id) {
        tracing::warn!(
            "the credential that writes anchors is the one that attacks the lock: give the writer one that can only put and read"
        );
    }
    Ok(in_bucket(anchor.kind, s3, &writer, prover.as_ref()))
}

/// The mirrors of these settings. Nothing is asked of them yet.
pub fn mirrors(settings: &Settings) -> anyhow::Result<Vec<anchor::Mirror>> {
    settings.anchor.mirrors.iter().map(mirror).collect()
}

fn mirror(mirror: &Mirror) -> anyhow::Result<anchor::Mirror> {
    let store: Arc<dyn Store> = match (mirror.kind, &mirror.directory, &mirror.s3) {
        (Kind::Directory, Some(directory), _) => Arc::new(Directory::new(directory).immutable(mirror.immutable)),
        (kind, _, Some(s3)) => {
            let of = |name: &Option<String>| name.clone().unwrap_or_default();
            let (key_id, secret) = (of(&mirror.key_id_from), of(&mirror.secret_from));
            let writer = credentials((&key_id, &secret))?.with_context(|| {
                format!("the mirror {} needs {key_id} and {secret} in the environment", mirror.name)
            })?;
            in_bucket(kind, s3, &writer, None)
        }
        _ => anyhow::bail!("the mirror {} names no place", mirror.name),
    };
    Ok(anchor::Mirror { name: mirror.name.clone(), store })
}

fn in_bucket(kind: Kind, s3: &S3, writer: &Credentials, prover: Option<&Credentials>) -> Arc<dyn Store> {
    let bucket = Bucket {
        endpoint: s3.endpoint.clone(),
        region: s3.region.clone(),
        name: s3.bucket.clone(),
        prefix: s3.prefix.clone(),
    };
    match kind {
        Kind::R2BucketLock => Arc::new(R2BucketLock::new(bucket, writer, prover)),
        Kind::S3ObjectLock | Kind::Directory => Arc::new(S3ObjectLock::new(bucket, writer, prover)),
    }
}

fn credentials((key_id, secret): (&str, &str)) -> anyhow::Result<Option<Credentials>> {
    let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (read(key_id), read(secret).map(Zeroizing::new)) {
        (Some(key_id), Some(secret)) => Ok(Some(Credentials { key_id, secret, session_token: None })),
        (None, None) => Ok(None),
        _ => anyhow::bail!("of {key_id} and {secret} only one is in the environment"),
    }
}

fn with_session(credentials: Credentials) -> Credentials {
    let session_token = std::env::var("AWS_SESSION_TOKEN").ok().map(Zeroizing::new);
    Credentials { session_token, ..credentials }
}
