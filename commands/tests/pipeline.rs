//! The pipeline's promises, held on both engines: answers after durability, retries, batches, guards, refusals.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use commands::{Answer, Config, Pipeline, Request, SubmitError, Verdict};
use domain::Time;
use domain::ids::{CitizenId, KeyId, ReputationId, Stream, TreasuryId};
use domain::reputation::command::RecomputeReputation;
use domain::text::Digest;
use eventlog::vault::{MasterKey, Vault};
use eventlog::{CommitFault, Failure, Log, LogConfig, testing};
use guildhall_commands as commands;
use identity::Credential;
use serde_json::{Value, json};

/// A founded city with one principal, USD, and a teller's right for the principal's own deposits to others.
struct City {
    log: Log,
    pipeline: Pipeline,
    key: Credential,
    principal: CitizenId,
    /// Keeps the directory, if there is one, until the test ends.
    _home: Option<tempfile::TempDir>,
}

impl City {
    async fn found(config: LogConfig, home: Option<tempfile::TempDir>) -> Self {
        let log = Log::open(config).await.unwrap();
        let pipeline = start(&log).await;
        let key = KeyId::from_bits(7);
        let body = json!({"name": "Ada", "key": key, "verifier": Digest([1; 32])});
        let founded = pipeline.submit(Request::parse(Credential::System, "city.found", body).unwrap()).await.unwrap();
        let principal = founded.entries.iter().find(|e| e.kind == "citizen.registered.v1").unwrap();
        let principal = principal.stream.parse().unwrap();
        let city = Self { log, pipeline, key: Credential::Key(key), principal, _home: home };
        city.good("city.register_currency", json!({"currency": "USD", "scale": 2})).await;
        city.good("citizen.grant_attestation", json!({"citizen": principal, "source": "bank", "currency": "USD"}))
            .await;
        city
    }

    fn request(&self, action: &str, body: Value) -> Request {
        Request::parse(self.key, action, body).unwrap()
    }

    async fn send(&self, action: &str, body: Value) -> Result<Answer, SubmitError> {
        self.pipeline.submit(self.request(action, body)).await
    }

    async fn good(&self, action: &str, body: Value) -> Answer {
        let answer = self.send(action, body).await.unwrap();
        assert!(!answer.is_rejected(), "{action}: {:?}", answer.verdict);
        answer
    }

    /// Another citizen with a key of their own and some money.
    async fn citizen_with(&self, amount: &str, key: u128) -> (CitizenId, Credential) {
        let registered = self.good("citizen.register", json!({"kind": "human", "name": "Bo"})).await;
        let citizen: CitizenId = registered.entries[0].stream.parse().unwrap();
        self.good("citizen.assign_role", json!({"citizen": citizen, "role": "worker"})).await;
        let id = KeyId::from_bits(key);
        self.good("key.issue", json!({"key": id, "verifier": Digest([2; 32]), "citizen": citizen})).await;
        let treasury = TreasuryId::of_citizen(citizen);
        let body = json!({"treasury": treasury, "source": "bank", "reference": format!("first {key}"), "currency": "USD", "amount": amount});
        self.good("treasury.deposit", body).await;
        (citizen, Credential::Key(id))
    }
}

async fn start(log: &Log) -> Pipeline {
    let vault = Arc::new(Vault::new(MasterKey::from_bytes([3; 32])));
    Pipeline::start(log, vault, Config::default()).await.unwrap().0
}

