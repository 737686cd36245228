//! Connections: how many there may be, and how long one may take to say what it wants.
//!
//! Invariant: whatever strangers do with connections, file descriptors are left for the city itself.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

/// Longest wait for the head of a request, the first on a connection or a further one.
const HEAD: Duration = Duration::from_secs(15);
/// Longest wait for somebody to take a part of an answer.
const STUCK: Duration = Duration::from_secs(120);
/// Bytes that are kept of a connection in each direction.
const MAX_BUFFER: usize = 64 << 10;
/// File descriptors that connections leave for databases, files and sockets.
const RESERVED: usize = 128;
const AFTER_A_FAILURE: Duration = Duration::from_millis(100);

/// Serves until `stop` ends, then lets open requests end.
pub async fn serve(listener: TcpListener, router: Router, connections: usize, stop: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(places(connections)));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_BUFFER);
    // Dropped with this future: whoever has waited long enough for the end lets go of every connection.
    let mut tasks = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        // Beyond that many, callers wait in the kernel's queue.
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => accepted,
        };
        let (Ok(place), Ok((stream, peer))) = (place, accepted) else {
            tokio::time::sleep(AFTER_A_FAILURE).await;
            continue;
        };
        let stream = TokioIo::new(Box::pin(prompt(stream)));
        let connection = graceful.watch(http.serve_connection(stream, answer(router.clone(), peer)));
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            // What breaks a connection off is the caller's to see.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// Answers are whole messages: none of them waits for the one before to be acknowledged. Whoever does not take them is let go.
fn prompt(stream: TcpStream) -> TimeoutStream<TcpStream> {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STUCK));
    stream
}

fn answer(
    router: Router,
    peer: SocketAddr,
) -> impl hyper::service::Service<Request<Incoming>, Response = axum::response::Response, Error = Infallible, Future: Send>
{
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request.map(Body::new))
    })
}

fn places(wanted: usize) -> usize {
    let room = open_files().map_or(wanted, |most| most.saturating_sub(RESERVED));
    wanted.min(room).max(1)
}

/// How many files this process may have open: as many as it may ask for.
fn open_files() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.and_then(|files| usize::try_from(files).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn some_files_are_left_for_the_city() {
        assert!(open_files().is_none_or(|files| places(usize::MAX) == files - RESERVED));
        assert_eq!(places(3), 3);
    }

    #[tokio::test]
    async fn beyond_the_limit_callers_wait_for_a_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", axum::routing::get(|| async { "here" }));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(serve(listener, router, 1, async { drop(stopped.await) }));
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"G").await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let early = tokio::time::timeout(Duration::from_millis(200), second.read_to_string(&mut answer)).await;
        assert!(early.is_err(), "{answer}");
        drop(first);
        second.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("here"), "{answer}");
        stop.send(()).unwrap();
        serving.await.unwrap();
    }
}
