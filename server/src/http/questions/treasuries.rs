//! Questions about money: balances now and as of any moment, statements, what is set aside, and whether it all adds up.

use axum::response::Response;
use domain::Code;
use domain::Time;
use domain::ids::TreasuryId;
use queries::balances::AsOf;
use queries::transfers::Side;
use queries::{conservation as report, holds as held, statement as lines, transfers as offers, treasuries};
use serde::Serialize;
use serde_json::json;

use crate::http::asked::{self, Asked};
use crate::http::opened;
use crate::http::problem::Problem;

/// `GET /v1/treasuries/{treasury}/balances?position=|at=&axis=recorded|effective`
pub async fn balances(mut asked: Asked) -> Result<Response, Problem> {
    let as_of = as_of(&mut asked)?;
    asked.nothing_else()?;
    if let AsOf::Position(position) = as_of {
        let size = asked.app.city.log.head().await?.size;
        if position >= size {
            return Err(Problem::invalid("position", format!("the log has {size} entries so far")));
        }
        asked.reach(position, "position").await?;
    }
    let treasury = existing(&asked).await?;
    let balances = queries::balances::balances(&mut asked.views().await?, treasury.treasury, as_of).await?;
    asked::json(&json!({ "treasury": treasury, "balances": balances }))
}

fn as_of(asked: &mut Asked) -> Result<AsOf, Problem> {
    let (position, at) = (asked.take::<u64>("position")?, asked.take::<Time>("at")?);
    let axis = asked.take::<String>("axis")?;
    match (position, at, axis.as_deref()) {
        (None, None, None) => Ok(AsOf::Now),
        (Some(position), None, None) => Ok(AsOf::Position(position)),
        (None, Some(at), None | Some("recorded")) => Ok(AsOf::Recorded(at)),
        (None, Some(at), Some("effective")) => Ok(AsOf::Effective(at)),
        (Some(_), Some(_), _) => Err(Problem::invalid("at", "either a position or a time")),
        (_, None, Some(_)) => Err(Problem::invalid("axis", "goes with at=")),
        (None, Some(_), Some(_)) => Err(Problem::invalid("axis", "recorded or effective")),
    }
}

/// `GET /v1/treasuries/{treasury}/statement?currency=&recorded_from=&recorded_until=&effective_from=&effective_until=&movements_only=&newest_first=&after=&limit=`
pub async fn statement(mut asked: Asked) -> Result<Response, Problem> {
    let filter = lines::Filter {
        currency: asked.take("currency")?,
        recorded_from: asked.take("recorded_from")?,
        recorded_until: asked.take("recorded_until")?,
        effective_from: asked.take("effective_from")?,
        effective_until: asked.take("effective_until")?,
        movements_only: asked.take("movements_only")?.unwrap_or(false),
        newest_first: asked.take("newest_first")?.unwrap_or(false),
    };
    let page = asked.page()?;
    asked.nothing_else()?;
    let treasury = existing(&asked).await?.treasury;
    let found = lines::statement(&mut asked.views().await?, treasury, &filter, &page).await?;
    opened::json(&asked, &found).await
}

/// `GET /v1/treasuries/{treasury}/holds?state=&after=&limit=`
pub async fn holds(mut asked: Asked) -> Result<Response, Problem> {
    let state = asked.one_of("state", &["open", "reserved", "captured", "released", "expired"])?;
    let page = asked.page()?;
    asked.nothing_else()?;
    let treasury = existing(&asked).await?.treasury;
    let found = held::holds(&mut asked.views().await?, treasury, state, &page).await?;
    opened::json(&asked, &found).await
}

/// `GET /v1/treasuries/{treasury}/transfers?state=&side=sender|receiver&after=&limit=`
pub async fn transfers(mut asked: Asked) -> Result<Response, Problem> {
    let state = asked.one_of("state", &["offered", "accepted", "rejected", "cancelled", "expired"])?;
    let side = match asked.take::<String>("side")?.as_deref() {
        None | Some("sender") => Side::Sender,
        Some("receiver") => Side::Receiver,
        Some(_) => return Err(Problem::invalid("side", "sender or receiver")),
    };
    let page = asked.page()?;
    asked.nothing_else()?;
    let treasury = existing(&asked).await?.treasury;
    let found = offers::transfers(&mut asked.views().await?, treasury, side, state, &page).await?;
    opened::json(&asked, &found).await
}

#[derive(Serialize)]
struct Report {
    /// Whether every currency adds up to zero, as it always must.
    conserved: bool,
    currencies: Vec<report::Conservation>,
    /// How many entries the figures are made from.
    size: u64,
}

/// `GET /v1/conservation`
pub async fn conservation(asked: Asked) -> Result<Response, Problem> {
    asked.nothing_else()?;
    let mut conn = asked.views().await?;
    // One snapshot: the figures are those of this size.
    conn.begin_read().await.map_err(eventlog::Failure::from)?;
    let size = queries::position::size(&mut conn).await?;
    let currencies = report::conservation(&mut conn).await?;
    conn.rollback().await.map_err(eventlog::Failure::from)?;
    asked::json(&Report { conserved: currencies.iter().all(|one| one.conserved), currencies, size })
}

async fn existing(asked: &Asked) -> Result<treasuries::Treasury, Problem> {
    let id: TreasuryId = asked.path("treasury")?;
    let found = treasuries::treasury(&mut asked.views().await?, id).await?;
    found.ok_or_else(|| Problem::missing(Code::TreasuryNotFound, id))
}
