//! What one command came to, written into its batch: entries, a receipt, a refusal for the record.

use std::collections::HashMap;

use chain::canonical::Rule;
use domain::Time;
use domain::ids::Stream;
use domain::turn::{Context, Decision, Permit};
use eventlog::{Failure, Receipt};
use projections::recorded::Recorded;

use crate::answer::{Answer, SubmitError};
use crate::candidates::{Candidate, ReceiptId};
use crate::deciding::Ending;
use crate::entries::{Attribution, Maker, Tip};
use crate::pipeline::{credential_name, is_denial};
use crate::request::Request;
use crate::scene::BatchScene;
use crate::seal::Sealing;

/// What a batch has become so far.
#[derive(Default)]
pub(crate) struct Settled {
    pub endings: Vec<Ending>,
    pub sealings: Vec<Sealing>,
    pub recorded: Vec<Recorded>,
    pub receipts: Vec<Receipt>,
    /// Settled under a key in this very batch: index of the ending.
    pub keys: HashMap<(String, String), ([u8; 32], usize)>,
    pub denials: Vec<(String, &'static str, &'static str)>,
}

pub(crate) fn replay(ending: &Ending) -> Ending {
    ending.clone().map(|answer| Answer { replayed: true, ..answer })
}

pub(crate) fn check_version(
    request: &Request,
    maker: &Maker<'_>,
    tip_of: &dyn Fn(Stream) -> Tip,
) -> Result<(), domain::Rejection> {
    let Some((stream, expected)) = request.expected_version else { return Ok(()) };
    let versions = maker.tips.get(&stream.to_string()).copied().unwrap_or_else(|| tip_of(stream)).versions;
    if versions == expected {
        return Ok(());
    }
    let detail = format!("{stream} is at version {versions}, not {expected}");
    Err(domain::Rejection::new(domain::Code::VersionConflict).detail(detail).field("expected_version"))
}

/// Writes one command's outcome into the batch.
#[allow(clippy::too_many_arguments)]
pub(crate) fn settle_one(
    settled: &mut Settled,
    maker: &mut Maker<'_>,
    scene: &mut BatchScene<'_>,
    tip_of: &dyn Fn(Stream) -> Tip,
    id: Option<ReceiptId>,
    candidate: &Candidate,
    verdict: Result<(Permit, Decision), domain::Rejection>,
    now: Time,
) -> Result<(), Failure> {
    let Candidate { request, context: system, sealing, .. } = candidate;
    let answer = match verdict {
        Err(rejection) if is_denial(&rejection) => {
            let name = credential_name(&request.credential);
            settled.denials.push((name, request.command.action(), rejection.code.as_str()));
            settled.endings.push(Err(SubmitError::Denied(rejection)));
            return Ok(());
        }
        Err(rejection) => Answer::rejected(system.command.to_string(), &rejection),
        Ok((permit, decision)) => {
            let context = Context { permit, ..system.clone() };
            let on_behalf_of = request.on_behalf_of.map(|citizen| citizen.to_string());
            let by = Attribution { on_behalf_of, ..Attribution::of(&context) };
            let events = decision.events.iter().map(|(stream, event)| {
                let (kind, data) = event.to_parts();
                (stream.to_string(), tip_of(*stream), kind, data)
            });
            match maker.push_all(events, &by) {
                Ok(written) => {
                    for (entry, (_, event)) in written.iter().zip(&decision.events) {
                        settled.recorded.push(recorded_of(entry, &by, now, Some(event.clone())));
                    }
                    scene.accept(&decision);
                    if !written.is_empty() {
                        settled.sealings.push(sealing.clone());
                    }
                    Answer::accepted(context.command.to_string(), decision.outcome, written)
                }
                Err(error) if error.rule == Rule::EntryLength => {
                    Answer::rejected(context.command.to_string(), &domain::Rejection::new(domain::Code::EntryTooLong))
                }
                Err(error) => {
                    tracing::error!(%error, action = request.command.action(), "an event cannot be written down");
                    settled.endings.push(Err(SubmitError::Bug(format!("what was decided cannot be written: {error}"))));
                    return Ok(());
                }
            }
        }
    };
    if let Some((principal, key)) = id {
        settled.receipts.push(Receipt {
            principal: principal.clone(),
            key: key.clone(),
            digest: request.digest,
            command: answer.command.clone(),
            answer: serde_json::to_vec(&answer).map_err(|e| Failure::Contradiction(e.to_string()))?.into(),
            at: now.micros(),
        });
        settled.keys.insert((principal, key), (request.digest, settled.endings.len()));
    }
    settled.endings.push(Ok(answer));
    Ok(())
}

pub(crate) fn recorded_of(
    entry: &crate::EntryRef,
    by: &Attribution,
    at: Time,
    event: Option<domain::Event>,
) -> Recorded {
    Recorded {
        position: entry.position,
        stream: entry.stream.clone(),
        version: entry.version,
        at,
        actor: (by.actor.kind.clone(), by.actor.id.clone()),
        on_behalf_of: by.on_behalf_of.clone(),
        command: by.command.clone(),
        event,
        kind: entry.kind.clone(),
    }
}
