//! Citizens, with roles and attestations; names as commitments.

use domain::ids::{CitizenId, Slug};
use domain::text::{Digest, Sealed};
use domain::time::Time;
use eventlog::sql::Conn;
use serde_json::Value;

use crate::page::{Order, page};
use crate::row::{find, row, text};
use crate::{Page, PageRequest, Result};

row! {
    /// `status`: active, suspended, deprovisioned. `attestations`: pairs of source and currency.
    Citizen from "citizens", scale "null" {
        citizen: CitizenId,
        kind: String,
        name: Sealed,
        status: String,
        operator: Option<CitizenId>,
        model_family: Option<Slug>,
        instructions: Option<Digest>,
        roles: Vec<String>,
        attestations: Value,
        registered_at: Time,
    }
}

pub async fn citizen(conn: &mut Conn, citizen: CitizenId) -> Result<Option<Citizen>> {
    find(conn, "where t.citizen = $1", &[text(citizen)]).await
}

/// All citizens, or the agents of one operator; the cursor is a citizen's id.
pub async fn citizens(conn: &mut Conn, operator: Option<CitizenId>, request: &PageRequest) -> Result<Page<Citizen>> {
    let (conditions, params): (&[&str], _) = match operator {
        Some(operator) => (&["t.operator = $1"], vec![text(operator)]),
        None => (&[], Vec::new()),
    };
    page(conn, conditions, params, Order::Text("citizen"), request, |citizen: &Citizen| citizen.citizen.to_string())
        .await
}
