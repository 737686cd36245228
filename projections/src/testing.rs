//! Logs of random but lawful events on either engine, for tests.

use std::collections::HashMap;

use chain::Hash;
use chain::entry::{self, Entry};
use domain::event::Event;
use domain::guild::event::{Ending, GuildEvent, GuildKind, Rank, Spend, Vote};
use domain::guild::governance::{Class, Governance, Ground, Tier};
use domain::ids::{CitizenId, GuildId, HoldId, KeyId, MovementId, ProposalId, Slug, Stream, TreasuryId};
use domain::money::{self, Amount, Currency, LegRole, Legs};
use domain::party::{CitizenKind, MemberId, MemberKind};
use domain::text::{Digest, Sealed};
use domain::time::Time;
use domain::treasury::event::{FreezeSide, HoldLeg, Moved, MovementKind, Owner, TreasuryEvent};
use domain::{citizen::event::CitizenEvent, city::event::CityEvent, key::event::KeyEvent};
use eventlog::{Append, CommitError, Log, Stored, Writer};
use tokio::sync::watch;

use crate::ddl;
use crate::guards::Guards;
use crate::recorded::decode_all;
use crate::views::ViewsDb;

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
        command: domain::ids::CommandId::from_bits(command.into()).to_string(),
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

/// Makes commands at random, each lawful after those before it. The same seed gives the same life.
pub struct Life {
    random: u64,
    next_id: u128,
    treasuries: Vec<TreasuryId>,
    balances: HashMap<(TreasuryId, usize), (i128, i128)>,
    holds: Vec<(HoldId, TreasuryId, usize, i128)>,
    offers: Vec<(HoldId, TreasuryId, TreasuryId, usize, i128)>,
    members: HashMap<(u128, u128), bool>,
    proposals: Vec<(u128, ProposalId)>,
    keys: Vec<(u128, KeyId)>,
    citizens: u128,
    guilds: u128,
}

impl Life {
    pub fn new(seed: u64, citizens: u128, guilds: u128) -> Self {
        let treasuries = (1..=citizens).map(|number| TreasuryId::of_citizen(citizen(number)));
        let treasuries = treasuries.chain((1..=guilds).map(|number| TreasuryId::of_guild(guild(number)))).collect();
        Self {
            random: seed | 1,
            next_id: 1,
            treasuries,
            balances: HashMap::new(),
            holds: Vec::new(),
            offers: Vec::new(),
            members: HashMap::new(),
            proposals: Vec::new(),
            keys: Vec::new(),
            citizens,
            guilds,
        }
    }

