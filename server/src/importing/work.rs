//! What was listed compared with what is held, and settled piece by piece.

use std::collections::{HashMap, HashSet};

use domain::Code;
use domain::grant::command::{Finding, Verdict};
use domain::grant::kind::{CapabilityKind, CapabilityRef, Source};
use domain::grant::terms::narrowed;
use domain::ids::GrantId;
use domain::party::HolderId;
use domain::time::Time;
use sources::{Account, is_too_much};

use crate::http::now;

use super::{CHUNK, CHUNK_BYTES, Desk, Findings, Holding, Import, Report, Settled};

/// An id that looks like a holder's need not be anybody's.
const NOBODY: [Code; 2] = [Code::CitizenNotFound, Code::GuildNotFound];

#[derive(Debug, Clone)]
pub(super) struct Named {
    pub holder: HolderId,
    pub kind: CapabilityKind,
    pub reference: CapabilityRef,
}

fn named(import: &Import) -> Named {
    Named { holder: import.holder, kind: import.kind, reference: import.reference.clone() }
}

/// A finding on its way, and what it is about.
struct Found {
    finding: Finding,
    named: Named,
}

/// An import on its way, and whether it is one of terms that got narrower.
struct Pending {
    import: Import,
    narrows: bool,
}

pub(super) struct Work {
    source: Source,
    asked_at: Time,
    /// Living here, and not met in what was listed yet.
    held: HashMap<u128, Holding>,
    /// How many were living here when it began.
    all: u64,
    /// Of the whole listing.
    account: Account,
    imports: Vec<Pending>,
    findings: Vec<Found>,
    bytes: usize,
    pub report: Report,
}

impl Work {
    pub fn new((source, asked_at): (Source, Time), held: Vec<Holding>, account: Account, report: Report) -> Self {
        let key = |held: &Holding| Account::key(held.holder, held.kind, &held.reference);
        let now = now();
        // What is past its end here is not held, whether or not that is on record yet.
        let held: Vec<Holding> = held.into_iter().filter(|held| held.expires_at.is_none_or(|end| end > now)).collect();
        Self {
            source,
            asked_at,
            all: held.len() as u64,
            held: held.into_iter().map(|holding| (key(&holding), holding)).collect(),
            account,
            imports: Vec::new(),
            findings: Vec::new(),
            bytes: 0,
            report,
        }
    }

    /// Whether it is time to settle.
    pub fn is_full(&self) -> bool {
        self.imports.len() + self.findings.len() >= CHUNK || self.bytes >= CHUNK_BYTES
    }

    /// What was listed of one capability, by the first of its rows.
    pub fn take(&mut self, import: Import) {
        let verdict = self.account.verdict(import.holder, import.kind, &import.reference);
        let held = self.held.remove(&Account::key(import.holder, import.kind, &import.reference));
        match (verdict, held) {
            (Verdict::Alive, Some(held)) => {
                self.find(named(&import), held.grant, Verdict::Alive);
                let told = import.scope();
                if narrowed((&held.scope, held.expires_at), (&told, import.expires_at)).is_some() {
                    self.imports.push(Pending { import: Import { details: None, ..import }, narrows: true });
                }
            }
            (Verdict::Alive, None) => {
                self.bytes += import.details.as_ref().map_or(0, String::len) + 300;
                self.imports.push(Pending { import, narrows: false });
            }
            // Its row is among the wrong ones.
            (Verdict::Unknown(_), None) => {}
            (ended, Some(held)) => self.find(named(&import), held.grant, ended),
            (_, None) => self.report.ignored += 1,
        }
    }

    fn find(&mut self, named: Named, grant: GrantId, verdict: Verdict) {
        self.bytes += 100;
        self.findings.push(Found { finding: Finding { holder: named.holder, grant, verdict }, named });
    }

    /// What a row that was not understood says has ended, whoever holds it and whatever else was read.
    pub async fn ended(&mut self, desk: &mut impl Desk) -> anyhow::Result<()> {
        let account = &self.account;
        let verdict = |held: &Holding| account.verdict(held.holder, held.kind, &held.reference);
        let is_ended = |held: &Holding| matches!(verdict(held), Verdict::Revoked | Verdict::Expired);
        let ended = self.held.extract_if(|_, held| is_ended(held));
        let mut ended: Vec<(Verdict, Holding)> = ended.map(|(_, held)| (verdict(&held), held)).collect();
        ended.sort_by_key(|(_, holding)| holding.grant);
        for (verdict, Holding { grant, holder, kind, reference, .. }) in ended {
            self.find(Named { holder, kind, reference }, grant, verdict);
            if self.is_full() {
                self.settle(desk).await?;
            }
        }
        Ok(())
    }

