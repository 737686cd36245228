//! Bringing what a source lists into the inventory: what is new, what is confirmed, what is gone, and what nobody here is known for.
//!
//! Invariants:
//! - Memory holds a few bytes for each living grant of the domain, and nothing that grows with what the source says of them.
//! - Nothing is taken for gone unless the whole source was listed, and not when so much is gone that the source is the likelier culprit.

mod holders;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use commands::Request;
use domain::Code;
use domain::grant::command::{Finding, ImportCapability, Verdict};
use domain::grant::kind::{CapabilityKind, CapabilityRef, Source};
use domain::grant::scope::Scope;
use domain::ids::{GrantId, InventoryId, Stream};
use domain::party::HolderId;
use domain::text::Text;
use domain::time::Time;
use domain::turn::State;
use eventlog::Failure;
use identity::Credential;
use serde::{Deserialize, Serialize};
use sources::{Item, KeyedHash, Life, Listed, Map, Sink};
use tokio::sync::mpsc;

pub use holders::{Guilds, Holders, Tables};

use crate::city::City;
use crate::http::problem::Problem;

/// Imports and findings that are sent together, and about how many bytes of them.
const CHUNK: usize = 500;
const CHUNK_BYTES: usize = 256 << 10;
/// Most lines of one kind that a report keeps; the numbers count all.
const MOST_LINES: usize = 10_000;

/// A living grant of the domain, as the city knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holding {
    pub grant: GrantId,
    pub holder: HolderId,
    pub kind: CapabilityKind,
    pub reference: CapabilityRef,
}

/// One record on its way into the city: it has not been sealed yet, and goes no further than a private socket.
#[derive(Clone, Serialize, Deserialize)]
pub struct Import {
    pub holder: HolderId,
    pub kind: CapabilityKind,
    pub reference: CapabilityRef,
    pub source: Source,
    pub read_only: bool,
    pub expires_at: Option<Time>,
    pub details: Option<String>,
}

impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Import({} {} {})", self.holder, self.kind, self.reference)
    }
}

