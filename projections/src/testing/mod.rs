//! Logs with guards and views on either engine, and lawful events to fill them with, for tests.

mod life;

use std::collections::HashMap;

use chain::Hash;
use chain::entry::{self, Entry};
use domain::event::Event;
use domain::guild::event::{GuildEvent, GuildKind, Rank};
use domain::guild::governance::{Class, Governance, Tier};
use domain::ids::{CitizenId, CommandId, GuildId, MovementId, Slug, Stream, TreasuryId};
use domain::money::{self, Amount, Currency, LegRole, Legs};
use domain::party::{CitizenKind, MemberId, MemberKind};
use domain::text::{Digest, Sealed};
use domain::time::Time;
use domain::treasury::event::{Moved, MovementKind, Owner, TreasuryEvent};
use domain::{citizen::event::CitizenEvent, city::event::CityEvent};
use eventlog::{Append, CommitError, Log, Stored, Writer};
use tokio::sync::watch;

use crate::ddl;
use crate::guards::Guards;
use crate::recorded::decode_all;
use crate::views::ViewsDb;

pub use life::Life;

/// Events of one command, in order.
pub type Act = Vec<(Stream, Event)>;

/// A log with guards and views, and the one who writes it.
pub struct Town {
    pub log: Log,
    pub views: ViewsDb,
    pub guards: Guards,
    writer: Writer,
    tips: HashMap<String, (u64, Hash)>,
    commands: u64,
    _home: Option<tempfile::TempDir>,
}

impl Town {
    /// On SQLite, in a temporary directory.
    pub async fn sqlite() -> Self {
        let (home, config) = eventlog::testing::sqlite(&ddl::SQLITE).await;
        Self::open(config, Some(home)).await
    }

    /// On PostgreSQL, in a database of its own.
    pub async fn postgres() -> Self {
        Self::open(eventlog::testing::postgres(&ddl::POSTGRES).await.config(), None).await
    }

    async fn open(config: eventlog::LogConfig, home: Option<tempfile::TempDir>) -> Self {
        let log = Log::open(config).await.expect("a new log opens");
        let views = ViewsDb::open(&log, true).await.expect("new views open");
        let writer = log.writer().await.expect("nobody else writes here");
        Self { log, views, guards: Guards::default(), writer, tips: HashMap::new(), commands: 0, _home: home }
    }

    /// Appends these commands as one batch.
    pub async fn append(&mut self, acts: &[Act]) -> Result<(), CommitError> {
        let mut batch = self.writer.begin().await?;
        let at = batch.now();
        let mut tips = self.tips.clone();
        let mut entries = Vec::new();
        for act in acts {
            self.commands += 1;
            for (stream, event) in act {
                let position = batch.head().size + entries.len() as u64;
                entries.push(stored(batch.head(), position, at, self.commands, *stream, event, &mut tips));
            }
        }
        let recorded = decode_all(&entries).map_err(eventlog::Failure::from)?;
        let guards = self.guards.prepare(batch.conn(), &recorded).await.map_err(eventlog::Failure::from)?;
        let committed = batch.commit(Append { at, entries, guards, ..Append::default() }).await;
        match &committed {
            Ok(()) => {
                self.tips = tips;
                self.guards.committed();
            }
            Err(_) => self.guards.discard(),
        }
        committed
    }

    /// Lets the views' worker run until it has folded the whole log.
    pub async fn catch_up(&self) {
        let size = self.log.head().await.expect("the log can be read").size;
        let (stop, stopped) = watch::channel(false);
        let (moved, mut position) = watch::channel(0);
        let worker = tokio::spawn(crate::views::run(self.log.clone(), self.views.clone(), stopped, moved));
        position.wait_for(|position| *position >= size).await.expect("the worker lives");
        stop.send_replace(true);
        worker.await.expect("the worker ends").expect("every entry can be understood");
    }
}

fn stored(
    head: &eventlog::Head,
    position: u64,
    at: i64,
    command: u64,
    stream: Stream,
    event: &Event,
    tips: &mut HashMap<String, (u64, Hash)>,
) -> Stored {
    let (version, prev) = tips.get(&stream.to_string()).copied().unwrap_or((0, Hash::ZERO));
    let (kind, data) = event.to_parts();
    let entry = Entry {
        stream: stream.to_string(),
        version,
        kind,
        at: Time::from_micros(at).to_string(),
        actor: entry::Actor { kind: "human".to_owned(), id: citizen(1).to_string() },
        via: "system".to_owned(),
        on_behalf_of: None,
        cause: None,
        command: CommandId::from_bits(command.into()).to_string(),
        nonce: [0; 16],
        data,
        sealed: None,
    };
    let bytes = entry.to_bytes().expect("events have canonical bytes");
    let hash = entry::entry_hash(&head.origin, &prev, &bytes);
    tips.insert(entry.stream.clone(), (version + 1, hash));
    Stored { position, stream: entry.stream, version, prev, hash, bytes: bytes.into() }
}

pub const fn citizen(number: u128) -> CitizenId {
    CitizenId::from_bits(number)
}

