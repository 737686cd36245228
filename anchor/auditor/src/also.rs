//! The same anchors kept in another place: both must say the same, and one that has more is named.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

use chain::Hash;
use chain::policy::Policy;
use timestamp::Roots;

use crate::anchors::{self, Aside, Chain, Known, Stray};
use crate::checkpoints::Promise;
use crate::inputs::Folder;
use crate::keys::{Place, Signed};
use crate::report::{Check, Finding, Report};

/// Compares the chain of anchors in another folder with the one under audit, and answers with what it promises besides, and what was signed
/// there and is not here.
pub fn compare(
    other: &Path,
    (own, size): (&[Known], u64),
    (policy, origin, roots): (&Policy, &str, Option<&Roots>),
    report: &mut Report,
) -> io::Result<(Vec<Promise>, Vec<Signed>)> {
    let place = other.display().to_string();
    // It may be of a longer log: nobody says that both folders are from the same hour.
    let folder = Folder::open(other.to_owned())?;
    let chain = anchors::chain(anchors::under(&folder, policy, roots)?, origin, (u64::MAX, ""));
    let Chain { known: found, aside, strays, findings } = chain;
    let besides = strays.iter().map(Stray::finding).chain(aside.iter().map(Aside::finding));
    for finding in besides.chain(findings) {
        report.add(Finding::general(Check::Anchor, format!("in {place}, {}", finding.what)));
    }
    let theirs: BTreeMap<u64, (&str, Hash)> =
        found.iter().map(|anchor| (anchor.seq, (anchor.key.as_str(), anchor.sha256))).collect();
    for anchor in own {
        let Some((key, sha256)) = theirs.get(&anchor.seq) else { continue };
        if (*key, *sha256) != (&anchor.key, anchor.sha256) {
            let what = format!("{} is another anchor than {key} in {place}: there are two histories", anchor.key);
            report.add(Finding::within(Check::Anchor, 0, anchor.size.max(1), what));
        }
    }
    let (newest, newest_there) = (own.last().map(|last| last.seq), found.last().map(|last| last.seq));
    let count = |newest: Option<u64>| newest.map_or("none".to_owned(), |seq| format!("anchors up to {seq}"));
    let (here, there) = (count(newest), count(newest_there));
    report.also.push(match newest.cmp(&newest_there) {
        std::cmp::Ordering::Equal => format!("{place} has the same {here}"),
        std::cmp::Ordering::Less => format!("{place} has MORE: {there}, the audited folder {here}"),
        std::cmp::Ordering::Greater => format!("{place} has less: {there}, the audited folder {here}"),
    });
    let more = found.iter().filter(|anchor| newest.is_none_or(|newest| anchor.seq > newest));
    // What the log's key signed is its word, wherever it lies.
    let aside = aside.iter().map(|aside| &aside.known).filter(|known| !known.by.is_empty());
    let besides = strays.iter().filter_map(|stray| stray.promise(origin));
    let besides = besides.map(|promise| Promise { whence: format!("{} in {place}", promise.whence), ..promise });
    let ours: HashSet<Hash> = own.iter().map(|anchor| anchor.sha256).collect();
    let mut signed = Vec::new();
    for anchor in found.iter().filter(|anchor| !ours.contains(&anchor.sha256)) {
        let whence = format!("{} in {place}", anchor.key);
        if anchor.size <= size {
            let place = Place::Here(anchors::notes(&folder, &anchor.key)?);
            signed.push(Signed { size: anchor.size, whence, by: anchor.by.clone(), place });
        } else if anchor.by.is_empty() {
            // Which keys there are beyond the audited entries only the policy says.
            report.add(Finding::general(Check::Anchor, format!("{whence}: no key that the policy gives signed it")));
        }
    }
    let promise = |anchor: &Known| {
        let whence = format!("{} in {place}", anchor.key);
        Promise { size: anchor.size, root: anchor.root, whence }
    };
    Ok((more.chain(aside).map(promise).chain(besides).collect(), signed))
}
