//! Whether a holder may do something now, and why not.
//!
//! The chain of grants that an answer is made from is kept in memory with the position that it was read at, and read again once an
//! entry of one of the streams it depends on has been folded since: an answer is never older than the views are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::grant::check::{self, Answer, Held, Standing};
use domain::grant::kind::{CapabilityKind, CapabilityRef, Source};
use domain::grant::scope::{Action, Effect, Scope};
use domain::ids::{GrantId, Stream};
use domain::party::HolderId;
use domain::time::Time;
use eventlog::sql::{self, Conn, Kind};
use eventlog::{Failure, Log};
use serde::Serialize;
use serde_json::Value;

use crate::Result;
use crate::row::{Cells, text, unreadable};

/// Most chains, and most changed streams, that are remembered.
const CAPACITY: usize = 100_000;
/// More entries than this at once, and everything is read again instead of looking who changed.
const FAR_BEHIND: u64 = 100_000;

/// What a check asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    pub holder: HolderId,
    pub kind: CapabilityKind,
    pub reference: CapabilityRef,
    pub action: Action,
    /// How old the last verification may be, in seconds.
    pub max_age_seconds: u32,
}

/// The answer, and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    #[serde(flatten)]
    pub answer: Answer,
    pub effect: Effect,
    /// From the holder's own grant up to the one that was not delegated.
    pub chain: Arc<[Held]>,
}

/// What does not depend on the hour.
#[derive(Clone)]
struct Read {
    /// How many entries the views had folded.
    position: u64,
    effect: Effect,
    chain: Arc<[Held]>,
    depends_on: Arc<[Stream]>,
}

#[derive(PartialEq, Eq, Hash)]
struct Name(HolderId, CapabilityKind, CapabilityRef, Action);

#[derive(Default)]
struct Known {
    read: HashMap<Name, Read>,
    /// The newest entry of each stream among those looked at.
    changed: HashMap<Stream, u64>,
    /// Everything below `seen` was looked at; what changed below `floor` is not known one by one.
    seen: u64,
    floor: u64,
}

impl Known {
    fn get(&self, name: &Name) -> Option<&Read> {
        let read = self.read.get(name)?;
        let as_it_was = |stream: &Stream| self.changed.get(stream).is_none_or(|newest| *newest < read.position);
        (read.position >= self.floor && read.depends_on.iter().all(as_it_was)).then_some(read)
    }

    fn forget(&mut self, seen: u64) {
        *self = Self { seen, floor: seen, ..Self::default() };
    }
}

/// Answers checks; one for a server.
pub struct Checks {
    log: Log,
    known: Mutex<Known>,
    looking: tokio::sync::Mutex<()>,
}

impl Checks {
    pub fn new(log: Log) -> Self {
        Self { log, known: Mutex::default(), looking: tokio::sync::Mutex::default() }
    }

    /// Whether the holder may do that now, and why not. `reached` is how many entries the views are known to have folded; `views` is
    /// asked for a connection only when the chain is not in memory.
    pub async fn check<E>(
        &self,
        question: &Question,
        now: Time,
        reached: u64,
        views: impl AsyncFnOnce() -> std::result::Result<Conn, E>,
    ) -> std::result::Result<Checked, E>
    where
        E: From<crate::QueryError>,
    {
        self.look(reached).await.map_err(crate::QueryError::from)?;
        let name = Name(question.holder, question.kind, question.reference.clone(), question.action.clone());
        let kept = self.known().get(&name).cloned();
        let read = match kept {
            Some(read) => read,
            None => {
                let read = read(&mut views().await?, question).await?;
                self.keep(name, read.clone());
                read
            }
        };
        let Read { effect, chain, .. } = read;
        let answer = check::check(&chain, &question.action, effect, question.max_age_seconds, now);
        Ok(Checked { answer, effect, chain })
    }

