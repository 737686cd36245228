//! The log made again from what was kept of it: a database rolled forward, or a new log that continues the old one.
//!
//! Invariants:
//! - Everything that is taken was verified up to a signed root before the first entry is written.
//! - Entries go through the log's one door, with the guards of their batch: killed at any moment, what is there is a log that is shorter,
//!   and the same command goes on.
//! - Nothing that the database has is changed. If it has something else, or more, that is named, and nothing is done.

pub mod continued;
mod forward;
mod kept;
mod restorer;

use std::path::PathBuf;

use anchor::AnchorError;
use eventlog::{Failure, Location, Log};
use serde::Serialize;
use serde_json::json;

use crate::city::{location, open_as};
use crate::config::Settings;
use crate::control::Ending;

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// A folder, or a settings file that names a store; otherwise the store of these settings, and what was published here.
    pub from: Option<PathBuf>,
    /// By whose keys what was kept is believed. Only a city that has its keys can do without.
    pub policy: Option<PathBuf>,
    pub size: Option<u64>,
    /// A file with a checkpoint that somebody else kept.
    pub checkpoint: Option<PathBuf>,
    pub new_origin: Option<String>,
    /// Do it, instead of saying what would be done.
    pub go: bool,
}

/// What was found and done, or would be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Told {
    /// The log that was read.
    pub origin: String,
    pub size: u64,
    pub root: String,
    /// Where the checkpoint that is aimed at lay, and whether the policy's quorum cosigned it; absent when it asks for none.
    pub checkpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witnessed: Option<bool>,
    /// By whose keys all of it is believed: a file, or what this data directory holds.
    pub policy: String,
    /// The anchors, each of which leads to the next; whether none is missing among them.
    pub anchors: usize,
    pub unbroken: bool,
    /// What should be looked at.
    pub remarks: Vec<String>,
    /// Entries that the database had already.
    pub had: u64,
    /// Entries that were written, or would be.
    pub restored: u64,
    /// How many of those have sealed texts, which are in no store.
    pub sealed: u64,
    pub done: bool,
    /// The log that continues it, and the key that signs it from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_key: Option<String>,
    pub lost: Vec<String>,
    pub next: Vec<String>,
}

/// The answer is no.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct No {
    code: &'static str,
    title: &'static str,
    detail: String,
}

impl No {
    fn differs(detail: impl Into<String>) -> Self {
        Self { code: "database_differs", title: "the database holds what the kept log does not", detail: detail.into() }
    }
}

/// Hears which stage is how far, and of how much.
pub type OnStage<'a> = &'a mut (dyn FnMut(&'static str, u64, u64) + Send);

/// Makes the log again, or says what that would do.
pub async fn recover(settings: &Settings, asked: &Asked, on_stage: OnStage<'_>) -> anyhow::Result<Ending> {
    let done = match &asked.new_origin {
        None => forward::run(settings, asked, on_stage).await,
        Some(origin) => continued::run(settings, asked, origin, on_stage).await,
    };
    match done {
        Ok(told) => Ok(Ending::Done(serde_json::to_value(told)?)),
        Err(error) => no(error).map(Ending::Refused),
    }
}

/// What does not hold and what contradicts is an answer; everything else is a failure.
fn no(error: anyhow::Error) -> anyhow::Result<serde_json::Value> {
    let problem = |code: &str, title: &str| json!({ "code": code, "title": title, "detail": format!("{error:#}") });
    if let Some(no) = error.downcast_ref::<No>() {
        return Ok(problem(no.code, no.title));
    }
    match error.downcast_ref::<AnchorError>() {
        Some(AnchorError::Unreadable { .. }) => {
            Ok(problem("archive_unsound", "what was kept of the log does not hold"))
        }
        _ => Err(error),
    }
}

/// The log as it is, changed by nothing; nothing when there is none yet.
async fn existing(settings: &Settings, origin: &str) -> anyhow::Result<Option<Log>> {
    if let Location::Sqlite { dir } = location(settings)
        && !dir.join("log.db").exists()
    {
        return Ok(None);
    }
    match open_as(settings, origin.to_owned()).await {
        Ok(log) => Ok(Some(log)),
        Err(error) => match error.downcast_ref::<Failure>() {
            Some(Failure::Missing(_) | Failure::OldSchema { .. }) => {
                Err(error.context("run `guildhall migrate` first: it makes the schemas that entries go to"))
            }
            _ => Err(error),
        },
    }
}
