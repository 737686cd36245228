//! Streams folded ahead, beside the writer: whoever sends a command about many entries reads them first, and nobody else waits for it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use domain::Time;
use domain::ids::Stream;
use domain::turn::{Scene as _, State};
use eventlog::sql::{self, Cell, Conn, Kind};
use eventlog::{Failure, Reading, Whole};
use projections::recorded;
use serde_json::Value;

use crate::candidates::Candidate;
use crate::entries::Tip;
use crate::loading::Loaded;
use crate::scene::BatchScene;

/// A stream as it was. The writer takes it over only if it has not grown since, and reads it otherwise.
#[derive(Debug, Clone)]
pub struct Folded {
    stream: Stream,
    state: Arc<State>,
    tip: Tip,
}

impl Folded {
    /// Works out beside the writer what it would have to work out: what the evidence says at a time.
    pub fn reckon_ahead(&mut self, as_of: Time) {
        if let State::Reputation(reputation) = Arc::make_mut(&mut self.state) {
            reputation.reckon_ahead(as_of);
        }
    }
}

/// Folds streams as they are now, through a connection of [`eventlog::Log::beside`].
///
/// # Errors
/// The database cannot be reached, or an entry cannot be read.
pub async fn fold(conn: &mut Conn, streams: &BTreeSet<Stream>) -> Result<HashMap<Stream, Folded>, Failure> {
    let names: Vec<String> = streams.iter().map(Stream::to_string).collect();
    let mut folded = HashMap::new();
    for whole in eventlog::whole(conn, &names).await? {
        let found = fold_whole(&whole).map_err(Failure::Corrupt)?;
        folded.insert(found.stream, found);
    }
    let rest = streams.iter().filter(|stream| !folded.contains_key(stream)).copied().collect();
    for (stream, (state, tip)) in read(&mut Reading::beside(conn, u64::MAX), &rest).await? {
        folded.insert(stream, Folded { stream, state: state.into(), tip });
    }
    Ok(folded)
}

fn fold_whole(whole: &Whole) -> Result<Folded, String> {
    let name = whole.stream.as_str();
    let stream: Stream = name.parse().map_err(|error: domain::ids::Malformed| error.to_string())?;
    let (mut state, mut versions) = (State::empty(stream), 0);
    for text in whole.entries() {
        fold_one(&mut state, name, versions, text)
            .map_err(|what| format!("the entry {versions} of {stream} cannot be read: {what}"))?;
        versions += 1;
    }
    Ok(Folded { stream, state: state.into(), tip: Tip { versions, hash: whole.hash } })
}

fn fold_one(state: &mut State, stream: &str, version: u64, text: &str) -> Result<(), String> {
    let (at, event) = match state {
        // Nearly all that is known of somebody is evidence, and no text of it is a part of the state.
        State::Reputation(reputation) => match recorded::attested_of(stream, version, text) {
            Some((at, attested)) => {
                reputation.attest(&attested, at);
                return Ok(());
            }
            None => recorded::bare_event_of(stream, version, text.as_bytes())?,
        },
        _ => recorded::event_of(stream, version, text.as_bytes())?,
    };
    if let Some(event) = &event {
        state.evolve(event, at);
    }
    Ok(())
}

/// Reads whole streams; the empty state stands for one that has no entries.
pub(crate) async fn read(
    reading: &mut Reading<'_>,
    streams: &BTreeSet<Stream>,
) -> Result<HashMap<Stream, (State, Tip)>, Failure> {
    let names: Vec<String> = streams.iter().map(Stream::to_string).collect();
    let mut states: HashMap<Stream, (State, Tip)> =
        streams.iter().map(|stream| (*stream, (State::empty(*stream), Tip::NONE))).collect();
    let fold = |entry: eventlog::Stored| {
        let corrupt = |error: &dyn std::fmt::Display| Failure::Corrupt(error.to_string());
        let recorded = recorded::decode(&entry).map_err(|error| corrupt(&error))?;
        let stream: Stream = entry.stream.parse().map_err(|error| corrupt(&error))?;
        if let (Some((state, tip)), Some(event)) = (states.get_mut(&stream), &recorded.event) {
            state.evolve(event, recorded.at);
            *tip = Tip { versions: entry.version + 1, hash: entry.hash };
        }
        Ok(())
    };
    reading.load_each(&names, fold).await?;
    Ok(states)
}

