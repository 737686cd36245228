//! The guild directory, and one guild by id or slug.

use domain::ids::{GuildId, GuildRef, Slug};
use domain::text::{Digest, Sealed};
use domain::time::Time;
use eventlog::sql::Conn;
use serde_json::Value;

use crate::page::{Order, page};
use crate::row::{find, row, text};
use crate::{Page, PageRequest, Result};

row! {
    /// `status`: active, dormant, dissolving, dissolved.
    Guild from "guild_directory", scale "null" {
        guild: GuildId,
        slug: Slug,
        kind: String,
        name: Sealed,
        status: String,
        leaderless: bool,
        parent: Option<GuildId>,
        proposed_parent: Option<GuildId>,
        charter_version: u64,
        charter_digest: Option<Digest>,
        charter_location: Option<Sealed>,
        ranks: Value,
        governance: Value,
        dissolution: Option<Value>,
        founded_at: Time,
    }
}

/// Which guilds.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The beginning of the slug.
    pub prefix: Option<String>,
    pub parent: Option<GuildId>,
    pub status: Option<String>,
}

/// Guilds in the order of their slugs; the cursor is a slug.
pub async fn directory(conn: &mut Conn, filter: &Filter, request: &PageRequest) -> Result<Page<Guild>> {
    let (mut conditions, mut params) = (Vec::new(), Vec::new());
    if let Some(prefix) = &filter.prefix {
        params.push(text(prefix));
        conditions.push(format!("t.slug >= ${}", params.len()));
        // `{` follows `z`, the last character that a slug can have.
        params.push(text(format_args!("{prefix}{{")));
        conditions.push(format!("t.slug < ${}", params.len()));
    }
    if let Some(parent) = filter.parent {
        params.push(text(parent));
        conditions.push(format!("t.parent = ${}", params.len()));
    }
    if let Some(status) = &filter.status {
        params.push(text(status));
        conditions.push(format!("t.status = ${}", params.len()));
    }
    let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
    page(conn, &conditions, params, Order::Text("slug"), request, |guild: &Guild| guild.slug.to_string()).await
}

pub async fn guild(conn: &mut Conn, guild: &GuildRef) -> Result<Option<Guild>> {
    match guild {
        GuildRef::Id(id) => find(conn, "where t.guild = $1", &[text(id)]).await,
        GuildRef::Slug(slug) => find(conn, "where t.slug = $1", &[text(slug)]).await,
    }
}
