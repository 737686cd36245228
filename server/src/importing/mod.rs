//! Bringing what a source lists into the inventory: what is new, what is confirmed, what is gone, and what nobody here is known for.
//!
//! Invariants:
//! - Memory holds what names each living grant of the domain, a few bytes for each record met, and nothing that grows with what the
//!   source says of them: that waits in a file without a name until the listing has ended.
//! - Nothing is settled before that: a row at the end of the listing may end what one at its beginning lists.
//! - Nothing is taken for gone unless the whole source was listed and understood, and not when so much is gone that the source is the
//!   likelier culprit.

pub mod desk;
mod holders;
mod reading;
mod report;
mod spool;
#[cfg(test)]
mod tests;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use commands::Request;
use domain::Code;
use domain::grant::command::{Finding, ImportCapability};
use domain::grant::kind::{CapabilityKind, CapabilityRef, Source, offered};
use domain::grant::scope::Scope;
use domain::grant::terms::narrowed;
use domain::guild::Status;
use domain::ids::{GrantId, Stream};
use domain::party::HolderId;
use domain::text::Text;
use domain::time::Time;
use domain::turn::State;
use eventlog::Failure;
use identity::Credential;
use serde::{Deserialize, Serialize};
use sources::{KeyedHash, Map};

pub use holders::{Guilds, Holders, Tables};
use reading::Reading;
pub use report::Report;
use work::Work;

use crate::city::City;
use crate::http::now;
use crate::http::problem::Problem;

/// Imports and findings that are sent together, and about how many bytes of them.
const CHUNK: usize = 500;
const CHUNK_BYTES: usize = 256 << 10;

/// A living grant of the domain, as the city knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holding {
    pub grant: GrantId,
    pub holder: HolderId,
    pub kind: CapabilityKind,
    pub reference: CapabilityRef,
    pub scope: Scope,
    pub expires_at: Option<Time>,
}

/// One record on its way into the city: it has not been sealed yet, and goes no further than a private socket.
#[derive(Clone, Serialize, Deserialize)]
pub struct Import {
    pub holder: HolderId,
    pub kind: CapabilityKind,
    #[serde(deserialize_with = "offered")]
    pub reference: CapabilityRef,
    pub source: Source,
    pub read_only: bool,
    pub expires_at: Option<Time>,
    pub details: Option<String>,
}

impl Import {
    pub fn scope(&self) -> Scope {
        Scope { read_only: self.read_only, ..Scope::default() }
    }
}

impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Import({} {} {})", self.holder, self.kind, self.reference)
    }
}

impl From<Import> for ImportCapability {
    fn from(import: Import) -> Self {
        Self {
            scope: import.scope(),
            holder: import.holder,
            kind: import.kind,
            reference: import.reference,
            source: import.source,
            expires_at: import.expires_at,
            details: import.details.map(Text::Plain),
        }
    }
}

/// What became of one import.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    Done,
    AlreadyDone,
    /// Somebody revoked it here.
    Withheld,
    Refused(String),
}

/// What became of a part of an import.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settlement {
    /// One for each import, in their order.
    pub imports: Vec<Settled>,
    /// Grants of findings that had ended by then: nothing was recorded of them.
    pub dead: Vec<GrantId>,
    /// Findings that the rules refused, and why.
    pub refused: Vec<(GrantId, String)>,
}

/// What an import found out about what is held, and since when it has been reading the source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Findings {
    pub asked_at: Time,
    pub all: Vec<Finding>,
}

/// Where imports are settled: a running city, or one that was opened for this.
pub trait Desk: Guilds {
    /// Says no to whoever may not say what this source has, and to others what the time is: by the clock that entries are dated by.
    fn admit(&mut self, source: Source) -> impl Future<Output = anyhow::Result<Time>> + Send;
    fn holdings(
        &mut self,
        source: Source,
        after: Option<GrantId>,
    ) -> impl Future<Output = anyhow::Result<Vec<Holding>>> + Send;
    /// All of one source. `dry`: as it would be, and nothing happens.
    fn settle(
        &mut self,
        source: Source,
        imports: Vec<Import>,
        findings: Findings,
        dry: bool,
    ) -> impl Future<Output = anyhow::Result<Settlement>> + Send;
}

/// Rows of the tables as an importer compares with them.
pub fn holdings(rows: Vec<queries::inventory::Imported>) -> anyhow::Result<Vec<Holding>> {
    let holding = |row: queries::inventory::Imported| {
        let queries::inventory::Imported { grant_id: grant, holder, reference, scope, expires_at, .. } = row;
        Ok(Holding { grant, holder, kind: row.kind.parse()?, reference, scope, expires_at })
    };
    rows.into_iter().map(holding).collect()
}

