//! Every question, asked of a city that has lived a while, on both engines.
#![allow(clippy::unwrap_used)]

use guildhall_queries as queries;

use domain::guild::event::GuildEvent;
use domain::guild::governance::{Class, Evidence, Ground};
use domain::ids::{GuildRef, Stream, TreasuryId};
use domain::money::Amount;
use domain::party::MemberId;
use domain::text::Digest;
use domain::time::Time;
use eventlog::sql::Conn;
use projections::testing::{
    Life, Town, amount, beginning, citizen, currency, deposit, guild, member_added, payment, slug,
};
use queries::balances::{AsOf, Balance, balances};
use queries::transfers::{Side, transfers};
use queries::{Page, PageRequest, QueryError, statement};

const FAR: Time = Time::from_micros(i64::MAX);

async fn on_both(test: impl AsyncFn(Town)) {
    test(Town::sqlite().await).await;
    test(Town::postgres().await).await;
}

async fn reader(town: &Town) -> Conn {
    town.views.reader().await.unwrap()
}

fn purse(number: u128) -> TreasuryId {
    TreasuryId::of_citizen(citizen(number))
}

fn first(limit: u32) -> PageRequest {
    PageRequest::new(Some(limit), None)
}

fn texts(balances: &[Balance]) -> Vec<String> {
    balances.iter().map(|b| format!("{} {} {} {}", b.currency, b.balance, b.held, b.available)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_agree_on_every_axis_after_a_long_life() {
    on_both(async |mut town| {
        town.append(&[beginning(5, 3)]).await.unwrap();
        let mut life = Life::new(31, 5, 3);
        for _ in 0..40 {
            let batch: Vec<_> = (0..25).map(|_| life.act()).filter(|act| !act.is_empty()).collect();
            town.append(&batch).await.unwrap();
        }
        town.catch_up().await;
        let mut conn = reader(&town).await;
        let size = town.log.head().await.unwrap().size;
        assert_eq!(queries::position::size(&mut conn).await.unwrap(), size);
        for number in 1..=5 {
            let now = balances(&mut conn, purse(number), AsOf::Now).await.unwrap();
            assert_eq!(now.len(), 3);
            for as_of in [AsOf::Position(size), AsOf::Recorded(FAR), AsOf::Effective(FAR)] {
                assert_eq!(balances(&mut conn, purse(number), as_of).await.unwrap(), now, "{as_of:?}");
            }
            let lines = all_lines(&mut conn, purse(number), 7).await;
            assert!(lines.is_sorted_by_key(|line| line.position));
            for balance in &now {
                let own: Vec<_> = lines.iter().filter(|line| line.currency == balance.currency).collect();
                let sum: i128 = own.iter().map(|line| line.amount.minor()).sum();
                assert_eq!((sum, own.last().unwrap().balance), (balance.balance.minor(), balance.balance));
                let middle = own[own.len() / 2];
                let then = balances(&mut conn, purse(number), AsOf::Position(middle.position)).await.unwrap();
                let then = then.iter().find(|then| then.currency == balance.currency).unwrap();
                assert_eq!((then.balance, then.held), (middle.balance, middle.held));
            }
        }
        let report = queries::conservation::conservation(&mut conn).await.unwrap();
        assert_eq!(report.len(), 3);
        assert!(report.iter().all(|row| row.conserved && row.movements > 0));
    })
    .await;
}

async fn all_lines(conn: &mut Conn, treasury: TreasuryId, limit: u32) -> Vec<statement::Line> {
    let (mut lines, mut after) = (Vec::new(), None);
    loop {
        let request = PageRequest::new(Some(limit), after);
        let page = statement::statement(conn, treasury, &statement::Filter::default(), &request).await.unwrap();
        assert!(page.items.len() <= limit as usize);
        lines.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return lines,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_are_decimals_at_their_scale_to_the_last_digit() {
    on_both(async |mut town| {
        let most = 10_i128.pow(28) - 1;
        town.append(&[beginning(2, 0)]).await.unwrap();
        town.append(&[deposit(1, purse(1), "WEI", most, 18), deposit(2, purse(1), "USD", 1050, 2)]).await.unwrap();
        town.append(&[payment(3, purse(1), purse(2), "WEI", amount(most - 1, 18))]).await.unwrap();
        town.catch_up().await;
        let mut conn = reader(&town).await;
        let expected = ["USD 10.50 0.00 10.50", "WEI 0.000000000000000001 0.000000000000000000 0.000000000000000001"];
        for as_of in [AsOf::Now, AsOf::Effective(FAR)] {
            assert_eq!(texts(&balances(&mut conn, purse(1), as_of).await.unwrap()), expected);
        }
        let before = town.log.head().await.unwrap().size - 3;
        let then = balances(&mut conn, purse(1), AsOf::Position(before)).await.unwrap();
        assert_eq!(then[1].balance.to_string(), "9999999999.999999999999999999");
        assert_eq!(balances(&mut conn, purse(1), AsOf::Recorded(Time::from_micros(1))).await.unwrap(), []);
        assert_eq!(balances(&mut conn, purse(1), AsOf::Effective(Time::from_micros(1))).await.unwrap(), []);
        let report = queries::conservation::conservation(&mut conn).await.unwrap();
        assert_eq!(report[1].treasuries, "9999999999.999999999999999999");
        assert_eq!(report[1].external, "-9999999999.999999999999999999");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_filtered_paged_and_shows_the_other_side() {
    on_both(async |mut town| {
        town.append(&[beginning(2, 0)]).await.unwrap();
        town.append(&[deposit(1, purse(1), "USD", 100, 2), deposit(2, purse(1), "JPY", 7, 0)]).await.unwrap();
        town.append(&[payment(3, purse(1), purse(2), "USD", amount(40, 2))]).await.unwrap();
        town.catch_up().await;
        let mut conn = reader(&town).await;
        let dollars = statement::Filter { currency: Some(currency("USD")), movements_only: true, ..Default::default() };
        let page = statement::statement(&mut conn, purse(1), &dollars, &first(10)).await.unwrap();
        let lines: Vec<_> =
            page.items.iter().map(|l| (l.kind.as_str(), l.amount.to_string(), l.balance.to_string())).collect();
        let expected =
            [("deposit", "1.00".to_owned(), "1.00".to_owned()), ("transfer", "-0.40".to_owned(), "0.60".to_owned())];
        assert_eq!(lines, expected);
        let others: Vec<_> = page.items.iter().map(|line| line.counterparty.clone().unwrap()).collect();
        assert_eq!(others, ["external".to_owned(), purse(2).to_string()]);

        let newest = statement::Filter { newest_first: true, ..Default::default() };
        let page = statement::statement(&mut conn, purse(1), &newest, &first(2)).await.unwrap();
        let rest = PageRequest::new(Some(2), page.next.clone());
        let rest = statement::statement(&mut conn, purse(1), &newest, &rest).await.unwrap();
        assert_eq!((page.items.len(), rest.items.len(), rest.next), (2, 1, None));
        assert!(page.items[1].position > rest.items[0].position);
        let late = statement::Filter { effective_from: Some(FAR), ..Default::default() };
        assert!(statement::statement(&mut conn, purse(1), &late, &first(2)).await.unwrap().items.is_empty());
        let bad = PageRequest::new(None, Some("x".to_owned()));
        let refused = statement::statement(&mut conn, purse(1), &newest, &bad).await;
        assert!(matches!(refused, Err(QueryError::Cursor)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guilds_are_found_by_slug_prefix_parent_and_id() {
    on_both(async |mut town| {
        town.append(&[beginning(1, 12)]).await.unwrap();
        let parent = GuildEvent::ParentSet { parent: guild(1) };
        town.append(&[vec![(Stream::Guild(guild(7)), parent.into())]]).await.unwrap();
        town.catch_up().await;
        let mut conn = reader(&town).await;
        let slugs =
            |page: &Page<queries::guilds::Guild>| page.items.iter().map(|g| g.slug.to_string()).collect::<Vec<_>>();
        let prefixed = queries::guilds::Filter { prefix: Some("guild-1".to_owned()), ..Default::default() };
        let page = queries::guilds::directory(&mut conn, &prefixed, &first(3)).await.unwrap();
        assert_eq!(slugs(&page), ["guild-1", "guild-10", "guild-11"]);
        let rest = PageRequest::new(Some(3), page.next);
        assert_eq!(slugs(&queries::guilds::directory(&mut conn, &prefixed, &rest).await.unwrap()), ["guild-12"]);
        let children = queries::guilds::Filter { parent: Some(guild(1)), ..Default::default() };
        assert_eq!(slugs(&queries::guilds::directory(&mut conn, &children, &first(3)).await.unwrap()), ["guild-7"]);
        for by in [GuildRef::Id(guild(7)), GuildRef::Slug(slug("guild-7"))] {
            let found = queries::guilds::guild(&mut conn, &by).await.unwrap().unwrap();
            assert_eq!((found.guild, found.parent, found.status.as_str()), (guild(7), Some(guild(1)), "active"));
            assert_eq!(found.ranks[0]["name"], "founder");
        }
        assert_eq!(queries::guilds::guild(&mut conn, &GuildRef::Slug(slug("nobody"))).await.unwrap(), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rosters_and_the_governance_log_are_listed_in_pages() {
    on_both(async |mut town| {
        town.append(&[beginning(6, 2)]).await.unwrap();
        let mut act: Vec<_> = (1..=6).map(|person| member_added(1, person, "member")).collect();
        act.push(member_added(2, 1, "member"));
        let left = GuildEvent::MemberLeft { member: MemberId::Citizen(citizen(1)) };
        act.push((Stream::Guild(guild(1)), left.into()));
        act.push(member_added(1, 1, "founder"));
        let evidence = vec![Evidence { kind: slug("invoice"), digest: Digest([4; 32]) }];
        let ground = Ground::Rule { rule: slug("small"), member: MemberId::Citizen(citizen(2)), evidence };
        for minor in [5, 7] {
            let spend = Some(domain::guild::event::Spend { currency: currency("USD"), amount: amount(minor, 2) });
            let decided = GuildEvent::Decided {
                action: "treasury.withdraw".to_owned(),
                class: Class::Finance,
                ground: ground.clone(),
                spend,
            };
            act.push((Stream::Guild(guild(1)), decided.into()));
        }
        town.append(&[act]).await.unwrap();
        town.catch_up().await;
        let mut conn = reader(&town).await;
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page =
                queries::roster::of_guild(&mut conn, guild(1), false, &PageRequest::new(Some(2), after)).await.unwrap();
            all.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let status: Vec<_> = all.iter().map(|row| row.status.as_str()).collect();
        assert_eq!(status, ["left", "active", "active", "active", "active", "active", "active"]);
        assert_eq!((all[1].rank.as_str(), all[0].ended_at.is_some()), ("founder", true));
        let living = queries::roster::of_guild(&mut conn, guild(1), true, &first(500)).await.unwrap();
        assert_eq!(living.items.len(), 6);
        let mine =
            queries::roster::of_member(&mut conn, MemberId::Citizen(citizen(1)), true, &first(500)).await.unwrap();
        assert_eq!(mine.items.iter().map(|row| row.guild).collect::<Vec<_>>(), [guild(1), guild(2)]);
        let bad = PageRequest::new(None, Some("a/b".to_owned()));
        assert!(matches!(queries::roster::of_guild(&mut conn, guild(1), true, &bad).await, Err(QueryError::Cursor)));

        let page = queries::governance::decisions(&mut conn, guild(1), &first(1)).await.unwrap();
        let decision = &page.items[0];
        assert_eq!((decision.decided_by.as_str(), decision.amount), ("rule", Amount::new(7, 2)));
        assert_eq!(decision.ground["evidence"][0]["kind"], "invoice");
        let rest =
            queries::governance::decisions(&mut conn, guild(1), &PageRequest::new(Some(5), page.next)).await.unwrap();
        assert_eq!(rest.items.iter().map(|row| row.amount).collect::<Vec<_>>(), [Amount::new(5, 2)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_life_left_open_is_listed_by_state_and_found_when_due() {
    on_both(async |mut town| {
        town.append(&[beginning(4, 2)]).await.unwrap();
        let mut life = Life::new(11, 4, 2);
        for _ in 0..60 {
            let batch: Vec<_> = (0..20).map(|_| life.act()).filter(|act| !act.is_empty()).collect();
            town.append(&batch).await.unwrap();
        }
        town.catch_up().await;
        let mut conn = reader(&town).await;
        let (mut holds, mut offers, mut proposals) = (0, 0, 0);
        for treasury in (1..=4).map(purse).chain((1..=2).map(|number| TreasuryId::of_guild(guild(number)))) {
            let open = queries::holds::holds(&mut conn, treasury, Some("open"), &first(500)).await.unwrap();
            let all = queries::holds::holds(&mut conn, treasury, None, &first(500)).await.unwrap();
            let request = first(500);
            let offered = transfers(&mut conn, treasury, Side::Sender, Some("offered"), &request).await.unwrap();
            assert!(all.items.len() >= open.items.len());
            for held in balances(&mut conn, treasury, AsOf::Now).await.unwrap() {
                let holds: i128 =
                    open.items.iter().filter(|h| h.currency == held.currency).map(|h| h.remaining.minor()).sum();
                let offers: i128 =
                    offered.items.iter().filter(|o| o.currency == held.currency).map(|o| o.amount.minor()).sum();
                assert_eq!(held.held.minor(), holds + offers, "held is what is open");
            }
            if let Some(hold) = open.items.first() {
                assert_eq!(queries::holds::hold(&mut conn, hold.hold).await.unwrap().as_ref(), Some(hold));
            }
            if let Some(offer) = offered.items.first() {
                assert_eq!(queries::transfers::transfer(&mut conn, offer.offer).await.unwrap().as_ref(), Some(offer));
            }
            assert!(queries::treasuries::treasury(&mut conn, treasury).await.unwrap().is_some());
            holds += open.items.len();
            offers += offered.items.len();
        }
        for number in 1..=2 {
            let open =
                queries::proposals::proposals(&mut conn, guild(number), Some("open"), &first(500)).await.unwrap();
            assert!(open.items.iter().all(|proposal| proposal.amount.unwrap().to_string() == "0.05"));
            if let Some(proposal) = open.items.first() {
                assert_eq!(
                    queries::proposals::proposal(&mut conn, proposal.proposal).await.unwrap().as_ref(),
                    Some(proposal)
                );
            }
            proposals += open.items.len();
        }
        assert!(holds > 0 && offers > 0 && proposals > 0);
        assert_eq!(queries::due::holds(&mut conn, FAR).await.unwrap().len(), holds);
        assert_eq!(queries::due::transfers(&mut conn, FAR).await.unwrap().len(), offers);
        assert_eq!(queries::due::proposals(&mut conn, FAR).await.unwrap().len(), proposals);
        assert_eq!(queries::due::proposals(&mut conn, Time::from_micros(0)).await.unwrap(), []);

        let citizens = queries::citizens::citizens(&mut conn, None, &first(3)).await.unwrap();
        assert_eq!((citizens.items.len(), citizens.next), (3, Some(citizen(3).to_string())));
        assert!(queries::citizens::citizen(&mut conn, citizen(4)).await.unwrap().is_some());
        assert!(queries::citizens::citizens(&mut conn, Some(citizen(1)), &first(3)).await.unwrap().items.is_empty());
        let keys = queries::keys::keys(&mut conn, citizen(1), &first(500)).await.unwrap();
        assert!(!serde_json::to_string(&keys).unwrap().contains("verifier"));
        assert_eq!(queries::keys::key(&mut conn, keys.items[0].key).await.unwrap().as_ref(), keys.items.first());
        assert_eq!(queries::currencies::currencies(&mut conn, &first(500)).await.unwrap().items.len(), 3);
        assert_eq!(queries::roles::roles(&mut conn, &first(500)).await.unwrap().items[0].actions, ["treasury.deposit"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_read_by_position_and_by_stream() {
    on_both(async |mut town| {
        town.append(&[beginning(2, 1)]).await.unwrap();
        let size = town.log.head().await.unwrap().size;
        let page = queries::entries::feed(&town.log, &first(3)).await.unwrap();
        assert_eq!((page.items.len(), page.next.as_deref()), (3, Some("2")));
        let rest = queries::entries::feed(&town.log, &PageRequest::new(Some(500), page.next)).await.unwrap();
        assert_eq!((rest.items.len() as u64, rest.items[0].position), (size - 3, 3));
        let stored = town.log.read(0, 1).await.unwrap();
        assert_eq!(rest.next, None);
        assert_eq!(page.items[0].entry.get().as_bytes(), &stored[0].bytes[..]);
        let city = queries::entries::of_stream(&town.log, "city", &first(2)).await.unwrap();
        let more = queries::entries::of_stream(&town.log, "city", &PageRequest::new(Some(2), city.next)).await.unwrap();
        assert_eq!(
            (city.items[1].version, more.items[0].version, &more.items[0].prev),
            (1, 2, &city.items[1].entry_hash)
        );
        assert_eq!(queries::entries::at(&town.log, 2).await.unwrap().unwrap().position, 2);
        assert!(queries::entries::at(&town.log, size).await.unwrap().is_none());
        assert!(queries::entries::at(&town.log, u64::MAX).await.unwrap().is_none());
    })
    .await;
}
