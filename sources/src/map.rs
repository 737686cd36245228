//! The mapping file: where a domain's records are, and who their holders are here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::grant::kind::Source;
use domain::party::HolderRef;
use serde::Deserialize;

use crate::details::shown;
use crate::told::{is_variable, toml_error};

/// One domain: its places, and names of its holders.
#[derive(Debug, Clone)]
pub struct Map {
    pub source: Source,
    pub place: Place,
    /// Whoever has what no name is mapped for.
    pub default: Option<HolderRef>,
    pub holders: BTreeMap<String, HolderRef>,
}

/// Where a domain's records are. All of one domain are listed together: what none of them lists is gone.
#[derive(Debug, Clone)]
pub enum Place {
    /// Files or folders.
    Paths(Vec<PathBuf>),
    Web(Web),
    Database {
        /// The variable of the environment that holds the connection string.
        url_env: String,
        table: String,
    },
}

#[derive(Debug, Clone)]
pub struct Web {
    pub url: String,
    pub location: String,
    /// The variable of the environment that holds the bearer token.
    pub credential_env: String,
    /// Addresses inside private networks are called as well.
    pub allow_private: bool,
    /// The service knows of no pages: one answer is all there is. A page that repeats is never taken for that.
    pub single_page: bool,
    /// The location may have no workflows. Otherwise a list without any was not read.
    pub may_be_empty: bool,
    pub timeout_seconds: u64,
}

/// What is wrong with a mapping file.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error("{path}: {error}")]
    File { path: String, error: std::io::Error },
    #[error("{path}: {what}")]
    Content { path: String, what: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    paths: Vec<PathBuf>,
    url: Option<String>,
    location: Option<String>,
    credential_env: Option<String>,
    #[serde(default)]
    allow_private: bool,
    #[serde(default)]
    single_page: bool,
    #[serde(default)]
    may_be_empty: bool,
    timeout_seconds: Option<u64>,
    database_url_env: Option<String>,
    table: Option<String>,
    default: Option<HolderRef>,
    #[serde(default)]
    holders: BTreeMap<String, HolderRef>,
}

impl Map {
    /// Reads a mapping file. Relative paths in it begin where it lies.
    pub fn read(source: Source, path: &Path) -> Result<Self, MapError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| MapError::File { path: shown(&path.display().to_string()), error })?;
        Self::parse(source, &text, path.parent().unwrap_or(Path::new(".")))
            .map_err(|what| MapError::Content { path: shown(&path.display().to_string()), what: shown(&what) })
    }

    fn parse(source: Source, text: &str, base: &Path) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| toml_error(text, &error))?;
        let Written { default, holders, .. } = &written;
        let (default, holders) = (default.clone(), holders.clone());
        let place = written.place(source, base)?;
        Ok(Self { source, place, default, holders })
    }

    /// The holder whom the map itself has for a record: by the first of its names that is mapped.
    pub fn holder(&self, names: &[String]) -> Option<&HolderRef> {
        names.iter().find_map(|name| self.holders.get(name))
    }
}

impl Written {
    fn place(self, source: Source, base: &Path) -> Result<Place, String> {
        let web = self.url.is_some() || self.location.is_some() || self.credential_env.is_some();
        let database = self.database_url_env.is_some() || self.table.is_some();
        let others =
            |own: bool, name: &str| if own { Err(format!("{name} does not go with {source}")) } else { Ok(()) };
        match source {
            Source::GhlWorkflows => {
                others(!self.paths.is_empty(), "paths")?;
                others(database, "database_url_env")?;
                Ok(Place::Web(Web {
                    url: self.url.ok_or("url is missing: the service's base address")?,
                    location: self.location.ok_or("location is missing: the id of the location")?,
                    credential_env: variable("credential_env", self.credential_env, "the token")?,
                    allow_private: self.allow_private,
                    single_page: self.single_page,
                    may_be_empty: self.may_be_empty,
                    timeout_seconds: self.timeout_seconds.unwrap_or(10).clamp(1, 60),
                }))
            }
            Source::PgConnections => {
                others(!self.paths.is_empty(), "paths")?;
                others(web, "url")?;
                let table = self.table.unwrap_or_else(|| "profile_tool_connections".to_owned());
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
                if table.is_empty() || !table.chars().all(plain) {
                    return Err("table is a plain name, or schema.name".to_owned());
                }
                Ok(Place::Database { url_env: variable("database_url_env", self.database_url_env, "the URL")?, table })
            }
            _ => {
                others(web, "url")?;
                others(database, "database_url_env")?;
                if self.paths.is_empty() {
                    return Err("paths is missing: the files or folders of this domain, all of them".to_owned());
                }
                Ok(Place::Paths(self.paths.into_iter().map(|path| base.join(path)).collect()))
            }
        }
    }
}

