//! How subcommands that write reach the one who may: a running server over a private socket, or, without one, this process itself.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use domain::grant::kind::Source;
use domain::ids::{CitizenId, GrantId, Slug};
use domain::turn::Permit;
use domain::{Code, Command, Rejection, Time};
use identity::{Credential, PresentedKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use zeroize::Zeroizing;

use crate::city::{City, DataDir, Open, make_private, open_log, recover_key};
use crate::city::{reconciler, signing, unverified};
use crate::config::Settings;
use crate::http::command::{Asked, settle_fields};
use crate::http::problem::Problem;
use crate::http::{Fresh, Refusal};
use crate::importing::{self, Findings, Guilds as _, Import, Tables, desk};

/// The socket's name in the data directory.
pub const SOCKET: &str = "control.sock";
/// How long the tables may take to follow.
const FOLLOWING: Duration = Duration::from_secs(60);
const MAX_LINE: u64 = 1 << 20;
/// The longest path a socket may have on Linux, without its final zero.
const MAX_SOCKET_PATH: usize = 107;

/// What can be asked of whoever writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// A command of the caller whose key this is.
    Command {
        api_key: Secret,
        action: String,
        fields: Map<String, Value>,
    },
    Health,
    /// A new key for somebody who has none that works; without a name for the city's first principal.
    KeyRecover {
        citizen: Option<CitizenId>,
    },
    AnchorNow,
    AnchorStatus,
    AnchorList,
    AnchorAdopt,
    AnchorProve,
    AnchorCheck {
        read: bool,
    },
    SigningKeys,
    SigningKeyNew,
    SigningKeyRotate {
        to: Option<String>,
    },
    SigningKeyRetire {
        key: String,
    },
    Witnessed,
    Export {
        out: PathBuf,
        with_packs: bool,
    },
    ExportStream {
        stream: String,
        out: PathBuf,
    },
    Rebuild,
    Reconcile {
        dry_run: bool,
    },
    /// The living grants of a source, after this one.
    Holdings {
        source: Source,
        after: Option<GrantId>,
    },
    /// Imported grants that the server will not verify.
    Unverified,
    /// The guild with this slug.
    Guild {
        slug: Slug,
    },
    /// Whether this caller may say what a source has.
    Admit {
        api_key: Secret,
        source: Source,
    },
    /// What an importer brings from a source, and what it found out about what that source told of.
    Import {
        api_key: Secret,
        source: Source,
        imports: Vec<Import>,
        findings: Findings,
        dry: bool,
    },
}

/// An API key on its way: never printed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub Zeroizing<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// One line of an answer: any number of `Progress`, then one of the others.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Line {
    Progress { done: u64, of: u64 },
    Done { value: Value },
    Refused { problem: Value },
    Failed { error: String },
}

/// How an ask ended.
pub enum Ending {
    Done(Value),
    /// The rules said no: a problem document.
    Refused(Value),
}

pub type OnProgress<'a> = &'a mut (dyn FnMut(u64, u64) + Send);

/// Asks the running server, or does it here.
pub async fn ask(settings: &Settings, ask: Ask, on_progress: OnProgress<'_>) -> anyhow::Result<Ending> {
    let dir = DataDir::existing(&settings.data_dir)?;
    match UnixStream::connect(dir.file(SOCKET)).await {
        Ok(stream) => remotely(stream, &ask, on_progress).await,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            here(settings, &dir, ask, on_progress).await
        }
        Err(error) => {
            Err(error).with_context(|| format!("reaching the running server at {}", dir.file(SOCKET).display()))
        }
    }
}

/// Why the running server only reads, if it does. Nothing when none runs.
pub async fn read_only(dir: &DataDir) -> Option<Option<String>> {
    match running(dir, Ask::Health).await? {
        Ok(Ending::Done(health)) => Some(health["read_only"].as_str().map(str::to_owned)),
        Ok(Ending::Refused(_)) => Some(None),
        Err(error) => Some(Some(format!("{error:#}"))),
    }
}

/// How anchoring stands in the running server. Nothing when none runs.
pub async fn anchoring(dir: &DataDir) -> Option<Value> {
    match running(dir, Ask::AnchorStatus).await? {
        Ok(Ending::Done(status)) => Some(status),
        Ok(Ending::Refused(_)) | Err(_) => None,
    }
}

/// Asks the running server alone.
async fn running(dir: &DataDir, ask: Ask) -> Option<anyhow::Result<Ending>> {
    let stream = UnixStream::connect(dir.file(SOCKET)).await.ok()?;
    Some(remotely(stream, &ask, &mut |_, _| {}).await)
}

async fn remotely(stream: UnixStream, ask: &Ask, on_progress: OnProgress<'_>) -> anyhow::Result<Ending> {
    let (read, mut write) = stream.into_split();
    let mut request = Zeroizing::new(serde_json::to_vec(ask)?);
    request.push(b'\n');
    write.write_all(&request).await?;
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line).context("the running server speaks otherwise: is it of this version?")? {
            Line::Progress { done, of } => on_progress(done, of),
            Line::Done { value } => return Ok(Ending::Done(value)),
            Line::Refused { problem } => return Ok(Ending::Refused(problem)),
            Line::Failed { error } => bail!("{error}"),
        }
    }
    bail!("the running server ended before it answered")
}

