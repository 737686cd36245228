//! Where imports are settled: by the running server, or by a city that is opened for this.

use std::collections::BTreeMap;

use domain::grant::command::Finding;
use domain::grant::kind::Source;
use domain::grant::may_import;
use domain::ids::{GrantId, GuildId, Slug, Stream};
use domain::turn::{Permit, State};
use domain::{Code, Rejection, Time};
use eventlog::Failure;
use futures::StreamExt as _;
use identity::Credential;
use tokio::net::UnixStream;

use super::{Desk, Findings, Guilds, Holding, Import, Settled, Settlement, judge, submit};
use crate::city::{City, DataDir, Open, reconciler};
use crate::config::Settings;
use crate::control::{Ask, Ending, SOCKET, Secret, admitted, ask, perform};
use crate::http::problem::Problem;

/// Imports that are submitted at a time.
const IMPORTS: usize = 256;

/// Who may say what a source has: only theirs are the imports, and the findings with them.
///
/// # Errors
/// When the caller may not import, or not from this source.
pub async fn admit(city: &City, api_key: &Secret, source: Source) -> Result<(Credential, Permit), Problem> {
    let (credential, permit) = admitted(city, api_key, "grant.import").await?;
    if !source.is_imported() {
        return Err(Problem::rejected(&Rejection::new(Code::SourceMismatch).field("source")));
    }
    let state = city.standing.state(Stream::City).await?;
    let State::City(known) = state.as_ref() else { unreachable!("the city's stream holds {state:?}") };
    may_import(&permit, known, source).map_err(|rejection| Problem::rejected(&rejection))?;
    Ok((credential, permit))
}

/// What an importer brings, as the caller; what it found out, as the city's own word on the caller's behalf, which is only about what the
/// source told of.
pub async fn import(
    city: &City,
    api_key: &Secret,
    source: Source,
    imports: Vec<Import>,
    Findings { asked_at, all: findings }: Findings,
    dry: bool,
) -> Result<Settlement, Problem> {
    let (credential, permit) = admit(city, api_key, source).await?;
    let foreign = |field: &'static str| Problem::rejected(&Rejection::new(Code::SourceMismatch).field(field));
    if imports.iter().any(|import| import.source != source) {
        return Err(foreign("imports"));
    }
    let grants: Vec<GrantId> = findings.iter().map(|finding| finding.grant).collect();
    let told_of = queries::inventory::told_of(&mut city.views.reader().await?, source, &grants).await?;
    if !grants.iter().all(|grant| told_of.contains(grant)) {
        return Err(foreign("findings"));
    }
    let living = projections::guards::living(&mut city.log.reader().await?, &grants).await.map_err(Failure::from)?;
    let (findings, dead): (Vec<Finding>, Vec<Finding>) =
        findings.into_iter().partition(|finding| living.contains(&finding.grant));
    let dead = dead.iter().map(|finding| finding.grant).collect();
    if dry {
        return Ok(Settlement { imports: judge(city, &imports).await?, dead, refused: Vec::new() });
    }
    let submitted = imports.into_iter().map(|import| submit(city, credential, import));
    // So many at a time as the queue has room for beside everybody else's.
    let settled: Vec<Result<Settled, Problem>> = futures::stream::iter(submitted).buffered(IMPORTS).collect().await;
    let imports = settled.into_iter().collect::<Result<Vec<Settled>, Problem>>()?;
    let recorded = reconciler::record(city, findings, Some(asked_at), permit.actor.citizen()).await?;
    Ok(Settlement { imports, dead, refused: recorded.refused })
}

/// Where `guildhall import` has its records settled: by the running server, or by this process.
pub struct ImportDesk {
    settings: Settings,
    api_key: Secret,
    here: Option<Open>,
}

impl ImportDesk {
    pub async fn open(settings: &Settings, api_key: Secret) -> anyhow::Result<Self> {
        let dir = DataDir::existing(&settings.data_dir)?;
        let here = match UnixStream::connect(dir.file(SOCKET)).await {
            Ok(_) => None,
            Err(_) => Some(Open::start(settings.clone()).await?),
        };
        Ok(Self { settings: settings.clone(), api_key, here })
    }

    pub async fn close(self) {
        if let Some(open) = self.here {
            open.close().await;
        }
    }

    /// Imported grants that the server will not verify, by source.
    pub async fn unverified(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.ask(Ask::Unverified).await
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, request: Ask) -> anyhow::Result<T> {
        let ending = match &self.here {
            Some(open) => perform(&open.city, request, &mut |_, _| {}).await?,
            None => ask(&self.settings, request, &mut |_, _| {}).await?,
        };
        match ending {
            Ending::Done(value) => Ok(serde_json::from_value(value)?),
            Ending::Refused(problem) => {
                let part = |name: &str| problem[name].as_str().unwrap_or_default();
                anyhow::bail!("no, because {} [{}] {}", part("title"), part("code"), part("detail"))
            }
        }
    }
}

impl Guilds for ImportDesk {
    async fn guild(&mut self, slug: &Slug) -> anyhow::Result<Option<GuildId>> {
        self.ask(Ask::Guild { slug: slug.clone() }).await
    }
}

impl Desk for ImportDesk {
    async fn admit(&mut self, source: Source) -> anyhow::Result<Time> {
        let api_key = self.api_key.clone();
        self.ask(Ask::Admit { api_key, source }).await
    }

    async fn holdings(&mut self, source: Source, after: Option<GrantId>) -> anyhow::Result<Vec<Holding>> {
        self.ask(Ask::Holdings { source, after }).await
    }

    async fn settle(
        &mut self,
        source: Source,
        imports: Vec<Import>,
        findings: Findings,
        dry: bool,
    ) -> anyhow::Result<Settlement> {
        let api_key = self.api_key.clone();
        self.ask(Ask::Import { api_key, source, imports, findings, dry }).await
    }
}
