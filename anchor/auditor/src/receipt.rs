//! Receipts: what was promised or recorded, said in words, with no server and no network.

use std::collections::BTreeMap;

use chain::Hash;
use chain::checkpoint::Examined;
use chain::entry::{EntryView, entry_hash};
use chain::policy::Policy;
use chain::proof::TlogProof;
use chain::receipt::SignedReceipt;
use chain::tree::leaf_hash;
use serde::{Deserialize, Serialize};

use crate::payload::Shown;

/// A receipt that carries its entry (FORMAT.md section 9): whoever holds it needs nobody to check it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryReceipt {
    pub origin: String,
    pub position: u64,
    /// Hash of the stream's previous entry.
    pub prev: Hash,
    /// The exact bytes of the entry.
    pub entry: String,
    /// A `.tlog-proof` file.
    pub proof: String,
    /// What stands behind the commitments, for a party who may read it: path to text and salt, or to ciphertext and key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub opened: BTreeMap<String, Shown>,
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the receipt does not hold: {0}")]
pub struct Unproven(pub String);

/// A receipt of either kind, read but not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    Entry(Box<EntryReceipt>),
    Promise(SignedReceipt),
}

/// Reads a receipt that carries its entry, a signed promise, or the answer of a command with the promise in it.
///
/// # Errors
/// In words, when the text is none of these: nothing can then be said about what it claims.
pub fn read(text: &str) -> Result<Receipt, String> {
    if text.starts_with(chain::proof::HEADER) {
        return Err("a bare proof names no entry; use the receipt that carries it".to_owned());
    }
    if text.starts_with("c2sp.org/tlog-proof@") {
        let what = "a proof without the entry it is about: a key that may read entries gets both from GET /v1/receipts/{position}";
        return Err(what.to_owned());
    }
    let document: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let promise = match document.get("receipt") {
        Some(serde_json::Value::Null) => return Err("the answer of a command that recorded nothing".to_owned()),
        Some(promise) => promise.to_string(),
        None if document.get("entry").is_some() => {
            let receipt = serde_json::from_str(text).map_err(|error| format!("a receipt with its entry: {error}"))?;
            return Ok(Receipt::Entry(Box::new(receipt)));
        }
        None => text.to_owned(),
    };
    let wanted = "neither a receipt with its entry, nor a signed promise, nor the answer of a command";
    serde_json::from_str(&promise).map(Receipt::Promise).map_err(|error| format!("{wanted}: {error}"))
}

/// Checks a receipt of any kind and says in words what it proves.
pub fn explain(receipt: &Receipt, policy: &Policy) -> Result<String, Unproven> {
    match receipt {
        Receipt::Entry(receipt) => explain_entry(receipt, policy),
        Receipt::Promise(signed) => explain_promise(signed, policy),
    }
}

fn explain_entry(receipt: &EntryReceipt, policy: &Policy) -> Result<String, Unproven> {
    let unproven = |what: &dyn std::fmt::Display| Unproven(what.to_string());
    let bytes = receipt.entry.as_bytes();
    let view = EntryView::parse(bytes).map_err(|error| unproven(&error))?;
    let hash = entry_hash(&receipt.origin, &receipt.prev, bytes);
    let proof = TlogProof::parse(&receipt.proof).map_err(|error| unproven(&error))?;
    if proof.index != receipt.position {
        return Err(Unproven("the proof is for another position".to_owned()));
    }
    let Examined { checkpoint, witnessed, cosigned, .. } =
        proof.examine(&leaf_hash(&hash.0), policy).map_err(|error| unproven(&error))?;
    if checkpoint.origin != receipt.origin {
        return Err(Unproven("the proof is of another log".to_owned()));
    }
    let mut text = format!(
        "Position {} of the log {} holds this entry, and the log signed it into a tree of {} entries.\n",
        receipt.position, receipt.origin, checkpoint.size
    );
    let by = format!("{} {}", view.actor.kind, view.actor.id);
    text.push_str(&format!(
        "  what      {}\n  where     {}, version {}\n  when      {}\n  who       {by}, with {}\n  command   {}\n  data      {}\n",
        view.kind, view.stream, view.version, view.at, view.via, view.command, view.data.get()
    ));
    let sealed = view.sealed_fields().map_err(|error| unproven(&error))?;
    for (path, field) in &sealed {
        match receipt.opened.get(*path) {
            None => text.push_str(&format!("  {path}: sealed under {}\n", field.subject)),
            Some(shown) => {
                let opened = shown.text(field).map_err(|why| Unproven(format!("what is given for {path:?} {why}")))?;
                text.push_str(&format!("  {path}: {opened:?} (as committed)\n"));
            }
        }
    }
    if let Some(path) = receipt.opened.keys().find(|path| !sealed.contains_key(path.as_str())) {
        return Err(Unproven(format!("the entry has no sealed text {path:?}")));
    }
    text.push_str(&witnesses(policy, witnessed, cosigned.len()));
    Ok(text)
}

pub(crate) fn witnesses(policy: &Policy, witnessed: bool, count: usize) -> String {
    match (policy.quorum.is_some(), witnessed) {
        (false, _) => "The policy asks for no witnesses: only the log's own word stands behind it.\n".to_owned(),
        (true, true) => format!("Cosigned by the quorum of the policy ({count} witnesses).\n"),
        (true, false) => "UNWITNESSED: the quorum of the policy did not cosign.\n".to_owned(),
    }
}