async fn here(settings: &Settings, dir: &DataDir, ask: Ask, on_progress: OnProgress<'_>) -> anyhow::Result<Ending> {
    if matches!(ask, Ask::Rebuild) {
        // No city is opened for this: it also has to work when one cannot be.
        let log = open_log(settings, dir, false).await?;
        let _writer = log.writer().await.context("is a server running without its control socket?")?;
        let views = projections::views::ViewsDb::open(&log, true).await?;
        let rebuilt = projections::replay::rebuild(&log, &views, on_progress).await?;
        return Ok(Ending::Done(json!({ "guards": rebuilt.guards, "views": rebuilt.views })));
    }
    let open = Open::start(settings.clone()).await?;
    let ending = perform(&open.city, ask, on_progress).await;
    open.close().await;
    ending
}

pub(crate) async fn perform(city: &City, ask: Ask, on_progress: OnProgress<'_>) -> anyhow::Result<Ending> {
    match ask {
        Ask::Command { api_key, action, fields } => match command(city, &api_key, &action, fields).await {
            Ok(value) => Ok(Ending::Done(value)),
            Err(problem) => Ok(Ending::Refused(serde_json::to_value(problem)?)),
        },
        Ask::Health => {
            Ok(Ending::Done(json!({ "read_only": city.pipeline.read_only(), "views": city.views_reached() })))
        }
        Ask::KeyRecover { citizen } => recover_key(city, citizen).await,
        Ask::AnchorNow => Ok(Ending::Done(city.anchoring.anchor_now().await?)),
        Ask::AnchorStatus => Ok(Ending::Done(city.anchoring.status().await?)),
        Ask::AnchorAdopt => Ok(Ending::Done(city.anchoring.adopt().await?)),
        Ask::AnchorProve => Ok(Ending::Done(city.anchoring.prove().await?)),
        Ask::AnchorCheck { read } => Ok(Ending::Done(city.anchoring.check(read).await?)),
        Ask::SigningKeys => Ok(Ending::Done(signing::list(city)?)),
        Ask::SigningKeyNew => Ok(Ending::Done(signing::make(city)?)),
        Ask::SigningKeyRotate { to } => Ok(Ending::Done(signing::rotate(city, to.as_deref()).await?)),
        Ask::SigningKeyRetire { key } => Ok(Ending::Done(signing::retire(city, &key).await?)),
        Ask::Witnessed => Ok(Ending::Done(city.anchoring.witnessed().await?)),
        Ask::AnchorList => Ok(Ending::Done(city.anchoring.list().await?)),
        Ask::Export { out, with_packs } => {
            Ok(Ending::Done(city.anchoring.export(&out, with_packs, on_progress).await?))
        }
        Ask::ExportStream { stream, out } => Ok(Ending::Done(city.anchoring.export_stream(&stream, &out).await?)),
        Ask::Reconcile { dry_run } => {
            let mut round = reconciler::round(city, Time::from_micros(city.log.clock()), dry_run).await?;
            round.unconfigured = unverified(city).await?;
            Ok(Ending::Done(serde_json::to_value(round)?))
        }
        Ask::Holdings { source, after } => {
            // What is on record by now is what an import compares with; later pages are of the same tables.
            if after.is_none() {
                follow(city).await?;
            }
            let mut conn = city.views.reader().await?;
            let held = queries::inventory::of_source(&mut conn, source, after).await?;
            Ok(Ending::Done(serde_json::to_value(importing::holdings(held)?)?))
        }
        Ask::Unverified => Ok(Ending::Done(serde_json::to_value(unverified(city).await?)?)),
        Ask::Guild { slug } => Ok(Ending::Done(serde_json::to_value(Tables(city).guild(&slug).await?)?)),
        Ask::Admit { api_key, source } => match desk::admit(city, &api_key, source).await {
            Ok(_) => Ok(Ending::Done(serde_json::to_value(Time::from_micros(city.log.clock()))?)),
            Err(problem) => Ok(Ending::Refused(serde_json::to_value(problem)?)),
        },
        Ask::Import { api_key, source, imports, findings, dry } => {
            match desk::import(city, &api_key, source, imports, findings, dry).await {
                Ok(settlement) => Ok(Ending::Done(serde_json::to_value(settlement)?)),
                Err(problem) => Ok(Ending::Refused(serde_json::to_value(problem)?)),
            }
        }
        Ask::Rebuild => {
            let rebuilt = projections::replay::rebuild(&city.log, &city.views, on_progress).await?;
            Ok(Ending::Done(json!({ "guards": rebuilt.guards, "views": rebuilt.views })))
        }
    }
}

/// Waits until the tables have everything that is on record by now.
async fn follow(city: &City) -> anyhow::Result<()> {
    let follows = city.views_follow(FOLLOWING).await?;
    anyhow::ensure!(follows, "the tables do not follow the log within {} s: is it very busy?", FOLLOWING.as_secs());
    Ok(())
}

