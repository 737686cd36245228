//! A small town: one guild with a treasury, its founder, and a service that attests what comes in.

use serde_json::{Value, json};

use crate::courier::{Courier, Reply, Who};

pub const CURRENCY: &str = "USD";
pub const SOURCE: &str = "bank";

pub struct Town {
    pub principal: Who,
    /// Attests deposits from `bank`, and can spend nothing.
    pub attester: Who,
    /// Founder of the guild, and alone decides there.
    pub founder: Who,
    pub founder_id: String,
    pub guild: String,
    pub treasury: String,
}

/// Registers a citizen with a role and a key.
pub async fn citizen(courier: &impl Courier, role: &str, body: Value) -> (String, Who) {
    let principal = courier.principal();
    let id = courier.ask(&principal, "citizen.register", body).await.accepted().stream_of("citizen.registered.v1");
    let assign = json!({"citizen": id, "role": role});
    courier.ask(&principal, "citizen.assign_role", assign).await.accepted();
    let who = courier.issue_key(&id).await;
    (id, who)
}

pub async fn human(courier: &impl Courier, role: &str, name: &str) -> (String, Who) {
    citizen(courier, role, json!({"kind": "human", "name": name})).await
}

/// Founds a guild; its id and its treasury's.
pub async fn guild(courier: &impl Courier, founder: &Who, slug: &str) -> (String, String) {
    let body = json!({"slug": slug, "kind": "project", "name": slug});
    let founded = courier.ask(founder, "guild.found", body).await.accepted();
    (founded.stream_of("guild.founded.v1"), founded.stream_of("treasury.opened.v1"))
}

impl Town {
    pub async fn found(courier: &impl Courier) -> Self {
        let principal = courier.principal();
        let currency = json!({"currency": CURRENCY, "scale": 2});
        courier.ask(&principal, "city.register_currency", currency).await.accepted();
        let (attester_id, attester) = citizen(courier, "partner", json!({"kind": "service", "name": "Bank"})).await;
        let grant = json!({"citizen": attester_id, "source": SOURCE, "currency": CURRENCY});
        courier.ask(&principal, "citizen.grant_attestation", grant).await.accepted();
        let (founder_id, founder) = human(courier, "worker", "Founder").await;
        let (guild, treasury) = guild(courier, &founder, "weavers").await;
        Self { principal, attester, founder, founder_id, guild, treasury }
    }

    /// A body for a deposit into the guild's treasury.
    pub fn deposit(&self, reference: &str, amount: &str) -> Value {
        deposit(&self.treasury, reference, amount)
    }

    /// A body for a withdrawal out of it.
    pub fn withdrawal(&self, reference: &str, amount: &str) -> Value {
        json!({"treasury": self.treasury, "reference": reference, "currency": CURRENCY, "amount": amount})
    }

    /// Pays in, which must succeed.
    pub async fn fund(&self, courier: &impl Courier, reference: &str, amount: &str) -> Reply {
        courier.ask(&self.attester, "treasury.deposit", self.deposit(reference, amount)).await.accepted()
    }
}

pub fn deposit(treasury: &str, reference: &str, amount: &str) -> Value {
    json!({"treasury": treasury, "source": SOURCE, "reference": reference, "currency": CURRENCY, "amount": amount})
}

/// A time this many seconds from now, as commands take it.
pub fn in_seconds(seconds: i64) -> String {
    let now = jiff::Timestamp::now().as_microsecond();
    domain::Time::from_micros(now + seconds * 1_000_000).to_string()
}

/// The treasury of a guild or citizen, which shares its id's ULID.
pub fn of(owner: &str) -> String {
    format!("try_{}", owner.split_once('_').unwrap().1)
}
