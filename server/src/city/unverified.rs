//! Living grants that nobody will ask after: their source has no mapping file in the settings, or none that can be used, so they go stale
//! within a day.

use std::collections::BTreeMap;

use domain::grant::kind::Source;
use eventlog::sql::Conn;
use sources::{Map, Place, shown};

use crate::config::Sources;

/// How many of each source, by its name.
pub async fn unverified(sources: &Sources, conn: &mut Conn) -> queries::Result<BTreeMap<String, u64>> {
    let living = queries::inventory::living_by_source(conn).await?;
    let unconfigured = living.into_iter().filter(|(source, _)| sources.map(*source).is_none());
    Ok(unconfigured.map(|(source, count)| (source.to_string(), count)).collect())
}

/// What to say of one of them.
pub fn told(source: &str, count: u64) -> String {
    let setting = source.parse().map_or("none", Sources::setting);
    format!(
        "{source}: {count} living grants, and no mapping file ({setting}): nobody verifies them, and they go stale within 24 hours"
    )
}

/// What is wrong with the mapping files that the settings name: nothing of these sources can be verified. A service or a database is
/// asked when it is listed, and not here.
pub fn unusable(sources: &Sources) -> Vec<String> {
    let told = |source: Source| {
        let path = sources.map(source)?;
        let what = match Map::read(source, path) {
            Err(error) => error.to_string(),
            Ok(Map { place: Place::Paths(paths), .. }) => {
                let missing: Vec<String> =
                    paths.iter().filter(|path| !path.exists()).map(|path| shown(&path.display().to_string())).collect();
                if missing.is_empty() {
                    return None;
                }
                format!("{} names what is not there: {}", path.display(), missing.join(", "))
            }
            Ok(_) => return None,
        };
        let setting = Sources::setting(source);
        Some(format!("{source}: its mapping file ({setting}) cannot be used, so nobody verifies its grants: {what}"))
    };
    Source::IMPORTED.into_iter().filter_map(told).collect()
}
