//! Every guard refuses on both engines, by direct SQL and by wrong events.
#![allow(clippy::unwrap_used)]

use domain::event::Event;
use domain::grant::event::{EndedBy, GrantEvent, Granted};
use domain::grant::kind::{CapabilityKind, Source};
use domain::grant::scope::Scope;
use domain::guild::event::GuildEvent;
use domain::ids::{GrantId, HoldId, Stream, TreasuryId};
use domain::money::{self, LegRole, Legs};
use domain::party::{HolderKind, MemberId};
use domain::time::Time;
use domain::treasury::event::{MovementKind, TreasuryEvent};
use domain::turn::Claim;
use eventlog::CommitError;
use eventlog::sql::{self, Cell, Change, Conn, SqlError};

use super::{Balance, CapabilityGrant, Member, Posting, Rating, Score, UniqueClaim, claims_taken};
use crate::record::Record;
use crate::replay::guard_session;
use crate::testing::{Town, amount, beginning, citizen, currency, deposit, found, guild, member_added, moved, payment};

/// SQLite does not name the deferred foreign key that is still violated at COMMIT; there is only one.
const SUMS: &str = "legs_sum_to_zero|FOREIGN KEY";

async fn on_both(test: impl AsyncFn(Town)) {
    test(Town::sqlite().await).await;
    test(Town::postgres().await).await;
}

/// What happens when these rows are written in a transaction of their own.
async fn write(conn: &mut Conn, changes: &[Change]) -> Result<(), SqlError> {
    conn.begin().await?;
    let done = match sql::apply(conn, changes).await {
        Ok(()) => conn.commit().await,
        Err(error) => Err(error),
    };
    if done.is_err() {
        // PostgreSQL has ended the transaction when its COMMIT failed; SQLite has not.
        let _ = conn.rollback().await;
    }
    done
}

fn insert<R: Record>(rows: &[R]) -> [Change; 1] {
    [Change::Insert { table: R::TABLE, rows: rows.iter().map(R::cells).collect() }]
}

/// The engines call some constraints by different names, and look at several in different orders.
fn is_one_of(name: &str, expected: &str) -> bool {
    expected.split('|').any(|expected| name.contains(expected))
}

fn refused(done: Result<(), SqlError>, constraint: &str) {
    match done {
        Err(SqlError::Constraint { name, .. }) => {
            assert!(is_one_of(&name, constraint), "{name} instead of {constraint}")
        }
        other => panic!("{constraint} did not refuse: {other:?}"),
    }
}

fn treasury() -> TreasuryId {
    TreasuryId::of_citizen(citizen(1))
}

fn balance() -> Balance {
    Balance {
        treasury: treasury(),
        currency: currency("WEI"),
        scale: 18,
        balance: 10,
        held: 9,
        lowest_balance: 0,
        lowest_held: 0,
        lowest_available: 0,
    }
}