/// The name of a variable of the environment. What is no name is not repeated: it may be what the variable should hold.
fn variable(setting: &str, name: Option<String>, holds: &str) -> Result<String, String> {
    let name = name.ok_or_else(|| format!("{setting} is missing: the variable with {holds}"))?;
    if is_variable(&name) {
        return Ok(name);
    }
    Err(format!("{setting} is no name of a variable (letters, digits and _): it names the variable that holds {holds}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(source: Source, text: &str) -> Result<Map, String> {
        Map::parse(source, text, Path::new("/base"))
    }

    #[test]
    fn names_are_looked_up_in_their_order() {
        let (ann, ben) = ("cit_01J80000000000000000000001", "cit_01J80000000000000000000002");
        let text = format!("paths = ['a.json']\ndefault = '{ben}'\n[holders]\nloom = '{ann}'");
        let map = parse(Source::D1Tokens, &text).unwrap();
        let holder = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            map.holder(&names).map(|holder| holder.to_string())
        };
        assert_eq!(holder(&["x", "loom"]).as_deref(), Some(ann));
        assert_eq!(
            (holder(&["x"]), map.default.as_ref().map(|holder| holder.to_string()).as_deref()),
            (None, Some(ben))
        );
        assert!(matches!(&map.place, Place::Paths(paths) if paths == &[PathBuf::from("/base/a.json")]));
    }

    #[test]
    fn nothing_that_stands_in_a_file_which_cannot_be_read_is_repeated() {
        let (token, word) = ("pit-550e8400-e29b-41d4-a716-446655440000", "hunter2-of-the-north");
        let web = "url = 'https://x'\nlocation = 'loc'\n";
        for (source, text, says) in [
            (Source::GhlWorkflows, format!("{web}credential = \"{token}\""), "line 3: unknown field `credential`"),
            (Source::GhlWorkflows, format!("{web}credential = \"{word}\""), "line 3: unknown field `credential`"),
            (Source::GhlWorkflows, format!("{web}credential_env = \"{token}\""), "credential_env is no name"),
            (Source::GhlWorkflows, format!("{web}credential_env = '{word}'"), "credential_env is no name"),
            (Source::GhlWorkflows, format!("{web}credential_env = '{word}"), "line 3: "),
            (Source::GhlWorkflows, format!("{web}allow_private = '{word}'"), "line 3: invalid type"),
            (
                Source::PgConnections,
                format!("database_url = 'postgres://app:{word}@db/x'"),
                "unknown field `database_url`",
            ),
            (
                Source::PgConnections,
                format!("database_url_env = 'postgres://app:{word}@db/x'"),
                "database_url_env is no name",
            ),
            (Source::FsSkills, format!("paths = ['a']\n[holders]\nx = '{word}!'"), "line 3: "),
        ] {
            let what = parse(source, &text).unwrap_err();
            assert!(what.contains(says) && !what.contains(word) && !what.contains(token), "{text}: {what}");
        }
    }

    #[test]
    fn what_is_missing_or_does_not_belong_is_named() {
        for (source, text, says) in [
            (Source::D1Tokens, "", "paths is missing"),
            (Source::D1Tokens, "paths = ['a']\nurl = 'x'", "url does not go"),
            (Source::GhlWorkflows, "url = 'https://x'", "location is missing"),
            (Source::PgConnections, "database_url_env = 'X'\ntable = 'a; drop'", "plain name"),
            (Source::FsSkills, "paths = ['a']\npath = 'b'", "unknown field"),
            (Source::FsSkills, "paths = ['a']\n[holders]\nx = 'Nobody'", "the id of a citizen"),
        ] {
            let what = parse(source, text).unwrap_err();
            assert!(what.contains(says), "{text}: {what}");
        }
    }
}
