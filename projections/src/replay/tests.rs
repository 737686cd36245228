//! What is made live and what is made again are the same, whatever the batches were.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use eventlog::sql::{self, Cell};
use tokio::sync::watch;

use super::{Difference, Found, check, guard_session, rebuild};
use crate::testing::{Life, Town, beginning};
use crate::views;

/// Lives through `acts` random commands in batches of random size.
async fn live(town: &mut Town, seed: u64, acts: usize) {
    town.append(&[beginning(5, 3)]).await.unwrap();
    let mut life = Life::new(seed, 5, 3);
    let mut done = 0;
    while done < acts {
        let size = 1 + (seed as usize + done) % 37;
        let batch: Vec<_> = (0..size).map(|_| life.act()).filter(|act| !act.is_empty()).collect();
        if !batch.is_empty() {
            town.append(&batch).await.unwrap();
        }
        done += size;
    }
}

async fn differences(town: &Town) -> Vec<Difference> {
    let mut found = Vec::new();
    let checked =
        check(&town.log, &town.views, &mut |_, _| {}, &mut |difference| found.push(difference)).await.unwrap();
    assert_eq!(checked.differences, found.len() as u64);
    assert_eq!(checked.guards, town.log.head().await.unwrap().size);
    found
}

async fn live_is_what_the_log_says(mut town: Town, seed: u64) {
    live(&mut town, seed, 1_000).await;
    // Views behind the log are compared at their own position.
    assert_eq!(differences(&town).await, []);
    town.catch_up().await;
    assert_eq!(differences(&town).await, []);
    let rebuilt = rebuild(&town.log, &town.views, &mut |_, _| {}).await.unwrap();
    assert_eq!((rebuilt.guards, rebuilt.views), (town.log.head().await.unwrap().size, rebuilt.guards));
    assert_eq!(differences(&town).await, []);
    // Life goes on with the rows that were put in place.
    town.append(&[crate::testing::deposit(
        1 << 100,
        domain::ids::TreasuryId::of_citizen(crate::testing::citizen(1)),
        "USD",
        5,
        2,
    )])
    .await
    .unwrap();
    town.catch_up().await;
    assert_eq!(differences(&town).await, []);
}