#[tokio::test]
async fn a_balance_that_breaks_a_rule_is_refused_by_name() {
    const MOST: i128 = 10_i128.pow(28) - 1;
    on_both(async |town| {
        let mut conn = guard_session(&town.log).await.unwrap();
        let cases = [
            (Balance { balance: -1, held: 0, ..balance() }, "balance_not_negative"),
            (Balance { balance: -MOST, held: 0, ..balance() }, "balance_not_negative"),
            (Balance { held: -1, ..balance() }, "held_not_negative"),
            // As text, 9 is more than 10.
            (Balance { balance: 9, held: 10, ..balance() }, "held_within_balance"),
            (Balance { balance: MOST - 1, held: MOST, ..balance() }, "held_within_balance"),
            (Balance { lowest_balance: -1, ..balance() }, "balance_never_negative"),
            (Balance { lowest_held: -1, ..balance() }, "held_never_negative"),
            (Balance { lowest_available: -1, ..balance() }, "available_never_negative"),
            (Balance { scale: 19, ..balance() }, "scale_in_range"),
        ];
        for (row, constraint) in cases {
            refused(write(&mut conn, &insert(&[row])).await, constraint);
        }
        write(&mut conn, &insert(&[Balance { balance: MOST, held: MOST - 1, ..balance() }])).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_second_living_membership_is_refused_and_a_dead_one_is_not() {
    on_both(async |town| {
        let mut conn = guard_session(&town.log).await.unwrap();
        let row = |joined_position: u64, status: &str| Member {
            guild: guild(1),
            member: MemberId::Citizen(citizen(1)),
            kind: "human".to_owned(),
            joined_position,
            status: status.to_owned(),
            city_suspended: false,
        };
        write(&mut conn, &insert(&[row(1, "left"), row(2, "removed"), row(3, "suspended")])).await.unwrap();
        refused(write(&mut conn, &insert(&[row(4, "active")])).await, "one_living_membership|guild_members.member");
        let ended =
            Change::Update { table: Member::TABLE, rows: vec![(row(3, "suspended").cells(), row(3, "left").cells())] };
        write(&mut conn, &[ended, insert(&[row(4, "active")])[0].clone()]).await.unwrap();
        refused(write(&mut conn, &insert(&[row(5, "asleep")])).await, "status");
    })
    .await;
}

#[tokio::test]
async fn of_grants_the_living_ones_are_told() {
    on_both(async |town| {
        let mut conn = guard_session(&town.log).await.unwrap();
        let grant = |bits: u128, status: &str| CapabilityGrant {
            grant_id: domain::ids::GrantId::from_bits(bits),
            holder_kind: "human".to_owned(),
            holder: domain::party::HolderId::Citizen(domain::ids::CitizenId::from_bits(1)),
            kind: "template".to_owned(),
            reference: format!("skill-{bits}").parse().unwrap(),
            status: status.to_owned(),
        };
        let states = ["active", "stale", "revoked", "expired", "orphaned"];
        let rows: Vec<CapabilityGrant> = (1..).zip(states).map(|(bits, status)| grant(bits, status)).collect();
        write(&mut conn, &insert(&rows)).await.unwrap();
        let asked: Vec<_> = (1..9).map(domain::ids::GrantId::from_bits).collect();
        let living = super::living(&mut conn, &asked).await.unwrap();
        assert_eq!(living.into_iter().collect::<Vec<_>>(), asked[..2]);
        assert!(super::living(&mut conn, &[]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_claim_is_taken_once_and_for_ever() {
    on_both(async |town| {
        let mut conn = guard_session(&town.log).await.unwrap();
        let claim = |value: &str| UniqueClaim {
            scope: "guild_slug".to_owned(),
            key: "ab".to_owned(),
            value: value.to_owned(),
            position: 1,
        };
        write(&mut conn, &insert(&[claim("x")])).await.unwrap();
        refused(write(&mut conn, &insert(&[claim("y")])).await, "unique_claims");
        let moved = Change::Update { table: UniqueClaim::TABLE, rows: vec![(claim("x").cells(), claim("y").cells())] };
        refused(write(&mut conn, &[moved]).await, "grow");
        let gone = Change::Delete { table: UniqueClaim::TABLE, keys: vec![claim("x").cells()[..2].to_vec()] };
        refused(write(&mut conn, &[gone]).await, "grow");
        let asked = ["ab", "cd"].map(|key| Claim { scope: "guild_slug", key: key.to_owned() });
        let taken = claims_taken(&mut conn, &asked).await.unwrap();
        assert_eq!((taken.get(&asked[0]).map(String::as_str), taken.get(&asked[1])), (Some("x"), None));
    })
    .await;
}

#[tokio::test]
async fn a_movement_must_sum_to_zero_when_it_is_committed() {
    const MOST: i128 = 10_i128.pow(28) - 1;
    let posting = |movement: u128, leg: u64, code: &str, amount: i128| Posting {
        movement: domain::ids::MovementId::from_bits(movement),
        leg,
        currency: currency(code),
        account: "external".to_owned(),
        amount,
        position: 7,
    };
    let legs = |movement: u128, amounts: &[i128]| -> Vec<Posting> {
        (0..).zip(amounts).map(|(leg, amount)| posting(movement, leg, "WEI", *amount)).collect()
    };
    on_both(async |town| {
        let mut conn = guard_session(&town.log).await.unwrap();
        let wrong: [&[i128]; 8] = [
            &[1],
            &[9, -10],
            &[10, -9],
            // 28 digits that differ in the last.
            &[MOST, 1 - MOST],
            &[-MOST, MOST - 1],
            &[MOST, MOST, 1 - MOST, -MOST],
            &[10_i128.pow(18), 1 - 10_i128.pow(18)],
            &[10_i128.pow(15), -1],
        ];
        for amounts in wrong {
            refused(write(&mut conn, &insert(&legs(1, amounts))).await, SUMS);
        }
        // Two currencies do not make up for each other, nor do two movements.
        refused(write(&mut conn, &insert(&[posting(1, 0, "WEI", 1), posting(1, 1, "USD", -1)])).await, SUMS);
        refused(write(&mut conn, &insert(&[posting(1, 0, "WEI", 1), posting(2, 0, "WEI", -1)])).await, SUMS);

        let mut right = legs(3, &[MOST, -MOST]);
        right.extend(legs(4, &[MOST, 1, -MOST, -1]));
        right.extend(legs(5, &[-3, 1, 2]));
        right.extend(legs(
            6,
            &vec![10_i128.pow(27) / 7; 6].into_iter().chain([-6 * (10_i128.pow(27) / 7)]).collect::<Vec<_>>(),
        ));
        write(&mut conn, &insert(&right)).await.unwrap();
        refused(write(&mut conn, &insert(&legs(3, &[5, -5]))).await, "postings");
        let gone = Change::Delete { table: Posting::TABLE, keys: vec![right[0].cells()[..2].to_vec()] };
        refused(write(&mut conn, &[gone]).await, "grow");
        let changed = Posting { account: "else".to_owned(), ..right[0].clone() };
        let changed = Change::Update { table: Posting::TABLE, rows: vec![(right[0].cells(), changed.cells())] };
        refused(write(&mut conn, &[changed]).await, "grow");
    })
    .await;
}

fn tripped(done: Result<(), CommitError>, name: &str) {
    match done {
        Err(CommitError::GuardTripped { name: found }) => assert!(is_one_of(&found, name), "{found} instead of {name}"),
        other => panic!("{name} did not trip: {other:?}"),
    }
}

#[tokio::test]
async fn a_batch_of_wrong_events_trips_and_leaves_nothing() {
    on_both(async |mut town| {
        town.append(&[beginning(3, 1)]).await.unwrap();
        let (one, two) = (treasury(), TreasuryId::of_citizen(citizen(2)));
        town.append(&[deposit(1, one, "USD", 100, 2)]).await.unwrap();
        let size = town.log.head().await.unwrap().size;

        // Below zero in the middle of the batch, good again at its end.
        let dip = [payment(2, one, two, "USD", amount(101, 2)), payment(3, two, one, "USD", amount(50, 2))];
        tripped(town.append(&dip).await, "balance_never_negative|available_never_negative");
        // The receiver's event is missing, or says another amount.
        let mut half = payment(4, one, two, "USD", amount(10, 2));
        half.truncate(1);
        tripped(town.append(&[half]).await, SUMS);
        let legs = Legs::pay(
            money::Account::External,
            vec![(money::Account::Treasury(one), amount(5, 2), LegRole::Principal)],
        );
        let more = moved(5, MovementKind::Deposit, &currency("USD"), amount(6, 2), &legs.unwrap());
        tripped(town.append(&[vec![(Stream::Treasury(one), TreasuryEvent::Credited(more).into())]]).await, SUMS);
        // More set aside than there is, more given back than was set aside.
        let offer = |minor: i128| TreasuryEvent::OfferMade {
            offer: HoldId::from_bits(1),
            to: two,
            currency: currency("USD"),
            amount: amount(minor, 2),
            expires_at: Time::from_micros(1),
            memo: None,
            mandate: None,
        };
        tripped(
            town.append(&[vec![(Stream::Treasury(one), offer(101).into())]]).await,
            "held_within_balance|available_never_negative",
        );
        let back = TreasuryEvent::OfferExpired {
            offer: HoldId::from_bits(1),
            currency: currency("USD"),
            amount: amount(1, 2),
        };
        tripped(
            town.append(&[vec![(Stream::Treasury(one), back.into())]]).await,
            "held_not_negative|held_never_negative",
        );
        // Twice a member, twice the same slug.
        tripped(
            town.append(&[vec![member_added(1, 1, "member"), member_added(1, 1, "founder")]]).await,
            "one_living_membership|guild_members.member",
        );
        tripped(town.append(&[vec![found(9, "guild-1")[0].clone()]]).await, "unique_claims");

        assert_eq!(town.log.head().await.unwrap().size, size);
        town.append(&[payment(6, one, two, "USD", amount(100, 2))]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_leaves_and_comes_back_within_one_batch_has_two_rows() {
    on_both(async |mut town| {
        let left: (Stream, Event) =
            (Stream::Guild(guild(1)), GuildEvent::MemberLeft { member: MemberId::Citizen(citizen(1)) }.into());
        town.append(&[found(1, "alpha"), vec![member_added(1, 1, "founder")]]).await.unwrap();
        town.append(&[
            vec![left.clone()],
            vec![member_added(1, 1, "member")],
            vec![left],
            vec![member_added(1, 1, "member")],
        ])
        .await
        .unwrap();
        let mut reader = town.log.reader().await.unwrap();
        let rows = sql::select(&mut reader, Member::TABLE, "order by t.joined_position", &[]).await.unwrap();
        let status: Vec<&Cell> = rows.iter().map(|row| &row[4]).collect();
        assert_eq!(status, ["left", "left", "active"].map(|word| Cell::Text(word.to_owned())).each_ref());
    })
    .await;
}

#[tokio::test]
async fn what_another_server_changed_is_read_again() {
    on_both(async |mut town| {
        let one = treasury();
        town.append(&[deposit(1, one, "USD", 100, 2)]).await.unwrap();
        let mut theirs = std::mem::take(&mut town.guards);
        // Our own memory starts empty; theirs still knows 100.
        town.append(&[deposit(2, one, "USD", 11, 2)]).await.unwrap();
        let tail = crate::recorded::decode_all(&town.log.read(1, 10).await.unwrap()).unwrap();
        std::mem::swap(&mut town.guards, &mut theirs);
        tripped(town.append(&[deposit(3, one, "USD", 1, 2)]).await, "treasury_balances");
        // The failed batch made us forget, so the next one is right even without being told.
        town.append(&[deposit(4, one, "USD", 1, 2)]).await.unwrap();
        std::mem::swap(&mut town.guards, &mut theirs);
        town.guards.observe(&tail);
        let tail = crate::recorded::decode_all(&town.log.read(2, 10).await.unwrap()).unwrap();
        town.guards.observe(&tail);
        town.append(&[deposit(5, one, "USD", 1, 2)]).await.unwrap();
    })
    .await;
}

fn granted(number: u128, person: u128, reference: &str) -> (Stream, Event) {
    let begun = Granted {
        grant: GrantId::from_bits(number),
        holder: citizen(person).into(),
        holder_kind: HolderKind::Human,
        kind: CapabilityKind::Tool,
        reference: reference.parse().unwrap(),
        source: Source::City,
        scope: Scope::default(),
        delegable: false,
        granted_by: Some(citizen(1)),
        expires_at: None,
        parent: None,
        verified: false,
        details: None,
    };
    in_inventory(person, GrantEvent::Granted(Box::new(begun)))
}

fn in_inventory(person: u128, event: GrantEvent) -> (Stream, Event) {
    (Stream::Inventory(citizen(person).into()), event.into())
}

#[tokio::test]
async fn a_second_living_grant_of_one_name_is_refused_and_one_after_the_end_is_not() {
    on_both(async |mut town| {
        town.append(&[beginning(2, 1), vec![granted(1, 1, "lathe")], vec![granted(2, 2, "lathe")]]).await.unwrap();
        const GUARD: &str = "one_living_grant|capability_grants.holder_kind";
        tripped(town.append(&[vec![granted(3, 1, "lathe")]]).await, GUARD);
        tripped(town.append(&[vec![granted(4, 1, "anvil"), granted(5, 1, "anvil")]]).await, GUARD);
        let end = |number| {
            let (grant, by) = (GrantId::from_bits(number), EndedBy::Actor);
            in_inventory(1, GrantEvent::Revoked { grant, by, reason: None })
        };
        let ended_and_again = vec![end(1), granted(6, 1, "lathe"), end(6), granted(7, 1, "lathe")];
        town.append(&[ended_and_again]).await.unwrap();
        let pruned = in_inventory(1, GrantEvent::Pruned { grant: GrantId::from_bits(1) });
        let begun_and_pruned =
            [granted(8, 1, "tongs"), end(8), in_inventory(1, GrantEvent::Pruned { grant: GrantId::from_bits(8) })];
        town.append(&[vec![pruned], begun_and_pruned.to_vec()]).await.unwrap();
        let mut conn = town.log.reader().await.unwrap();
        let rows = sql::select(&mut conn, CapabilityGrant::TABLE, "order by t.grant_id", &[]).await.unwrap();
        let left: Vec<CapabilityGrant> = rows.into_iter().map(|row| CapabilityGrant::read(row).unwrap()).collect();
        let left: Vec<(u128, &str)> = left.iter().map(|row| (row.grant_id.bits(), row.status.as_str())).collect();
        assert_eq!(left, [(2, "active"), (6, "revoked"), (7, "active")]);
    })
    .await;
}

/// Neither a scoped nor a global row can be there twice, whatever it is called: nulls do not repeat.
#[tokio::test]
async fn a_figure_has_one_row_in_a_scope_and_one_over_all() {
    on_both(async |town| {
        let mut conn = guard_session(&town.log).await.unwrap();
        let score = |row_id: &str, scope: Option<u128>| Score {
            row_id: row_id.to_owned(),
            holder: citizen(1),
            figure: "quality".to_owned(),
            scope: scope.map(guild),
            value: "1.000000000".to_owned(),
            decay_rate: "0.023104906".to_owned(),
            evidence: 1,
            as_of: Time::from_micros(1),
        };
        let rating = |row_id: &str, scope: Option<u128>| Rating {
            row_id: row_id.to_owned(),
            holder: citizen(1),
            figure: "quality".to_owned(),
            scope: scope.map(guild),
            mu: String::new(),
            phi: String::new(),
            sigma: String::new(),
            lower_bound: String::new(),
            upper_bound: String::new(),
            as_of: Time::from_micros(1),
        };
        write(&mut conn, &insert(&[score("a", None), score("b", Some(1)), score("c", Some(2))])).await.unwrap();
        write(&mut conn, &insert(&[rating("a", None), rating("b", Some(1)), rating("c", Some(2))])).await.unwrap();
        let global = "one_global_score|reputation_scores.holder";
        refused(write(&mut conn, &insert(&[score("d", None)])).await, global);
        refused(write(&mut conn, &insert(&[score("d", Some(2))])).await, "one_scoped_score|reputation_scores.holder");
        refused(write(&mut conn, &insert(&[rating("d", None)])).await, "one_global_rating|reputation_ratings.holder");
        refused(
            write(&mut conn, &insert(&[rating("d", Some(1))])).await,
            "one_scoped_rating|reputation_ratings.holder",
        );

        // Also when two write it at once.
        let mut other = guard_session(&town.log).await.unwrap();
        let (one, two) = (insert(&[score("e", Some(3))]), insert(&[score("f", Some(3))]));
        let (one, two) = tokio::join!(write(&mut conn, &one), write(&mut other, &two));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    })
    .await;
}
