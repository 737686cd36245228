//! Who plays: the guild, its fiscal host, the people and the agent who decide, and the service that attests what arrives.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::client::Client;
use super::rows::{OPENING, Row, SOURCES};

pub const CURRENCY: &str = "USD";
/// The source that attests what the guild owned before the file begins.
const OPENING_SOURCE: &str = "opening-balance";

/// A citizen with a key of their own.
pub struct Citizen {
    pub id: String,
    pub key: String,
}

/// Everybody and everything the file needs.
pub struct Cast {
    /// Treasury of the guild `prettier`.
    pub guild: String,
    /// Treasury of the guild `fiscal-host`.
    pub host: String,
    /// Founder of `prettier`, and one of its three ratifiers.
    pub maintainer: Citizen,
    /// A ratifier.
    pub treasurer: Citizen,
    /// An agent: keeps the books, proposes every payment, and is a ratifier.
    pub bookkeeper: Citizen,
    /// Founder and decider of the host.
    pub host_manager: Citizen,
    /// A service: attests what processors report, and can spend nothing.
    pub bridge: Citizen,
    /// The first principal's key.
    pub principal: String,
    /// Commands that it took to get here.
    pub commands: u64,
}

/// Sends one command after the other, each under a key of its own, and counts them.
struct Setup<'a> {
    client: &'a Client,
    sent: u64,
}

impl Setup<'_> {
    async fn send(&mut self, key: &str, path: &str, body: Value) -> anyhow::Result<super::client::Answer> {
        self.sent += 1;
        self.client.command(key, path, &format!("demo-setup-{}", self.sent), &body).await
    }

    async fn citizen(&mut self, principal: &str, role: &str, body: Value) -> anyhow::Result<Citizen> {
        let registered = self.send(principal, "/citizens", body).await?;
        let id = registered.stream_of("citizen.registered.v1")?.to_owned();
        self.send(principal, &format!("/citizens/{id}/roles"), json!({"role": role})).await?;
        let issued = self.send(principal, "/keys", json!({"citizen": id})).await?;
        let secret = issued.more.values().find_map(|value| value.as_str().filter(|text| text.starts_with("gh_")));
        let key = secret.context("the answer to a new key does not show it")?.to_owned();
        Ok(Citizen { id, key })
    }

    async fn guild(&mut self, founder: &Citizen, slug: &str, kind: &str, name: &str) -> anyhow::Result<String> {
        let founded = self.send(&founder.key, "/guilds", json!({"slug": slug, "kind": kind, "name": name})).await?;
        Ok(founded.stream_of("treasury.opened.v1")?.to_owned())
    }
}

/// Founds everything, and pays in what the guild owned before the file begins.
pub async fn assemble(client: &Client, principal: &str, first: &Row) -> anyhow::Result<Cast> {
    let mut setup = Setup { client, sent: 0 };
    let register = json!({"currency": CURRENCY, "scale": 2});
    setup.send(principal, "/currencies", register).await?;

    let human = |name: &str| json!({"kind": "human", "name": name});
    let maintainer = setup.citizen(principal, "worker", human("The maintainer")).await?;
    let treasurer = setup.citizen(principal, "customer", human("The treasurer")).await?;
    let host_manager = setup.citizen(principal, "worker", human("The host's manager")).await?;
    let instructions = chain::hex::encode(&chain::hash::sha256(&[b"Book every row. Propose what is to be paid."]).0);
    let facts = json!({"operator": maintainer.id, "model_family": "bookkeeping", "instructions": instructions});
    let agent = json!({"kind": "agent", "name": "The bookkeeper", "agent": facts});
    let bookkeeper = setup.citizen(principal, "customer", agent).await?;
    let bridge = setup.citizen(principal, "partner", json!({"kind": "service", "name": "Payment bridge"})).await?;
    for source in SOURCES.into_iter().chain([OPENING_SOURCE]) {
        let grant = json!({"source": source, "currency": CURRENCY});
        setup.send(principal, &format!("/citizens/{}/attestations", bridge.id), grant).await?;
    }

    let guild = setup.guild(&maintainer, "prettier", "project", "Prettier").await?;
    let host = setup.guild(&host_manager, "fiscal-host", "company", "The fiscal host").await?;
    for (member, rank) in [(&treasurer, "coordinator"), (&bookkeeper, "operator")] {
        let body = json!({"member": member.id, "rank": rank, "scopes": ["finance"]});
        setup.send(&maintainer.key, "/guilds/prettier/members", body).await?;
    }
    // Each side takes the other's transfers without being asked: the fees, and what comes back.
    let host_pays = json!({"from": [host]});
    setup.send(&maintainer.key, &format!("/treasuries/{guild}/auto-accept"), host_pays).await?;
    let from_guild = json!({"from": [guild]});
    setup.send(&host_manager.key, &format!("/treasuries/{host}/auto-accept"), from_guild).await?;

    let ratifiers = [&maintainer.id, &treasurer.id, &bookkeeper.id];
    let governance = json!({
        "default": {"tier": "consensus", "ratifiers": {"members": ratifiers}, "needed": 2},
        "mandates": [{"id": "host-fee", "payee": host, "basis_points": 1000, "period_days": 366}],
    });
    setup.send(&maintainer.key, "/guilds/prettier/governance", json!({"governance": governance})).await?;

    let day = first.at.get(..10).context("a time begins with its day")?;
    let opening = json!({
        "source": OPENING_SOURCE,
        "reference": "balance before the first row",
        "currency": CURRENCY,
        "amount": OPENING.to_string(),
        "effective_at": format!("{day}T00:00:00Z"),
    });
    setup.send(&bridge.key, &format!("/treasuries/{guild}/deposits"), opening).await?;
    Ok(Cast {
        guild,
        host,
        maintainer,
        treasurer,
        bookkeeper,
        host_manager,
        bridge,
        principal: principal.to_owned(),
        commands: setup.sent,
    })
}
