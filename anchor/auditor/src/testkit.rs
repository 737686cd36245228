//! A small city made with `chain` alone, for tests: entries as a writer would make them, and a published folder of them.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use chain::Hash;
use chain::checkpoint::Checkpoint;
use chain::entry::{self, Entry, entry_hash};
use chain::hash::sha256;
use chain::heads::{Commitment, Head, Heads};
use chain::key::CosigningKey;
use chain::note::SigningKey;
use chain::pack::{self, OwnedRecord, PackId, packs_between, packs_for};
use chain::tile::{self, BundleId, TileId, bundles_between, bundles_for, tiles_between, tiles_for};
use chain::tree::{Frontier, leaf_hash};
use serde_json::{Value, json};

use crate::anchors::{self, Anchor, Previous};
use crate::entries::read_entry;
use crate::rules::{Notes, World};

pub const ORIGIN: &str = "guildhall.example/city";
/// The founder's and everybody's time: an act takes a second.
pub const START: u64 = 1_700_000_000;

/// An id of this prefix, made in this second.
pub fn id(prefix: &str, second: u64, number: u64) -> String {
    let bits = (u128::from((START + second) * 1000) << 80) | u128::from(number);
    let digits = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let text: String =
        (0..26).rev().map(|place| char::from(digits[usize::try_from((bits >> (5 * place)) & 31).unwrap()])).collect();
    format!("{prefix}_{text}")
}

pub fn at(second: u64) -> String {
    let seconds = START + second;
    // 1700000000 is 2023-11-14T22:13:20Z; tests stay within a few months of it.
    let mut day = 14 + seconds / 86_400 - START / 86_400;
    let mut months = [("2023-11", 30), ("2023-12", 31), ("2024-01", 31), ("2024-02", 29), ("2024-03", 31)].into_iter();
    let (mut month, mut length) = months.next().unwrap();
    while day > length {
        day -= length;
        (month, length) = months.next().unwrap();
    }
    let clock = seconds % 86_400;
    format!("{month}-{day:02}T{:02}:{:02}:{:02}.000000Z", clock / 3600, clock / 60 % 60, clock % 60)
}

pub fn sealed() -> Value {
    json!({"ciphertext": "11".repeat(32), "commitment": "22".repeat(32), "subject": "cit_x"})
}

/// A log in memory, one act at a time.
#[derive(Clone)]
pub struct City {
    pub records: Vec<OwnedRecord>,
    tips: HashMap<String, (u64, Hash)>,
    pub second: u64,
    actor: Option<String>,
}

impl City {
    pub fn new() -> Self {
        Self { records: Vec::new(), tips: HashMap::new(), second: 0, actor: None }
    }

    /// Begins the next act, by a human with this id, or by the city itself.
    pub fn act(&mut self, actor: Option<&str>) -> &mut Self {
        self.second += 1;
        self.actor = actor.map(str::to_owned);
        self
    }

    /// An id made in the present act.
    pub fn fresh(&self, prefix: &str, number: u64) -> String {
        id(prefix, self.second, number)
    }

    pub fn now(&self) -> String {
        at(self.second)
    }

    pub fn add(&mut self, stream: &str, kind: &str, data: Value) -> &mut Self {
        self.add_sealed(stream, kind, data, &[])
    }

    pub fn add_sealed(&mut self, stream: &str, kind: &str, data: Value, texts: &[&str]) -> &mut Self {
        let (version, prev) =
            self.tips.get(stream).copied().map_or((0, Hash::ZERO), |(version, hash)| (version + 1, hash));
        let actor = match &self.actor {
            Some(id) => entry::Actor { kind: "human".to_owned(), id: id.clone() },
            None => entry::Actor { kind: "system".to_owned(), id: "guildhall".to_owned() },
        };
        let sealed = (!texts.is_empty())
            .then(|| texts.iter().map(|path| ((*path).to_owned(), sealed())).collect::<serde_json::Map<_, _>>());
        let position = self.records.len() as u64;
        let entry = Entry {
            stream: stream.to_owned(),
            version,
            kind: kind.to_owned(),
            at: self.now(),
            actor,
            via: "system".to_owned(),
            on_behalf_of: None,
            cause: None,
            command: id("cmd", self.second, 1),
            nonce: u128::from(position).to_be_bytes(),
            data,
            sealed: sealed.map(Value::Object),
        };
        let bytes = entry.to_bytes().unwrap();
        self.tips.insert(stream.to_owned(), (version, entry_hash(ORIGIN, &prev, &bytes)));
        self.records.push(OwnedRecord { position, prev, bytes });
        self
    }

