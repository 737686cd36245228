//! Typed texts become sealed ones before any rule sees a command: ciphertext for the vault, two hashes for the entry.

use std::collections::HashMap;

use domain::Command;
use domain::guild::command::*;
use domain::ids::{GuildId, GuildRef};
use domain::text::{Digest, Reference, Sealed, Text};
use domain::turn::Context;
use eventlog::VaultWrites;
use eventlog::vault::{Payload, SubjectKey, Vault, VaultError, WrappedKey};

/// Whose key a text is sealed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A citizen, a treasury (which goes with its owner), or any id that is known as it stands.
    Id(String),
    Guild(GuildRef),
    /// The citizen or guild that the command is about to create.
    New(&'static str),
}

/// Shows every text of a command with its subject, and the keyed lookup where there is one.
pub(crate) fn each_text(command: &mut Command, see: &mut dyn FnMut(Subject, &mut Text, Option<&mut Digest>)) {
    let optional =
        |see: &mut dyn FnMut(Subject, &mut Text, Option<&mut Digest>), subject: Subject, text: &mut Option<Text>| {
            if let Some(text) = text {
                see(subject, text, None);
            }
        };
    let id = |id: &dyn std::fmt::Display| Subject::Id(id.to_string());
    match command {
        Command::FoundCity(c) => see(Subject::New("cit"), &mut c.name, None),
        Command::RegisterCitizen(c) => see(Subject::New("cit"), &mut c.name, None),
        Command::SuspendCitizen(c) => optional(see, id(&c.citizen), &mut c.reason),
        Command::DeprovisionCitizen(c) => optional(see, id(&c.citizen), &mut c.reason),
        Command::FoundGuild(c) => see(Subject::New("gld"), &mut c.name, None),
        Command::RenameGuild(RenameGuild { guild, name }) => see(Subject::Guild(guild.clone()), name, None),
        Command::AmendCharter(c) => see(Subject::Guild(c.guild.clone()), &mut c.location, None),
        Command::SuspendMember(c) => optional(see, id(&c.member), &mut c.reason),
        Command::RemoveMember(c) => optional(see, id(&c.member), &mut c.reason),
        Command::Propose(c) => each_text(&mut c.command, see),
        Command::Deposit(c) => {
            reference(see, id(&c.treasury), &mut c.reference);
            optional(see, id(&c.treasury), &mut c.memo);
        }
        Command::Withdraw(c) => {
            reference(see, id(&c.treasury), &mut c.reference);
            optional(see, id(&c.treasury), &mut c.memo);
        }
        Command::PlaceHold(c) => optional(see, id(&c.treasury), &mut c.purpose),
        Command::CaptureHold(c) => optional(see, id(&c.treasury), &mut c.memo),
        Command::OfferTransfer(c) => optional(see, id(&c.treasury), &mut c.memo),
        Command::SplitTransfer(c) => optional(see, id(&c.treasury), &mut c.memo),
        Command::FreezeTreasury(c) => see(id(&c.treasury), &mut c.reason, None),
        Command::ImportCapability(c) => optional(see, id(&c.holder), &mut c.details),
        Command::RevokeGrant(c) => optional(see, id(&c.holder), &mut c.reason),
        Command::AttestOutcome(c) => reference(see, id(&c.holder), &mut c.work),
        Command::Endorse(c) => optional(see, id(&c.to), &mut c.note),
        Command::Flag(c) => optional(see, id(&c.to), &mut c.note),
        Command::DisputeEvidence(c) => optional(see, id(&c.holder), &mut c.reason),
        Command::ReverseEvidence(c) => optional(see, id(&c.holder), &mut c.reason),
        // Listed one by one, so that a new command with a text cannot be forgotten.
        Command::RegisterCurrency(_)
        | Command::DefineRole(_)
        | Command::ReinstateCitizen(_)
        | Command::AssignRole(_)
        | Command::UnassignRole(_)
        | Command::GrantAttestation(_)
        | Command::WithdrawAttestation(_)
        | Command::IssueKey(_)
        | Command::RotateKey(_)
        | Command::RevokeKey(_)
        | Command::RecoverKey(_)
        | Command::ProposeParent(_)
        | Command::AcceptChild(_)
        | Command::DetachChild(_)
        | Command::DefineRanks(_)
        | Command::AddMember(_)
        | Command::ChangeRank(_)
        | Command::SetScopes(_)
        | Command::ReinstateMember(_)
        | Command::LeaveGuild(_)
        | Command::MarkDormant(_)
        | Command::WakeGuild(_)
        | Command::InitiateDissolution(_)
        | Command::CancelDissolution(_)
        | Command::FinalizeDissolution(_)
        | Command::SetGovernance(_)
        | Command::Ratify(_)
        | Command::RejectProposal(_)
        | Command::WithdrawProposal(_)
        | Command::ExpireProposal(_)
        | Command::AppointFounder(_)
        | Command::ReleaseHold(_)
        | Command::ExpireHold(_)
        | Command::AcceptTransfer(_)
        | Command::RejectTransfer(_)
        | Command::CancelTransfer(_)
        | Command::ExpireTransfer(_)
        | Command::UnfreezeTreasury(_)
        | Command::SettleTreasury(_)
        | Command::SetAutoAccept(_)
        | Command::AssignSource(_)
        | Command::RegisterAction(_)
        | Command::GrantCapability(_)
        | Command::AttenuateGrant(_)
        | Command::DelegateGrant(_)
        | Command::ReverifyGrant(_)
        | Command::RecordVerifications(_)
        | Command::ExpireGrant(_)
        | Command::PruneGrant(_)
        | Command::RecomputeReputation(_) => {}
    }
}

