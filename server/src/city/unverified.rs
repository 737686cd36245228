//! Living grants that nobody will ask after: their source has no mapping file in the settings, so they go stale within a day.

use std::collections::BTreeMap;

use eventlog::sql::Conn;

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
