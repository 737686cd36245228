//! Which anchors the policy's quorum of witnesses cosigned: one cosignature before an export covers the tree, and not what was shown before.

use serde::Serialize;

use crate::anchors::Known;

/// Rows that are kept by name.
const KEPT: usize = 100;

/// The part of the report; nothing where the policy asks for no witnesses.
#[derive(Debug, Default, Serialize)]
pub struct Quorum {
    /// Anchors whose checkpoint the quorum cosigned, and those it did not.
    pub witnessed: u64,
    pub unwitnessed: u64,
    /// The latter, those in a row together.
    pub rows: Vec<Row>,
    #[serde(skip_serializing_if = "is_zero")]
    pub more_rows: u64,
}

/// Anchors in a row that the quorum did not cosign.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Number and time of the first and the last.
    pub first: (u64, String),
    pub last: (u64, String),
    /// The witnessed anchors on either side, if there are such.
    pub after: Option<u64>,
    pub before: Option<u64>,
}

impl Quorum {
    pub fn of(anchors: &[Known]) -> Self {
        let (mut quorum, mut after) = (Self::default(), None);
        for row in anchors.chunk_by(|one, next| one.witnessed == next.witnessed) {
            let (Some(first), Some(last)) = (row.first(), row.last()) else { continue };
            if first.witnessed {
                quorum.witnessed += row.len() as u64;
                after = Some(last.seq);
                if let Some(open) = quorum.rows.last_mut() {
                    open.before.get_or_insert(first.seq);
                }
                continue;
            }
            quorum.unwitnessed += row.len() as u64;
            if quorum.rows.len() == KEPT {
                quorum.more_rows += 1;
                continue;
            }
            let (first, last) = ((first.seq, first.at.clone()), (last.seq, last.at.clone()));
            quorum.rows.push(Row { first, last, after, before: None });
        }
        quorum
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first, last, after, before } = self;
        write!(out, "the quorum did not cosign anchors {} to {}, {} to {}: ", first.0, last.0, first.1, last.1)?;
        match after {
            Some(after) => write!(out, "after anchor {after}, ")?,
            None => write!(out, "no anchor before them, ")?,
        }
        match before {
            Some(before) => write!(out, "until anchor {before}, which covers them"),
            None => write!(out, "and no anchor after them"),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
