//! The commands of one batch on their way to a decision: sealed, with a context of their own, and asked one by one.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use domain::guild::governance::Evidence;
use domain::ids::{GuildRef, Stream};
use domain::turn::{Claim, Context, Decision, Permit, Scene as _, State, Stop};
use domain::{Command, Time};
use eventlog::{Failure, Reading};
use identity::Credential;

use crate::loading::load_claims;
use crate::pipeline::{Job, Work};
use crate::request::{MAX_KEY_BYTES, Request};
use crate::scene::BatchScene;
use crate::seal::{NOBODY, Sealer, Sealing, Subject, each_text, resolve};

/// One command on its way through a batch.
pub(crate) struct Candidate {
    pub request: Request,
    pub sealing: Sealing,
    pub context: Context,
    /// Why its texts could not be sealed: its own misfortune, not its neighbours'.
    pub unsealed: Option<Failure>,
    /// It speaks to a guild that did not exist when its texts were sealed.
    pub unfounded: bool,
}

/// (citizen, idempotency key)
pub(crate) type ReceiptId = (String, String);

/// Whose key for retries it is: the citizen's, whichever of their API keys carried it, so that a rotation in between changes nothing.
pub(crate) fn receipt_id(scene: &BatchScene<'_>, request: &Request) -> Option<ReceiptId> {
    let key = request.idempotency_key.as_ref()?;
    let mut end = key.len().min(MAX_KEY_BYTES);
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    let principal = match &request.credential {
        Credential::System => "system".to_owned(),
        Credential::Key(id) => match scene.state(Stream::Key(*id)).map(Arc::as_ref) {
            Some(State::Key(known)) if known.exists() => known.citizen().to_string(),
            // Nobody's key: it will be denied, and denials are not stored.
            _ => return None,
        },
    };
    Some((principal, key[..end].to_owned()))
}

pub(crate) fn system_context(job: &Job, now: Time) -> Context {
    let permit = Permit { actor: domain::party::Actor::System, tier: domain::party::Tier::Principal, via: None };
    context(job, now, permit)
}

pub(crate) fn context(job: &Job, now: Time, permit: Permit) -> Context {
    // The command's id carries the batch's time in front, like every id.
    let bits = (u128::from(now.millis().unsigned_abs()) << 80) | (job.id.bits() >> 48);
    Context { now, permit, command: domain::ids::CommandId::from_bits(bits), seed: job.seed }
}

/// Seals every command's texts; `None` stands for a fact of the infrastructure.
pub(crate) async fn prepare(
    reading: &mut Reading<'_>,
    scene: &mut BatchScene<'_>,
    sealer: &mut Sealer<'_>,
    jobs: &[Job],
    now: Time,
) -> Result<Vec<Option<Candidate>>, Failure> {
    let mut candidates: Vec<Option<Candidate>> = jobs
        .iter()
        .map(|job| match &job.work {
            Work::Command(request) => {
                let context = system_context(job, now);
                let (request, sealing) = ((**request).clone(), Sealing::default());
                Some(Candidate { request, sealing, context, unsealed: None, unfounded: false })
            }
            Work::Record { .. } => None,
        })
        .collect();

    let mut slugs = BTreeSet::new();
    for candidate in candidates.iter_mut().flatten() {
        each_text(&mut candidate.request.command, &mut |subject, _, _| {
            if let Subject::Guild(GuildRef::Slug(slug)) = subject {
                slugs.insert(Claim { scope: "guild_slug", key: slug.to_string() });
            }
        });
    }
    load_claims(reading, scene, slugs).await?;
    let claims = scene.claims.clone();
    let guild = |reference: &GuildRef| match reference {
        GuildRef::Id(id) => Some(*id),
        GuildRef::Slug(slug) => {
            let claim = Claim { scope: "guild_slug", key: slug.to_string() };
            claims.get(&claim)?.as_ref()?.parse().ok()
        }
    };

    let mut subjects = Vec::new();
    for candidate in candidates.iter_mut().flatten() {
        let Candidate { request, context, unfounded, .. } = candidate;
        each_text(&mut request.command, &mut |subject, _, _| {
            // Subjects that do not exist yet have no key to load.
            if !matches!(subject, Subject::New(_)) {
                let name = resolve(subject, context, &guild);
                *unfounded |= name == NOBODY;
                subjects.push(name);
            }
        });
    }
    let unknown = sealer.unknown(subjects);
    let mut broken: HashMap<String, Failure> = HashMap::new();
    let vault_error = |error: eventlog::vault::VaultError| Failure::System(error.to_string());
    if !unknown.is_empty() {
        let wrapped = reading.subject_keys(&unknown).await?;
        for key in &wrapped {
            // One that will not open is met again by the command that needs it.
            if let Err(error) = sealer.loaded(std::slice::from_ref(key)) {
                tracing::error!(subject = %key.subject, %error, "a subject's key does not open");
                broken.insert(key.subject.clone(), vault_error(error));
            }
        }
    }
    for candidate in candidates.iter_mut().flatten() {
        let Candidate { request, sealing, context, unsealed, .. } = candidate;
        if !broken.is_empty() {
            each_text(&mut request.command, &mut |subject, _, _| {
                let found = broken.get(&resolve(subject, context, &guild)).cloned();
                *unsealed = unsealed.take().or(found);
            });
        }
        if unsealed.is_none() {
            match sealer.seal(&mut request.command, context, &guild) {
                Ok(sealed) => *sealing = sealed,
                Err(error) => *unsealed = Some(vault_error(error)),
            }
        }
    }
    // Most of what deciding would miss; the rest is loaded when it is.
    let claims = candidates.iter().flatten().filter(|it| it.unsealed.is_none());
    let claims = claims.filter_map(|candidate| domain::treasury::claim_of(&candidate.request.command)).collect();
    load_claims(reading, scene, claims).await?;
    Ok(candidates)
}

/// What the caller may do, or why not.
pub(crate) fn permit(scene: &BatchScene<'_>, request: &Request, now: Time) -> Result<Permit, Stop> {
    let permit = identity::authorize(scene, &request.credential, request.command.action(), now)?;
    // Proposing is no way around a key's scope or a role: the proposed command is asked about as well.
    if let Command::Propose(propose) = &request.command {
        identity::authorize(scene, &request.credential, propose.command.action(), now)?;
    }
    Ok(permit)
}

/// Authorizes and decides one command against the scene.
pub(crate) fn decide_one(scene: &BatchScene<'_>, candidate: &Candidate) -> Result<(Permit, Decision), Stop> {
    let Candidate { request, context, .. } = candidate;
    let permit = permit(scene, request, context.now)?;
    let context = Context { permit: permit.clone(), ..context.clone() };
    let evidence: &[Evidence] = &request.evidence;
    domain::decide(scene, &request.command, evidence, &context).map(|decision| (permit, decision))
}
