//! Questions about guilds: the directory, one guild, its members, what waits for votes, what was decided.

use axum::response::Response;
use domain::Code;
use domain::ids::{GuildId, GuildRef, TreasuryId};
use queries::guilds::{self, Filter, Guild};
use queries::{governance, proposals as open_proposals, roster};
use serde::Serialize;

use crate::http::asked::Asked;
use crate::http::opened;
use crate::http::problem::Problem;

/// `GET /v1/guilds?prefix=&parent=&status=&after=&limit=`
pub async fn list(mut asked: Asked) -> Result<Response, Problem> {
    let prefix = asked.take("prefix")?;
    let status = asked.one_of("status", &["active", "dormant", "dissolving", "dissolved"])?.map(str::to_owned);
    let parent = match asked.take::<GuildRef>("parent")? {
        None => None,
        Some(parent) => Some(find(&asked, &parent).await?.guild),
    };
    let page = asked.page()?;
    asked.nothing_else()?;
    let filter = Filter { prefix, parent, status };
    let found = guilds::directory(&mut asked.views().await?, &filter, &page).await?;
    opened::json(&asked, &found).await
}

#[derive(Serialize)]
struct WithTreasury {
    #[serde(flatten)]
    guild: Guild,
    treasury: TreasuryId,
}

/// `GET /v1/guilds/{guild}`
pub async fn guild(asked: Asked) -> Result<Response, Problem> {
    asked.nothing_else()?;
    let guild = named(&asked).await?;
    let treasury = TreasuryId::of_guild(guild.guild);
    opened::json(&asked, &WithTreasury { guild, treasury }).await
}

/// `GET /v1/guilds/{guild}/members?all=&after=&limit=`
pub async fn members(mut asked: Asked) -> Result<Response, Problem> {
    let all = asked.take::<bool>("all")?.unwrap_or(false);
    let page = asked.page()?;
    asked.nothing_else()?;
    let guild = id(&asked).await?;
    let found = roster::of_guild(&mut asked.views().await?, guild, !all, &page).await?;
    opened::json(&asked, &found).await
}

/// `GET /v1/guilds/{guild}/proposals?state=&after=&limit=`
pub async fn proposals(mut asked: Asked) -> Result<Response, Problem> {
    let states = ["open", "passed", "failed", "rejected", "expired", "withdrawn", "voided"];
    let state = asked.one_of("state", &states)?;
    let page = asked.page()?;
    asked.nothing_else()?;
    let guild = id(&asked).await?;
    let found = open_proposals::proposals(&mut asked.views().await?, guild, state, &page).await?;
    opened::json(&asked, &found).await
}

/// `GET /v1/guilds/{guild}/governance-log?after=&limit=`
pub async fn governance_log(mut asked: Asked) -> Result<Response, Problem> {
    let page = asked.page()?;
    asked.nothing_else()?;
    let guild = id(&asked).await?;
    let found = governance::decisions(&mut asked.views().await?, guild, &page).await?;
    opened::json(&asked, &found).await
}

async fn named(asked: &Asked) -> Result<Guild, Problem> {
    find(asked, &asked.path("guild")?).await
}

async fn id(asked: &Asked) -> Result<GuildId, Problem> {
    named(asked).await.map(|guild| guild.guild)
}

async fn find(asked: &Asked, guild: &GuildRef) -> Result<Guild, Problem> {
    let found = guilds::guild(&mut asked.views().await?, guild).await?;
    found.ok_or_else(|| Problem::missing(Code::GuildNotFound, guild))
}
