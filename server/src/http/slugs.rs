//! Guilds by their slugs where a guild is a holder or a source: they are replaced by the guild's id before anything else is read.

use domain::Code;
use domain::grant::kind::Source;
use domain::ids::{Malformed, Slug};
use domain::party::{HolderId, HolderRef};
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::city::City;

/// The holder that this names.
pub async fn holder(city: &City, field: &str, named: HolderRef) -> Result<HolderId, Problem> {
    match named {
        HolderRef::Id(id) => Ok(id),
        HolderRef::Guild(slug) => match city.guild(&slug).await? {
            Some(guild) => Ok(HolderId::Guild(guild)),
            None => Err(Problem::missing(Code::HolderNotFound, slug).field(field)),
        },
    }
}

/// The source that this names. A guild that is called like one of the city's own sources is only named by its id.
pub async fn source(city: &City, field: &str, text: &str) -> Result<Source, Problem> {
    let malformed: Malformed = match text.parse() {
        Ok(source) => return Ok(source),
        Err(malformed) => malformed,
    };
    let guild = match text.parse::<Slug>() {
        Ok(slug) => city.guild(&slug).await?,
        Err(_) => None,
    };
    guild.map(Source::Guild).ok_or_else(|| Problem::invalid(field, malformed))
}

/// Writes ids where the fields of a command of the inventory have slugs; also of one that is proposed. What is neither is left to
/// whoever reads the command.
pub async fn resolve(city: &City, action: &str, fields: &mut Map<String, Value>) -> Result<(), Problem> {
    if !action.starts_with("grant.") {
        return match fields.get_mut("command") {
            Some(Value::Object(proposed)) => {
                let action = proposed.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
                Box::pin(resolve(city, &action, proposed)).await
            }
            _ => Ok(()),
        };
    }
    for field in ["holder", "to"] {
        holder_in(city, field, fields).await?;
    }
    if let Some(Value::String(text)) = fields.get_mut("source") {
        *text = source(city, "source", text).await?.to_string();
    }
    if let Some(Value::Array(findings)) = fields.get_mut("findings") {
        for finding in findings.iter_mut().filter_map(Value::as_object_mut) {
            holder_in(city, "holder", finding).await?;
        }
    }
    Ok(())
}

async fn holder_in(city: &City, field: &str, fields: &mut Map<String, Value>) -> Result<(), Problem> {
    if let Some(Value::String(text)) = fields.get_mut(field)
        && let Ok(named @ HolderRef::Guild(_)) = text.parse()
    {
        *text = holder(city, field, named).await?.to_string();
    }
    Ok(())
}