    /// A city with a principal, USD, and a guild of theirs that they decide for: (city, citizen, guild).
    pub fn founded() -> (Self, String, String) {
        let mut city = Self::new();
        let (citizen, treasury) = (id("cit", 1, 1), id("try", 1, 1));
        city.act(None)
            .add("city", "city.founded.v1", json!({"principal": citizen}))
            .add_sealed(&citizen, "citizen.registered.v1", json!({"kind": "human"}), &["name"])
            .add(&treasury, "treasury.opened.v1", json!({"owner": {"kind": "citizen", "id": citizen}}));
        city.act(Some(&citizen)).add("city", "city.currency_registered.v1", json!({"currency": "USD", "scale": 2}));
        city.act(Some(&citizen)).add(
            &citizen,
            "citizen.attestation_granted.v1",
            json!({"source": "bank", "currency": "USD"}),
        );
        let governance = json!({"default": {"tier": "principal-only", "decider": citizen}, "proposal_days": 7});
        let guild = city.found_guild(&citizen, "first", governance);
        (city, citizen, guild)
    }

    pub fn found_guild(&mut self, citizen: &str, slug: &str, governance: Value) -> String {
        self.act(Some(citizen));
        let guild = self.fresh("gld", 1);
        let treasury = guild.replace("gld", "try");
        let ranks = json!([{"name": "founder"}, {"name": "member"}]);
        self.add_sealed(
            &guild,
            "guild.founded.v1",
            json!({"slug": slug, "kind": "company", "ranks": ranks, "governance": governance}),
            &["name"],
        )
        .add(&guild, "guild.member_added.v1", json!({"member": citizen, "kind": "human", "rank": "founder"}))
        .add(citizen, "citizen.guild_joined.v1", json!({"guild": guild}))
        .add(&treasury, "treasury.opened.v1", json!({"owner": {"kind": "guild", "id": guild}}));
        guild
    }

    /// Another human, registered by the first one.
    pub fn citizen(&mut self, by: &str) -> String {
        self.act(Some(by));
        let citizen = self.fresh("cit", 7);
        self.add_sealed(&citizen, "citizen.registered.v1", json!({"kind": "human"}), &["name"]).add(
            &citizen.replace("cit", "try"),
            "treasury.opened.v1",
            json!({"owner": {"kind": "citizen", "id": citizen}}),
        );
        citizen
    }

    /// The heads of all streams as they are.
    pub fn heads(&self) -> Heads {
        let mut heads = Heads::new();
        for (stream, (version, hash)) in &self.tips {
            heads.set(chain::heads::key(stream), Head { version: *version, hash: *hash });
        }
        heads
    }

    /// The log commits to its heads as they are.
    pub fn commit_heads(&mut self) -> &mut Self {
        let said = Commitment { as_of: self.records.len() as u64, root: self.heads().root() };
        self.act(None).add("log", "log.heads_committed.v1", serde_json::to_value(said).unwrap())
    }

    pub fn movement(&self, kind: &str, amount: &str, legs: &Value) -> Value {
        json!({
            "movement": self.fresh("mov", 1), "kind": kind, "currency": "USD", "amount": amount, "legs": legs,
            "effective_at": self.now(),
        })
    }

    pub fn deposit(&mut self, by: &str, treasury: &str, amount: &str, reference: u64) -> &mut Self {
        self.act(Some(by));
        let legs = json!([leg("external", &format!("-{amount}")), leg(treasury, amount)]);
        let mut data = self.movement("deposit", amount, &legs);
        data["source"] = json!("bank");
        data["reference_lookup"] = json!(format!("{reference:064x}"));
        self.add_sealed(treasury, "treasury.credited.v1", data, &["reference"])
    }