impl From<Import> for ImportCapability {
    fn from(import: Import) -> Self {
        Self {
            holder: import.holder,
            kind: import.kind,
            reference: import.reference,
            source: import.source,
            scope: Scope { read_only: import.read_only, ..Scope::default() },
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

/// Where imports are settled: a running city, or one that was opened for this.
pub trait Desk: Guilds {
    fn holdings(
        &mut self,
        source: Source,
        after: Option<GrantId>,
    ) -> impl Future<Output = anyhow::Result<Vec<Holding>>> + Send;
    /// One answer for each import. `dry`: as it would be, and nothing happens.
    fn settle(
        &mut self,
        imports: Vec<Import>,
        findings: Vec<Finding>,
        dry: bool,
    ) -> impl Future<Output = anyhow::Result<Vec<Settled>>> + Send;
}

/// One line of the difference that an import makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub what: &'static str,
    pub holder: HolderId,
    pub kind: CapabilityKind,
    #[serde(rename = "ref")]
    pub reference: CapabilityRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// A row that cost itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub place: String,
    pub what: String,
}

/// What an import came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub listed: u64,
    pub added: u64,
    pub confirmed: u64,
    pub ended: u64,
    pub gone: u64,
    pub withheld: u64,
    pub unmapped: u64,
    pub refused: u64,
    pub wrong: u64,
    /// What the source lists as ended, and is not held.
    pub ignored: u64,
    /// Why the source could not be listed to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlisted: Option<String>,
    /// Living grants that the source does not list, too many to believe it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    pub dry_run: bool,
    pub changes: Vec<Change>,
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether somebody should look.
    pub fn is_clean(&self) -> bool {
        self.unmapped + self.refused + self.wrong == 0 && self.unlisted.is_none() && self.lost.is_none()
    }

    fn change(&mut self, what: &'static str, import: &Named, because: Option<String>) {
        if self.changes.len() < MOST_LINES {
            let Named { holder, kind, reference } = import.clone();
            self.changes.push(Change { what, holder, kind, reference, because });
        }
    }

    fn row(&mut self, place: String, what: String) {
        if self.rows.len() < MOST_LINES {
            self.rows.push(Row { place, what });
        }
    }
}

#[derive(Debug, Clone)]
struct Named {
    holder: HolderId,
    kind: CapabilityKind,
    reference: CapabilityRef,
}

impl Named {
    /// What stands for it in memory.
    fn key(&self) -> u128 {
        let text = format!("{}\n{}\n{}", self.holder, self.kind, self.reference);
        let digest = chain::hash::sha256(&[text.as_bytes()]).0;
        u128::from_be_bytes(digest[..16].try_into().expect("16 of 32 bytes"))
    }
}

/// Rows of the tables as an importer compares with them.
pub fn holdings(rows: Vec<queries::inventory::Imported>) -> anyhow::Result<Vec<Holding>> {
    let holding = |row: queries::inventory::Imported| {
        Ok(Holding { grant: row.grant_id, holder: row.holder, kind: row.kind.parse()?, reference: row.reference })
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
        let state = city.standing.state(Stream::Inventory(InventoryId::of(import.holder))).await?;
        judged.push(match state.as_ref() {
            State::Inventory(inventory) if inventory.is_withheld(import.kind, &import.reference) => Settled::Withheld,
            State::Inventory(inventory) if inventory.named(import.kind, &import.reference).is_some() => {
                Settled::Refused(Code::GrantExists.as_str().to_owned())
            }
            _ => Settled::Done,
        });
    }
    Ok(judged)
}

pub struct Options {
    pub dry_run: bool,
    /// However much is gone, it is gone.
    pub confirm_loss: bool,
}

/// Lists the source and settles the difference. `progress` hears how many records were met.
pub async fn run(
    map: Map,
    keyed: KeyedHash,
    desk: &mut impl Desk,
    options: &Options,
    progress: &(dyn Fn(u64) + Sync),
) -> anyhow::Result<Report> {
    let map = Arc::new(map);
    let mut work = Work {
        held: held(desk, map.source).await?,
        seen: HashSet::new(),
        living: 0,
        holders: Holders::default(),
        imports: Vec::new(),
        findings: Vec::new(),
        bytes: 0,
        report: Report { dry_run: options.dry_run, ..Report::default() },
        dry: options.dry_run,
    };
    let (sender, mut items) = mpsc::channel(CHUNK);
    let listing = {
        let (map, sink) = (Arc::clone(&map), Sink::new(sender));
        tokio::spawn(async move { sources::list(&map, &keyed, &sink).await })
    };
    while let Some(item) = items.recv().await {
        work.report.listed += 1;
        progress(work.report.listed);
        match item {
            Item::Wrong { place, what } => {
                work.report.wrong += 1;
                work.report.row(place, what);
            }
            Item::Listed(listed) => work.meet(*listed, &map, desk).await?,
        }
        if work.imports.len() + work.findings.len() >= CHUNK || work.bytes >= CHUNK_BYTES {
            work.settle(desk).await?;
        }
    }
    match listing.await? {
        Ok(()) => work.missing(options.confirm_loss, desk).await?,
        Err(unlisted) => work.report.unlisted = Some(unlisted.to_string()),
    }
    work.settle(desk).await?;
    Ok(work.report)
}

async fn held(desk: &mut impl Desk, source: Source) -> anyhow::Result<HashMap<u128, Holding>> {
    let mut held = HashMap::new();
    let mut after = None;
    loop {
        let page = desk.holdings(source, after).await?;
        let Some(last) = page.last() else { return Ok(held) };
        after = Some(last.grant);
        for holding in page {
            let Holding { holder, kind, reference, .. } = holding.clone();
            held.insert(Named { holder, kind, reference }.key(), holding);
        }
    }
}

struct Work {
    /// Living here, and not met in the source yet.
    held: HashMap<u128, Holding>,
    seen: HashSet<u128>,
    /// Met as living, or ended by the source's own word.
    living: u64,
    holders: Holders,
    imports: Vec<Import>,
    findings: Vec<Finding>,
    bytes: usize,
    report: Report,
    dry: bool,
}

impl Work {
    async fn meet(&mut self, listed: Listed, map: &Map, desk: &mut impl Desk) -> anyhow::Result<()> {
        let Some(holder) = self.holders.of(map, &listed, desk).await? else {
            self.report.unmapped += 1;
            let names = listed.names.join(", ");
            self.report.row(listed.place, format!("unmapped_holder: the map names none of {names}"));
            return Ok(());
        };
        let named = Named { holder, kind: listed.kind, reference: listed.reference.clone() };
        let key = named.key();
        if !self.seen.insert(key) {
            self.report.wrong += 1;
            self.report.row(listed.place, format!("a second {} {} of {holder}", named.kind, named.reference));
            return Ok(());
        }
        let held = self.held.remove(&key);
        // What is new says nothing about how much of the old was lost.
        self.living += u64::from(held.is_some());
        match (listed.life, held) {
            (Life::Living, Some(held)) => {
                self.report.confirmed += 1;
                self.find(held.holder, held.grant, Verdict::Alive);
            }
            (Life::Living, None) => {
                self.bytes += listed.details.as_ref().map_or(0, String::len) + 300;
                self.imports.push(Import {
                    holder,
                    kind: listed.kind,
                    reference: listed.reference,
                    source: map.source,
                    read_only: listed.read_only,
                    expires_at: listed.expires_at,
                    details: listed.details,
                });
            }
            (ended, Some(held)) => {
                self.report.ended += 1;
                let (what, verdict) =
                    if ended == Life::Expired { ("expired", Verdict::Expired) } else { ("revoked", Verdict::Revoked) };
                self.report.change(what, &named, None);
                self.find(held.holder, held.grant, verdict);
            }
            (_, None) => self.report.ignored += 1,
        }
        Ok(())
    }