async fn unverified(city: &City) -> anyhow::Result<BTreeMap<String, u64>> {
    follow(city).await?;
    Ok(unverified::unverified(&city.settings.sources, &mut city.views.reader().await?).await?)
}

/// The same door as over HTTP: the socket says which machine, the key says who.
async fn command(city: &City, api_key: &Secret, action: &str, fields: Map<String, Value>) -> Result<Value, Problem> {
    let action = Command::ACTIONS.iter().find(|known| **known == action).copied();
    let action = action.ok_or_else(|| Problem::rejected(&Rejection::new(Code::UnknownAction)))?;
    let (credential, _) = admitted(city, api_key, action).await?;
    let asked = Asked { action, fields, idempotency_key: None, expected_version: None };
    let settled = settle_fields(city, credential, asked).await?;
    match settled.problem() {
        Some(problem) => Err(problem),
        None => Ok(serde_json::to_value(settled.told(city).await).unwrap_or_default()),
    }
}

pub(crate) async fn admitted(
    city: &City,
    api_key: &Secret,
    action: &'static str,
) -> Result<(Credential, Permit), Problem> {
    let presented = PresentedKey::parse(&api_key.0).map_err(Problem::credential)?;
    let permitted = city.standing.permit(&presented, action, Fresh::Head).await;
    match permitted {
        Ok(permitted) => Ok(permitted),
        Err(Refusal::Failure(failure)) => Err(failure.into()),
        Err(Refusal::Rejected(rejection)) => {
            let who = city.standing.name(presented.id(), &rejection).await;
            city.pipeline.denied(&who, action, rejection.code.as_str());
            Err(Problem::rejected(&rejection))
        }
    }
}

/// Opens the socket. Of several servers over one data directory, which only PostgreSQL allows, the one that publishes has it.
pub fn listen(city: &Arc<City>) -> anyhow::Result<Option<JoinHandle<()>>> {
    let path = city.settings.data_dir.join(SOCKET);
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        tracing::warn!(path = %path.display(), "the path is too long for a socket: subcommands cannot reach this server");
        return Ok(None);
    }
    let city = Arc::clone(city);
    if *city.anchoring.ours().borrow() {
        let listener = bind(&path)?;
        return Ok(Some(tokio::spawn(accept(city, listener, path))));
    }
    Ok(Some(tokio::spawn(async move {
        let (mut ours, mut stopping) = (city.anchoring.ours(), city.stopping());
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            _ = ours.wait_for(|ours| *ours) => {}
        }
        match bind(&path) {
            Ok(listener) => accept(city, listener, path).await,
            Err(error) => tracing::error!(error = format!("{error:#}"), "subcommands cannot reach this server"),
        }
    })))
}

/// Whoever holds the writer's lock may remove what a crashed server left behind.
fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error).with_context(|| path.display().to_string());
    }
    // The directory is mode 700 already: between these two lines nobody else can reach the socket either.
    let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
    make_private(path)?;
    Ok(listener)
}

async fn accept(city: Arc<City>, listener: UnixListener, path: PathBuf) {
    let mut stopping = city.stopping();
    let mut talking = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
            Some(_) = talking.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                talking.spawn(talk(Arc::clone(&city), stream));
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let _ = std::fs::remove_file(&path);
    // What was begun is ended, within what the server's own end allows.
    let _ = tokio::time::timeout(Duration::from_secs(5), async { while talking.join_next().await.is_some() {} }).await;
}

async fn talk(city: Arc<City>, stream: UnixStream) {
    let (read, mut write) = stream.into_split();
    let mut request = Zeroizing::new(String::new());
    let mut reader = BufReader::new(tokio::io::AsyncReadExt::take(read, MAX_LINE));
    if reader.read_line(&mut request).await.is_err() {
        return;
    }
    let ask: Ask = match serde_json::from_str(&request) {
        Ok(ask) => ask,
        Err(_) => {
            let error = "this server does not know that: is the subcommand of the same version?".to_owned();
            let _ = send(&mut write, &Line::Failed { error }).await;
            return;
        }
    };
    let (progress, mut reports) = mpsc::channel::<(u64, u64)>(16);
    let mut on_progress = move |done, of| {
        // A reader who is slow sees fewer steps.
        let _ = progress.try_send((done, of));
    };
    let performing = async {
        let ended = perform(&city, ask, &mut on_progress).await;
        drop(on_progress);
        ended
    };
    let reporting = async {
        while let Some((done, of)) = reports.recv().await {
            let _ = send(&mut write, &Line::Progress { done, of }).await;
        }
    };
    let (ended, ()) = tokio::join!(performing, reporting);
    let last = match ended {
        Ok(Ending::Done(value)) => Line::Done { value },
        Ok(Ending::Refused(problem)) => Line::Refused { problem },
        Err(error) => Line::Failed { error: format!("{error:#}") },
    };
    let _ = send(&mut write, &last).await;
}

async fn send(write: &mut (impl tokio::io::AsyncWrite + Unpin), line: &Line) -> anyhow::Result<()> {
    let mut bytes = Zeroizing::new(serde_json::to_vec(line)?);
    bytes.push(b'\n');
    Ok(write.write_all(&bytes).await?)
}
