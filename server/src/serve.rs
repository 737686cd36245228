//! `guildhall serve`: a city that answers over HTTP until it is told to stop.

use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::city::{City, FirstPrincipal, Open, unverified};
use crate::config::Settings;
use crate::http::{App, listener, router};
use crate::{control, logging};

/// How long open requests may take once the server has been told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// A server in this process.
pub struct Running {
    pub address: SocketAddr,
    pub city: Arc<City>,
    open: Open,
    serving: JoinHandle<()>,
    control: Option<JoinHandle<()>>,
}

impl Running {
    /// Opens the city and listens; when this returns, requests are answered.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let listen = settings.listen;
        // Before anything is opened: a second server on the same port must not touch the first one's city.
        let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
        let address = listener.local_addr()?;
        let open = Open::start(settings).await?;
        let city = Arc::clone(&open.city);
        let control = control::listen(&city)?;
        let app = App::new(Arc::clone(&city), metrics_handle()?);
        let connections = city.settings.limits.connections;
        let mut stopping = city.stopping();
        let until = async move {
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        let serving = tokio::spawn(listener::serve(listener, router(app), connections, until));
        Ok(Self { address, city, open, serving, control })
    }

    /// The first principal's key, at the first start, until it was taken.
    pub fn first(&self) -> Option<&FirstPrincipal> {
        self.open.first.as_ref()
    }

    /// The first principal's key, which is then kept nowhere.
    pub fn take_first_key(&mut self) -> anyhow::Result<Option<Zeroizing<String>>> {
        let key = self.open.first.as_ref().map(|first| first.api_key.clone());
        self.open.first_is_shown()?;
        Ok(key)
    }

    /// Stops accepting, lets open requests end, settles what is queued, publishes a last checkpoint.
    pub async fn stop(self) {
        let Self { city, open, mut serving, control, .. } = self;
        open.stop();
        if tokio::time::timeout(DRAIN, &mut serving).await.is_err() {
            tracing::warn!("requests that take too long are cut off");
            serving.abort();
        }
        if let Some(control) = control {
            let _ = control.await;
        }
        drop(city);
        open.close().await;
    }
}

/// Runs until SIGINT or SIGTERM.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    logging::start(&settings.log)?;
    let mut running = Running::start(settings).await?;
    let until = told_to_stop()?;
    greet(&mut running)?;
    let pipeline = running.city.pipeline.clone();
    let writer_ended = tokio::select! {
        () = until => false,
        () = pipeline.ended() => true,
    };
    drop(pipeline);
    tracing::info!("stopping");
    running.stop().await;
    tracing::info!("stopped");
    anyhow::ensure!(!writer_ended, "the writer ended by a bug, see above; what was answered is durable");
    Ok(())
}

fn greet(running: &mut Running) -> anyhow::Result<()> {
    let city = &running.city;
    let mut out = std::io::stdout().lock();
    writeln!(out, "guildhall {} of {}", env!("CARGO_PKG_VERSION"), city.log.origin())?;
    writeln!(out, "http://{}", running.address)?;
    let unusable = unverified::unusable(&city.settings.sources);
    for warning in &unusable {
        tracing::warn!("{warning}");
    }
    for warning in city.warnings().into_iter().chain(unusable) {
        writeln!(out, "warning: {warning}")?;
    }
    if let Some(first) = running.open.first.as_ref() {
        writeln!(
            out,
            "\nThis city is new. Its first principal is {}, with this key, which is shown only now:",
            first.citizen
        )?;
        writeln!(out, "\n    {}\n", first.api_key.as_str())?;
    }
    out.flush()?;
    // Only once it is out.
    running.open.first_is_shown()
}

/// Ends with SIGINT or SIGTERM.
pub fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// The process has one set of numbers, whoever starts servers in it.
pub fn metrics_handle() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?;
    let handle = HANDLE.get_or_init(|| {
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Whoever embeds the server may have a recorder of their own, which then gets the numbers.
        let _ = metrics::set_global_recorder(recorder);
        handle
    });
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle.clone())
}