pub const fn guild(number: u128) -> GuildId {
    GuildId::from_bits(1_000_000 + number)
}

pub fn slug(text: &str) -> Slug {
    text.parse().expect("tests write good slugs")
}

pub fn currency(code: &str) -> Currency {
    code.parse().expect("tests write good currencies")
}

pub fn amount(minor: i128, scale: u8) -> Amount {
    Amount::new(minor, scale).expect("tests stay within the limits")
}

pub fn sealed(number: u8) -> Sealed {
    Sealed { ciphertext: Digest([number; 32]), commitment: Digest([number ^ 0xff; 32]), subject: "s".to_owned() }
}

/// What one treasury's event says of a movement.
pub fn moved(movement: u128, kind: MovementKind, currency: &Currency, amount: Amount, legs: &Legs) -> Box<Moved> {
    Box::new(Moved {
        movement: MovementId::from_bits(movement),
        kind,
        currency: currency.clone(),
        amount,
        legs: legs.clone(),
        effective_at: Time::from_micros(1_700_000_000_000_000),
        source: None,
        reference: None,
        reference_lookup: None,
        reference_content: None,
        memo: None,
        hold: None,
        mandate: None,
    })
}

/// A deposit from outside.
pub fn deposit(movement: u128, treasury: TreasuryId, code: &str, minor: i128, scale: u8) -> Act {
    let (currency, amount) = (currency(code), amount(minor, scale));
    let payee = vec![(money::Account::Treasury(treasury), amount, LegRole::Principal)];
    let legs = Legs::pay(money::Account::External, payee).expect("a lawful movement");
    let moved = moved(movement, MovementKind::Deposit, &currency, amount, &legs);
    vec![(Stream::Treasury(treasury), TreasuryEvent::Credited(moved).into())]
}

/// A payment between two treasuries, each with its event.
pub fn payment(movement: u128, from: TreasuryId, to: TreasuryId, code: &str, amount: Amount) -> Act {
    let currency = currency(code);
    let payee = vec![(money::Account::Treasury(to), amount, LegRole::Principal)];
    let legs = Legs::pay(money::Account::Treasury(from), payee).expect("a lawful movement");
    let moved = moved(movement, MovementKind::Transfer, &currency, amount, &legs);
    vec![
        (Stream::Treasury(from), TreasuryEvent::Debited(moved.clone()).into()),
        (Stream::Treasury(to), TreasuryEvent::Credited(moved).into()),
    ]
}

/// A guild with the default governance of one decider.
pub fn found(number: u128, name: &str) -> Act {
    let rank = |name: &str| Rank { name: slug(name), scopes: vec![Class::Finance] };
    let governance = Governance {
        default: Tier::PrincipalOnly { decider: citizen(1) },
        classes: Vec::new(),
        mandates: Vec::new(),
        reservation_limits: Vec::new(),
        proposal_days: 7,
    };
    let founded = GuildEvent::Founded {
        slug: slug(name),
        kind: GuildKind::Company,
        name: sealed(1),
        ranks: vec![rank("founder"), rank("member")],
        governance: Box::new(governance),
    };
    let guild = guild(number);
    let treasury = TreasuryId::of_guild(guild);
    vec![
        (Stream::Guild(guild), founded.into()),
        (Stream::Treasury(treasury), TreasuryEvent::Opened { owner: Owner::Guild(guild) }.into()),
    ]
}

pub fn member_added(number: u128, member: u128, rank: &str) -> (Stream, Event) {
    let added = GuildEvent::MemberAdded {
        member: MemberId::Citizen(citizen(member)),
        kind: MemberKind::Human,
        rank: slug(rank),
        scopes: None,
    };
    (Stream::Guild(guild(number)), added.into())
}

/// The city's beginning: currencies, a role, citizens with their treasuries, and guilds.
pub fn beginning(citizens: u128, guilds: u128) -> Act {
    let mut act: Act = Vec::new();
    for (code, scale) in CURRENCIES {
        act.push((Stream::City, CityEvent::CurrencyRegistered { currency: currency(code), scale }.into()));
    }
    let role = CityEvent::RoleDefined {
        role: slug("teller"),
        tier: domain::party::Tier::Worker,
        actions: vec!["treasury.deposit".to_owned()],
        mfa_required: false,
    };
    act.push((Stream::City, role.into()));
    for number in 1..=citizens {
        let id = citizen(number);
        let registered = CitizenEvent::Registered { kind: CitizenKind::Human, name: sealed(number as u8), agent: None };
        act.push((Stream::Citizen(id), registered.into()));
        let opened = TreasuryEvent::Opened { owner: Owner::Citizen(id) };
        act.push((Stream::Treasury(TreasuryId::of_citizen(id)), opened.into()));
    }
    (1..=guilds).for_each(|number| act.extend(found(number, &format!("guild-{number}"))));
    act
}

pub const CURRENCIES: [(&str, u8); 3] = [("USD", 2), ("JPY", 0), ("WEI", 18)];
