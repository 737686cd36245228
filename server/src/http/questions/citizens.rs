//! Questions about citizens: who they are, which guilds they are in, and their keys.

use axum::response::Response;
use domain::ids::CitizenId;
use domain::party::{MemberId, Tier};
use domain::{Code, Rejection};
use queries::{PageRequest, citizens, keys as api_keys, roster};
use serde_json::json;

use crate::http::asked::{self, Asked};
use crate::http::opened;
use crate::http::problem::Problem;

/// `GET /v1/citizens/{citizen}`
pub async fn citizen(asked: Asked) -> Result<Response, Problem> {
    asked.nothing_else()?;
    let id: CitizenId = asked.path("citizen")?;
    let mut conn = asked.views().await?;
    let found = citizens::citizen(&mut conn, id).await?;
    let found = found.ok_or_else(|| Problem::missing(Code::CitizenNotFound, id))?;
    let memberships = roster::of_member(&mut conn, MemberId::Citizen(id), true, &PageRequest::default()).await?;
    let agents = citizens::citizens(&mut conn, Some(id), &PageRequest::default()).await?;
    let agents: Vec<CitizenId> = agents.items.iter().map(|agent| agent.citizen).collect();
    drop(conn);
    let treasury = domain::ids::TreasuryId::of_citizen(id);
    opened::json(
        &asked,
        &json!({ "citizen": found, "treasury": treasury, "memberships": memberships.items, "agents": agents }),
    )
    .await
}

/// `GET /v1/citizens/{citizen}/keys?after=&limit=`: one's own; those of others from coordinator up.
pub async fn keys(mut asked: Asked) -> Result<Response, Problem> {
    let id: CitizenId = asked.path("citizen")?;
    let page = asked.page()?;
    asked.nothing_else()?;
    let permit = &asked.caller.permit;
    if permit.actor.citizen() != Some(id) && permit.tier < Tier::Coordinator {
        return Err(Problem::rejected(&Rejection::new(Code::NotPermitted).detail("keys of others need a coordinator")));
    }
    let mut conn = asked.views().await?;
    if citizens::citizen(&mut conn, id).await?.is_none() {
        return Err(Problem::missing(Code::CitizenNotFound, id));
    }
    asked::json(&api_keys::keys(&mut conn, id, &page).await?)
}
