//! An entry from the members of its outermost object as they stand in the bytes: what nearly all entries are read by, without a second pass.

use std::borrow::Cow;

use super::{ActorView, EntryView, Raw};
use crate::canonical::is_canonical_time;
use crate::hex;

/// The values of the keys that an entry can have, unread.
#[derive(Default)]
pub(super) struct Members<'a> {
    actor: Option<&'a str>,
    at: Option<&'a str>,
    cause: Option<&'a str>,
    command: Option<&'a str>,
    data: Option<&'a str>,
    nonce: Option<&'a str>,
    on_behalf_of: Option<&'a str>,
    sealed: Option<&'a str>,
    stream: Option<&'a str>,
    kind: Option<&'a str>,
    v: Option<&'a str>,
    version: Option<&'a str>,
    via: Option<&'a str>,
    has_others: bool,
}

impl<'a> Members<'a> {
    /// Takes the next member; canonical bytes have none twice.
    pub fn take(&mut self, key: &str, value: &'a str) {
        let place = match key {
            "actor" => &mut self.actor,
            "at" => &mut self.at,
            "cause" => &mut self.cause,
            "command" => &mut self.command,
            "data" => &mut self.data,
            "nonce" => &mut self.nonce,
            "on_behalf_of" => &mut self.on_behalf_of,
            "sealed" => &mut self.sealed,
            "stream" => &mut self.stream,
            "type" => &mut self.kind,
            "v" => &mut self.v,
            "version" => &mut self.version,
            "via" => &mut self.via,
            _ => {
                self.has_others = true;
                return;
            }
        };
        *place = Some(value);
    }

    /// The entry. None for whatever is wrong or rare: the slower way reads that, or says what it is.
    pub fn view(&self) -> Option<EntryView<'a>> {
        if self.has_others || self.v != Some("1") {
            return None;
        }
        let at = plain(self.at?).filter(|at| is_canonical_time(at))?;
        let optional = |value: Option<&'a str>| value.map_or(Some(None), |value| plain(value).map(Some));
        Some(EntryView {
            stream: name(self.stream?)?,
            version: self.version?.parse().ok()?,
            kind: name(self.kind?)?,
            at,
            actor: actor(self.actor?)?,
            via: name(self.via?)?,
            on_behalf_of: optional(self.on_behalf_of)?.map(str::to_owned),
            cause: self.cause.map_or(Some(None), |cause| cause.parse().ok().map(Some))?,
            command: name(self.command?)?,
            nonce: hex::decode(plain(self.nonce?)?)?,
            data: Raw(self.data.filter(|data| data.starts_with('{'))?),
            sealed: self.sealed.map(Raw),
        })
    }
}

/// A string that is not empty, and in which nothing is escaped.
fn plain(value: &str) -> Option<&str> {
    let text = value.strip_prefix('"')?.strip_suffix('"')?;
    (!text.is_empty() && !text.contains('\\')).then_some(text)
}

fn name(value: &str) -> Option<Cow<'_, str>> {
    plain(value).map(Cow::Borrowed)
}

fn actor(value: &str) -> Option<ActorView<'_>> {
    let (id, rest) = value.strip_prefix("{\"id\":\"")?.split_once('"')?;
    let kind = rest.strip_prefix(",\"kind\":\"")?.strip_suffix("\"}")?;
    let is_plain = |text: &str| !text.is_empty() && !text.contains(['\\', '"']);
    (is_plain(id) && is_plain(kind)).then_some(ActorView { kind: Cow::Borrowed(kind), id: Cow::Borrowed(id) })
}