    /// Below `limit`; xorshift (Marsaglia 2003).
    fn below(&mut self, limit: u128) -> u128 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        u128::from(self.random) % limit.max(1)
    }

    fn id(&mut self) -> u128 {
        self.next_id += 1;
        self.next_id
    }

    fn treasury(&mut self) -> TreasuryId {
        let index = self.below(self.treasuries.len() as u128) as usize;
        self.treasuries[index]
    }

    /// The next command's events; sometimes none.
    pub fn act(&mut self) -> Act {
        let (treasury, index) = (self.treasury(), self.below(3) as usize);
        match self.below(16) {
            0..=3 => self.deposit(treasury, index),
            4 | 5 => self.pay(treasury, index),
            6 => self.place_hold(treasury, index),
            7 => self.end_hold(),
            8 => self.offer(treasury, index),
            9 => self.end_offer(),
            10..=12 => self.membership(),
            13 => self.proposal(),
            14 => self.key(),
            _ => self.standing(treasury),
        }
    }

    fn deposit(&mut self, treasury: TreasuryId, index: usize) -> Act {
        let (code, scale) = CURRENCIES[index];
        let minor = 1 + self.below(if index == 2 { 10_i128.pow(24) as u128 } else { 100_000 }) as i128;
        self.balances.entry((treasury, index)).or_default().0 += minor;
        deposit(self.id(), treasury, code, minor, scale)
    }

    fn spendable(&mut self, treasury: TreasuryId, index: usize) -> Option<i128> {
        let (balance, held) = self.balances.get(&(treasury, index)).copied().unwrap_or_default();
        let available = balance - held;
        (available > 0).then(|| 1 + self.below(available as u128) as i128)
    }

    fn pay(&mut self, from: TreasuryId, index: usize) -> Act {
        let to = self.treasury();
        let Some(minor) = self.spendable(from, index).filter(|_| to != from) else { return Vec::new() };
        self.balances.entry((from, index)).or_default().0 -= minor;
        self.balances.entry((to, index)).or_default().0 += minor;
        let (code, scale) = CURRENCIES[index];
        payment(self.id(), from, to, code, amount(minor, scale))
    }

    fn place_hold(&mut self, treasury: TreasuryId, index: usize) -> Act {
        let Some(minor) = self.spendable(treasury, index) else { return Vec::new() };
        let (code, scale) = CURRENCIES[index];
        let (hold, amount) = (HoldId::from_bits(self.id()), amount(minor, scale));
        self.balances.entry((treasury, index)).or_default().1 += minor;
        self.holds.push((hold, treasury, index, minor));
        let legs = vec![HoldLeg { payee: money::Account::External, role: LegRole::Principal, maximum: amount }];
        let placed = TreasuryEvent::HoldPlaced {
            hold,
            currency: currency(code),
            amount,
            legs,
            expires_at: Time::from_micros(1),
            purpose: Some(sealed(3)),
            proposal: None,
        };
        vec![(Stream::Treasury(treasury), placed.into())]
    }

    fn end_hold(&mut self) -> Act {
        if self.holds.is_empty() {
            return Vec::new();
        }
        let place = self.below(self.holds.len() as u128) as usize;
        let (hold, treasury, index, minor) = self.holds.swap_remove(place);
        let (code, scale) = CURRENCIES[index];
        let (currency, all) = (currency(code), amount(minor, scale));
        self.balances.entry((treasury, index)).or_default().1 -= minor;
        if self.below(2) == 0 {
            let released = TreasuryEvent::HoldReleased { hold, currency, amount: all };
            return vec![(Stream::Treasury(treasury), released.into())];
        }
        let part = amount(1 + self.below(minor as u128) as i128, scale);
        self.balances.entry((treasury, index)).or_default().0 -= part.minor();
        let released = amount(minor - part.minor(), scale);
        let captured = TreasuryEvent::HoldCaptured {
            hold,
            currency: currency.clone(),
            legs: Vec::new(),
            captured: part,
            released,
            closed: true,
        };
        let payee = vec![(money::Account::External, part, LegRole::Principal)];
        let legs = Legs::pay(money::Account::Treasury(treasury), payee).expect("a lawful movement");
        let moved = moved(self.id(), MovementKind::Capture, &currency, part, &legs);
        let stream = Stream::Treasury(treasury);
        vec![(stream, captured.into()), (stream, TreasuryEvent::Debited(moved).into())]
    }

    fn offer(&mut self, from: TreasuryId, index: usize) -> Act {
        let to = self.treasury();
        let Some(minor) = self.spendable(from, index).filter(|_| to != from) else { return Vec::new() };
        let (code, scale) = CURRENCIES[index];
        let offer = HoldId::from_bits(self.id());
        self.balances.entry((from, index)).or_default().1 += minor;
        self.offers.push((offer, from, to, index, minor));
        let made = TreasuryEvent::OfferMade {
            offer,
            to,
            currency: currency(code),
            amount: amount(minor, scale),
            expires_at: Time::from_micros(1),
            memo: None,
            mandate: None,
        };
        vec![(Stream::Treasury(from), made.into())]
    }

    fn end_offer(&mut self) -> Act {
        if self.offers.is_empty() {
            return Vec::new();
        }
        let place = self.below(self.offers.len() as u128) as usize;
        let (offer, from, to, index, minor) = self.offers.swap_remove(place);
        let (code, scale) = CURRENCIES[index];
        let (currency, amount) = (currency(code), amount(minor, scale));
        self.balances.entry((from, index)).or_default().1 -= minor;
        if self.below(3) == 0 {
            let rejected = TreasuryEvent::OfferRejected { offer, currency, amount };
            return vec![(Stream::Treasury(from), rejected.into())];
        }
        self.balances.entry((from, index)).or_default().0 -= minor;
        self.balances.entry((to, index)).or_default().0 += minor;
        let accepted = TreasuryEvent::OfferAccepted { offer, currency, amount };
        let mut act = vec![(Stream::Treasury(from), accepted.into())];
        act.extend(payment(self.id(), from, to, code, amount));
        act
    }

    fn membership(&mut self) -> Act {
        let (number, person) = (1 + self.below(self.guilds), 1 + self.below(self.citizens));
        let living = self.members.entry((number, person)).or_insert(false);
        let member = MemberId::Citizen(citizen(person));
        if !*living {
            *living = true;
            return vec![member_added(number, person, "member")];
        }
        let event = match self.below(6) {
            0 => GuildEvent::RankChanged { member, rank: slug("founder") },
            1 => GuildEvent::ScopesSet { member, scopes: Some(vec![Class::Work]) },
            2 => GuildEvent::MemberSuspended { member, reason: None },
            3 => GuildEvent::MemberCitySuspended { member },
            4 => GuildEvent::FounderAppointed { member, kind: MemberKind::Human, by: citizen(1) },
            _ => {
                self.members.insert((number, person), false);
                GuildEvent::MemberLeft { member }
            }
        };
        vec![(Stream::Guild(guild(number)), event.into())]
    }

    fn proposal(&mut self) -> Act {
        if self.below(2) == 0 || self.proposals.is_empty() {
            let (number, proposal) = (1 + self.below(self.guilds), ProposalId::from_bits(self.id()));
            self.proposals.push((number, proposal));
            let command = domain::guild::command::WakeGuild { guild: guild(number).into() };
            let opened = GuildEvent::ProposalOpened {
                proposal,
                proposer: citizen(1),
                class: Class::Lifecycle,
                command: Box::new(command.into()),
                expires_at: Time::from_micros(1),
                hold: None,
                reserved: Some(Spend { currency: currency("USD"), amount: amount(5, 2) }),
            };
            let voted = GuildEvent::ProposalVoted { proposal, voter: citizen(1), vote: Vote::Yes };
            let stream = Stream::Guild(guild(number));
            return vec![(stream, opened.into()), (stream, voted.into())];
        }
        let place = self.below(self.proposals.len() as u128) as usize;
        let (number, proposal) = self.proposals.swap_remove(place);
        let ground = Ground::Proposal { proposal, yes: 1, no: 0 };
        let closed = GuildEvent::ProposalClosed { proposal, ending: Ending::Passed };
        let decided =
            GuildEvent::Decided { action: "guild.wake".to_owned(), class: Class::Lifecycle, ground, spend: None };
        let stream = Stream::Guild(guild(number));
        vec![(stream, closed.into()), (stream, decided.into())]
    }

    fn key(&mut self) -> Act {
        let person = 1 + self.below(self.citizens);
        if self.below(2) == 0 || self.keys.is_empty() {
            let key = KeyId::from_bits(self.id());
            self.keys.push((person, key));
            let verifier = Digest([7; 32]);
            let issued = KeyEvent::Issued {
                citizen: citizen(person),
                verifier,
                actions: None,
                expires_at: None,
                replaces: None,
            };
            return vec![(Stream::Key(key), issued.into())];
        }
        let place = self.below(self.keys.len() as u128) as usize;
        let (person, key) = self.keys.swap_remove(place);
        let role = CitizenEvent::RoleAssigned { role: slug("teller") };
        vec![(Stream::Key(key), KeyEvent::Revoked {}.into()), (Stream::Citizen(citizen(person)), role.into())]
    }

    fn standing(&mut self, treasury: TreasuryId) -> Act {
        let event = if self.below(2) == 0 {
            TreasuryEvent::Frozen { side: FreezeSide::City, reason: sealed(9) }
        } else {
            TreasuryEvent::Unfrozen { side: FreezeSide::City }
        };
        vec![(Stream::Treasury(treasury), event.into())]
    }
}
