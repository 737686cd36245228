//! How a grant ends, and everything that hangs on it with it, in the same append.

use super::authority::{inventory, stream};
use super::delegation::MAX_DESCENDANTS;
use super::event::{EndedBy, GrantEvent, Link};
use super::state::Grant;
use crate::ids::Stream;
use crate::text::Sealed;
use crate::turn::{Stop, Turn};

/// Most ended grants that one event names.
const ENDED_AT_ONCE: usize = 200;
/// Most events that the end of one grant takes: its own, those below it, and that those above hear of it.
pub(super) const MOST_AT_ONE_END: usize = MAX_DESCENDANTS + MAX_DESCENDANTS / ENDED_AT_ONCE + 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum How {
    Revoked(Option<Sealed>),
    Expired,
    Orphaned,
}

/// Ends a living grant and its descendants.
pub(super) fn end(turn: &mut Turn<'_>, top: Link, how: How, by: EndedBy) -> Result<(), Stop> {
    let Some(grant) = found(turn, top)?.cloned() else { return Ok(()) };
    let root = root(turn, top, &grant)?;
    let id = top.grant;
    let event = match how {
        How::Revoked(reason) => GrantEvent::Revoked { grant: id, by, reason },
        How::Expired => GrantEvent::Expired { grant: id, by },
        How::Orphaned => GrantEvent::Orphaned { grant: id, by },
    };
    turn.record(stream(top.holder), event)?;
    let mut ended = end_below(turn, &grant)?;
    let Some(parent) = grant.parent() else { return Ok(()) };
    if parent != root {
        let gone = GrantEvent::DelegationEnded { grant: parent.grant, children: vec![top] };
        turn.record(stream(parent.holder), gone)?;
    }
    ended.push(top);
    for children in ended.chunks(ENDED_AT_ONCE) {
        let gone = GrantEvent::DelegationEnded { grant: root.grant, children: children.to_vec() };
        turn.record(stream(root.holder), gone)?;
    }
    Ok(())
}

/// A list and not recursion, level by level so that each level is loaded at once.
fn end_below(turn: &mut Turn<'_>, top: &Grant) -> Result<Vec<Link>, Stop> {
    let mut ended = Vec::new();
    let mut level: Vec<Link> = top.children.iter().copied().collect();
    while !level.is_empty() {
        turn.need(level.iter().map(|link| Stream::Inventory(link.holder)))?;
        let mut below = Vec::new();
        for link in level {
            // The root lists every descendant, the others their own children: whoever is met twice has ended already.
            let Some(grant) = found(turn, link)?.cloned() else { continue };
            let event = GrantEvent::Revoked { grant: link.grant, by: EndedBy::Ancestor, reason: None };
            turn.record(stream(link.holder), event)?;
            below.extend(grant.children.iter().copied());
            ended.push(link);
        }
        level = below;
    }
    Ok(ended)
}

/// The first grant of a chain of delegation.
pub(super) fn root(turn: &Turn<'_>, link: Link, grant: &Grant) -> Result<Link, Stop> {
    let (mut root, mut above) = (link, grant.parent());
    while let Some(link) = above {
        root = link;
        above = found(turn, link)?.and_then(Grant::parent);
    }
    Ok(root)
}

fn found<'t>(turn: &'t Turn<'_>, link: Link) -> Result<Option<&'t Grant>, Stop> {
    Ok(inventory(turn, link.holder)?.grant(link.grant))
}
