//! The keys that this log is signed with: what the log says is in force, and what of it is held here.

use std::sync::{Arc, PoisonError, RwLock};

use chain::Hash;
use chain::anchor::signers;
use chain::checkpoint::{self, Checkpoint};
use chain::key::VerifierKey;
use chain::policy::Policy;
use chain::receipt::{self, ReceiptEntry, SignedReceipt};
use chain::rotation::{self, Era, History, RETIRED, ROTATED, Retirement, Rotation, RotationError, fingerprint};
use eventlog::{Log, Recorder, Stored};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::AnchorError;
use crate::anchor_format::{Anchor, NOT_SIGNED};
use crate::keys::policy_text;
use crate::signer::{SignFailure, Signer, id_of};

/// The stream in which the log speaks of itself.
pub(crate) const STREAM: &str = "log";
/// The type of the entry that names the first key.
pub const NAMED: &str = "log.secrets_named.v1";
const PAGE: usize = 1000;

/// One key of this log, as it stands here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyStatus {
    pub vkey: Option<String>,
    /// SHA-256 of the vkey.
    pub fingerprint: Hash,
    /// `in force`, `retired`, or `not in force` for one that is held and that the log does not know.
    pub state: &'static str,
    /// The first size that it signs, and one past the last.
    pub from: Option<u64>,
    pub until: Option<u64>,
    /// Where it is, if this server has it.
    pub place: Option<String>,
}

/// Every key that is held, in order of preference for a log that has named none yet, and the log's own account.
pub struct SigningKeys {
    log: Log,
    held: RwLock<Vec<Arc<dyn Signer>>>,
    history: RwLock<History>,
    /// How many entries of the stream were read. Held while more are.
    read: Mutex<u64>,
    /// The policy file with the witnesses, if there are any.
    witnesses: Option<String>,
    policy: RwLock<Arc<Policy>>,
}

impl SigningKeys {
    /// Reads what the log says about its keys. `held` is not empty.
    ///
    /// # Errors
    /// When the policy file does not hold.
    pub async fn open(
        log: &Log,
        held: Vec<Arc<dyn Signer>>,
        witnesses: Option<&str>,
    ) -> Result<Arc<Self>, AnchorError> {
        let first = held.first().map(|signer| signer.key().clone());
        let first = first.ok_or_else(|| AnchorError::unreadable("the signing key", "there is none"))?;
        let policy = crate::keys::policy(std::slice::from_ref(&first), witnesses)?;
        let keys = Self {
            log: log.clone(),
            held: RwLock::new(held),
            history: RwLock::default(),
            read: Mutex::new(0),
            witnesses: witnesses.map(str::to_owned),
            policy: RwLock::new(Arc::new(policy)),
        };
        keys.catch_up().await?;
        keys.renew()?;
        Ok(Arc::new(keys))
    }

    pub fn origin(&self) -> &str {
        self.log.origin()
    }

    /// Reads on in the log where it ended.
    pub async fn catch_up(&self) -> Result<(), AnchorError> {
        let mut read = self.read.lock().await;
        loop {
            let entries = self.log.read_stream(STREAM, *read, PAGE).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            for entry in &entries {
                self.see(entry)?;
            }
            *read = last.version + 1;
        }
    }

    /// One entry of the log about itself. One that breaks the rules does not count, here as for auditors.
    fn see(&self, entry: &Stored) -> Result<(), AnchorError> {
        let mut history = self.history();
        if let Some(why) = tell(&mut history, self.origin(), entry)? {
            tracing::error!(position = entry.position, alarm = true, "{why}");
        }
        if history == self.history() {
            return Ok(());
        }
        *self.history.write().unwrap_or_else(PoisonError::into_inner) = history;
        self.renew()
    }