    fn find(&mut self, holder: HolderId, grant: GrantId, verdict: Verdict) {
        self.bytes += 100;
        self.findings.push(Finding { holder, grant, verdict });
    }

    /// What was not met is gone; unless that is so much that the source is not to be believed.
    async fn missing(&mut self, confirmed: bool, desk: &mut impl Desk) -> anyhow::Result<()> {
        let missing = std::mem::take(&mut self.held);
        if missing.is_empty() {
            return Ok(());
        }
        let (lost, all) = (missing.len() as u64, missing.len() as u64 + self.living);
        if !confirmed && (self.living == 0 || lost * 5 > all) {
            self.report.lost = Some(lost);
            return Ok(());
        }
        let mut missing: Vec<Holding> = missing.into_values().collect();
        missing.sort_by_key(|holding| holding.grant);
        for Holding { grant, holder, kind, reference } in missing {
            self.report.gone += 1;
            self.report.change("gone", &Named { holder, kind, reference }, None);
            self.find(holder, grant, Verdict::Gone);
            if self.findings.len() >= CHUNK {
                self.settle(desk).await?;
            }
        }
        Ok(())
    }

    async fn settle(&mut self, desk: &mut impl Desk) -> anyhow::Result<()> {
        let (imports, findings) = (std::mem::take(&mut self.imports), std::mem::take(&mut self.findings));
        self.bytes = 0;
        if imports.is_empty() && findings.is_empty() {
            return Ok(());
        }
        let named: Vec<Named> = imports
            .iter()
            .map(|import| Named { holder: import.holder, kind: import.kind, reference: import.reference.clone() })
            .collect();
        let settled = desk.settle(imports, findings, self.dry).await?;
        anyhow::ensure!(settled.len() == named.len(), "the city answered otherwise than it was asked");
        for (named, settled) in named.iter().zip(settled) {
            match settled {
                Settled::Done => {
                    self.report.added += 1;
                    self.report.change("added", named, None);
                }
                Settled::AlreadyDone => self.report.confirmed += 1,
                Settled::Withheld => {
                    self.report.withheld += 1;
                    self.report.change("withheld", named, None);
                }
                Settled::Refused(code) => {
                    self.report.refused += 1;
                    self.report.change("refused", named, Some(code));
                }
            }
        }
        Ok(())
    }
}
