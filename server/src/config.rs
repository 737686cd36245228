//! Settings: built-in defaults, then one TOML file, then the environment, then flags; later wins, unknown keys are refused.

mod anchor;
mod signing;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use domain::grant::kind::Source;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use sources::{shown, toml_error};

pub use anchor::{Anchoring, Mirror, S3};
pub use signing::{External, Signing};

/// The settings file that is read when it is there and no other is named.
pub const DEFAULT_FILE: &str = "guildhall.toml";
/// What begins like this is no setting either: credentials of mirrors, under the names that `anchor.mirrors` gives them.
const OF_MIRRORS: &str = "mirror_";
/// Variables that are no settings: secrets that go to the one place that needs them, and what tests use.
const NOT_SETTINGS: &[&str] = &[
    "config",
    "key",
    "master_key",
    "signing_key",
    "login_password",
    "worm_key_id",
    "worm_secret",
    "prover_key_id",
    "prover_secret",
    "test_pg",
    "pg_bin",
    "skip_pg",
    "test_s3",
    "skip_s3",
    "test_moto",
    "skip_moto",
    "test_witness",
    "skip_witness",
    "test_node",
    "skip_browser",
    "screenshots",
    "test_foreign",
];

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the log (on SQLite), the keys of this server, tiles and anchors are.
    pub data_dir: PathBuf,
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// `postgres://login@host/database`; without it the log is SQLite in the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<DatabaseUrl>,
    /// The log's name. Fixed at the first start, `guildhall/<16 hexadecimal digits>` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Run even as a database role that could rewrite the log.
    pub dev: bool,
    /// Run even on a database that may lose commits; every answer then says so.
    pub r#unsafe: bool,
    pub log: Logging,
    pub limits: Limits,
    pub anchor: Anchoring,
    pub witness: Witnessing,
    pub signing: Signing,
    pub sources: Sources,
}

/// Mapping files of the domains whose grants this server verifies by itself, as `guildhall import` takes them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sources {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflows: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skills: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<PathBuf>,
    /// How long one listing may take before what it did not come to counts as unknown [default: 600]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing_seconds: Option<u64>,
}

/// A round that has to give up all five sources still ends within the hour.
const LISTING_SECONDS: u64 = 600;

impl Sources {
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.listing_seconds.unwrap_or(LISTING_SECONDS))
    }

    /// What the setting is called.
    pub const fn setting(source: Source) -> &'static str {
        match source {
            Source::D1Tokens => "sources.tokens",
            Source::PluginYaml => "sources.plugins",
            Source::GhlWorkflows => "sources.workflows",
            Source::FsSkills => "sources.skills",
            Source::PgConnections => "sources.connections",
            Source::Guild(_) | Source::City | Source::Membership | Source::Roles => "none",
        }
    }

    pub fn map(&self, source: Source) -> Option<&Path> {
        let map = match source {
            Source::D1Tokens => &self.tokens,
            Source::PluginYaml => &self.plugins,
            Source::GhlWorkflows => &self.workflows,
            Source::FsSkills => &self.skills,
            Source::PgConnections => &self.connections,
            Source::Guild(_) | Source::City | Source::Membership | Source::Roles => &None,
        };
        map.as_deref()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    pub format: LogFormat,
    /// As of `tracing`: `info`, `warn,guildhall=debug`, ...
    pub filter: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// What one caller may cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub body_bytes: usize,
    /// How deep JSON may nest.
    pub json_depth: usize,
    /// Most rows of one page.
    pub page: u32,
    /// How long one request may take, in seconds; the feed is not one.
    pub request_seconds: u64,
    /// Most seconds that `?at_least=` waits.
    pub wait_seconds: u64,
    /// Requests per second and credential, on average.
    pub requests_per_second: u32,
    /// Requests that a credential may send at once.
    pub burst: u32,
    /// Requests per second without a good key, of all callers together.
    pub strangers_per_second: u32,
    /// Connections at a time; fewer where the process may not have that many files open.
    pub connections: usize,
    /// Open feeds (`/v1/entries/stream`).
    pub feeds: usize,
    /// Commands waiting for the writer.
    pub queue: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Witnessing {
    /// A C2SP policy file: the witnesses that are asked to cosign every checkpoint, and the quorum that makes it a witnessed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PathBuf>,
    /// How long a checkpoint waits for its quorum before it is shown without, in milliseconds.
    pub deadline_ms: u64,
}

impl Default for Witnessing {
    fn default() -> Self {
        Self { policy: None, deadline_ms: 1000 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("guildhall-data"),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7117),
            database_url: None,
            origin: None,
            dev: false,
            r#unsafe: false,
            log: Logging::default(),
            limits: Limits::default(),
            anchor: Anchoring::default(),
            witness: Witnessing::default(),
            signing: Signing::default(),
            sources: Sources::default(),
        }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info,sqlx=warn".to_owned() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            json_depth: 32,
            page: queries::MAX_LIMIT,
            request_seconds: 30,
            wait_seconds: 10,
            requests_per_second: 2000,
            burst: 10_000,
            strangers_per_second: 100,
            connections: 10_000,
            feeds: 256,
            queue: 16_384,
        }
    }
}

