//! `proposals`: what waits for votes, the votes as they stand, and how it ended.

use std::collections::BTreeMap;

use domain::guild::event::{Ending, GuildEvent, Vote};
use domain::ids::{CitizenId, GuildId, HoldId, ProposalId};
use domain::money::Currency;
use domain::time::Time;

use crate::field::{Json, json, word};
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Sheet;

record! {
    /// `code` says why the effect of a passed proposal was refused; `currency` and `amount` are what is reserved for it.
    Proposal in "proposals" by (proposal: ProposalId) {
        guild: GuildId,
        proposer: CitizenId,
        class: String,
        action: String,
        command: String,
        status: String,
        code: Option<String>,
        votes: Json<BTreeMap<CitizenId, Vote>>,
        hold: Option<HoldId>,
        currency: Option<Currency>,
        amount: Option<i128>,
        opened_at: Time,
        expires_at: Time,
        ended_at: Option<Time>,
        position: u64,
    }
}

pub(super) fn fold(proposals: &mut Sheet<Proposal>, recorded: &Recorded, guild: GuildId, event: &GuildEvent) {
    match event {
        GuildEvent::ProposalOpened { proposal, proposer, class, command, expires_at, hold, reserved } => {
            proposals.put(Proposal {
                proposal: *proposal,
                guild,
                proposer: *proposer,
                class: word(class),
                action: command.action().to_owned(),
                command: json(command),
                status: "open".to_owned(),
                code: None,
                votes: Json::default(),
                hold: *hold,
                currency: reserved.as_ref().map(|spend| spend.currency.clone()),
                amount: reserved.as_ref().map(|spend| spend.amount.minor()),
                opened_at: recorded.at,
                expires_at: *expires_at,
                ended_at: None,
                position: recorded.position,
            });
        }
        GuildEvent::ProposalVoted { proposal, voter, vote } => proposals.change(&(*proposal,), |row| {
            row.votes.0.insert(*voter, *vote);
        }),
        GuildEvent::ProposalClosed { proposal, ending } => proposals.change(&(*proposal,), |row| {
            let (status, code) = ended(ending);
            status.clone_into(&mut row.status);
            row.code = code;
            row.ended_at = Some(recorded.at);
        }),
        _ => {}
    }
}

fn ended(ending: &Ending) -> (&'static str, Option<String>) {
    match ending {
        Ending::Passed => ("passed", None),
        Ending::Failed { code } => ("failed", Some(code.clone())),
        Ending::Rejected => ("rejected", None),
        Ending::Expired => ("expired", None),
        Ending::Withdrawn => ("withdrawn", None),
        Ending::Voided => ("voided", None),
    }
}
