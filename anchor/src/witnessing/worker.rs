//! One witness's worker: brings it the newest checkpoint until it has cosigned it, and keeps what verifies.

use std::sync::Arc;
use std::time::Duration;

use chain::note::{NoteSignature, Outcome};
use chain::tile::{TileId, TiledHashes};
use chain::tree::consistency_proof;
use chain::witness::{Request, monitoring_path};
use tokio::sync::watch;

use super::{Asked, Shared, shown};
use crate::AnchorError;
use crate::error::blocking;
use crate::startup::{self, Verdict};

/// Sizes that a witness may name before it is given up for this time.
const ROUNDS: usize = 3;
/// The first rest after a failure; each further one is twice as long.
const REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Brings `url` every newest checkpoint until the round is dropped.
pub async fn follow(shared: Arc<Shared>, index: usize, url: String, mut asked: watch::Receiver<Option<Arc<Asked>>>) {
    // What it acknowledged last. Unknown at the start, it tells with its first answer.
    let mut old = 0;
    let mut failures = 0_u32;
    loop {
        let newest = asked.borrow_and_update().clone();
        if let Some(newest) = newest {
            let tried = shared.submit(index, &url, &newest, &mut old).await;
            failures = if tried.is_ok() { 0 } else { failures.saturating_add(1) };
            shared.settle(index, &newest, tried);
            if failures > 0 {
                tokio::time::sleep(rest(failures)).await;
                shared.wake(index);
                continue;
            }
        }
        if asked.changed().await.is_err() {
            return;
        }
    }
}

fn rest(failures: u32) -> Duration {
    REST.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST_REST)
}

impl Shared {
    async fn submit(&self, index: usize, url: &str, asked: &Asked, old: &mut u64) -> Result<(u64, String), String> {
        let name = &self.keys.policy().witnesses[index].name.clone();
        let size = asked.checkpoint.size;
        for _ in 0..ROUNDS {
            let proof = self.proof(*old, size).await.map_err(|error| error.to_string())?;
            let request = Request { old: *old, proof, checkpoint: asked.note.clone() };
            let reply = self.carrier.post(&format!("{url}/add-checkpoint"), request.format()).await;
            let status = reply.as_ref().map_or("unreachable".to_owned(), |reply| reply.status.to_string());
            metrics::counter!("guildhall_witness_answers_total", "witness" => name.clone(), "status" => status)
                .increment(1);
            let reply = reply?;
            match reply.status {
                200 => {
                    let cosigned = self.verified(index, &asked.text, &reply.body)?;
                    *old = size;
                    return Ok(cosigned);
                }
                409 => {
                    let holds: Option<u64> = reply.body.trim_end().parse().ok();
                    let holds = holds.ok_or("it names no size that it holds")?;
                    if holds > size {
                        return Err(self
                            .contradicted(name, url, &format!("it holds {holds} entries, {size} were signed"))
                            .await);
                    }
                    // Older witnesses answer so for another root at the size they hold.
                    if holds == *old {
                        let what = format!("it refuses the size {holds}, and says that it holds it");
                        return Err(self.contradicted(name, url, &what).await);
                    }
                    *old = holds;
                }
                422 => return Err(self.contradicted(name, url, "it says that this is not the tree it cosigned").await),
                status => return Err(format!("it answered {status}")),
            }
        }
        Err("it names another size each time".to_owned())
    }

    async fn proof(&self, old: u64, new: u64) -> Result<Vec<chain::Hash>, AnchorError> {
        let layout = self.layout.clone();
        blocking(move || {
            let tiles = TiledHashes::new(new, |id: &TileId| layout.tile(id));
            consistency_proof(&tiles, old.min(new), new).map_err(|error| AnchorError::unreadable("tile/", error))
        })
        .await
    }

    /// Its time and its line, if one of those it sent is its own and verifies.
    fn verified(&self, index: usize, text: &str, body: &str) -> Result<(u64, String), String> {
        let key = &self.keys.policy().witnesses[index].key.clone();
        let own = body.lines().filter_map(NoteSignature::parse).filter(|line| line.is_by(key));
        for line in own {
            if let Outcome::Valid { cosigned_at: Some(time) } = key.verify(text, &line.signature) {
                return Ok((time, line.line()));
            }
        }
        Err("it sent no cosignature of its own that verifies".to_owned())
    }

    /// A witness contradicts us. If it can show what our own key signed and this log does not continue that, the log is not the one it
    /// was, and writing ends. If it cannot, the witness is the one that is wrong: it is named, and the city goes on without it.
    async fn contradicted(&self, name: &str, url: &str, what: &str) -> String {
        let evidence = self.carrier.get(&format!("{url}/{}", monitoring_path(self.log.origin()))).await;
        let known = match evidence {
            Ok(reply) if reply.status == 200 => shown(name, &reply.body, &self.keys),
            _ => None,
        };
        let Some(known) = known else {
            return format!("{what}, and shows nothing that this log signed");
        };
        match startup::against(&self.log, &self.layout, vec![known]).await {
            Ok(Verdict::ReadOnly { position, reason }) => {
                let reason = format!("from position {position} on: {reason}");
                tracing::error!(witness = name, %reason, alarm = true, "a witness shows another history of this log");
                self.fork.send_replace(Some(reason.clone()));
                reason
            }
            Ok(Verdict::Good) => format!("{what}; what it shows is in this log"),
            Err(error) => format!("{what}, and what it shows cannot be compared: {error}"),
        }
    }

    fn settle(&self, index: usize, asked: &Asked, tried: Result<(u64, String), String>) {
        if let Some(seat) = self.seats().get_mut(index) {
            seat.tried = Some(asked.text.clone());
            match tried {
                Ok((time, line)) => {
                    seat.line = Some((asked.text.clone(), line));
                    seat.status.size = Some(asked.checkpoint.size);
                    seat.status.cosigned_at = Some(time);
                    seat.status.trouble = None;
                }
                Err(trouble) => {
                    // Said when it begins and when it changes, not with every attempt.
                    if seat.status.trouble.as_ref() != Some(&trouble) {
                        tracing::warn!(witness = seat.status.name, %trouble, "this witness does not cosign");
                    }
                    seat.status.trouble = Some(trouble);
                    seat.resting = true;
                }
            }
        }
        self.news.send_modify(|news| *news += 1);
    }

    fn wake(&self, index: usize) {
        if let Some(seat) = self.seats().get_mut(index) {
            seat.resting = false;
        }
    }
}
