//! New origin: a log of another name whose first leaf is the old log's last checkpoint, and which holds the old log's entries.
//!
//! What the old log said about itself (the stream `log`) stays with it: it speaks of keys and anchors that are not this log's. Every other
//! entry is carried with its exact bytes and the same version of the same stream; only the hashes are new, for they bind the name.

use std::collections::HashMap;

use anchor::archive::{Archive, Verified, Wanted};
use anyhow::{Context as _, bail, ensure};
use chain::Hash;
use chain::entry::{Actor, Entry, entry_hash};
use domain::ids::CommandId;
use domain::text::Digest;
use eventlog::vault::Vault;
use eventlog::{Location, Log, Stored};
use identity::Pepper;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::forward::rebuild;
use super::restorer::Restorer;
use super::{Asked, No, OnStage, Told, existing, kept};
use crate::city::{DataDir, location, open_as, signers, stores};
use crate::config::Settings;
use crate::http::now;

/// The stream that speaks of the log itself.
const OWN: &str = "log";
const CONTINUED: &str = "log.continued.v1";
const SECRETS_NAMED: &str = "log.secrets_named.v1";
const PAGE: usize = 65_536;

/// What the first leaf says (FORMAT.md section 14).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continued {
    /// The log that is continued: its name, and the checkpoint up to which.
    pub origin: String,
    pub size: u64,
    pub root: Hash,
    pub checkpoint: String,
    /// How many of its entries follow.
    pub carried: u64,
}

impl Continued {
    /// How many entries a log has at least that was made whole: this one, those carried, and the naming of its secrets.
    const fn whole(&self) -> u64 {
        self.carried + 2
    }
}

/// Refuses a log whose recovery was cut off: a city that began on half of it could never get the rest.
pub async fn ensure_whole(log: &Log) -> anyhow::Result<()> {
    let size = log.head().await?.size;
    match first(log).await? {
        Some(continued) if size < continued.whole() => bail!(
            "this log continues {} and has {size} of its {} entries: a recovery was cut off; run the same `guildhall recover` again",
            continued.origin,
            continued.whole()
        ),
        _ => Ok(()),
    }
}

/// What this log continues, if it does.
async fn first(log: &Log) -> anyhow::Result<Option<Continued>> {
    let entries = log.read(0, 1).await?;
    let Some(entry) = entries.first().filter(|entry| entry.stream == OWN) else { return Ok(None) };
    let entry: Value = serde_json::from_slice(&entry.bytes).context("position 0")?;
    if entry["type"] != CONTINUED {
        return Ok(None);
    }
    Ok(Some(serde_json::from_value(entry["data"].clone()).context("position 0")?))
}

pub(super) async fn run(settings: &Settings, asked: &Asked, name: &str, on_stage: OnStage<'_>) -> anyhow::Result<Told> {
    ensure!(chain::entry::is_valid_origin(name), "--new-origin: 1 to 128 characters of a-z 0-9 . / -");
    // What lies beside the entries was written by whoever could write there, and would name their own keys and witnesses.
    let path = asked.policy.as_deref().context(
        "whose log it is must be known from elsewhere: --policy FILE, with the old log's key as auditors and witnesses have it; a policy \
         that lies beside what was kept is not taken",
    )?;
    let policy = kept::policy_of(path)?;
    let places = kept::places(settings, asked)?;
    ensure_free(settings).await?;
    let wanted = Wanted { size: asked.size, witnessed: policy.quorum.is_some() };
    let archive = kept::open(places, &policy, wanted).await?;
    ensure!(archive.origin() != name, "the new log takes another name than the old one: {name} is taken for ever");
    let mut found = Found::default();
    let verified = kept::verify(&archive, on_stage, async |entries| {
        if entries.first().is_some_and(|first| first.position == 0) {
            found = Found::default();
        }
        entries.iter().for_each(|entry| found.see(entry));
        Ok(())
    })
    .await?;
    let mut told = kept::told(&archive, &policy, path.display().to_string(), &verified);
    let had = had(settings, name).await?;
    let Some(at) = found.first_at else {
        return Err(No::differs("the kept log holds no entry that could be carried").into());
    };
    let continued = Continued {
        origin: told.origin.clone(),
        size: told.size,
        root: archive.root(),
        checkpoint: archive.aim.note.clone(),
        carried: found.carried,
    };
    told.had = had;
    told.restored = continued.whole().saturating_sub(had);
    told.sealed = found.sealed;
    told.new_origin = Some(name.to_owned());
    told.lost = lost(&told);
    told.next = next();
    if asked.go {
        let given = policy.logs.iter().filter(|log| log.name() == continued.origin);
        let had = verified.history.eras().iter().filter_map(|era| era.key.as_ref());
        let all = given.chain(had).chain(&verified.later);
        let old_keys: Vec<Vec<u8>> = all.map(|key| key.public_key().to_vec()).collect();
        told.new_key = Some(make(settings, name, &archive, &verified, (&continued, &old_keys), &at, on_stage).await?);
        told.done = true;
    }
    Ok(told)
}