/// What is not lived through is not compared.
#[test]
fn a_life_holds_everything_that_happens_to_a_reputation() {
    let mut life = Life::new(1, 5, 3);
    let lived: BTreeSet<String> = (0..1_000).flat_map(|_| life.act()).map(|(_, event)| event.to_parts().0).collect();
    let source = include_str!("../../../domain/src/reputation/event.rs");
    let declared = source.split("rename = \"").skip(1).filter_map(|rest| rest.split('"').next());
    let missing: Vec<&str> = declared.filter(|kind| !lived.contains(*kind)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_tables_are_what_the_log_says_on_sqlite() {
    for seed in [1, 77, 4_242] {
        live_is_what_the_log_says(Town::sqlite().await, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_tables_are_what_the_log_says_on_postgres() {
    for seed in [2, 99] {
        live_is_what_the_log_says(Town::postgres().await, seed).await;
    }
}

/// Changes rows behind everybody's back, finds each of them, and repairs all of them.
async fn every_difference_is_found_and_rebuilt(mut town: Town) {
    live(&mut town, 5, 400).await;
    town.catch_up().await;
    let mut guards = guard_session(&town.log).await.unwrap();
    let mut tables = town.views.writer().await.unwrap();
    let raised = if guards.is_postgres() { "balance + 1" } else { "'19999999999999999999999999999'" };
    let one = "(select min(treasury) from treasury_balances)";
    for sql in [
        &format!("update treasury_balances set balance = {raised} where treasury = {one}"),
        "insert into guild_members values ('gld_x', 'm', 'human', 1, 'left', 0)",
    ] {
        assert!(sql::execute(&mut guards, sql, &[]).await.unwrap() > 0, "{sql}");
    }
    for sql in [
        "delete from currencies where currency = 'JPY'",
        "update guild_directory set leaderless = 1, status = 'dormant' where slug = 'guild-2'",
    ] {
        assert_eq!(sql::execute(&mut tables, sql, &[]).await.unwrap(), 1, "{sql}");
    }
    let found = differences(&town).await;
    assert!(
        found
            .iter()
            .any(|d| d.table == "treasury_balances" && matches!(&d.found, Found::Columns(c) if c[0].0 == "balance"))
    );
    assert!(found.iter().any(|d| d.table == "guild_members" && d.found == Found::Unexpected && d.key[0] == "gld_x"));
    assert!(found.iter().any(|d| d.table == "currencies" && d.found == Found::Missing && d.key == ["JPY"]));
    let directory = found.iter().find(|d| d.table == "guild_directory").unwrap();
    assert_eq!(
        directory.to_string().split_once("): ").unwrap().1,
        "status is dormant, the log says active; leaderless is 1, the log says 0"
    );
    drop((guards, tables));
    rebuild(&town.log, &town.views, &mut |_, _| {}).await.unwrap();
    assert_eq!(differences(&town).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_is_found_and_rebuilt_on_sqlite() {
    every_difference_is_found_and_rebuilt(Town::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_is_found_and_rebuilt_on_postgres() {
    every_difference_is_found_and_rebuilt(Town::postgres().await).await;
}

/// Checks and rebuilds while somebody writes and the views follow.
async fn a_loaded_city_can_be_checked_and_rebuilt(mut town: Town) {
    town.append(&[beginning(5, 3)]).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let (moved, mut position) = watch::channel(0);
    let worker = tokio::spawn(views::run(town.log.clone(), town.views.clone(), stopped.clone(), moved));
    let (log, tables) = (town.log.clone(), town.views.clone());
    let writer = tokio::spawn(async move {
        let mut life = Life::new(11, 5, 3);
        while !*stopped.borrow() {
            let batch: Vec<_> = (0..20).map(|_| life.act()).filter(|act| !act.is_empty()).collect();
            town.append(&batch).await.unwrap();
        }
        town
    });
    for _ in 0..3 {
        let mut found = Vec::new();
        check(&log, &tables, &mut |_, _| {}, &mut |difference| found.push(difference)).await.unwrap();
        assert_eq!(found, []);
        rebuild(&log, &tables, &mut |_, _| {}).await.unwrap();
    }
    let size = log.head().await.unwrap().size;
    position.wait_for(|position| *position >= size).await.unwrap();
    stop.send_replace(true);
    worker.await.unwrap().unwrap();
    let town = writer.await.unwrap();
    assert_eq!(differences(&town).await, []);
    let mut reader = town.views.reader().await.unwrap();
    let rows =
        sql::query(&mut reader, "select size from view_position", &[eventlog::sql::Kind::Int], &[]).await.unwrap();
    assert!(matches!(rows[0][0], Cell::Int(at) if at.unsigned_abs() >= size));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loaded_city_can_be_checked_and_rebuilt_on_sqlite() {
    a_loaded_city_can_be_checked_and_rebuilt(Town::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loaded_city_can_be_checked_and_rebuilt_on_postgres() {
    a_loaded_city_can_be_checked_and_rebuilt(Town::postgres().await).await;
}

/// What was withheld before there was a table for it is found in the history, also of grants that were pruned since.
#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_what_is_withheld_is_made_from_what_happened_on_postgres() {
    let mut town = Town::postgres().await;
    live(&mut town, 31, 6_000).await;
    town.catch_up().await;
    let mut tables = town.views.writer().await.unwrap();
    let pruned = "select count(*) from withholdings where grant_id not in (select grant_id from inventory)";
    let pruned = sql::query(&mut tables, pruned, &[sql::Kind::Int], &[]).await.unwrap();
    assert!(matches!(pruned[0][0], Cell::Int(count) if count > 0), "{pruned:?}");
    for before in [
        "update inventory set withheld = 1 where grant_id in (select grant_id from grant_history where event = 'grant.withheld.v1')",
        "delete from withholdings",
    ] {
        assert!(sql::execute(&mut tables, before, &[]).await.unwrap() > 0, "{before}");
    }
    let migration = include_str!("../../../migrations/read/views/5-postgres.sql");
    for statement in migration.split(";\n").skip(1).filter(|statement| !statement.trim().is_empty()) {
        assert!(sql::execute(&mut tables, statement, &[]).await.unwrap() > 0, "{statement}");
    }
    drop(tables);
    assert_eq!(differences(&town).await, []);
}