    /// All that was ever in force here, or is held: what reads notes of this log.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn renew(&self) -> Result<(), AnchorError> {
        let mut keys: Vec<VerifierKey> = self.history().eras().iter().filter_map(|era| self.key_of(era)).collect();
        for signer in self.held() {
            if !keys.iter().any(|key| key.public_key() == signer.key().public_key()) {
                keys.push(signer.key().clone());
            }
        }
        let policy = crate::keys::policy(&keys, self.witnesses.as_deref())?;
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
        Ok(())
    }

    /// The policy that is published: the keys in force, oldest first.
    pub fn published_policy(&self) -> String {
        policy_text(&self.in_force(), self.witnesses.as_deref())
    }

    /// The keys in force by now, oldest first; of a log that has named none, the one that it is going to name.
    pub fn in_force(&self) -> Vec<VerifierKey> {
        let history = self.history();
        let keys: Vec<_> = history.in_force(u64::MAX).filter_map(|era| self.key_of(era)).collect();
        if history.eras().is_empty() {
            self.held().first().map(|signer| signer.key().clone()).into_iter().collect()
        } else {
            keys
        }
    }

    /// The key that receipts are signed with.
    pub fn newest(&self) -> Option<VerifierKey> {
        self.in_force().pop()
    }

    pub fn history(&self) -> History {
        self.history.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn held(&self) -> Vec<Arc<dyn Signer>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes further keys, those that are held already aside.
    pub fn hold(&self, signers: Vec<Arc<dyn Signer>>) -> Result<(), AnchorError> {
        {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            for signer in signers {
                if !held.iter().any(|known| known.key() == signer.key()) {
                    held.push(signer);
                }
            }
        }
        self.renew()
    }

    fn holder(&self, era: &Era) -> Option<Arc<dyn Signer>> {
        self.held().into_iter().find(|signer| fingerprint(&signer.key().vkey()) == era.fingerprint)
    }

    fn key_of(&self, era: &Era) -> Option<VerifierKey> {
        era.key.clone().or_else(|| self.holder(era).map(|signer| signer.key().clone()))
    }

    /// Whether a key in force is not held here, so that others may have been copied here meanwhile.
    pub fn lacks_one(&self) -> bool {
        self.history().in_force(u64::MAX).any(|era| self.holder(era).is_none())
    }

    /// Whether one of the keys in force is held here.
    pub fn has_one(&self) -> bool {
        let history = self.history();
        history.eras().is_empty() || history.in_force(u64::MAX).any(|era| self.holder(era).is_some())
    }

    /// Whoever signs at this size, oldest key first.
    fn signers_at(&self, size: u64) -> Result<Vec<Arc<dyn Signer>>, SignFailure> {
        let history = self.history();
        if history.eras().is_empty() {
            return Ok(self.held().into_iter().take(1).collect());
        }
        let missing = |era: &Era| SignFailure {
            key: era.key.as_ref().map_or_else(|| era.fingerprint.to_string(), id_of),
            place: "not here".to_owned(),
            what: "it is in force, and this server does not have it".to_owned(),
        };
        history.in_force(size).map(|era| self.holder(era).ok_or_else(|| missing(era))).collect()
    }

    /// The note of a checkpoint of this log, with a line of every key in force at its size. One that does not sign holds it up:
    /// whoever knows that key alone would take a note without it for none of ours.
    pub async fn sign_checkpoint(&self, checkpoint: &Checkpoint) -> Result<String, AnchorError> {
        // What was recorded below this size is there to be read, whoever recorded it.
        self.catch_up().await?;
        let text = checkpoint.to_text();
        let mut note = format!("{text}\n");
        for signer in self.signers_at(checkpoint.size)? {
            note.push_str(&signer.key().line(&signer.sign(text.as_bytes()).await?));
        }
        Ok(note)
    }

    /// The anchor with a signature line of every key in force at the size that it covers.
    pub async fn sign_anchor(&self, size: u64, mut anchor: Anchor) -> Result<Anchor, AnchorError> {
        self.catch_up().await?;
        let text = chain::anchor::text(self.origin(), &anchor.unsigned()?);
        anchor.signature.clear();
        for signer in self.signers_at(size)? {
            anchor.signature.push_str(&signer.key().line(&signer.sign(text.as_bytes()).await?));
        }
        Ok(anchor)
    }

    /// The signed promise for entries that were written: by the newest key in force, or by the older one while that does not sign.
    pub async fn sign_receipt(&self, entries: Vec<ReceiptEntry>) -> Result<SignedReceipt, SignFailure> {
        let history = self.history();
        let mut signers: Vec<_> = history.in_force(u64::MAX).rev().filter_map(|era| self.holder(era)).collect();
        if history.eras().is_empty() {
            signers.extend(self.held().into_iter().next());
        }
        let mut failure = SignFailure {
            key: "in force".to_owned(),
            place: "not here".to_owned(),
            what: "this server has none of the keys in force".to_owned(),
        };
        let text = receipt::text(self.origin(), &entries);
        for signer in signers {
            match signer.sign(text.as_bytes()).await {
                Ok(signature) => return Ok(SignedReceipt::signed(entries, signer.key(), &signature)),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The checkpoint of a note of this log, signed by a key that was in force at its size.
    ///
    /// # Errors
    /// In words. A key that was retired proves nothing about what came later.
    pub fn open_note(&self, note: &str) -> Result<Checkpoint, String> {
        let examined = checkpoint::examine(note, &self.policy()).map_err(|error| error.to_string())?;
        if self.counts(&examined.signed, examined.checkpoint.size) {
            Ok(examined.checkpoint)
        } else {
            Err("no key that was in force at its size signed it".to_owned())
        }
    }

    /// The checkpoint of an anchor of this log: both are signed by keys that were in force at its size.
    ///
    /// # Errors
    /// In words. Checkpoints are public: only whoever has a key of the log makes an anchor of one.
    pub fn open_anchor(&self, anchor: &Anchor) -> Result<Checkpoint, String> {
        let checkpoint = self.open_note(&anchor.checkpoint)?;
        let note = anchor.note().map_err(|error| error.to_string())?;
        let by = signers(&note, self.origin(), &self.policy()).map_err(|error| error.to_string())?;
        if by.len() != note.signatures.len() {
            return Err("it has a line of a key that this log never had".to_owned());
        }
        if self.counts(&by, checkpoint.size) { Ok(checkpoint) } else { Err(NOT_SIGNED.to_owned()) }
    }

    /// Whether a key signed this anchor that is in force by now. What only retired keys signed says nothing new: whoever has one of them can
    /// choose the size, and with it the time at which it was in force.
    pub fn is_current(&self, anchor: &Anchor) -> bool {
        let by = anchor.note().ok().and_then(|note| signers(&note, self.origin(), &self.policy()).ok());
        by.is_some_and(|by| self.counts(&by, u64::MAX))
    }

    /// Whether one of these keys was in force at this size.
    fn counts(&self, by: &[VerifierKey], size: u64) -> bool {
        let history = self.history();
        by.iter().any(|key| {
            let print = fingerprint(&key.vkey());
            // What is held here and not known to this log is of a log that was more than this one.
            let known = history.eras().iter().find(|era| era.fingerprint == print);
            known.is_none_or(|era| era.covers(size))
        })
    }

    /// Rotates to `to`, which both keys sign, and which is recorded. `newest` is the newest signed checkpoint. Only for who has the seat:
    /// two rotations at a time would be one too many.
    ///
    /// When it returns, the new key is in force. A crash before the entry is durable leaves a key that nobody uses; after it, the next
    /// start reads the entry and goes on with both.
    pub async fn rotate(
        &self,
        recorder: &dyn Recorder,
        newest: &Checkpoint,
        to: Arc<dyn Signer>,
    ) -> Result<u64, AnchorError> {
        self.catch_up().await?;
        let from = self.signers_at(u64::MAX)?.pop();
        let from = from.ok_or_else(|| AnchorError::unreadable("the signing key", "none is in force"))?;
        // Neither key signs what would fit any history.
        if newest.size == 0 {
            return Err(AnchorError::unreadable("this rotation", RotationError::Empty));
        }
        let (old, new) = (from.key().vkey(), to.key().vkey());
        let text = rotation::text(self.origin(), &old, &new, newest.size, &newest.root);
        let (by_old, by_new) = (from.sign(text.as_bytes()).await?, to.sign(text.as_bytes()).await?);
        let rotation = Rotation::signed(old, new, (newest.size, newest.root), &by_old, &by_new);
        self.history()
            .rotate(self.origin(), newest.size, &rotation)
            .map_err(|error| AnchorError::unreadable("this rotation", error))?;
        self.hold(vec![to])?;
        self.put_on_record(recorder, ROTATED, &rotation).await
    }

    /// Retires the older of two keys in force, which this vkey or key id names. Only for who has the seat.
    pub async fn retire(&self, recorder: &dyn Recorder, name: &str) -> Result<u64, AnchorError> {
        self.catch_up().await?;
        let in_force = self.in_force();
        let key = in_force.iter().find(|key| is_named(key, name));
        let key = key.ok_or_else(|| AnchorError::unreadable(name, "is no key in force"))?;
        let retirement = Retirement { key: key.vkey() };
        let size = self.log.head().await?.size;
        let mut after = self.history();
        after.retire(size, &retirement).map_err(|error| AnchorError::unreadable("this retirement", error))?;
        // Otherwise nobody could sign any more.
        self.signers_at(u64::MAX)?;
        self.put_on_record(recorder, RETIRED, &retirement).await
    }

    async fn put_on_record(
        &self,
        recorder: &dyn Recorder,
        kind: &str,
        data: &impl Serialize,
    ) -> Result<u64, AnchorError> {
        let data = serde_json::to_value(data).map_err(|error| AnchorError::unreadable(kind, error))?;
        let position = recorder.record(kind, data).await?;
        self.catch_up().await?;
        Ok(position)
    }

    /// Every key that the log has had and every one that is held.
    pub fn status(&self) -> Vec<KeyStatus> {
        let history = self.history();
        let mut keys: Vec<KeyStatus> = history.eras().iter().map(|era| self.status_of(era)).collect();
        for signer in self.held() {
            let print = fingerprint(&signer.key().vkey());
            if !keys.iter().any(|key| key.fingerprint == print) {
                keys.push(KeyStatus {
                    vkey: Some(signer.key().vkey()),
                    fingerprint: print,
                    state: "not in force",
                    from: None,
                    until: None,
                    place: Some(signer.place().to_owned()),
                });
            }
        }
        keys
    }

    fn status_of(&self, era: &Era) -> KeyStatus {
        KeyStatus {
            vkey: self.key_of(era).map(|key| key.vkey()),
            fingerprint: era.fingerprint,
            state: if era.until.is_none() { "in force" } else { "retired" },
            from: Some(era.from),
            until: era.until,
            place: self.holder(era).map(|signer| signer.place().to_owned()),
        }
    }
}

/// Whether this vkey or key id is the key's.
pub fn is_named(key: &VerifierKey, name: &str) -> bool {
    name == key.vkey() || name == id_of(key)
}

/// Tells a history the next entry of its log; answers why it does not count, if it is one about keys and breaks their rules.
pub(crate) fn tell(history: &mut History, origin: &str, entry: &Stored) -> Result<Option<String>, AnchorError> {
    if entry.stream != STREAM {
        return Ok(None);
    }
    let told = match kind_of(&entry.bytes) {
        Some(NAMED) => {
            let named = data::<serde_json::Value>(entry)?["signing_key"].as_str().and_then(Hash::from_hex);
            if let Some(named) = named {
                history.name(named);
            }
            Ok(())
        }
        Some(ROTATED) => history.rotate(origin, entry.position, &data(entry)?),
        Some(RETIRED) => history.retire(entry.position, &data(entry)?),
        _ => Ok(()),
    };
    Ok(told.err().map(|error| format!("an entry about the signing keys does not count: {error}")))
}

/// The type of an entry, if it is one about keys: most are not, and are not read further.
fn kind_of(bytes: &[u8]) -> Option<&'static str> {
    let view = chain::entry::EntryView::parse(bytes).ok()?;
    [NAMED, ROTATED, RETIRED].into_iter().find(|kind| *kind == view.kind)
}

fn data<T: DeserializeOwned>(entry: &Stored) -> Result<T, AnchorError> {
    let view = chain::entry::EntryView::parse(&entry.bytes).map_err(|_| AnchorError::Damaged(entry.position))?;
    serde_json::from_str(view.data.get()).map_err(|_| AnchorError::Damaged(entry.position))
}
