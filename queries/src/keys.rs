//! The API keys of a citizen, without what would let anybody check or guess one.

use domain::ids::{CitizenId, KeyId};
use domain::time::Time;
use eventlog::sql::Conn;

use crate::page::{Order, page};
use crate::row::{find, row, text};
use crate::{Page, PageRequest, Result};

row! {
    /// Absent `actions`: whatever the citizen may do.
    Key from "keys", scale "null" {
        key: KeyId,
        citizen: CitizenId,
        actions: Option<Vec<String>>,
        issued_at: Time,
        expires_at: Option<Time>,
        replaces: Option<KeyId>,
        revoked_at: Option<Time>,
    }
}

/// Keys of one citizen, revoked ones included; the cursor is a key's id.
pub async fn keys(conn: &mut Conn, citizen: CitizenId, request: &PageRequest) -> Result<Page<Key>> {
    page(conn, &["t.citizen = $1"], vec![text(citizen)], Order::Text("key"), request, |key: &Key| key.key.to_string())
        .await
}

pub async fn key(conn: &mut Conn, key: KeyId) -> Result<Option<Key>> {
    find(conn, "where t.key = $1", &[text(key)]).await
}