fn lost(told: &Told) -> Vec<String> {
    vec![
        "every API key: the pepper is a new one".to_owned(),
        format!("sealed texts, in {} entries: the vault is a new one; their commitments go on to hold", told.sealed),
        "what makes a reference unique: one that was used before can be used once more, because its keyed digest is another now, \
         unless the old master key is in GUILDHALL_MASTER_KEY"
            .to_owned(),
        format!("whatever {} recorded from position {} on", told.origin, told.size),
        "answers kept for idempotency keys, and positions in the feed: whoever follows it begins again from 0".to_owned(),
    ]
}

fn next() -> Vec<String> {
    vec![
        "guildhall keys recover   (a new key for the city's first principal, who lets everybody else in)".to_owned(),
        "guildhall serve, and guildhall anchor now".to_owned(),
        "give the new key to auditors and witnesses; tell them that the old one signs nothing any more".to_owned(),
        "auditor verify NEW --continues OLD".to_owned(),
    ]
}

/// The anchors of a log lie alone: those of the old one stay where they are.
async fn ensure_free(settings: &Settings) -> anyhow::Result<()> {
    let store = stores::open(settings)?;
    let taken = anchor::store::keys(store.as_ref(), "anchors/").await?;
    ensure!(
        taken.is_empty(),
        "{} holds the anchors of a log already: a new log is anchored in a place of its own (anchor.directory, or another \
         anchor.s3.prefix); name the old one with --from",
        store.place()
    );
    Ok(())
}

/// How many entries there are of a recovery that was begun.
async fn had(settings: &Settings, name: &str) -> anyhow::Result<u64> {
    match existing(settings, name).await? {
        Some(log) => Ok(log.head().await?.size),
        None => Ok(0),
    }
}

/// What is to be carried.
#[derive(Default)]
struct Found {
    carried: u64,
    sealed: u64,
    /// The time of the first one: nothing in the new log is older.
    first_at: Option<String>,
}

impl Found {
    fn see(&mut self, entry: &Stored) {
        if entry.stream == OWN {
            return;
        }
        self.carried += 1;
        self.sealed += u64::from(kept::is_sealed(entry));
        if self.first_at.is_none() {
            // It was read as an entry a moment ago.
            self.first_at = chain::entry::EntryView::parse(&entry.bytes).ok().map(|view| view.at.to_owned());
        }
    }
}

/// The secrets first, so that a recovery that is cut off goes on with the same ones. Answers the new public key.
async fn make(
    settings: &Settings,
    name: &str,
    archive: &Archive,
    verified: &Verified,
    (continued, old_keys): (&Continued, &[Vec<u8>]),
    at: &str,
    on_stage: OnStage<'_>,
) -> anyhow::Result<String> {
    let dir = DataDir::create(&settings.data_dir)?;
    let origin = dir.origin(&Settings { origin: Some(name.to_owned()), ..settings.clone() })?;
    let pepper = Pepper::new(*dir.secret("pepper.key", true)?);
    let vault = Vault::new(dir.master_key(true)?);
    let held = signers::held(settings, &dir, &origin, true)?;
    let [signer] = &held[..] else {
        let places: Vec<&str> = held.iter().map(|signer| signer.place()).collect();
        bail!("a new log begins with one signing key, and there are {}: {}", places.len(), places.join(", "))
    };
    // Whoever has stolen it would sign this log as well.
    ensure!(
        !old_keys.iter().any(|old| old == signer.key().public_key()),
        "the signing key {} is one that {} had: a new log takes a new one; take it out of where it is, and run this again",
        signer.place(),
        continued.origin
    );
    let key = signer.key().vkey();
    if let Location::Sqlite { dir } = location(settings) {
        eventlog::init_sqlite(&dir, &origin, &projections::ddl::SQLITE).await?;
    }
    let log = open_as(settings, origin).await?;
    let mut carrier = Carrier::begin(&log, continued, at).await?;
    let mut again = archive.again(&verified.digests, 0);
    while let Some(entries) = again.next().await? {
        let reached = entries.last().map_or(0, |last| last.position + 1);
        for entry in entries.into_iter().filter(|entry| entry.stream != OWN) {
            carrier.carry(entry).await?;
        }
        on_stage("restore", reached, archive.size());
    }
    let named = json!({
        "pepper": pepper.fingerprint(),
        "master_key": Digest(vault.fingerprint()),
        "signing_key": chain::rotation::fingerprint(&key),
    });
    let _alone = carrier.end(named).await?;
    rebuild(&log, on_stage).await?;
    Ok(key)
}