fn reference(
    see: &mut dyn FnMut(Subject, &mut Text, Option<&mut Digest>),
    subject: Subject,
    reference: &mut Reference,
) {
    see(subject, &mut reference.text, Some(&mut reference.lookup));
}

/// Subject keys of one batch, and what its commands put into the vault.
pub(crate) struct Sealer<'a> {
    vault: &'a Vault,
    keys: HashMap<String, SubjectKey>,
    /// Keys made for this batch; stored with the first command that needs them.
    fresh: HashMap<String, WrappedKey>,
}

/// What one command adds to the vault once it is accepted.
#[derive(Default, Clone)]
pub(crate) struct Sealing {
    payloads: Vec<Payload>,
}

impl<'a> Sealer<'a> {
    pub(crate) fn new(vault: &'a Vault) -> Self {
        Self { vault, keys: HashMap::new(), fresh: HashMap::new() }
    }

    /// The subjects whose keys are neither in memory nor loaded yet.
    pub(crate) fn unknown(&self, subjects: impl IntoIterator<Item = String>) -> Vec<String> {
        let known = |subject: &String| self.keys.contains_key(subject) || self.vault.remembered(subject).is_some();
        let mut unknown: Vec<String> = subjects.into_iter().filter(|subject| !known(subject)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// Takes the keys that the database had for `asked`; the others get new ones when they are used.
    pub(crate) fn loaded(&mut self, wrapped: &[WrappedKey]) -> Result<(), VaultError> {
        for key in wrapped {
            let unwrapped = self.vault.unwrap_key(key)?;
            self.keys.insert(key.subject.clone(), unwrapped);
        }
        Ok(())
    }

    fn key(&mut self, subject: &str) -> Result<SubjectKey, VaultError> {
        if let Some(key) = self.keys.get(subject) {
            return Ok(key.clone());
        }
        let key = match self.vault.remembered(subject) {
            Some(key) => key,
            None => {
                let (key, wrapped) = self.vault.new_subject_key(subject)?;
                self.fresh.insert(subject.to_owned(), wrapped);
                key
            }
        };
        self.keys.insert(subject.to_owned(), key.clone());
        Ok(key)
    }

    /// Seals every text of the command in place.
    pub(crate) fn seal(
        &mut self,
        command: &mut Command,
        context: &Context,
        guild: &dyn Fn(&GuildRef) -> Option<GuildId>,
    ) -> Result<Sealing, VaultError> {
        let mut sealing = Sealing::default();
        let mut failed = None;
        each_text(command, &mut |subject, text, lookup| {
            if failed.is_some() {
                return;
            }
            match self.seal_one(&resolve(subject, context, guild), text, lookup) {
                Ok(Some(payload)) => sealing.payloads.push(payload),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        });
        failed.map_or(Ok(sealing), Err)
    }

    fn seal_one(
        &mut self,
        subject: &str,
        text: &mut Text,
        lookup: Option<&mut Digest>,
    ) -> Result<Option<Payload>, VaultError> {
        let Text::Plain(plain) = text else { return Ok(None) };
        if let Some(lookup) = lookup {
            *lookup = Digest(self.vault.lookup(plain));
        }
        let key = self.key(subject)?;
        let (reference, payload) = self.vault.seal(subject, &key, plain)?;
        *text = Text::Sealed(Sealed {
            ciphertext: Digest(reference.ciphertext.0),
            commitment: Digest(reference.commitment.0),
            subject: reference.subject,
        });
        Ok(Some(payload))
    }

    /// What the accepted commands of the batch write.
    pub(crate) fn writes(&self, accepted: impl IntoIterator<Item = Sealing>) -> VaultWrites {
        let payloads: Vec<Payload> = accepted.into_iter().flat_map(|sealing| sealing.payloads).collect();
        let used = |subject: &str| payloads.iter().any(|payload| payload.subject == subject);
        let keys = self.fresh.values().filter(|key| used(&key.subject)).cloned().collect();
        VaultWrites { keys, payloads, erase: Vec::new() }
    }

    /// The keys that will be stored by these writes: after the commit they may be kept in memory.
    pub(crate) fn stored_keys(&self, writes: &VaultWrites) -> Vec<(String, SubjectKey)> {
        let stored = writes.keys.iter();
        stored.filter_map(|key| self.keys.get(&key.subject).map(|plain| (key.subject.clone(), plain.clone()))).collect()
    }
}

/// Whose key seals what is said to a guild that does not exist. Nothing sealed so is ever stored.
pub(crate) const NOBODY: &str = "nobody";

/// The subject's name. A guild that does not exist has no key of its own: the command will be refused, and nothing stored.
pub(crate) fn resolve(subject: Subject, context: &Context, guild: &dyn Fn(&GuildRef) -> Option<GuildId>) -> String {
    match subject {
        Subject::Id(id) => id,
        Subject::Guild(reference) => guild(&reference).map_or_else(|| NOBODY.to_owned(), |id| id.to_string()),
        Subject::New(prefix) => {
            let bits = domain::turn::derive_id(&context.seed, 1, context.now);
            match prefix {
                "gld" => GuildId::from_bits(bits).to_string(),
                _ => domain::ids::CitizenId::from_bits(bits).to_string(),
            }
        }
    }
}
