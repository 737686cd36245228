//! What deciding misses, looked up in bulk.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use domain::ids::Stream;
use domain::turn::{Claim, Missing, Scene as _, Stop};
use eventlog::sql::{self, Cell, Kind};
use eventlog::{Failure, Reading};
use identity::Credential;

use crate::candidates::{Candidate, ReceiptId, decide_one, permit};
use crate::entries::Tip;
use crate::folded;
use crate::scene::BatchScene;

pub(crate) type Loaded = HashMap<Stream, Tip>;

/// Loads the API keys whose owners must be known before an answer can be looked up.
pub(crate) async fn load_keys(
    reading: &mut Reading<'_>,
    scene: &mut BatchScene<'_>,
    loaded: &mut Loaded,
    candidates: &[Option<Candidate>],
) -> Result<(), Failure> {
    let mut unknown = BTreeSet::new();
    for Candidate { request, .. } in candidates.iter().flatten() {
        if let (Some(_), Credential::Key(id)) = (&request.idempotency_key, &request.credential)
            && scene.state(Stream::Key(*id)).is_none()
        {
            unknown.insert(Stream::Key(*id));
        }
    }
    load_streams(reading, scene, loaded, &unknown).await
}

/// Loads the streams whose version a caller expects, whether or not the command reads them.
pub(crate) async fn load_expected(
    reading: &mut Reading<'_>,
    scene: &mut BatchScene<'_>,
    loaded: &mut Loaded,
    candidates: &[Option<Candidate>],
) -> Result<(), Failure> {
    let expected = candidates.iter().flatten().filter_map(|candidate| Some(candidate.request.expected_version?.0));
    let unknown = expected.filter(|stream| scene.state(*stream).is_none()).collect();
    load_streams(reading, scene, loaded, &unknown).await
}

/// Loads what the rest of the batch is missing, in bulk, until every one of its commands could be decided.
pub(crate) async fn load_missing(
    reading: &mut Reading<'_>,
    scene: &mut BatchScene<'_>,
    loaded: &mut Loaded,
    rest: &[Option<Candidate>],
) -> Result<(), Failure> {
    let mut open: Vec<&Candidate> = rest.iter().flatten().collect();
    loop {
        let mut streams = BTreeSet::new();
        let mut claims = BTreeSet::new();
        open.retain(|candidate| match decide_as_far(scene, candidate) {
            Err(Stop::Missing(missing)) => {
                match missing {
                    Missing::Stream(stream) => streams.extend([stream]),
                    Missing::Streams(several) => streams.extend(several),
                    Missing::Claim(claim) => claims.extend([claim]),
                }
                true
            }
            _ => false,
        });
        if streams.is_empty() && claims.is_empty() {
            return Ok(());
        }
        load_claims(reading, scene, claims).await?;
        load_streams(reading, scene, loaded, &streams).await?;
    }
}

/// A command whose texts could not be sealed is only asked who sends it.
fn decide_as_far(scene: &BatchScene<'_>, candidate: &Candidate) -> Result<(), Stop> {
    if candidate.unsealed.is_some() {
        return permit(scene, &candidate.request, candidate.context.now).map(drop);
    }
    decide_one(scene, candidate).map(drop)
}

pub(crate) async fn load_streams(
    reading: &mut Reading<'_>,
    scene: &mut BatchScene<'_>,
    loaded: &mut Loaded,
    streams: &BTreeSet<Stream>,
) -> Result<(), Failure> {
    if streams.is_empty() {
        return Ok(());
    }
    for (stream, (state, tip)) in folded::read(reading, streams).await? {
        scene.states.insert(stream, Arc::new(state));
        loaded.insert(stream, tip);
    }
    Ok(())
}

pub(crate) async fn load_claims(
    reading: &mut Reading<'_>,
    scene: &mut BatchScene<'_>,
    claims: BTreeSet<Claim>,
) -> Result<(), Failure> {
    let unknown: Vec<Claim> = claims.into_iter().filter(|claim| scene.claim(claim).is_none()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let found = projections::guards::claims_taken(reading.conn(), &unknown).await.map_err(Failure::from)?;
    for claim in unknown {
        let value = found.get(&claim).cloned();
        scene.claims.insert(claim, value);
    }
    Ok(())
}

pub(crate) async fn stored_answers(
    reading: &mut Reading<'_>,
    ids: &[Option<ReceiptId>],
) -> Result<HashMap<ReceiptId, ([u8; 32], Bytes)>, Failure> {
    let ids: Vec<ReceiptId> = ids.iter().flatten().cloned().collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut stored = HashMap::new();
    for receipt in reading.receipts(&ids).await? {
        stored.insert((receipt.principal, receipt.key), (receipt.digest, receipt.answer));
    }
    Ok(stored)
}

pub(crate) async fn infra_tip(reading: &mut Reading<'_>, stream: &str) -> Result<Tip, Failure> {
    const SQL: &str = "select version, hash from entries where stream = $1 order by version desc limit 1";
    let rows = sql::query(reading.conn(), SQL, &[Kind::Int, Kind::Bytes], &[Cell::Text(stream.to_owned())]).await?;
    match rows.first().map(Vec::as_slice) {
        None => Ok(Tip::NONE),
        Some([Cell::Int(version), Cell::Bytes(hash)]) => {
            let hash = chain::Hash::from_slice(hash)
                .ok_or_else(|| Failure::Corrupt("a hash of the wrong length".to_owned()))?;
            Ok(Tip { versions: version.unsigned_abs() + 1, hash })
        }
        Some(_) => Err(Failure::Corrupt("an entry that cannot be read".to_owned())),
    }
}
