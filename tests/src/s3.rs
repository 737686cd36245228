//! S3 for tests: the Ceph object gateway, which enforces Object Lock, and moto, which only says that it does.
//!
//! `GUILDHALL_TEST_S3` names the folder of a gateway that `tests/support/ceph start` started, `GUILDHALL_TEST_MOTO` the address of a moto server;
//! `./test` starts both. Without them a test fails and says what to run; `GUILDHALL_SKIP_S3=1` and `GUILDHALL_SKIP_MOTO=1` leave them out, and
//! `./test` says so in its last line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials as SdkCredentials, Region};
use worm::{Bucket, Credentials};

/// A server that speaks S3, and who may do what there.
pub struct S3 {
    pub endpoint: String,
    /// Owns every bucket: may do anything that S3 allows.
    pub owner: Credentials,
    /// Puts and reads, by a policy of the bucket.
    pub writer: Credentials,
    /// Puts and reads, and is not allowed to delete anything at all.
    pub weak: Credentials,
    /// Where the storage itself is administered.
    folder: Option<PathBuf>,
}

fn credentials(key_id: &str, secret: &str) -> Credentials {
    Credentials { key_id: key_id.to_owned(), secret: secret.to_owned().into(), session_token: None }
}

/// The Ceph object gateway; nothing when it is to be skipped.
pub fn ceph() -> Option<S3> {
    if std::env::var_os("GUILDHALL_SKIP_S3").is_some() {
        eprintln!("SKIPPED: GUILDHALL_SKIP_S3 is set");
        return None;
    }
    let folder = PathBuf::from(std::env::var_os("GUILDHALL_TEST_S3").expect(
        "this test needs the Ceph object gateway: run it through ./test, or: apt-get install -y --no-install-recommends ceph-mon ceph-osd radosgw \
         ceph-common && tests/support/ceph start /tmp/ceph && export GUILDHALL_TEST_S3=/tmp/ceph; GUILDHALL_SKIP_S3=1 leaves it out",
    ));
    let text = std::fs::read_to_string(folder.join("s3.env")).unwrap();
    let facts: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let user =
        |name: &str| credentials(facts[format!("{name}_key_id").as_str()], facts[format!("{name}_secret").as_str()]);
    Some(S3 {
        endpoint: facts["endpoint"].to_owned(),
        owner: user("owner"),
        writer: user("writer"),
        weak: user("weak"),
        folder: Some(folder),
    })
}

/// The Python mock, which knows nobody's rights; nothing when it is to be skipped.
pub fn moto() -> Option<S3> {
    if std::env::var_os("GUILDHALL_SKIP_MOTO").is_some() {
        eprintln!("SKIPPED: GUILDHALL_SKIP_MOTO is set");
        return None;
    }
    let endpoint = std::env::var("GUILDHALL_TEST_MOTO").expect(
        "this test needs moto: run it through ./test, or: pip install 'moto[server]' && moto_server -H 127.0.0.1 -p 5017 & \
         export GUILDHALL_TEST_MOTO=http://127.0.0.1:5017; GUILDHALL_SKIP_MOTO=1 leaves it out",
    );
    let anybody = credentials("anybody", "anybody");
    Some(S3 { endpoint, owner: anybody.clone(), writer: anybody.clone(), weak: anybody, folder: None })
}

impl S3 {
    /// A client that sends every request once.
    pub fn client(&self, credentials: &Credentials) -> Client {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let credentials =
            SdkCredentials::new(credentials.key_id.clone(), credentials.secret.to_string(), None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(self.endpoint.clone())
            .region(Region::new("us-east-1"))
            .force_path_style(true)
            .credentials_provider(credentials)
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .build();
        Client::from_conf(config)
    }

    /// A new bucket with Object Lock and no default retention, in which the writer may put and read, and the weak one as well.
    pub async fn bucket(&self) -> Bucket {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let at = jiff::Timestamp::now().as_microsecond();
        let bucket = Bucket {
            endpoint: self.endpoint.clone(),
            region: "us-east-1".to_owned(),
            name: format!("worm-{}-{at}-{number}", std::process::id()),
            prefix: "city/".to_owned(),
        };
        let owner = self.client(&self.owner);
        owner.create_bucket().bucket(&bucket.name).object_lock_enabled_for_bucket(true).send().await.unwrap();
        if self.folder.is_some() {
            owner.put_bucket_policy().bucket(&bucket.name).policy(policy(&bucket.name, "")).send().await.unwrap();
        }
        bucket
    }

    /// Takes the writer's right to read away from it.
    pub async fn blind_the_writer(&self, bucket: &Bucket) {
        let deny = format!(
            r#",{{"Effect":"Deny","Principal":{{"AWS":["arn:aws:iam:::user/writer"]}},"Action":["s3:GetObject","s3:GetObjectVersion"],
               "Resource":["arn:aws:s3:::{}/*"]}}"#,
            bucket.name
        );
        let owner = self.client(&self.owner);
        owner.put_bucket_policy().bucket(&bucket.name).policy(policy(&bucket.name, &deny)).send().await.unwrap();
    }

    /// Lets the weak one list and get, and nothing else, as somebody from outside who audits.
    pub async fn only_let_the_weak_read(&self, bucket: &Bucket) {
        let deny = format!(
            r#",{{"Effect":"Deny","Principal":{{"AWS":["arn:aws:iam:::user/weak"]}},"Action":["s3:PutObject","s3:PutObjectRetention"],
               "Resource":["arn:aws:s3:::{}/*"]}}"#,
            bucket.name
        );
        let owner = self.client(&self.owner);
        owner.put_bucket_policy().bucket(&bucket.name).policy(policy(&bucket.name, &deny)).send().await.unwrap();
    }

    pub async fn let_the_writer_see(&self, bucket: &Bucket) {
        let owner = self.client(&self.owner);
        owner.put_bucket_policy().bucket(&bucket.name).policy(policy(&bucket.name, "")).send().await.unwrap();
    }

    /// What whoever runs the storage does past S3. Nothing there asks about locks.
    pub fn administer(&self, arguments: &[&str]) {
        let folder = self.folder.as_ref().unwrap();
        let mut command = Command::new("radosgw-admin");
        command.arg("-c").arg(folder.join("ceph.conf")).args(["-n", "client.rgw", "--no-mon-config"]).args(arguments);
        let ended = command.output().unwrap();
        assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}

/// Who may do what in a bucket, besides its owner.
fn policy(bucket: &str, more: &str) -> String {
    let allow = |user: &str, actions: &str| {
        format!(
            r#"{{"Effect":"Allow","Principal":{{"AWS":["arn:aws:iam:::user/{user}"]}},"Action":[{actions}],
               "Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"]}}"#
        )
    };
    let reads =
        r#""s3:GetObject","s3:GetObjectVersion","s3:GetObjectRetention","s3:ListBucket","s3:ListBucketVersions""#;
    let writes = format!(r#""s3:PutObject","s3:PutObjectRetention",{reads}"#);
    let (writer, weak) = (allow("writer", &writes), allow("weak", &writes));
    // What another user writes is that user's: without this the owner would be refused for that reason, which proves nothing.
    let owner = allow("owner", r#""s3:*""#);
    format!(r#"{{"Version":"2012-10-17","Statement":[{owner},{writer},{weak}{more}]}}"#)
}