/// Entries on their way into the new log. What is there already must be what would be written.
struct Carrier {
    log: Log,
    restorer: Restorer,
    /// Of the new log, when this began.
    had: u64,
    /// The hashes of what it had, from `position` on.
    there: std::collections::VecDeque<Hash>,
    position: u64,
    /// Version and new hash of the last entry of each stream.
    tips: HashMap<String, (u64, Hash)>,
}

impl Carrier {
    async fn begin(log: &Log, continued: &Continued, at: &str) -> anyhow::Result<Self> {
        let mut carrier = Self {
            restorer: Restorer::new(log).await?,
            log: log.clone(),
            had: log.head().await?.size,
            there: std::collections::VecDeque::new(),
            position: 0,
            tips: HashMap::new(),
        };
        let data = serde_json::to_value(continued)?;
        if carrier.had == 0 {
            let own = carrier.own(CONTINUED, data, at.to_owned())?;
            carrier.carry(own).await?;
            return Ok(carrier);
        }
        // The checkpoint may have been cosigned once more since.
        let begun = first(log).await?;
        let begun = begun.map(|begun| Continued { checkpoint: continued.checkpoint.clone(), ..begun });
        if begun.as_ref() != Some(continued) {
            return Err(No::differs("this log was not begun as the continuation that is asked for: take an empty database, and no --data-dir that was used").into());
        }
        let hash = carrier.next_hash().await?.context("a log with a head has a first entry")?;
        carrier.tips.insert(OWN.to_owned(), (0, hash));
        carrier.position = 1;
        Ok(carrier)
    }

    /// An entry of this log about itself.
    fn own(&self, kind: &str, data: Value, at: String) -> anyhow::Result<Stored> {
        let tip = self.tips.get(OWN);
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).context("drawing a nonce")?;
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&seed[16..]);
        let entry = Entry {
            stream: OWN.to_owned(),
            version: tip.map_or(0, |(version, _)| version + 1),
            kind: kind.to_owned(),
            at,
            actor: Actor { kind: "system".to_owned(), id: "guildhall".to_owned() },
            via: "system".to_owned(),
            on_behalf_of: None,
            cause: None,
            command: CommandId::from_bits(domain::turn::derive_id(&seed, 1, now())).to_string(),
            nonce,
            data,
            sealed: None,
        };
        let bytes = entry.to_bytes()?.into();
        Ok(Stored {
            position: 0,
            stream: entry.stream,
            version: entry.version,
            prev: Hash::ZERO,
            hash: Hash::ZERO,
            bytes,
        })
    }

    /// Links an entry into the new log and writes it, if it is not there.
    async fn carry(&mut self, entry: Stored) -> anyhow::Result<()> {
        let tip = self.tips.get(&entry.stream).copied();
        let expected = tip.map_or(0, |(version, _)| version + 1);
        ensure!(entry.version == expected, "version {} of {} follows version {expected}", entry.version, entry.stream);
        let prev = tip.map_or(Hash::ZERO, |(_, hash)| hash);
        let hash = entry_hash(self.log.origin(), &prev, &entry.bytes);
        self.tips.insert(entry.stream.clone(), (entry.version, hash));
        let position = self.position;
        self.position += 1;
        if position < self.had {
            ensure!(
                self.next_hash().await? == Some(hash),
                No::differs(format!("position {position} of this log is not what would be carried there"))
            );
            return Ok(());
        }
        self.restorer.push(Stored { position, prev, hash, ..entry }).await
    }

    /// The hash at the current position of what was there.
    async fn next_hash(&mut self) -> anyhow::Result<Option<Hash>> {
        if self.there.is_empty() {
            self.there = self.log.hashes(self.position.saturating_sub(1), PAGE).await?.into();
        }
        Ok(self.there.pop_front())
    }

    /// With this the log is whole. Nobody else writes to it as long as what this answers is kept.
    async fn end(mut self, named: Value) -> anyhow::Result<Restorer> {
        // What there is beyond is this log's own already: its secrets were named by the run before this one.
        if self.had <= self.position {
            self.restorer.flush().await?;
            let at = now().micros().max(self.log.head().await?.at);
            let own = self.own(SECRETS_NAMED, named, domain::Time::from_micros(at).to_string())?;
            self.carry(own).await?;
            self.restorer.flush().await?;
        }
        Ok(self.restorer)
    }
}