    /// Which streams the entries changed that the views folded since the last look: one statement for all who wait.
    async fn look(&self, reached: u64) -> std::result::Result<(), Failure> {
        if self.known().seen == reached {
            return Ok(());
        }
        let _one = self.looking.lock().await;
        let seen = self.known().seen;
        if seen == reached {
            return Ok(());
        }
        // Backwards: the views are being made anew.
        if reached < seen || reached - seen > FAR_BEHIND {
            self.known().forget(reached);
            return Ok(());
        }
        let changed = self.log.changed_streams(seen, reached).await?;
        let mut known = self.known();
        if known.changed.len() + changed.len() > CAPACITY {
            known.forget(reached);
            return Ok(());
        }
        let relevant = changed.into_iter().filter_map(|(stream, newest)| match stream.parse().ok()? {
            Stream::Treasury(_) | Stream::Key(_) | Stream::Reputation(_) => None,
            stream => Some((stream, newest)),
        });
        known.changed.extend(relevant);
        known.seen = reached;
        Ok(())
    }

    fn keep(&self, name: Name, read: Read) {
        let mut known = self.known();
        if known.read.len() >= CAPACITY {
            known.read.clear();
        }
        known.read.insert(name, read);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Entries are replaced whole, so a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A grant with all above it, the activity of their holders, the effect of the action, and how far the views are: one exchange.
const CHAIN: &str = "with recursive chain (depth, grant_id) as ( \
       select 0, i.grant_id from inventory i \
       where i.holder = $1 and i.kind = $2 and i.reference = $3 and i.status in ('active', 'stale') \
     union all \
       select c.depth + 1, i.parent from chain c join inventory i on i.grant_id = c.grant_id \
       where i.parent is not null and c.depth < 8) \
     select (select size from view_position), (select a.effect from capability_actions a where a.kind = $2 and a.action = $4), \
       c.grant_id, i.status, i.scope, i.source, i.granted_at, i.verified_at, i.expires_at, i.holder, i.parent, \
       coalesce(z.status, g.status, (select 'active' from inventory r where i.holder_kind = 'squad' and r.holder = i.holder \
         and r.kind = 'guild_role' and r.status = 'active' limit 1)) \
     from (select 1 as one) o left join chain c on 1 = 1 left join inventory i on i.grant_id = c.grant_id \
     left join citizens z on z.citizen = i.holder left join guild_directory g on g.guild = i.holder \
     order by c.depth";
const CHAIN_KINDS: &[Kind] = &[
    Kind::Int,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Text,
    Kind::Int,
    Kind::Int,
    Kind::Int,
    Kind::Text,
    Kind::Text,
    Kind::Text,
];

/// The same of many grants, without an action.
const CHAINS: &str = "select c.leaf, c.grant_id, i.status, i.scope, i.source, i.granted_at, i.verified_at, i.expires_at, i.holder, i.parent, \
       coalesce(z.status, g.status, (select 'active' from inventory r where i.holder_kind = 'squad' and r.holder = i.holder \
         and r.kind = 'guild_role' and r.status = 'active' limit 1)) \
     from chain c left join inventory i on i.grant_id = c.grant_id \
     left join citizens z on z.citizen = i.holder left join guild_directory g on g.guild = i.holder \
     order by c.leaf, c.depth";
const LEAVES: [&str; 2] = [
    "select 0, i.grant_id, i.grant_id from json_each($1) a join inventory i on i.grant_id = a.value",
    "select 0, i.grant_id, i.grant_id from jsonb_array_elements_text($1::jsonb) a join inventory i on i.grant_id = a.value",
];

/// What these grants come to now, each with all above it. One exchange.
pub async fn standings(conn: &mut Conn, grants: &[GrantId], now: Time) -> Result<HashMap<GrantId, Standing>> {
    let leaves = LEAVES[usize::from(conn.is_postgres())];
    let sql = format!(
        "with recursive chain (depth, leaf, grant_id) as ({leaves} union all \
           select c.depth + 1, c.leaf, i.parent from chain c join inventory i on i.grant_id = c.grant_id \
           where i.parent is not null and c.depth < 8) {CHAINS}"
    );
    let names: Vec<String> = grants.iter().map(ToString::to_string).collect();
    let kinds: Vec<Kind> = std::iter::once(Kind::Text).chain(CHAIN_KINDS[2..].iter().copied()).collect();
    let mut chains: HashMap<GrantId, Vec<Held>> = HashMap::new();
    for row in sql::query(conn, &sql, &kinds, &[text(Value::from(names))]).await? {
        let mut cells = Cells::of(row);
        let (Some(leaf), Some(grant)) = (cells.take::<GrantId>(), cells.take::<GrantId>()) else {
            return Err(unreadable("inventory"));
        };
        let (held, _) = held(grant, &mut cells).ok_or_else(|| unreadable("inventory"))?;
        chains.entry(leaf).or_default().push(held);
    }
    Ok(chains.into_iter().map(|(leaf, chain)| (leaf, check::standing(&chain, now))).collect())
}

async fn read(conn: &mut Conn, question: &Question) -> Result<Read> {
    let Question { holder, kind, reference, action, .. } = question;
    let params = [text(holder), text(kind), text(reference), text(action)];
    let rows = sql::query(conn, CHAIN, CHAIN_KINDS, &params).await?;
    let (mut position, mut effect) = (0, Effect::Write);
    let mut chain = Vec::new();
    let mut depends_on = vec![Stream::City, Stream::Inventory(*holder)];
    for row in rows {
        let mut cells = Cells::of(row);
        let unreadable = || unreadable("inventory");
        position = cells.take::<u64>().ok_or_else(unreadable)?;
        let registered: Option<String> = cells.take().ok_or_else(unreadable)?;
        if registered.as_deref() == Some("read") {
            effect = Effect::Read;
        }
        let grant: Option<GrantId> = cells.take().ok_or_else(unreadable)?;
        if let Some(grant) = grant {
            let (held, holder) = held(grant, &mut cells).ok_or_else(unreadable)?;
            chain.push(held);
            depends_on.extend(holder.into_iter().flat_map(streams));
        }
    }
    Ok(Read { position, effect, chain: chain.into(), depends_on: depends_on.into() })
}

/// Whatever happens to a holder or to what they have is in one of these.
fn streams(holder: HolderId) -> impl Iterator<Item = Stream> {
    let own = match holder {
        HolderId::Citizen(id) => Some(Stream::Citizen(id)),
        HolderId::Guild(id) => Some(Stream::Guild(id)),
        HolderId::Squad(_) => None,
    };
    [Some(Stream::Inventory(holder)), own].into_iter().flatten()
}

/// One grant of a chain, and who has it. One that is not in the table any more ended long ago, and says no.
fn held(grant: GrantId, cells: &mut Cells) -> Option<(Held, Option<HolderId>)> {
    let status: Option<String> = cells.take()?;
    let scope: Option<Scope> = cells.take()?;
    let source: Option<Source> = cells.take()?;
    let granted_at: Option<Time> = cells.take()?;
    let verified_at: Option<Time> = cells.take()?;
    let expires_at: Option<Time> = cells.take()?;
    let holder: Option<HolderId> = cells.take()?;
    let parent: Option<GrantId> = cells.take()?;
    let holder_status: Option<String> = cells.take()?;
    let imported = source.is_some_and(Source::is_imported) && parent.is_none();
    let held = Held {
        grant,
        source,
        scope: scope.unwrap_or_default(),
        expires_at,
        fresh_since: if imported { verified_at.or(granted_at) } else { None },
        stale: status.as_deref() == Some("stale"),
        living: matches!(status.as_deref(), Some("active" | "stale")),
        holder_active: holder_status.as_deref() == Some("active"),
    };
    Some((held, holder))
}