    pub fn decided(&mut self, by: &str, guild: &str, action: &str, class: &str) -> &mut Self {
        let data = json!({"action": action, "class": class, "ground": {"by": "decider", "citizen": by}});
        self.add(guild, "guild.decided.v1", data)
    }

    /// What the rules say about the whole log.
    pub fn judge(&self) -> Vec<(u64, String)> {
        let mut world = World::default();
        let mut notes = Notes::default();
        for record in &self.records {
            world.apply(&read_entry(record.position, &record.bytes).unwrap(), &mut notes);
        }
        world.finish(&mut notes);
        notes.found
    }

    /// Expects no complaint.
    pub fn clean(&self) {
        assert_eq!(self.judge(), []);
    }

    /// Expects a complaint that contains `words`, at the last entry or at `position`.
    pub fn refused(&self, words: &str) {
        let found = self.judge();
        assert!(found.iter().any(|(_, what)| what.contains(words)), "expected {words:?} in {found:?}");
    }
}

pub fn leg(account: &str, amount: &str) -> Value {
    json!({"account": account, "amount": amount, "role": "principal"})
}

/// A published log: every file by its path.
pub struct Published {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Who signs a checkpoint of this size.
    signers: fn(u64) -> Vec<u8>,
}

/// The log's key of this seed.
pub fn log_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(ORIGIN, [seed; 32])
}

/// Signs an anchor with the keys of these seeds, as the log does.
pub fn sign(anchor: &mut Anchor, seeds: &[u8]) {
    let text = chain::anchor::text(&anchor.origin, &anchor.unsigned().unwrap());
    anchor.signature =
        seeds.iter().map(|seed| SigningKey::from_seed(&*anchor.origin, [*seed; 32]).sign(&text)).collect();
}

/// How many entries an anchor covers.
pub fn size_of(anchor: &Anchor) -> u64 {
    anchor.checkpoint.lines().nth(1).unwrap().parse().unwrap()
}

impl Published {
    /// Publishes these records at each of these sizes, with an anchor for each.
    pub fn of(records: &[OwnedRecord], sizes: &[u64]) -> Self {
        Self::signed(records, sizes, |_| vec![7], &[7])
    }

    /// The same, signed at each size by the keys of these seeds, under a policy that gives those of others.
    pub fn signed(records: &[OwnedRecord], sizes: &[u64], signers: fn(u64) -> Vec<u8>, trusted: &[u8]) -> Self {
        let mut published = Self { files: BTreeMap::new(), signers };
        let logs: String = trusted.iter().map(|seed| format!("log {}\n", log_key(*seed).vkey())).collect();
        published.put("policy", format!("{logs}quorum none\n").into_bytes());
        let mut previous = None;
        let mut old = 0;
        for (seq, size) in sizes.iter().enumerate() {
            let files = published.lay(records, *size);
            let listed = tiles_between(old, *size)
                .iter()
                .map(TileId::path)
                .chain(bundles_between(old, *size).iter().map(BundleId::path))
                .chain(packs_between(old, *size).iter().map(PackId::path))
                .map(|path| {
                    let digest = sha256(&[&files[&path]]);
                    (path, digest)
                })
                .collect();
            previous = Some(published.anchor(seq as u64, *size, listed, previous));
            old = *size;
        }
        published
    }

