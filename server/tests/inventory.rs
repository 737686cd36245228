//! Capabilities over HTTP: given, handed on, used up, taken away, and why not.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{Reply, Town};

/// A guild with a lathe that its member may hand on, and two people.
struct Workshop {
    town: Town,
    guild: String,
    founder_key: String,
    ann: (String, String),
    ben: (String, String),
    grant: String,
}

impl Workshop {
    async fn open(rate: &str) -> Self {
        let town = Town::start().await;
        let (_, founder_key) = town.citizen("Ada", &["worker"]).await;
        let guild = town.guild(&founder_key, "smiths").await;
        let ann = town.citizen("Ann", &["customer"]).await;
        let ben = town.citizen("Ben", &["customer"]).await;
        let join = json!({ "member": ann.0, "rank": "member" });
        town.post(&founder_key, &format!("/guilds/{guild}/members"), join).await.ok();
        let granted = json!({
            "kind": "tool", "ref": format!("{guild}/lathe"), "source": guild, "delegable": true,
            "scope": { "allow_actions": ["turn", "look"], "rate_limit": rate },
        });
        let reply = town.post(&founder_key, &format!("/holders/{}/grants", ann.0), granted).await.ok();
        let held = town.get_after(&ann.1, &format!("/holders/{}/grants?kind=tool", ann.0), reply.position()).await.ok();
        let grant = held.body["items"][0]["grant_id"].as_str().unwrap().to_owned();
        Self { town, guild, founder_key, ann, ben, grant }
    }

    async fn check(&self, holder: &str, action: &str, position: u64) -> Value {
        let path = format!("/holders/{holder}/check?kind=tool&ref={}/lathe&action={action}", self.guild);
        self.town.get_after(&self.ben.1, &path, position).await.ok().body
    }

    async fn assert(&self, key: &str, holder: &str, position: u64) -> Reply {
        let asked =
            json!({ "kind": "tool", "ref": format!("{}/lathe", self.guild), "action": "turn", "at_least": position });
        self.town.post(key, &format!("/holders/{holder}/assert"), asked).await
    }

