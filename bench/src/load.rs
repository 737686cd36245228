//! Clients that do one thing after the other until the time is up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Warm before it counts.
const WARM: Duration = Duration::from_millis(500);

/// Runs `act(client, number)` in a loop on every client; the rate at which it ends, per second.
pub async fn rate<A, F>(clients: usize, seconds: u64, act: A) -> f64
where
    A: Fn(usize, u64) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send,
{
    let (stop, done, next) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let running: Vec<_> = (0..clients)
        .map(|client| {
            let (stop, done, next, act) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&next), act.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    act(client, next.fetch_add(1, Ordering::Relaxed)).await;
                    // What never waits would keep the clock from anybody else.
                    tokio::task::consume_budget().await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(WARM).await;
    let (started, before) = (Instant::now(), done.load(Ordering::Relaxed));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (took, count) = (started.elapsed(), done.load(Ordering::Relaxed) - before);
    stop.store(true, Ordering::Relaxed);
    for client in running {
        client.await.unwrap();
    }
    count as f64 / took.as_secs_f64()
}
