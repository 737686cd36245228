//! Questions about the city as a whole, and about the caller's place in it.

use axum::response::Response;
use domain::city::seed_role;
use domain::ids::Stream;
use domain::party::{Actor, Tier};
use domain::turn::State;
use identity::policy::{self, POLICY};
use queries::{currencies as known_currencies, roles as defined_roles};
use serde_json::{Value, json};

use crate::http::asked::{self, Asked};
use crate::http::problem::Problem;
use crate::http::routes::addresses;

/// `GET /v1/whoami`
pub async fn whoami(asked: Asked) -> Result<Response, Problem> {
    asked.nothing_else()?;
    let permit = &asked.caller.permit;
    let Actor::Citizen { kind, id } = permit.actor else { return asked::json(&json!({ "kind": "system" })) };
    let (roles, guilds) = match asked.app.city.standing.state(Stream::Citizen(id)).await?.as_ref() {
        State::Citizen(citizen) => (json!(Vec::from_iter(citizen.roles())), json!(Vec::from_iter(citizen.guilds()))),
        _ => (Value::Null, Value::Null),
    };
    asked::json(&json!({
        "citizen": id,
        "kind": kind,
        "tier": permit.tier,
        "key": permit.via,
        "roles": roles,
        "guilds": guilds,
        "treasury": domain::ids::TreasuryId::of_citizen(id),
    }))
}

/// `GET /v1/actions`: the policy table, where each action is taken, and what of it the caller's tier reaches.
pub async fn actions(asked: Asked) -> Result<Response, Problem> {
    asked.nothing_else()?;
    let tier = asked.caller.permit.tier;
    let line = |(action, lowest): &(&str, Tier)| json!({ "action": action, "lowest_tier": lowest, "reached": *lowest <= tier, "addresses": addresses(action) });
    let actions: Vec<Value> = POLICY.iter().map(line).collect();
    asked::json(&json!({ "version": policy::version(), "actions": actions }))
}

/// `GET /v1/currencies?after=&limit=`
pub async fn currencies(mut asked: Asked) -> Result<Response, Problem> {
    let page = asked.page()?;
    asked.nothing_else()?;
    asked::json(&known_currencies::currencies(&mut asked.views().await?, &page).await?)
}

/// `GET /v1/roles?after=&limit=`: the nine seed roles, then those that were defined.
pub async fn roles(mut asked: Asked) -> Result<Response, Problem> {
    let page = asked.page()?;
    asked.nothing_else()?;
    let seeds: Vec<Value> = Tier::ALL
        .iter()
        .map(|tier| json!({ "role": seed_role(*tier), "tier": tier, "actions": [], "mfa_required": false }))
        .collect();
    let defined = defined_roles::roles(&mut asked.views().await?, &page).await?;
    asked::json(&json!({ "seeds": seeds, "items": defined.items, "next": defined.next }))
}

/// `GET /v1/audit`: what this server is worth as a witness of itself.
pub async fn audit(asked: Asked) -> Result<Response, Problem> {
    asked.nothing_else()?;
    let city = &asked.app.city;
    let head = city.log.head().await?;
    asked::json(&json!({
        "origin": head.origin,
        "size": head.size,
        "key": city.keys.newest().map(|key| key.vkey()),
        "policy_version": policy::version(),
        "version": env!("CARGO_PKG_VERSION"),
        "dev": city.settings.dev,
        "warnings": city.warnings(),
        "views": city.views_reached(),
        "anchors": city.anchoring.status().await.ok(),
    }))
}