    /// Writes the files of one size and its checkpoint.
    pub fn lay(&mut self, records: &[OwnedRecord], size: u64) -> BTreeMap<String, Vec<u8>> {
        let leaves: Vec<Hash> = records.iter().map(|record| record.as_record().entry_hash(ORIGIN)).collect();
        let mut nodes: HashMap<(u32, u64), Hash> = HashMap::new();
        let mut frontier = Frontier::new();
        for leaf in &leaves[..usize::try_from(size).unwrap()] {
            frontier.push_observed(leaf_hash(&leaf.0), |level, index, hash| {
                nodes.insert((level, index), *hash);
            });
        }
        let run = |index: u64, width: u16| {
            let first = usize::try_from(index * 256).unwrap();
            first..first + usize::from(width)
        };
        let mut files = BTreeMap::new();
        for id in tiles_for(size) {
            let hashes: Vec<Hash> =
                run(id.index, id.width).map(|at| nodes[&(u32::from(id.level) * 8, at as u64)]).collect();
            files.insert(id.path(), tile::encode_tile(&hashes));
        }
        for id in bundles_for(size) {
            files.insert(id.path(), tile::encode_bundle(&leaves[run(id.index, id.width)]));
        }
        for id in packs_for(size) {
            let records: Vec<_> = records[run(id.index, id.width)].iter().map(OwnedRecord::as_record).collect();
            files.insert(id.path(), pack::encode(&records));
        }
        let text = Checkpoint { origin: ORIGIN.to_owned(), size, root: frontier.root() }.to_text();
        let lines: String = (self.signers)(size).iter().map(|seed| log_key(*seed).sign(&text)).collect();
        let note = format!("{text}\n{lines}");
        files.insert("checkpoint".to_owned(), note.into_bytes());
        self.files.extend(files.clone());
        files
    }

    fn anchor(&mut self, seq: u64, size: u64, files: BTreeMap<String, Hash>, previous: Option<Previous>) -> Previous {
        let mut anchor = Anchor {
            at: at(100_000),
            checkpoint: String::from_utf8(self.files["checkpoint"].clone()).unwrap(),
            files,
            heads: None,
            origin: ORIGIN.to_owned(),
            previous,
            seq,
            signature: String::new(),
            software: "test".to_owned(),
            time: None,
            v: 3,
        };
        sign(&mut anchor, &(self.signers)(size));
        let bytes = anchor.to_bytes().unwrap();
        let key = anchors::key(seq, size);
        let previous = Previous { key: key.clone(), sha256: sha256(&[&bytes]), version: None };
        self.put(&key, bytes);
        previous
    }

    /// Changes the anchors, each in its turn, links them anew and signs them: whoever has the log's keys can.
    pub fn rechain(&mut self, change: impl Fn(&mut Anchor)) {
        let keys: Vec<String> = self.files.keys().filter(|path| path.starts_with("anchors/")).cloned().collect();
        let mut previous: Option<Previous> = None;
        for key in keys {
            let mut anchor: Anchor = serde_json::from_slice(&self.files[&key]).unwrap();
            anchor.previous = previous.take();
            change(&mut anchor);
            let size = size_of(&anchor);
            sign(&mut anchor, &(self.signers)(size));
            let bytes = anchor.to_bytes().unwrap();
            previous = Some(Previous { key: key.clone(), sha256: sha256(&[&bytes]), version: None });
            self.put(&key, bytes);
        }
    }

    /// Has a witness that the policy asks for cosign the checkpoints of these sizes, and no others.
    pub fn cosign(&mut self, sizes: &[u64]) {
        let witness = CosigningKey::from_seed("witness.example/w", [9; 32]);
        let policy = format!("log {}\nwitness w {}\nquorum w\n", log_key(7).vkey(), witness.vkey());
        self.put("policy", policy.into_bytes());
        let cosigned = |note: &str| {
            let text = &note[..=note.find("\n\n").unwrap()];
            let size = Checkpoint::parse_text(text).unwrap().size;
            let line = sizes.contains(&size).then(|| witness.cosign(text, START));
            format!("{note}{}", line.unwrap_or_default())
        };
        self.rechain(|anchor| anchor.checkpoint = cosigned(&anchor.checkpoint));
        if let Some(note) = self.files.get("checkpoint") {
            let note = cosigned(std::str::from_utf8(note).unwrap());
            self.put("checkpoint", note.into_bytes());
        }
    }

    pub fn put(&mut self, path: &str, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), bytes);
    }

    /// Files whose content says something about the entries, as an attacker without the key can make them.
    pub fn forge(&mut self, records: &[OwnedRecord]) {
        let checkpoint = self.files["checkpoint"].clone();
        self.files.retain(|path, _| !path.starts_with("tile/") && !path.starts_with("pack/"));
        self.lay(records, records.len() as u64);
        self.put("checkpoint", checkpoint);
    }

    pub fn write(&self, dir: &Path) {
        for (path, bytes) in &self.files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}