/// Submits one import; what the rules say to it is an answer, and only failures are problems.
pub async fn submit(city: &City, credential: Credential, import: Import) -> Result<Settled, Problem> {
    let answer = city.pipeline.submit(Request::of(credential, ImportCapability::from(import))).await?;
    Ok(match answer.verdict {
        commands::Verdict::Done => Settled::Done,
        commands::Verdict::AlreadyDone => Settled::AlreadyDone,
        commands::Verdict::Rejected { code, .. } if code == Code::Withheld.as_str() => Settled::Withheld,
        commands::Verdict::Rejected { code, .. } => Settled::Refused(code),
        other => Settled::Refused(format!("{other:?}")),
    })
}

/// What would become of imports, as of now.
pub async fn judge(city: &City, imports: &[Import]) -> Result<Vec<Settled>, Failure> {
    let mut judged = Vec::with_capacity(imports.len());
    for import in imports {
        let state = city.standing.state(Stream::Inventory(import.holder)).await?;
        let State::Inventory(inventory) = state.as_ref() else { continue };
        judged.push(if !import.source.names(&import.reference) {
            Settled::Refused(Code::RefNotOfSource.as_str().to_owned())
        } else if let Some(code) = no_holder(city, import.holder).await? {
            Settled::Refused(code.as_str().to_owned())
        } else if inventory.is_withheld(import.kind, &import.reference, now()) {
            Settled::Withheld
        } else {
            match inventory.named(import.kind, &import.reference).filter(|grant| !grant.is_expired(now())) {
                None => Settled::Done,
                Some(grant) if grant.source() != import.source => {
                    Settled::Refused(Code::GrantExists.as_str().to_owned())
                }
                Some(grant) => {
                    let told = import.scope();
                    let narrowed = narrowed((&grant.scope, grant.expires_at), (&told, import.expires_at)).is_some();
                    if narrowed && grant.parent().is_none() { Settled::Done } else { Settled::AlreadyDone }
                }
            }
        });
    }
    Ok(judged)
}

/// Why nobody can be given anything there.
async fn no_holder(city: &City, holder: HolderId) -> Result<Option<Code>, Failure> {
    let stream = match holder {
        HolderId::Citizen(id) => Stream::Citizen(id),
        HolderId::Guild(id) => Stream::Guild(id),
        HolderId::Squad(_) => Stream::Inventory(holder),
    };
    Ok(match city.standing.state(stream).await?.as_ref() {
        State::Citizen(citizen) if !citizen.exists() => Some(Code::CitizenNotFound),
        State::Guild(guild) if !guild.exists() => Some(Code::GuildNotFound),
        State::Citizen(citizen) if !citizen.is_active() => Some(Code::HolderNotActive),
        State::Guild(guild) if guild.status() != Status::Active => Some(Code::HolderNotActive),
        State::Inventory(inventory) if inventory.of_kind(CapabilityKind::GuildRole).next().is_none() => {
            Some(Code::HolderNotActive)
        }
        _ => None,
    })
}

pub struct Options {
    pub dry_run: bool,
    /// However much is gone, it is gone.
    pub confirm_loss: bool,
    /// How long the source may take to be listed.
    pub patience: Duration,
    /// Where what is listed may be kept meanwhile.
    pub scratch: PathBuf,
}

/// Lists the source, and then settles the difference. `progress` hears how many records were settled, of how many that were met.
pub async fn run(
    map: Map,
    keyed: KeyedHash,
    desk: &mut impl Desk,
    options: &Options,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> anyhow::Result<Report> {
    let source = map.source;
    // Of whoever may not bring it nothing is read.
    let asked_at = desk.admit(source).await?;
    let held = held(desk, source).await?;
    let mut reading = Reading::new(&options.scratch, Report { dry_run: options.dry_run, ..Report::default() })?;
    reading.read(Arc::new(map), keyed, options.patience, desk, progress).await?;
    let Reading { account, spool, report, .. } = reading;
    let mut work = Work::new((source, asked_at), held, account, report);
    let count = spool.count;
    for (number, import) in (1..).zip(spool.read()?) {
        work.take(import?);
        if work.is_full() {
            work.settle(desk).await?;
            progress(number, count);
        }
    }
    work.ended(desk).await?;
    if work.report.unlisted.is_none() {
        work.missing(options.confirm_loss, desk).await?;
    }
    work.settle(desk).await?;
    Ok(work.report)
}

async fn held(desk: &mut impl Desk, source: Source) -> anyhow::Result<Vec<Holding>> {
    let mut held: Vec<Holding> = Vec::new();
    loop {
        let page = desk.holdings(source, held.last().map(|last| last.grant)).await?;
        if page.is_empty() {
            return Ok(held);
        }
        held.extend(page);
    }
}
