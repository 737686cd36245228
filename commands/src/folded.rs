//! Streams folded ahead, beside the writer: whoever sends a command about many entries reads them first, and nobody else waits for it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

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
    let stream: Stream = whole.stream.parse().map_err(|error: domain::ids::Malformed| error.to_string())?;
    let (mut state, mut versions) = (State::empty(stream), 0);
    let event_of = if has_no_texts(stream) { recorded::bare_event_of } else { recorded::event_of };
    for bytes in whole.entries() {
        let read = event_of(&whole.stream, versions, bytes);
        let (at, event) = read.map_err(|what| format!("the entry {versions} of {stream} cannot be read: {what}"))?;
        if let Some(event) = &event {
            state.evolve(event, at);
        }
        versions += 1;
    }
    Ok(Folded { stream, state: state.into(), tip: Tip { versions, hash: whole.hash } })
}

/// Whether no text of a stream's events is a part of its state.
const fn has_no_texts(stream: Stream) -> bool {
    matches!(stream, Stream::Reputation(_))
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
