//! `guild_directory`: every guild as it stands, living or dissolved.

use domain::guild::event::{GuildEvent, Rank};
use domain::ids::{GuildId, Slug};
use domain::text::{Digest, Sealed};
use domain::time::Time;

use crate::field::{Json, json, word};
use crate::record::record;
use crate::recorded::Recorded;
use crate::sheet::Sheet;

record! {
    Guild in "guild_directory" by (guild: GuildId) {
        slug: Slug,
        kind: String,
        name: Json<Sealed>,
        status: String,
        leaderless: bool,
        parent: Option<GuildId>,
        proposed_parent: Option<GuildId>,
        charter_version: u64,
        charter_digest: Option<Digest>,
        charter_location: Option<Json<Sealed>>,
        ranks: Json<Vec<Rank>>,
        governance: String,
        dissolution: Option<String>,
        founded_at: Time,
        position: u64,
    }
}

pub(super) fn fold(guilds: &mut Sheet<Guild>, recorded: &Recorded, guild: GuildId, event: &GuildEvent) {
    let mut change = |change: &dyn Fn(&mut Guild)| guilds.change(&(guild,), change);
    match event {
        GuildEvent::Founded { slug, kind, name, ranks, governance } => guilds.put(Guild {
            guild,
            slug: slug.clone(),
            kind: word(kind),
            name: Json(name.clone()),
            status: "active".to_owned(),
            leaderless: false,
            parent: None,
            proposed_parent: None,
            charter_version: 0,
            charter_digest: None,
            charter_location: None,
            ranks: Json(ranks.clone()),
            governance: json(governance),
            dissolution: None,
            founded_at: recorded.at,
            position: recorded.position,
        }),
        GuildEvent::Renamed { name } => change(&|row| row.name = Json(name.clone())),
        GuildEvent::ParentProposed { parent } => change(&|row| row.proposed_parent = Some(*parent)),
        GuildEvent::ParentSet { parent } => change(&|row| {
            row.parent = Some(*parent);
            row.proposed_parent = None;
        }),
        GuildEvent::ParentCleared { .. } => change(&|row| row.parent = None),
        GuildEvent::CharterAmended { version, digest, location } => change(&|row| {
            row.charter_version = (*version).into();
            row.charter_digest = Some(*digest);
            row.charter_location = Some(Json(location.clone()));
        }),
        GuildEvent::RanksDefined { ranks } => change(&|row| row.ranks = Json(ranks.clone())),
        GuildEvent::BecameLeaderless {} => change(&|row| row.leaderless = true),
        GuildEvent::LeadershipRestored {} | GuildEvent::FounderAppointed { .. } => {
            change(&|row| row.leaderless = false)
        }
        GuildEvent::MarkedDormant {} => change(&|row| "dormant".clone_into(&mut row.status)),
        GuildEvent::Woken {} => change(&|row| "active".clone_into(&mut row.status)),
        GuildEvent::DissolutionInitiated { shares, fallback } => change(&|row| {
            "dissolving".clone_into(&mut row.status);
            row.dissolution = Some(json(&serde_json::json!({ "shares": shares, "fallback": fallback })));
        }),
        GuildEvent::DissolutionCancelled {} => change(&|row| {
            "active".clone_into(&mut row.status);
            row.dissolution = None;
        }),
        GuildEvent::Dissolved {} => change(&|row| "dissolved".clone_into(&mut row.status)),
        GuildEvent::GovernanceSet { governance } => change(&|row| row.governance = json(governance)),
        // The roster's, the proposals' and the governance log's; and what the child's own events tell.
        GuildEvent::MemberAdded { .. }
        | GuildEvent::RankChanged { .. }
        | GuildEvent::ScopesSet { .. }
        | GuildEvent::MemberSuspended { .. }
        | GuildEvent::MemberReinstated { .. }
        | GuildEvent::MemberCitySuspended { .. }
        | GuildEvent::MemberCityReinstated { .. }
        | GuildEvent::MemberLeft { .. }
        | GuildEvent::MemberRemoved { .. }
        | GuildEvent::ProposalOpened { .. }
        | GuildEvent::ProposalVoted { .. }
        | GuildEvent::ProposalClosed { .. }
        | GuildEvent::Decided { .. }
        | GuildEvent::ChildAccepted { .. }
        | GuildEvent::ChildDetached { .. } => {}
    }
}