fn explain_promise(signed: &SignedReceipt, policy: &Policy) -> Result<String, Unproven> {
    let keys = policy.logs.iter().filter(|key| key.name() == signed.origin);
    let mut result = Err(Unproven(format!("the policy knows no log {}", signed.origin)));
    for key in keys {
        result = signed.verify(key).map_err(|error| Unproven(error.to_string()));
        if result.is_ok() {
            break;
        }
    }
    result?;
    let mut text = format!("The log {} promised these entries:\n", signed.origin);
    for entry in &signed.entries {
        text.push_str(&format!(
            "  position {}: {} version {}, hash {}\n",
            entry.position, entry.stream, entry.version, entry.entry_hash
        ));
    }
    text.push_str("Nothing else of the answer is signed: what an entry says, its bytes say, which hash to that.\n");
    text.push_str("The promise is signed. Whether it was kept shows in the published log: compare the hashes there.\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chain::note::SigningKey;
    use chain::receipt::ReceiptEntry;
    use chain::tile::{TileId, TiledHashes, decode_tile};
    use chain::tree::inclusion_proof;

    use super::*;
    use crate::payload::OpenedText;
    use crate::testkit::{City, ORIGIN, Published};

    fn policy(published: &Published) -> Policy {
        Policy::parse(std::str::from_utf8(&published.files["policy"]).unwrap()).unwrap()
    }

    /// The receipt of a position of a founded city.
    fn receipt(position: u64) -> (EntryReceipt, Policy) {
        let records = City::founded().0.records;
        let size = records.len() as u64;
        let published = Published::of(&records, &[size]);
        let tiles = TiledHashes::new(size, |id: &TileId| decode_tile(id.width, &published.files[&id.path()]));
        let hashes = inclusion_proof(&tiles, size, position).unwrap();
        let checkpoint = String::from_utf8(published.files["checkpoint"].clone()).unwrap();
        let proof = TlogProof { index: position, hashes, extra: None, checkpoint }.format();
        let record = &records[usize::try_from(position).unwrap()];
        let entry = String::from_utf8(record.bytes.clone()).unwrap();
        let receipt = EntryReceipt {
            origin: ORIGIN.to_owned(),
            position,
            prev: record.prev,
            entry,
            proof,
            opened: BTreeMap::new(),
        };
        (receipt, policy(&published))
    }

    fn said(receipt: &EntryReceipt, policy: &Policy) -> Result<String, Unproven> {
        explain(&read(&serde_json::to_string(receipt).unwrap()).unwrap(), policy)
    }

    #[test]
    fn a_receipt_says_what_was_recorded() {
        let (receipt, policy) = receipt(3);
        let words = said(&receipt, &policy).unwrap();
        for expected in ["Position 3", "city.currency_registered.v1", "asks for no witnesses"] {
            assert!(words.contains(expected), "{words}");
        }
    }

    #[test]
    fn a_changed_receipt_proves_nothing() {
        let (good, policy) = receipt(1);
        let broken = |change: fn(&mut EntryReceipt)| {
            let mut receipt = good.clone();
            change(&mut receipt);
            said(&receipt, &policy).unwrap_err().0
        };
        assert!(broken(|r| r.entry = r.entry.replace("human", "agent")).contains("do not lead"));
        assert!(broken(|r| r.prev = Hash([1; 32])).contains("do not lead"));
        assert!(broken(|r| r.position = 2).contains("another position"));
        assert!(broken(|r| r.origin = "other".to_owned()).contains("do not lead"));
        let opened = Shown::Opened(OpenedText { text: "Ada".to_owned(), salt: Hash::ZERO });
        let mut lied = good.clone();
        lied.opened.insert("name".to_owned(), opened.clone());
        assert!(said(&lied, &policy).unwrap_err().0.contains("not what was committed to"));
        let mut invented = good;
        invented.opened.insert("memo".to_owned(), opened);
        assert!(said(&invented, &policy).unwrap_err().0.contains("no sealed text"));
    }

    #[test]
    fn a_signed_promise_is_checked_and_called_a_promise() {
        let (_, policy) = receipt(0);
        let entry = ReceiptEntry { stream: "city".to_owned(), version: 0, position: 0, entry_hash: Hash::ZERO };
        let sign = |seed| {
            let signed = SignedReceipt::sign(ORIGIN, vec![entry.clone()], &SigningKey::from_seed(ORIGIN, [seed; 32]));
            explain(&read(&serde_json::to_string(&signed).unwrap()).unwrap(), &policy)
        };
        assert!(sign(7).unwrap().contains("promised"));
        assert!(sign(8).is_err());
    }

    #[test]
    fn an_answer_is_read_as_it_came_and_what_is_no_receipt_is_not_judged() {
        let promise = r#"{"origin":"city.example/log","entries":[],"signature":""}"#;
        let inner = read(promise);
        let answer = format!(r#"{{"outcome":"done","entries":[],"receipt":{promise}}}"#);
        assert_eq!(read(&answer), inner);
        for nothing in
            ["", "{}", "[]", "no JSON", r#"{"receipt":null}"#, r#"{"receipt":7}"#, "c2sp.org/tlog-proof@v1\n"]
        {
            assert!(read(nothing).is_err(), "{nothing}");
        }
    }
}
