//! Stores in the cloud: S3 with Object Lock, and R2 with bucket locks, behind the one trait that anchors know.
//!
//! Invariants:
//! - Nothing here ever deletes what was anchored: only the canaries of a proof are attacked and cleared away.
//! - What was written is read back and compared by us: a store's word for it does not count.

mod answers;
mod canary;
mod client;
mod r2;
mod s3;

pub use client::{Bucket, Credentials};
pub use r2::R2BucketLock;
pub use s3::S3ObjectLock;