    /// Ben gets the lathe from Ann; answers with the position of that.
    async fn hand_on(&self, more: Value) -> u64 {
        let mut asked = json!({ "to": self.ben.0 });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = format!("/holders/{}/grants/{}/delegate", self.ann.0, self.grant);
        self.town.post(&self.ann.1, &path, asked).await.ok().position()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capability_is_given_checked_narrowed_and_taken_away() {
    let shop = Workshop::open("100/h").await;
    let (ann, ann_key) = &shop.ann;
    let yes = shop.check(ann, "turn", 0).await;
    assert_eq!((&yes["allowed"], &yes["effect"]), (&json!(true), &json!("write")), "{yes}");
    let no = shop.check(ann, "sell", 0).await;
    assert_eq!((&no["allowed"], &no["because"]), (&json!(false), &json!("action_not_allowed")), "{no}");
    let no = shop.check(&shop.ben.0, "turn", 0).await;
    assert_eq!(no["because"], "no_grant");

    let narrow = json!({ "scope": { "allow_actions": ["turn", "look"], "rate_limit": "100/h", "read_only": true } });
    let path = format!("/holders/{ann}/grants/{}", shop.grant);
    let narrowed = shop.town.post(ann_key, &format!("{path}/attenuate"), narrow).await.ok().position();
    assert_eq!(shop.check(ann, "look", narrowed).await["because"], "read_only", "nobody said that looking only reads");
    let reads = json!({ "kind": "tool", "action": "look", "effect": "read" });
    let reads = shop.town.post(&shop.town.key, "/capability-actions", reads).await.ok().position();
    assert_eq!(shop.check(ann, "look", reads).await["allowed"], true);
    assert_eq!(shop.check(ann, "turn", reads).await["because"], "read_only");
    let wider = shop.town.post(ann_key, &format!("{path}/attenuate"), json!({ "scope": {} })).await;
    assert_eq!(wider.refused(422, "scope_wider").field(), "scope");

    let gone =
        shop.town.post(ann_key, &format!("{path}/revoke"), json!({ "reason": "worn out" })).await.ok().position();
    assert_eq!(shop.check(ann, "look", gone).await["because"], "no_grant");
    let history = shop.town.get(&shop.founder_key, &format!("/grants/{}/history", shop.grant)).await.ok();
    let events: Vec<&str> =
        history.body["items"].as_array().unwrap().iter().map(|item| item["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["grant.granted.v1", "grant.attenuated.v1", "grant.revoked.v1"]);
    assert!(!history.text.contains("worn out"), "a reason is for the holder's eyes");
    let own = shop.town.get(ann_key, &format!("/grants/{}", shop.grant)).await.ok();
    assert_eq!((&own.body["status"], &own.body["reason"]["text"]), (&json!("revoked"), &json!("worn out")));
    let ended = shop.town.get(ann_key, &format!("/holders/{ann}/grants?kind=tool&ended=true")).await.ok();
    assert_eq!(ended.body["items"].as_array().unwrap().len(), 1);
    shop.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_are_charged_up_the_chain_and_only_by_those_whose_they_are() {
    let shop = Workshop::open("3/h").await;
    let (ann, ben) = (&shop.ann, &shop.ben);
    let position = shop.hand_on(json!({})).await;
    assert_eq!(shop.check(&ben.0, "turn", position).await["chain"].as_array().unwrap().len(), 2);
    shop.assert(&ben.1, &ann.0, position).await.refused(403, "not_permitted");
    for (key, holder) in [(&ann.1, &ann.0), (&ben.1, &ben.0), (&shop.town.key, &ben.0)] {
        assert_eq!(shop.assert(key, holder, position).await.ok().body["allowed"], true);
    }
    let used_up = shop.assert(&ben.1, &ben.0, position).await.ok().body;
    assert_eq!((&used_up["allowed"], &used_up["because"]), (&json!(false), &json!("rate_limited")), "{used_up}");
    assert_eq!(used_up["grant"], shop.grant, "Ben's own has a use left; Ann's, from which he has it, does not");
    assert!(used_up["free_at"].is_string());
    assert_eq!(shop.check(&ben.0, "turn", position).await["allowed"], true, "a check uses nothing, and counts nothing");

    let path = format!("/holders/{}/grants/{}/revoke", ann.0, shop.grant);
    let gone = shop.town.post(&shop.founder_key, &path, json!({})).await.ok().position();
    assert_eq!(shop.check(&ben.0, "turn", gone).await["because"], "no_grant", "it ended with the one above it");
    shop.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_what_a_grant_comes_to_with_all_above_it() {
    let shop = Workshop::open("100/h").await;
    let (ann, ben) = (&shop.ann, &shop.ben);
    shop.hand_on(json!({})).await;
    let narrow = json!({ "scope": { "allow_actions": ["look"], "rate_limit": "7/h", "read_only": true } });
    let path = format!("/holders/{}/grants/{}/attenuate", ann.0, shop.grant);
    let narrowed = shop.town.post(&ann.1, &path, narrow.clone()).await.ok().position();
    let of_ben = format!("/holders/{}/grants?kind=tool", ben.0);
    let listed = shop.town.get_after(&ben.1, &of_ben, narrowed).await.ok().body["items"][0].clone();
    assert_eq!(listed["scope"]["allow_actions"], json!(["look", "turn"]), "its own is as it was given");
    assert_eq!(listed["effective"], json!({ "usable": true, "scope": narrow["scope"] }));
    let nothing = json!({ "scope": { "allow_actions": [], "rate_limit": "7/h", "read_only": true } });
    let nothing = shop.town.post(&ann.1, &path, nothing).await.ok().position();
    let listed = shop.town.get_after(&ben.1, &of_ben, nothing).await.ok().body["items"][0].clone();
    assert_eq!(listed["effective"]["because"], "action_not_allowed", "{listed}");
    let suspend = format!("/citizens/{}/suspend", ben.0);
    let suspended = shop.town.post(&shop.town.key, &suspend, json!({})).await.ok().position();
    let holders = format!("/capabilities/tool?ref={}/lathe", shop.guild);
    let holders = shop.town.get_after(&ann.1, &holders, suspended).await.ok().body;
    let of = |holder: &str| {
        let items = holders["items"].as_array().unwrap();
        items.iter().find(|item| item["holder"] == holder).unwrap().clone()
    };
    assert_eq!(of(&ann.0)["effective"]["because"], "action_not_allowed", "hers allows nothing any more");
    let his = of(&ben.0);
    assert_eq!((&his["status"], &his["effective"]["because"]), (&json!("active"), &json!("holder_not_active")));
    assert_eq!(his["effective"]["grant"], his["grant_id"]);
    shop.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_what_can_be_asked_from_both_sides() {
    let shop = Workshop::open("100/h").await;
    let position = shop.hand_on(json!({ "scope": { "allow_actions": ["look"], "rate_limit": "1/d" } })).await;
    let key = &shop.ben.1;
    let holders =
        shop.town.get_after(key, &format!("/capabilities/tool?ref={}/lathe", shop.guild), position).await.ok();
    let holders: Vec<&str> =
        holders.body["items"].as_array().unwrap().iter().map(|item| item["holder"].as_str().unwrap()).collect();
    assert_eq!(holders, [shop.ann.0.as_str(), shop.ben.0.as_str()]);
    let roles = shop.town.get(key, &format!("/holders/{}/grants?source=membership", shop.ann.0)).await.ok();
    assert_eq!(roles.body["items"][0]["reference"], format!("{}/member", shop.guild));
    let access = shop.town.get(key, &format!("/holders/{}/grants?kind=data_access", shop.ann.0)).await.ok();
    assert_eq!(access.body["items"].as_array().unwrap().len(), 2, "{}", access.text);
    shop.town.get(key, "/holders/cit_01J80000000000000000000001/grants").await.refused(404, "holder_not_found");
    shop.town.get(key, "/holders/No_Body/grants").await.refused(422, "invalid_field");
    shop.town.get(key, "/grants/grt_01J80000000000000000000001").await.refused(404, "grant_not_found");
    assert_eq!(shop.town.get(key, "/capability-actions").await.refused(422, "invalid_field").field(), "kind");
    let stuck = shop.town.get(key, "/grants/stuck").await.ok();
    assert_eq!(stuck.body["items"], json!([]));
    shop.town.end().await;
}

/// Those at the doors act on what they are told: what was taken away before they asked opens none.
#[tokio::test(flavor = "multi_thread")]
async fn a_use_after_a_revocation_was_acknowledged_is_refused() {
    let shop = Workshop::open("1000/s").await;
    let (ann, lathe) = (&shop.ann, format!("{}/lathe", shop.guild));
    let mut grant = shop.grant.clone();
    for _ in 0..20 {
        let asked = json!({ "kind": "tool", "ref": lathe, "action": "turn" });
        let path = format!("/holders/{}/assert", ann.0);
        assert_eq!(shop.town.post(&ann.1, &path, asked.clone()).await.ok().body["allowed"], true);
        let revoke = format!("/holders/{}/grants/{grant}/revoke", ann.0);
        shop.town.post(&shop.founder_key, &revoke, json!({})).await.ok();
        assert_eq!(shop.town.post(&ann.1, &path, asked).await.ok().body["because"], "no_grant");
        let again = json!({ "kind": "tool", "ref": lathe, "source": shop.guild });
        let reply = shop.town.post(&shop.founder_key, &format!("/holders/{}/grants", ann.0), again).await.ok();
        let path = format!("/holders/{}/grants?kind=tool", ann.0);
        let held = shop.town.get_after(&ann.1, &path, reply.position()).await.ok();
        grant = held.body["items"][0]["grant_id"].as_str().unwrap().to_owned();
    }
    shop.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_a_secret_is_no_ref_and_is_not_repeated() {
    let shop = Workshop::open("100/h").await;
    let secret = "ghp_0123456789abcdefghijABCDEFGHIJ";
    let granted = json!({ "kind": "tool", "ref": secret, "source": shop.guild });
    let refused = shop.town.post(&shop.founder_key, &format!("/holders/{}/grants", shop.ann.0), granted).await;
    let refused = refused.refused(422, "invalid_field");
    assert_eq!(refused.field(), "ref");
    assert!(!refused.text.contains(secret), "{}", refused.text);
    let details = json!({ "token": secret }).to_string();
    let told = json!({ "kind": "template", "ref": "review", "source": "fs:skills", "details": details });
    let path = format!("/holders/{}/grants/import", shop.ann.0);
    let refused = shop.town.post(&shop.town.key, &path, told).await.refused(422, "invalid_field");
    assert_eq!(refused.field(), "details");
    assert!(!refused.text.contains(secret), "{}", refused.text);
    shop.town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_ends_by_itself_when_its_time_is_over() {
    let shop = Workshop::open("100/h").await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1500);
    let position = shop.hand_on(json!({ "expires_at": format!("{soon:.6}") })).await;
    assert_eq!(shop.check(&shop.ben.0, "turn", position).await["allowed"], true);
    for _ in 0..100 {
        if shop.check(&shop.ben.0, "turn", 0).await["because"] == "no_grant" {
            let key = &shop.ben.1;
            let ended = shop.town.get(key, &format!("/holders/{}/grants?ended=true&kind=tool", shop.ben.0)).await.ok();
            assert_eq!(ended.body["items"][0]["status"], "expired");
            return shop.town.end().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the grant's end was never recorded: {}", shop.check(&shop.ben.0, "turn", 0).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guild_is_a_holder_and_a_source_by_its_slug_too() {
    let shop = Workshop::open("100/h").await;
    let (town, guild, key) = (&shop.town, &shop.guild, &shop.founder_key);
    let granted = |name: &str| json!({ "kind": "tool", "ref": format!("{guild}/{name}"), "source": "smiths" });
    town.post(key, &format!("/holders/{}/grants", shop.ann.0), granted("anvil")).await.ok();
    let forge = town.post(key, "/holders/smiths/grants", granted("forge")).await.ok().position();
    let refs = async |path: &str| {
        let page = town.get_after(key, path, forge).await.ok().body;
        let items = page["items"].as_array().unwrap().iter().map(|grant| grant["reference"].as_str().unwrap());
        items.map(|reference| reference.replace(guild, "smiths")).collect::<Vec<_>>()
    };
    assert_eq!(refs("/holders/smiths/grants").await, ["smiths/forge"]);
    assert_eq!(refs("/holders/smiths/grants?source=smiths").await, ["smiths/forge"]);
    assert_eq!(refs("/capabilities/tool?source=smiths").await.len(), 3);
    let check = format!("kind=tool&ref={guild}/forge&action=turn");
    assert_eq!(town.get(key, &format!("/holders/smiths/check?{check}")).await.ok().body["allowed"], true);
    let asked = json!({ "kind": "tool", "ref": format!("{guild}/forge"), "action": "turn" });
    assert_eq!(town.post(key, "/holders/smiths/assert", asked).await.ok().body["allowed"], true);
    // Handed on to a guild, and taken back from it.
    let path = format!("/holders/{}/grants/{}/delegate", shop.ann.0, shop.grant);
    let handed_on = town.post(&shop.ann.1, &path, json!({ "to": "smiths" })).await.ok().position();
    let held = town.get_after(key, "/holders/smiths/grants", handed_on).await.ok().body;
    let lathe = held["items"].as_array().unwrap().iter().find(|grant| grant["reference"] == format!("{guild}/lathe"));
    let lathe = lathe.unwrap()["grant_id"].as_str().unwrap();
    town.post(&shop.ann.1, &format!("/holders/smiths/grants/{lathe}/revoke"), json!({})).await.ok();
    // Also what is proposed names it so.
    let proposed = json!({ "command": {
        "type": "grant.grant", "holder": "smiths", "kind": "tool", "ref": format!("{guild}/saw"), "source": "smiths",
    }});
    town.post(key, "/guilds/smiths/proposals", proposed).await.refused(422, "not_under_consensus");

    for path in ["/holders/nobody/grants", "/holders/nobody/check?kind=tool&ref=x&action=turn"] {
        assert_eq!(town.get(key, path).await.refused(404, "holder_not_found").field(), "holder");
    }
    town.post(key, "/holders/nobody/grants", granted("saw")).await.refused(404, "holder_not_found");
    let unknown = json!({ "kind": "tool", "ref": "saw", "source": "nobody" });
    let refused = town.post(key, "/holders/smiths/grants", unknown).await.refused(422, "invalid_field");
    assert_eq!(refused.field(), "source");
    assert_eq!(
        town.get(key, "/holders/smiths/grants?source=nobody").await.refused(422, "invalid_field").field(),
        "source"
    );
    shop.town.end().await;
}