/// A database URL, which may hold a password: it can be used, and never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(..)")
    }
}

/// Settings as flags; what is absent leaves file and environment as they are.
#[derive(Debug, Clone, Default, Serialize, clap::Args)]
pub struct Flags {
    /// Settings file [default: ./guildhall.toml if it is there; environment: GUILDHALL_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Directory of the log, the server's keys, tiles and anchors [default: ./guildhall-data]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Settings")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// PostgreSQL instead of SQLite: postgres://login@host/database
    #[arg(long, global = true, value_name = "URL", help_heading = "Settings", hide_env_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<String>,
    /// Name of the log, fixed at the first start [default: guildhall/<random>]
    #[arg(long, global = true, help_heading = "Settings")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Run even as a database role that could rewrite the log
    #[arg(long, global = true, help_heading = "Settings")]
    #[serde(skip_serializing_if = "is_false")]
    pub dev: bool,
    /// Run even on a database that may lose commits; answers are marked
    #[arg(long, global = true, help_heading = "Settings")]
    #[serde(skip_serializing_if = "is_false")]
    pub r#unsafe: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What is wrong with a settings file is said without showing what stands there.
fn readable(file: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    match toml::from_str::<toml::Table>(&text) {
        Ok(_) => Ok(()),
        Err(error) => anyhow::bail!("settings: {}: {}", file.display(), toml_error(&text, &error)),
    }
}

impl Settings {
    /// Reads all four sources.
    ///
    /// # Errors
    /// Names the key and where it stands.
    pub fn load(flags: &Flags) -> anyhow::Result<Self> {
        Self::load_with(flags, Serialized::defaults(NoMore {}))
    }

    /// Like [`Settings::load`], with flags that only one subcommand has on top.
    pub fn load_with(flags: &Flags, more: impl figment::Provider) -> anyhow::Result<Self> {
        let named = flags.config.clone().or_else(|| std::env::var_os("GUILDHALL_CONFIG").map(PathBuf::from));
        if let Some(path) = &named
            && !path.is_file()
        {
            anyhow::bail!("there is no settings file {}", path.display());
        }
        let file = named.unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        let mut figment = Figment::from(Serialized::defaults(Settings::default()));
        if file.is_file() {
            readable(&file)?;
            figment = figment.merge(Toml::file_exact(file));
        }
        let figment = figment.merge(environment()).merge(Serialized::defaults(flags)).merge(more);
        let settings: Self =
            figment.extract().map_err(|error| anyhow::anyhow!("settings: {}", shown(&error.to_string())))?;
        settings.check()?;
        Ok(settings)
    }

