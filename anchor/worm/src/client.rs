//! One client for one bucket: its own settings and keys, nothing taken from files or the machine it runs on.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials as SdkCredentials, Region};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use zeroize::Zeroizing;

/// One request may take so long.
const MOST: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);
/// How often a request is sent, all in all, when the store answers that it is busy.
const ATTEMPTS: u32 = 4;

/// Which bucket, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// `https://s3.eu-central-1.amazonaws.com`, `https://<account>.r2.cloudflarestorage.com`.
    pub endpoint: String,
    pub region: String,
    pub name: String,
    /// Put before every key; empty, or ends with a slash.
    pub prefix: String,
}

/// What signs requests: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub key_id: String,
    pub secret: Zeroizing<String>,
    pub session_token: Option<Zeroizing<String>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

impl Bucket {
    pub(crate) fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// For people.
    pub(crate) fn place(&self) -> String {
        format!("s3://{}/{} at {}", self.name, self.prefix, self.endpoint)
    }

    /// Sends a request again that was not answered, or that the store was too busy for.
    pub(crate) fn client(&self, credentials: &Credentials) -> Client {
        self.client_with(credentials, RetryConfig::standard().with_max_attempts(ATTEMPTS))
    }

    /// Sends every request once: what is sent twice has two answers.
    pub(crate) fn client_once(&self, credentials: &Credentials) -> Client {
        self.client_with(credentials, RetryConfig::disabled())
    }

    fn client_with(&self, credentials: &Credentials, retry: RetryConfig) -> Client {
        let Credentials { key_id, secret, session_token } = credentials;
        let token = session_token.as_ref().map(|token| token.to_string());
        let credentials = SdkCredentials::new(key_id.clone(), secret.to_string(), token, None, "guildhall");
        let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(MOST).build();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(self.endpoint.clone())
            .region(Region::new(self.region.clone()))
            // Works everywhere, also where no name server knows `<bucket>.<host>`.
            .force_path_style(true)
            .credentials_provider(credentials)
            .http_client(http)
            .retry_config(retry)
            .timeout_config(timeouts)
            .build();
        Client::from_conf(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let credentials =
            Credentials { key_id: "id".into(), secret: Zeroizing::new("hunter2".into()), session_token: None };
        assert_eq!(format!("{credentials:?}"), "Credentials(..)");
    }
}
