//! Changing the key that the log is signed with, while it is published.

use std::sync::Arc;

use eventlog::Recorder;
use serde::Serialize;

use super::Service;
use crate::AnchorError;
use crate::signer::Signer;
use crate::startup::{self, Verdict};
use crate::witnessing;

/// What a witness holds, compared with this log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// In words: where it was found.
    pub whence: String,
    pub size: u64,
    pub root: String,
    /// Why this log does not continue it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contradicts: Option<String>,
}

/// The newest checkpoint that its quorum of witnesses cosigned, and what each witness that answers holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Witnessed {
    pub size: Option<u64>,
    pub root: Option<String>,
    /// The whole note, with the cosignatures.
    pub note: Option<String>,
    pub held: Vec<Held>,
}

impl Service {
    /// Rotates to this key. When it returns, the log says so, and a checkpoint with the lines of both keys is shown.
    pub async fn rotate_key(&self, to: Arc<dyn Signer>) -> Result<u64, AnchorError> {
        self.publish(true).await?;
        let position = {
            let mut seat = self.seat.lock().await;
            let mut held = self.sit(&mut seat).await?;
            let newest = self.publisher.lock().await.signed().map(|signed| signed.0.clone());
            let newest = newest.ok_or_else(|| AnchorError::unreadable("checkpoint", "nothing was published yet"))?;
            held.check().await?;
            let rotated = self.keys.rotate(self.recorder.as_ref(), &newest, to).await;
            *seat = Some(held);
            rotated?
        };
        self.publish(true).await?;
        Ok(position)
    }

    /// Ends the overlap: the older key, of this vkey or key id, signs no more. `recorder` writes it down.
    pub async fn retire_key(&self, name: &str, recorder: &dyn Recorder) -> Result<u64, AnchorError> {
        // With both lines, and covering the rotation: whoever follows the older key has seen the newer one.
        self.publish(true).await?;
        let position = {
            let mut seat = self.seat.lock().await;
            let mut held = self.sit(&mut seat).await?;
            held.check().await?;
            let retired = self.keys.retire(recorder, name).await;
            *seat = Some(held);
            retired?
        };
        self.publish(true).await?;
        Ok(position)
    }

    /// What outsiders hold us to, should the key be in other hands.
    pub async fn witnessed(&self) -> Result<Witnessed, AnchorError> {
        let note = self.layout.witnessed()?;
        let checkpoint = note.as_deref().and_then(|note| self.keys.open_note(note).ok());
        let known = match &self.config.witnesses {
            Some(witnesses) => witnessing::held(witnesses, &self.keys).await,
            None => Vec::new(),
        };
        let mut held = Vec::new();
        for known in known {
            let (whence, checkpoint) = (known.whence.clone(), known.checkpoint.clone());
            let contradicts = match startup::against(&self.log, &self.layout, vec![known]).await? {
                Verdict::Good => None,
                Verdict::ReadOnly { position, reason } => Some(format!("from position {position} on: {reason}")),
            };
            held.push(Held { whence, size: checkpoint.size, root: checkpoint.root.to_string(), contradicts });
        }
        Ok(Witnessed {
            size: checkpoint.as_ref().map(|checkpoint| checkpoint.size),
            root: checkpoint.as_ref().map(|checkpoint| checkpoint.root.to_string()),
            note: note.filter(|_| checkpoint.is_some()),
            held,
        })
    }
}
