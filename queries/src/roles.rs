//! Roles of the city: a tier and what it permits.

use domain::ids::Slug;
use eventlog::sql::Conn;

use crate::page::{Order, page};
use crate::row::row;
use crate::{Page, PageRequest, Result};

row! {
    Role from "roles", scale "null" { role: Slug, tier: String, actions: Vec<String>, mfa_required: bool }
}

/// Roles that were defined, in the order of their names; the seed roles are part of the rules, not of this list.
pub async fn roles(conn: &mut Conn, request: &PageRequest) -> Result<Page<Role>> {
    page(conn, &[], Vec::new(), Order::Text("role"), request, |role: &Role| role.role.to_string()).await
}
