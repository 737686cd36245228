//! The first start: a principal and their key, made by the city itself, once, and shown once.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context as _, bail};
use commands::{Pipeline, Request, Verdict};
use domain::city::command::FoundCity;
use domain::ids::{CitizenId, Stream};
use domain::key::command::RecoverKey;
use domain::text::Text;
use eventlog::Log;
use identity::{ApiKey, Credential, Pepper, PresentedKey};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{City, DataDir};
use crate::control::Ending;
use crate::http::fresh_key_id;

const NAME: &str = "First principal";
/// Holds the first key from before it is issued until it was shown: a crash in between must not lock everybody out for ever.
const STAGED: &str = "first.key";

/// The first principal, until they have their key.
pub struct FirstPrincipal {
    pub citizen: CitizenId,
    /// The whole key.
    pub api_key: Zeroizing<String>,
}

/// Founds the city unless somebody did. Answers the first key until [`shown`] is called.
pub async fn found(
    log: &Log,
    pipeline: &Pipeline,
    pepper: &Pepper,
    dir: &DataDir,
) -> anyhow::Result<Option<FirstPrincipal>> {
    let staged = match staged(dir)? {
        // Left over from a city that another server founded: it opens nothing.
        Some(staged) if principal(log).await?.is_some() && !is_issued(log, &staged).await? => {
            shown(dir)?;
            None
        }
        other => other,
    };
    if let Some(citizen) = principal(log).await? {
        return Ok(staged.map(|api_key| FirstPrincipal { citizen, api_key }));
    }
    if pipeline.read_only().is_some() {
        return Ok(None);
    }
    let api_key = match staged {
        Some(staged) => staged,
        None => stage(dir)?,
    };
    let presented = PresentedKey::parse(&api_key).with_context(|| dir.file(STAGED).display().to_string())?;
    let command =
        FoundCity { name: Text::Plain(NAME.to_owned()), key: presented.id(), verifier: pepper.verifier(&presented) };
    let answer = pipeline.submit(Request::of(Credential::System, command)).await.context("founding the city")?;
    match &answer.verdict {
        Verdict::Done => {}
        // Another server of the same database was faster, and shows its key.
        Verdict::Rejected { code, .. } if code == domain::Code::CityFounded.as_str() => {
            shown(dir)?;
            return Ok(None);
        }
        other => bail!("the city could not be founded: {other:?}"),
    }
    let citizen = principal(log).await?.context("a founded city names its principal")?;
    Ok(Some(FirstPrincipal { citizen, api_key }))
}

/// A new key for a citizen, without asking for one: whoever can ask this holds the secrets of this machine. The whole key, once.
pub async fn recover_key(city: &City, citizen: Option<CitizenId>) -> anyhow::Result<Ending> {
    let citizen = match citizen {
        Some(citizen) => citizen,
        None => principal(&city.log).await?.context("nobody founded this city")?,
    };
    let api_key = fresh_key_id().and_then(ApiKey::generate).context("drawing the key")?;
    let presented = api_key.presented();
    let verifier = city.standing.pepper().verifier(&presented);
    let command = RecoverKey { key: presented.id(), verifier, citizen };
    let answer = city.pipeline.submit(Request::of(Credential::System, command)).await.context("recovering the key")?;
    Ok(match answer.verdict {
        Verdict::Rejected { code, because, detail, .. } => {
            Ending::Refused(json!({ "code": code, "title": because, "detail": detail }))
        }
        _ => Ending::Done(json!({ "citizen": citizen, "key": presented.id(), "api_key": api_key.expose() })),
    })
}

/// The first key has reached its owner: nothing here keeps it any longer.
pub fn shown(dir: &DataDir) -> anyhow::Result<()> {
    dir.remove(STAGED)
}

async fn is_issued(log: &Log, staged: &str) -> anyhow::Result<bool> {
    // Cut short when it was written: then it was never issued.
    let Ok(presented) = PresentedKey::parse(staged) else { return Ok(false) };
    Ok(!log.read_stream(&presented.id().to_string(), 0, 1).await?.is_empty())
}

fn staged(dir: &DataDir) -> anyhow::Result<Option<Zeroizing<String>>> {
    let path = dir.file(STAGED);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(Zeroizing::new(Zeroizing::new(text).trim().to_owned()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn stage(dir: &DataDir) -> anyhow::Result<Zeroizing<String>> {
    let api_key = fresh_key_id().and_then(ApiKey::generate).context("drawing the first key")?;
    dir.write_new(STAGED, api_key.expose().as_bytes())?;
    Ok(Zeroizing::new(api_key.expose().to_owned()))
}

/// Whom the city was founded with, if it was.
async fn principal(log: &Log) -> anyhow::Result<Option<CitizenId>> {
    let entries = log.read_stream(&Stream::City.to_string(), 0, 1).await?;
    let Some(first) = entries.first() else { return Ok(None) };
    let entry: Value = serde_json::from_slice(&first.bytes).context("the city's first entry")?;
    let principal = entry["data"]["principal"].as_str().context("the city's first entry names its principal")?;
    Ok(Some(principal.parse()?))
}