/// Once the old writer has ended and let go of its lock.
async fn restart(log: &Log, config: Config) -> Pipeline {
    loop {
        let vault = Arc::new(Vault::new(MasterKey::from_bytes([3; 32])));
        match Pipeline::start(log, vault, config.clone()).await {
            Ok((pipeline, _)) => return pipeline,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

fn withdrawal(citizen: CitizenId, reference: &str, amount: &str) -> Value {
    json!({"treasury": TreasuryId::of_citizen(citizen), "reference": reference, "currency": "USD", "amount": amount})
}

fn code(answer: &Answer) -> &str {
    match &answer.verdict {
        Verdict::Rejected { code, .. } => code,
        other => panic!("expected a rejection, got {other:?}"),
    }
}

/// Runs one story on both engines.
macro_rules! on_both_engines {
    ($($story:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                let (home, config) = eventlog::testing::sqlite(&projections::ddl::SQLITE).await;
                super::$story(super::City::found(config, Some(home)).await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                let database = eventlog::testing::postgres(&projections::ddl::POSTGRES).await;
                super::$story(super::City::found(database.config(), None).await).await;
            })*
        }
    };
}

on_both_engines!(
    exactly_as_many_debits_pass_as_there_is_money,
    the_same_key_gives_the_same_answer,
    a_key_is_not_for_two_requests,
    a_retry_after_a_key_rotation_is_recognised,
    a_lost_answer_is_found_again_under_its_key,
    a_retry_after_a_restart_is_recognised,
    a_retry_is_recognised_also_when_its_sender_could_not_ask_for_it_any_more,
    a_rejection_leaves_nothing_and_is_remembered,
    a_denied_caller_is_recorded_and_a_flood_is_summarised,
    an_expected_version_is_checked_under_the_lock,
    typed_text_is_nowhere_in_the_log,
    a_guard_that_trips_costs_only_the_culprit,
    a_read_only_server_refuses_every_command,
    another_writers_entries_are_seen_before_deciding,
    what_was_decided_behind_a_lost_batch_is_decided_again,
    nothing_is_decided_on_a_new_session_before_it_was_compared,
    what_is_too_long_for_an_entry_costs_nobody_else_anything,
    the_version_of_a_stream_that_the_command_does_not_read_is_looked_up,
    a_key_that_does_not_open_fails_its_own_command_and_no_other,
    text_is_never_sealed_for_a_guild_that_is_not_there_yet,
    what_was_folded_ahead_counts_only_if_the_stream_ends_there,
);

async fn what_was_folded_ahead_counts_only_if_the_stream_ends_there(city: City) {
    let (holder, _) = city.citizen_with("5.00", 100).await;
    city.good("guild.found", json!({"slug": "weavers", "kind": "project", "name": "W"})).await;
    let attest = async |work: &str| {
        let body = json!({
            "holder": holder, "outcome": "task_completed", "work": work, "scope": "weavers", "stake": "T3",
            "proof": "ab".repeat(32),
        });
        city.good("reputation.attest", body).await
    };
    let stream = Stream::Reputation(ReputationId::of(holder));
    let mut side = city.log.beside().await.unwrap();
    let nothing = commands::fold(&mut side, &[stream].into()).await.unwrap().remove(&stream);
    attest("one").await;
    let one = commands::fold(&mut side, &[stream].into()).await.unwrap().remove(&stream);
    attest("two").await;
    let two = commands::fold(&mut side, &[stream].into()).await.unwrap().remove(&stream);
    let City { log, mut pipeline, .. } = city;
    for (folded, recorded) in [(nothing, true), (one, false), (two, false)] {
        // A writer that remembers nothing.
        drop(pipeline);
        pipeline = restart(&log, Config::default()).await;
        let as_of = Time::from_micros(log.head().await.unwrap().at);
        let command = RecomputeReputation { holder, as_of };
        let request = Request::of(Credential::System, command).with_folded(folded);
        let answer = pipeline.submit(request).await.unwrap();
        assert_eq!(answer.verdict, if recorded { Verdict::Done } else { Verdict::AlreadyDone });
        for entry in answer.entries {
            let rows = entry.data["rows"].as_array().unwrap();
            assert!(rows.len() == 4 && rows.iter().all(|row| row["evidence"] == 2), "{rows:?}");
        }
    }
}

/// Several at once, queued in this order before the first is answered.
async fn together(city: &City, requests: impl IntoIterator<Item = Request>) -> Vec<Result<Answer, SubmitError>> {
    futures::future::join_all(requests.into_iter().map(|request| city.pipeline.submit(request))).await
}

async fn what_is_too_long_for_an_entry_costs_nobody_else_anything(city: City) {
    let (citizen, key) = city.citizen_with("5.00", 100).await;
    let ranks: Vec<Value> = (0..64).map(|n| json!({"name": format!("{n:0>63}"), "scopes": ["membership", "finance", "charter", "work", "lifecycle", "governance"]})).collect();
    let evidence: Vec<String> = (0..100).map(|n| format!("e{n:0>62}")).collect();
    let names: Vec<&Value> = ranks.iter().map(|rank| &rank["name"]).collect();
    let rules = |class: &str| -> Vec<Value> {
        let rule =
            |n| json!({"id": format!("{class}{n}"), "class": class, "ranks": names, "required_evidence": evidence});
        (0..100).map(rule).collect()
    };
    city.good("guild.found", json!({"slug": "weavers", "kind": "project", "name": "W", "ranks": ranks})).await;
    let tier = |class: &str| json!({"class": class, "tier": {"tier": "automated", "rules": rules(class)}});
    let governance = json!({
        "default": {"tier": "principal-only", "decider": city.principal},
        "classes": [tier("finance")],
    });
    let long = city.request("guild.set_governance", json!({"guild": "weavers", "governance": governance}));
    let neighbour =
        |n: u32| Request::parse(key, "treasury.withdraw", withdrawal(citizen, &format!("n{n}"), "1.00")).unwrap();
    let before = city.log.head().await.unwrap().size;
    let answers = together(&city, [neighbour(1), long, neighbour(2)]).await;
    assert_eq!(code(answers[1].as_ref().unwrap()), "entry_too_long");
    for answer in [&answers[0], &answers[2]] {
        assert!(!answer.as_ref().unwrap().is_rejected(), "{answer:?}");
    }
    assert_eq!(city.log.head().await.unwrap().size, before + 2);
}

async fn the_version_of_a_stream_that_the_command_does_not_read_is_looked_up(city: City) {
    let founded = city.good("guild.found", json!({"slug": "weavers", "kind": "project", "name": "W"})).await;
    let guild: Stream =
        founded.entries.iter().find(|entry| entry.kind == "guild.founded.v1").unwrap().stream.parse().unwrap();
    let versions = founded.entries.iter().filter(|entry| entry.stream == guild.to_string()).count() as u64;
    let City { log, pipeline, key, principal, _home } = city;
    drop(pipeline);
    let pipeline = restart(&log, Config::default()).await;
    let city = City { log, pipeline, key, principal, _home };
    let register = |currency: &str, expected| {
        let body = json!({"currency": currency, "scale": 2});
        Request { expected_version: Some((guild, expected)), ..city.request("city.register_currency", body) }
    };
    let wrong = city.pipeline.submit(register("EUR", 0)).await.unwrap();
    assert_eq!(code(&wrong), "version_conflict");
    let right = city.pipeline.submit(register("EUR", versions)).await.unwrap();
    assert!(!right.is_rejected(), "{:?}", right.verdict);
}

async fn a_key_that_does_not_open_fails_its_own_command_and_no_other(city: City) {
    city.good("guild.found", json!({"slug": "weavers", "kind": "project", "name": "W"})).await;
    let City { log, pipeline, key, principal, _home } = city;
    drop(pipeline);
    // Another master key: no subject's key opens.
    let pipeline = loop {
        let vault = Arc::new(Vault::new(MasterKey::from_bytes([4; 32])));
        match Pipeline::start(&log, vault, Config::default()).await {
            Ok((pipeline, _)) => break pipeline,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let city = City { log, pipeline, key, principal, _home };
    let rename = || city.request("guild.rename", json!({"guild": "weavers", "name": "The Weavers"}));
    // Alone and first: nobody else loads what it needs to know who sends it.
    let alone = tokio::time::timeout(std::time::Duration::from_secs(20), city.pipeline.submit(rename())).await.unwrap();
    assert!(matches!(alone, Err(SubmitError::Failure(Failure::System(_)))), "{alone:?}");
    let neighbour = city.request("city.register_currency", json!({"currency": "EUR", "scale": 2}));
    let answers = tokio::time::timeout(std::time::Duration::from_secs(20), together(&city, [rename(), neighbour]));
    let answers = answers.await.unwrap();
    assert!(matches!(answers[0], Err(SubmitError::Failure(Failure::System(_)))), "{:?}", answers[0]);
    assert!(!answers[1].as_ref().unwrap().is_rejected());
}

async fn text_is_never_sealed_for_a_guild_that_is_not_there_yet(city: City) {
    const GUILDS: usize = 40;
    let slug = |number: usize| format!("weavers-{number}");
    let found = |number| city.request("guild.found", json!({"slug": slug(number), "kind": "project", "name": "W"}));
    let rename = |number| city.request("guild.rename", json!({"guild": slug(number), "name": "The Weavers"}));
    let answers = together(&city, (0..GUILDS).flat_map(|number| [found(number), rename(number)])).await;
    let mut in_one_batch = 0;
    for (number, pair) in answers.chunks(2).enumerate() {
        assert!(!pair[0].as_ref().unwrap().is_rejected());
        match &pair[1] {
            // Sealed before the guild was there, decided when it was: as if the world had said no.
            Err(SubmitError::Failure(Failure::Unavailable(_))) => {
                in_one_batch += 1;
                assert!(!city.pipeline.submit(rename(number)).await.unwrap().is_rejected(), "the second time it works");
            }
            Ok(answer) => assert!(!answer.is_rejected(), "{:?}", answer.verdict),
            other => panic!("{other:?}"),
        }
    }
    assert!(in_one_batch > 0, "no pair met in one batch: this shows nothing");
    for entry in city.log.read(0, 1000).await.unwrap() {
        let entry: Value = serde_json::from_slice(&entry.bytes).unwrap();
        for sealed in entry["sealed"].as_object().into_iter().flat_map(|sealed| sealed.values()) {
            assert_ne!(sealed["subject"], "nobody", "{entry}");
        }
    }
}

async fn exactly_as_many_debits_pass_as_there_is_money(city: City) {
    let (citizen, key) = city.citizen_with("500.00", 100).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let body = withdrawal(citizen, &format!("w{number}"), "1.00");
        let request = Request::parse(key, "treasury.withdraw", body).unwrap();
        let pipeline = city.pipeline.clone();
        tasks.spawn(async move { pipeline.submit(request).await.unwrap() });
    }
    let answers = tasks.join_all().await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.is_rejected()).collect();
    assert_eq!(refused.len(), 500);
    assert!(refused.iter().all(|answer| code(answer) == "insufficient_funds"));
    let mut conn = city.log.reader().await.unwrap();
    let sql = "select treasury, balance from treasury_balances where treasury = $1";
    let kinds = [eventlog::sql::Kind::Text, eventlog::sql::Kind::Money];
    let id = eventlog::sql::Cell::Text(TreasuryId::of_citizen(citizen).to_string());
    let rows = eventlog::sql::query(&mut conn, sql, &kinds, &[id]).await.unwrap();
    assert_eq!(rows[0][1], eventlog::sql::Cell::Money(0));
}

async fn the_same_key_gives_the_same_answer(city: City) {
    let (citizen, key) = city.citizen_with("10.00", 100).await;
    let request = Request::parse(key, "treasury.withdraw", withdrawal(citizen, "w", "4.00")).unwrap().with_key("k");
    let (first, second) = tokio::join!(city.pipeline.submit(request.clone()), city.pipeline.submit(request.clone()));
    let third = city.pipeline.submit(request).await.unwrap();
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((&first.entries, &first.entries), (&second.entries, &third.entries));
    assert!(third.replayed && !first.entries.is_empty());
}

async fn a_key_is_not_for_two_requests(city: City) {
    let (citizen, key) = city.citizen_with("10.00", 100).await;
    let ask =
        |amount| Request::parse(key, "treasury.withdraw", withdrawal(citizen, "w", amount)).unwrap().with_key("k");
    city.pipeline.submit(ask("4.00")).await.unwrap();
    let again = city.pipeline.submit(ask("5.00")).await;
    assert!(matches!(again, Err(SubmitError::KeyReused)), "{again:?}");
}

async fn a_retry_after_a_key_rotation_is_recognised(city: City) {
    let (citizen, key) = city.citizen_with("10.00", 100).await;
    let ask = |key| Request::parse(key, "treasury.withdraw", withdrawal(citizen, "w", "4.00")).unwrap().with_key("k");
    let first = city.pipeline.submit(ask(key)).await.unwrap();
    let (old, new) = (KeyId::from_bits(100), KeyId::from_bits(900));
    let rotation = json!({"old": old, "key": new, "verifier": Digest([9; 32]), "overlap_seconds": 600});
    let rotated = city.pipeline.submit(Request::parse(key, "key.rotate", rotation).unwrap()).await.unwrap();
    assert!(!rotated.is_rejected(), "{rotated:?}");
    let again = city.pipeline.submit(ask(Credential::Key(new))).await.unwrap();
    assert!(again.replayed);
    assert_eq!(first.entries, again.entries);
}

async fn a_lost_answer_is_found_again_under_its_key(city: City) {
    let (citizen, key) = city.citizen_with("10.00", 100).await;
    let request = Request::parse(key, "treasury.withdraw", withdrawal(citizen, "w", "4.00")).unwrap().with_key("k");
    let before = city.log.head().await.unwrap().size;
    city.log.fail_next_commit(CommitFault::LoseRequest);
    let lost = city.pipeline.submit(request.clone()).await;
    assert!(matches!(&lost, Err(SubmitError::Failure(failure)) if failure.retryable()), "{lost:?}");
    assert_eq!(city.log.head().await.unwrap().size, before);
    city.log.fail_next_commit(CommitFault::LoseAnswer);
    let kept = city.pipeline.submit(request.clone()).await.unwrap();
    let again = city.pipeline.submit(request).await.unwrap();
    assert_eq!(kept.entries, again.entries);
    assert_eq!(city.log.head().await.unwrap().size, before + kept.entries.len() as u64);
}

async fn a_retry_after_a_restart_is_recognised(city: City) {
    let (citizen, key) = city.citizen_with("10.00", 100).await;
    let request = Request::parse(key, "treasury.withdraw", withdrawal(citizen, "w", "4.00")).unwrap().with_key("k");
    let first = city.pipeline.submit(request.clone()).await.unwrap();
    let City { log, pipeline, _home, .. } = city;
    drop(pipeline);
    let restarted = restart(&log, Config::default()).await;
    let again = restarted.submit(request).await.unwrap();
    assert_eq!(first.entries, again.entries);
    assert!(again.replayed);
    let other = Request::parse(key, "treasury.withdraw", withdrawal(citizen, "w2", "4.00")).unwrap().with_key("k");
    assert!(matches!(restarted.submit(other).await, Err(SubmitError::KeyReused)));
}

async fn a_retry_is_recognised_also_when_its_sender_could_not_ask_for_it_any_more(city: City) {
    let (boss, boss_key) = city.citizen_with("1.00", 100).await;
    let (other, _) = city.citizen_with("1.00", 101).await;
    let role = |action| (action, json!({"citizen": boss, "role": "coordinator"}));
    let (action, body) = role("citizen.assign_role");
    city.good(action, body).await;
    let key = json!({"key": KeyId::from_bits(900), "verifier": Digest([5; 32]), "citizen": other});
    let request = Request::parse(boss_key, "key.issue", key).unwrap().with_key("k");
    let first = city.pipeline.submit(request.clone()).await.unwrap();
    assert!(!first.is_rejected(), "{first:?}");
    let (action, body) = role("citizen.unassign_role");
    city.good(action, body).await;
    let City { log, pipeline, _home, .. } = city;
    drop(pipeline);
    let restarted = restart(&log, Config::default()).await;
    let again = restarted.submit(request).await.unwrap();
    assert!(again.replayed && first.entries == again.entries, "{again:?}");
    let new = json!({"key": KeyId::from_bits(901), "verifier": Digest([5; 32]), "citizen": other});
    let new = Request::parse(boss_key, "key.issue", new).unwrap().with_key("l");
    assert!(matches!(restarted.submit(new).await, Err(SubmitError::Denied(_))));
}

async fn a_rejection_leaves_nothing_and_is_remembered(city: City) {
    let (citizen, key) = city.citizen_with("10.00", 100).await;
    let before = city.log.head().await.unwrap().size;
    let request = Request::parse(key, "treasury.withdraw", withdrawal(citizen, "w", "11.00")).unwrap().with_key("k");
    let refused = city.pipeline.submit(request.clone()).await.unwrap();
    assert_eq!(code(&refused), "insufficient_funds");
    assert_eq!(city.log.head().await.unwrap().size, before);
    // Money arriving later does not change the answer under this key.
    let body = json!({"treasury": TreasuryId::of_citizen(citizen), "source": "bank", "reference": "more", "currency": "USD", "amount": "5.00"});
    city.good("treasury.deposit", body).await;
    assert_eq!(code(&city.pipeline.submit(request).await.unwrap()), "insufficient_funds");
}

async fn a_denied_caller_is_recorded_and_a_flood_is_summarised(city: City) {
    let (_, key) = city.citizen_with("1.00", 100).await;
    for _ in 0..20 {
        let ask = Request::parse(key, "city.register_currency", json!({"currency": "EUR", "scale": 2})).unwrap();
        assert!(matches!(city.pipeline.submit(ask).await, Err(SubmitError::Denied(_))));
    }
    // The refusal is appended after the batch that refused; the next command is behind it.
    city.good("city.register_currency", json!({"currency": "CHF", "scale": 2})).await;
    let refusals = city.log.read_stream("refusals", 0, 100).await.unwrap();
    assert_eq!(refusals.len(), 1);
    let entry: Value = serde_json::from_slice(&refusals[0].bytes).unwrap();
    assert_eq!(entry["data"]["action"], "city.register_currency");
    assert_eq!(entry["data"]["code"], "not_permitted");
    // The others are one summary, at the latest when the writer ends.
    let City { log, pipeline, _home, .. } = city;
    drop(pipeline);
    let mut refusals = Vec::new();
    while refusals.len() < 2 {
        tokio::task::yield_now().await;
        refusals = log.read_stream("refusals", 0, 100).await.unwrap();
    }
    let count =
        |entry: &eventlog::Stored| serde_json::from_slice::<Value>(&entry.bytes).unwrap()["data"]["count"].as_u64();
    assert_eq!(refusals.iter().map(count).collect::<Vec<_>>(), [Some(1), Some(19)]);
}

async fn an_expected_version_is_checked_under_the_lock(city: City) {
    let (citizen, _) = city.citizen_with("1.00", 100).await;
    let mut request = city.request("citizen.suspend", json!({"citizen": citizen}));
    request.expected_version = Some((Stream::Citizen(citizen), 99));
    assert_eq!(code(&city.pipeline.submit(request.clone()).await.unwrap()), "version_conflict");
    let versions = city.log.read_stream(&citizen.to_string(), 0, 100).await.unwrap().len() as u64;
    request.expected_version = Some((Stream::Citizen(citizen), versions));
    assert!(!city.pipeline.submit(request).await.unwrap().is_rejected());
}

async fn typed_text_is_nowhere_in_the_log(city: City) {
    let secret = "the quick brown canary";
    let (citizen, _) = city.citizen_with("1.00", 100).await;
    city.good("citizen.suspend", json!({"citizen": citizen, "reason": secret})).await;
    let entries = city.log.read(0, 1000).await.unwrap();
    assert!(entries.iter().all(|entry| !entry.bytes.windows(6).any(|part| part == b"canary")));
    let suspended =
        entries.iter().find(|entry| entry.bytes.windows(20).any(|part| part == b"citizen.suspended.v1")).unwrap();
    let entry: Value = serde_json::from_slice(&suspended.bytes).unwrap();
    let digest = entry["sealed"]["reason"]["ciphertext"].as_str().unwrap();
    let stored = city.log.payloads(&[chain::Hash::from_hex(digest).unwrap()]).await.unwrap();
    assert_eq!(stored[0].subject, citizen.to_string());
    assert!(!stored[0].ciphertext.windows(6).any(|part| part == b"canary"));
}

async fn a_guard_that_trips_costs_only_the_culprit(city: City) {
    let (victim, victim_key) = city.citizen_with("10.00", 100).await;
    let (other, other_key) = city.citizen_with("10.00", 101).await;
    // Somebody edits a guard behind our back: the table now knows of less money than the log.
    let row =
        "update treasury_balances set balance = $1, lowest_balance = $1, lowest_available = $1 where treasury = $2";
    edit(&city.log, row, TreasuryId::of_citizen(victim), 1_00).await;
    let ask = |key: &Credential, citizen, reference: &str| {
        Request::parse(*key, "treasury.withdraw", withdrawal(citizen, reference, "5.00")).unwrap()
    };
    let (a, b, c) = tokio::join!(
        city.pipeline.submit(ask(&other_key, other, "a")),
        city.pipeline.submit(ask(&victim_key, victim, "b")),
        city.pipeline.submit(ask(&other_key, other, "c")),
    );
    assert!(!a.unwrap().is_rejected() && !c.unwrap().is_rejected());
    assert!(matches!(b, Err(SubmitError::Bug(_))), "{b:?}");
}

/// As the database's owner: what the login role could never do.
async fn edit(log: &Log, sql: &str, treasury: TreasuryId, balance: i128) {
    use eventlog::sql::{Cell, Conn, execute};
    use sqlx::ConnectOptions;
    let params = [Cell::Money(balance), Cell::Text(treasury.to_string())];
    let mut conn = match &log.config().location {
        eventlog::Location::Sqlite { dir } => {
            Conn::from(sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("log.db")).connect().await.unwrap())
        }
        eventlog::Location::Postgres { .. } => log.session().await.unwrap().unwrap(),
    };
    assert_eq!(execute(&mut conn, sql, &params).await.unwrap(), 1);
}

async fn a_read_only_server_refuses_every_command(city: City) {
    city.pipeline.set_read_only(Some("the log is shorter than its checkpoint".to_owned()));
    let before = city.log.head().await.unwrap().size;
    let refused = city.send("city.register_currency", json!({"currency": "EUR", "scale": 2})).await;
    assert!(matches!(refused, Err(SubmitError::ReadOnly(_))));
    // Nor does anybody without a key make it write.
    city.pipeline.denied("nobody", "guild.found", "credential_invalid");
    // Nothing tells when the writer has seen a denial, so it is given time to do what it must not.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(city.log.head().await.unwrap().size, before);
}

async fn another_writers_entries_are_seen_before_deciding(city: City) {
    if matches!(city.log.config().location, eventlog::Location::Sqlite { .. }) {
        // One directory has one writer, and a second one is told so.
        let vault = Arc::new(Vault::new(MasterKey::from_bytes([3; 32])));
        let second = Pipeline::start(&city.log, vault, Config::default()).await;
        assert!(matches!(second, Err(eventlog::Failure::Locked { .. })));
        return;
    }
    let (citizen, key) = city.citizen_with("10.00", 100).await;
    let second = start(&Log::open(city.log.config().clone()).await.unwrap()).await;
    let ask =
        |reference: &str| Request::parse(key, "treasury.withdraw", withdrawal(citizen, reference, "6.00")).unwrap();
    assert!(!second.submit(ask("a")).await.unwrap().is_rejected());
    assert_eq!(code(&city.pipeline.submit(ask("b")).await.unwrap()), "insufficient_funds");
    let key = ask("c").with_key("k");
    assert_eq!(code(&city.pipeline.submit(key.clone()).await.unwrap()), "insufficient_funds");
    assert!(second.submit(key).await.unwrap().replayed, "the other server's answer is found");
    assert_ne!(city.principal, citizen);
}

/// Commits are lost again and again while others are being decided behind them: every command still ends once, on the money there is.
async fn what_was_decided_behind_a_lost_batch_is_decided_again(city: City) {
    const FUNDS: usize = 300;
    let (citizen, key) = city.citizen_with("300.00", 100).await;
    let before = city.log.head().await.unwrap().size;
    let debits = (0..FUNDS + 100).map(|number| {
        let body = withdrawal(citizen, &format!("w{number}"), "1.00");
        let request = Request::parse(key, "treasury.withdraw", body).unwrap().with_key(format!("k{number}"));
        let pipeline = city.pipeline.clone();
        tokio::spawn(async move {
            loop {
                match pipeline.submit(request.clone()).await {
                    Ok(answer) => return answer,
                    Err(SubmitError::Failure(failure)) if failure.retryable() => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        })
    });
    let mut debits: Vec<_> = debits.collect();
    let mut accepted = Vec::new();
    for (number, debit) in debits.drain(..).enumerate() {
        if number % 20 == 0 {
            let fault = if number % 40 == 0 { CommitFault::LoseRequest } else { CommitFault::LoseAnswer };
            city.log.fail_next_commit(fault);
        }
        let answer = debit.await.unwrap();
        match answer.is_rejected() {
            false => accepted.extend(answer.entries.iter().map(|entry| entry.position)),
            true => assert_eq!(code(&answer), "insufficient_funds"),
        }
    }
    accepted.sort_unstable();
    let written: Vec<u64> = (before..city.log.head().await.unwrap().size).collect();
    assert_eq!(accepted, written, "what was acknowledged is what is there");
    assert_eq!(written.len(), FUNDS);
}

async fn nothing_is_decided_on_a_new_session_before_it_was_compared(city: City) {
    let (citizen, key) = city.citizen_with("10.00", 100).await;
    let City { log, pipeline, _home, .. } = city;
    drop(pipeline);
    let pipeline = restart(&log, Config { compare_after_reconnect: true, ..Config::default() }).await;
    let withdraw = |reference: &str| Request::parse(key, "treasury.withdraw", withdrawal(citizen, reference, "1.00"));
    assert!(!pipeline.submit(withdraw("first").unwrap()).await.unwrap().is_rejected());
    log.fail_next_commit(CommitFault::LoseRequest);
    assert!(pipeline.submit(withdraw("lost").unwrap()).await.is_err());
    let size = log.head().await.unwrap().size;
    for _ in 0..2 {
        let refused = pipeline.submit(withdraw("too early").unwrap()).await;
        assert!(
            matches!(&refused, Err(SubmitError::Failure(Failure::Unavailable(what))) if what.contains("compared")),
            "{refused:?}"
        );
    }
    assert_eq!(log.head().await.unwrap().size, size);
    let reconnect = *log.reconnected().borrow();
    pipeline.compared(reconnect);
    assert!(!pipeline.submit(withdraw("lost").unwrap()).await.unwrap().is_rejected());
}

#[tokio::test]
async fn a_full_queue_says_so_at_once() {
    let (_home, config) = testing::sqlite(&projections::ddl::SQLITE).await;
    let log = Log::open(config).await.unwrap();
    let vault = Arc::new(Vault::new(MasterKey::from_bytes([3; 32])));
    let small = Config { queue: 1, batch: 1, ..Config::default() };
    let (pipeline, _) = Pipeline::start(&log, vault, small).await.unwrap();
    // On one thread nobody drains the queue before these have all been pushed.
    let ask = || {
        Request::parse(Credential::System, "city.register_currency", json!({"currency": "USD", "scale": 2})).unwrap()
    };
    let (a, b, c) = tokio::join!(pipeline.submit(ask()), pipeline.submit(ask()), pipeline.submit(ask()));
    let busy = [a, b, c].iter().filter(|answer| matches!(answer, Err(SubmitError::Busy { .. }))).count();
    assert!(busy >= 1);
}