    /// What one file says, whatever the environment says: for settings of another city or another day.
    pub fn of_file(path: &Path) -> anyhow::Result<Self> {
        let figment = Figment::from(Serialized::defaults(Settings::default())).merge(Toml::file_exact(path));
        let settings: Self = figment.extract().map_err(|error| anyhow::anyhow!("settings: {error}"))?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> anyhow::Result<()> {
        // What holds the seat to publish must be asked for it now and then.
        anyhow::ensure!(self.anchor.checkpoint_seconds <= 120, "settings: anchor.checkpoint_seconds is at most 120");
        let limits = &self.limits;
        let positive = [
            ("limits.body_bytes", limits.body_bytes as u64),
            ("limits.json_depth", limits.json_depth as u64),
            ("limits.page", u64::from(limits.page)),
            ("limits.request_seconds", limits.request_seconds),
            ("limits.requests_per_second", u64::from(limits.requests_per_second)),
            ("limits.burst", u64::from(limits.burst)),
            ("limits.strangers_per_second", u64::from(limits.strangers_per_second)),
            ("limits.queue", limits.queue as u64),
            ("anchor.checkpoint_seconds", self.anchor.checkpoint_seconds),
            ("anchor.anchor_seconds", self.anchor.anchor_seconds),
            ("anchor.prove_seconds", self.anchor.prove_seconds),
            ("witness.deadline_ms", self.witness.deadline_ms),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            anyhow::bail!("settings: {name} must be above zero");
        }
        self.anchor.check()?;
        self.signing.check()?;
        // The JSON reader itself stops at 128.
        anyhow::ensure!(limits.json_depth <= 100, "settings: limits.json_depth is at most 100");
        anyhow::ensure!(limits.page <= queries::MAX_LIMIT, "settings: limits.page is at most {}", queries::MAX_LIMIT);
        if let Some(origin) = &self.origin {
            anyhow::ensure!(
                chain::entry::is_valid_origin(origin),
                "settings: origin must be 1 to 128 characters of a-z 0-9 . / -"
            );
        }
        Ok(())
    }

    pub fn worm_dir(&self) -> PathBuf {
        self.anchor.directory.clone().unwrap_or_else(|| self.data_dir.join("worm"))
    }

    /// Whether one old copy could bring back the log and everything that would tell it apart from the present.
    pub fn keeps_all_in_one_place(&self) -> bool {
        self.database_url.is_none()
            && self.anchor.kind == ::anchor::store::Kind::Directory
            && self.worm_dir().starts_with(&self.data_dir)
    }

    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.limits.request_seconds)
    }

    /// Settings for a directory, everything else as built in: what tests and the demo start from.
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            data_dir: dir.to_owned(),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            ..Self::default()
        }
    }
}

fn environment() -> Env {
    let settings = Env::prefixed("GUILDHALL_").ignore(NOT_SETTINGS);
    settings.filter(|name| !name.as_str().to_ascii_lowercase().starts_with(OF_MIRRORS)).split("__")
}

#[derive(Serialize)]
struct NoMore {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn load(toml: &str, flags: Flags) -> anyhow::Result<Settings> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.toml");
        std::fs::write(&path, toml).unwrap();
        Settings::load(&Flags { config: Some(path), ..flags })
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let toml = "data_dir = 'from-file'\nlisten = '0.0.0.0:80'\n[limits]\npage = 7\n";
        let settings = load(toml, Flags { data_dir: Some("from-flag".into()), ..Flags::default() }).unwrap();
        assert_eq!(settings.data_dir, Path::new("from-flag"));
        assert_eq!(settings.listen.to_string(), "0.0.0.0:80");
        assert_eq!((settings.limits.page, settings.limits.json_depth), (7, 32));
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        for (toml, name) in [("datadir = 'x'", "datadir"), ("[limits]\nbody_byte = 1", "body_byte")] {
            let error = load(toml, Flags::default()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_at_once() {
        assert!(load("[limits]\npage = 0", Flags::default()).unwrap_err().to_string().contains("limits.page"));
        assert!(load("origin = 'Über'", Flags::default()).unwrap_err().to_string().contains("origin"));
        let missing = Flags { config: Some("/nowhere/x.toml".into()), ..Flags::default() };
        assert!(Settings::load(&missing).unwrap_err().to_string().contains("/nowhere/x.toml"));
    }

    #[test]
    fn the_database_url_is_never_printed() {
        let settings = load("database_url = 'postgres://u:hunter2@h/d'", Flags::default()).unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