/// Takes over what was folded ahead, as far as the log still ends each of these streams where it did then.
pub(crate) async fn take_over(
    reading: &mut Reading<'_>,
    scene: &mut BatchScene<'_>,
    loaded: &mut Loaded,
    candidates: &[Option<Candidate>],
) -> Result<(), Failure> {
    const POSTGRES: &str = "select a.stream, (select e.hash from entries as e where e.stream = a.stream order by e.version desc limit 1) \
        from jsonb_array_elements_text($1::jsonb) as a(stream)";
    const SQLITE: &str = "select a.value, (select e.hash from entries as e where e.stream = a.value order by e.version desc limit 1) \
        from json_each($1) as a";
    let offered = candidates.iter().flatten().filter_map(|candidate| candidate.request.folded.as_ref());
    let unknown = offered.filter(|folded| folded.tip != Tip::NONE && scene.state(folded.stream).is_none());
    let unknown: HashMap<String, &Folded> = unknown.map(|folded| (folded.stream.to_string(), folded)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let names = Value::from(unknown.keys().map(String::as_str).collect::<Vec<_>>()).to_string();
    let sql = if reading.conn().is_postgres() { POSTGRES } else { SQLITE };
    for row in sql::query(reading.conn(), sql, &[Kind::Text, Kind::Bytes], &[Cell::Text(names)]).await? {
        let [Cell::Text(stream), Cell::Bytes(hash)] = row.as_slice() else { continue };
        if let Some(folded) = unknown.get(stream)
            && hash.as_slice() == folded.tip.hash.0.as_slice()
        {
            scene.states.insert(folded.stream, Arc::clone(&folded.state));
            loaded.insert(folded.stream, folded.tip);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chain::Hash;
    use chain::entry::{Actor, Entry};
    use domain::ids::ReputationId;
    use eventlog::Stored;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_folded_ahead_is_what_every_entry_says() {
        let stream = Stream::Reputation(ReputationId::from_bits(1));
        let (hash, holder, other) =
            ("ab".repeat(32), "cit_00000000000000000000000001", "cit_00000000000000000000000002");
        let (one, two) = ("evd_00000000000000000000000001", "evd_00000000000000000000000002");
        let (scope, sealed) =
            ("gld_00000000000000000000000004", json!({"ciphertext": hash, "commitment": hash, "subject": holder}));
        let evidence = |evidence: &str, kind: &str, weight: &str| {
            json!({
                "attested_by": other, "effective_at": "2026-07-03T00:00:00.000000Z", "evidence": evidence, "holder": holder,
                "kind": kind, "proof": hash, "scope": scope, "stake": "T2", "weight": weight, "work_lookup": hash,
            })
        };
        let opinion = json!({
            "attested_by": other, "effective_at": "2026-07-03T00:00:00.000000Z", "evidence": two, "holder": holder,
            "kind": "peer_endorsed", "scope": scope, "weight": "0.500",
        });
        let row = json!({
            "figure": "overall", "evidence": 2, "score": "0.100000000", "mu": "0.100000000", "phi": "1.000000000",
            "sigma": "0.060000000",
        });
        let computed = json!({"holder": holder, "as_of": "2026-07-04T00:00:00.000000Z", "rows": [row]});
        let given = json!({"giver": holder, "to": other, "kind": "peer_flagged", "scope": scope});
        let events = [
            ("evidence_recorded", evidence(one, "task_failed", "-0.400"), Some(json!({ "work": sealed }))),
            ("evidence_recorded", opinion, Some(json!({ "note": sealed }))),
            ("recomputed", computed, None),
            ("opinion_given", given, None),
            ("evidence_disputed", json!({ "evidence": one }), Some(json!({ "reason": sealed }))),
            ("evidence_reversed", json!({"evidence": one, "by": other}), None),
            ("evidence_recorded", evidence("evd_00000000000000000000000003", "audit_clean", "0.100"), None),
        ];
        let (mut ahead, mut plain) = (State::empty(stream), State::empty(stream));
        for (version, (kind, data, sealed)) in (0..).zip(events) {
            let entry = Entry {
                stream: stream.to_string(),
                version,
                kind: format!("reputation.{kind}.v1"),
                at: format!("2026-07-04T09:08:07.00000{version}Z"),
                actor: Actor { kind: "human".to_owned(), id: other.to_owned() },
                via: "key_1".to_owned(),
                on_behalf_of: None,
                cause: None,
                command: "cmd".to_owned(),
                nonce: [0; 16],
                data,
                sealed,
            };
            let bytes = entry.to_bytes().unwrap();
            let text = std::str::from_utf8(&bytes).unwrap();
            let is_evidence = recorded::attested_of(&entry.stream, version, text).is_some();
            assert_eq!(is_evidence, kind == "evidence_recorded", "{kind}");
            fold_one(&mut ahead, &entry.stream, version, text).unwrap();
            let (stream, hash) = (entry.stream.clone(), Hash::ZERO);
            let stored = Stored { position: 9, stream, version, prev: hash, hash, bytes: bytes.clone().into() };
            let recorded = recorded::decode(&stored).unwrap();
            plain.evolve(&recorded.event.unwrap(), recorded.at);
            assert_eq!(format!("{ahead:?}"), format!("{plain:?}"), "{kind}");
            assert!(fold_one(&mut ahead, &entry.stream, version + 1, text).is_err());
        }
    }
}