    /// What was not met is gone, if all that was listed was understood; unless that is so much that the source is not to be believed.
    pub async fn missing(&mut self, confirmed: bool, desk: &mut impl Desk) -> anyhow::Result<()> {
        if confirmed {
            self.account.overlook();
        }
        let missing = std::mem::take(&mut self.held).into_values();
        let is_gone = |held: &Holding| self.account.verdict(held.holder, held.kind, &held.reference) == Verdict::Gone;
        let (mut gone, unknown): (Vec<Holding>, Vec<Holding>) = missing.partition(is_gone);
        self.report.unknown = unknown.len() as u64;
        if !confirmed && is_too_much(gone.len() as u64, self.all) {
            self.report.lost = Some(gone.len() as u64);
            return Ok(());
        }
        gone.sort_by_key(|holding| holding.grant);
        for Holding { grant, holder, kind, reference, .. } in gone {
            self.find(Named { holder, kind, reference }, grant, Verdict::Gone);
            if self.is_full() {
                self.settle(desk).await?;
            }
        }
        Ok(())
    }

    pub async fn settle(&mut self, desk: &mut impl Desk) -> anyhow::Result<()> {
        let (pending, found) = (std::mem::take(&mut self.imports), std::mem::take(&mut self.findings));
        self.bytes = 0;
        if pending.is_empty() && found.is_empty() {
            return Ok(());
        }
        let (mut named, mut imports) = (Vec::with_capacity(pending.len()), Vec::with_capacity(pending.len()));
        for Pending { import, narrows } in pending {
            named.push((self::named(&import), narrows));
            imports.push(import);
        }
        let all = found.iter().map(|found| found.finding.clone()).collect();
        let findings = Findings { asked_at: self.asked_at, all };
        let settled = desk.settle(self.source, imports, findings, self.report.dry_run).await?;
        anyhow::ensure!(settled.imports.len() == named.len(), "the city answered otherwise than it was asked");
        for ((named, narrows), settled) in named.iter().zip(settled.imports) {
            self.count(named, *narrows, settled);
        }
        let mut unrecorded: HashSet<GrantId> = settled.dead.iter().copied().collect();
        self.report.overtaken += settled.dead.len() as u64;
        for (grant, code) in settled.refused {
            self.report.refused += 1;
            self.report.row(grant.to_string(), code);
            unrecorded.insert(grant);
        }
        for Found { finding, named } in found {
            if !unrecorded.contains(&finding.grant) {
                self.count_finding(&named, finding.verdict);
            }
        }
        Ok(())
    }

    fn count_finding(&mut self, named: &Named, verdict: Verdict) {
        let (number, what) = match verdict {
            Verdict::Alive => return self.report.confirmed += 1,
            // Of what is not known nothing is found.
            Verdict::Unknown(_) => return,
            Verdict::Gone => (&mut self.report.gone, "gone"),
            Verdict::Revoked => (&mut self.report.ended, "revoked"),
            Verdict::Expired => (&mut self.report.ended, "expired"),
        };
        *number += 1;
        self.report.change(what, named, None);
    }

    fn count(&mut self, named: &Named, narrows: bool, settled: Settled) {
        match settled {
            Settled::Done if narrows => {
                self.report.narrowed += 1;
                self.report.change("narrowed", named, None);
            }
            Settled::Done => {
                self.report.added += 1;
                self.report.change("added", named, None);
            }
            Settled::AlreadyDone if narrows => {}
            Settled::AlreadyDone => self.report.confirmed += 1,
            Settled::Withheld => {
                self.report.withheld += 1;
                self.report.change("withheld", named, None);
            }
            Settled::Refused(code) if NOBODY.iter().any(|nobody| nobody.as_str() == code) => {
                self.report.unmapped += 1;
                let what = format!("unmapped_holder: {} is nobody here", named.holder);
                self.report.row(named.reference.to_string(), what);
            }
            Settled::Refused(code) => {
                self.report.refused += 1;
                self.report.change("refused", named, Some(code));
            }
        }
    }
}
