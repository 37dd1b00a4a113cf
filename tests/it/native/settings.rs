//! What an account decides for itself, and that it counts on every node.

use serde_json::{Value, json};

use crate::harness::{PASSWORD, World};

fn defaults() -> Value {
    json!({
        "lockout": {"failures": 5, "lock_for_s": 900},
        "passwords": {},
        "strict_users": false,
        "registration": {"open": false, "roles": []},
        "retention": {"acts_for_s": 400 * 86_400, "checks": 10_000},
    })
}

/// One that differs from the usual in every member.
fn own_policy() -> Value {
    json!({
        "min_chars": 15,
        "max_chars": 100,
        "required": ["upper_case", "lower_case", "digit", "special_character"],
        "no_names": false,
        "no_common": false,
        "no_beginnings": true,
        "no_keyboard_rows": true,
        "history": 24,
        "max_age_s": 86_400,
    })
}

#[tokio::test]
async fn what_a_policy_leaves_out_is_as_usual_and_it_counts() {
    let world = World::new();
    let account = world.account().await;
    let body = json!({"passwords": {"own": {"min_chars": 30, "required": ["digit"]}}});
    let changed = account.send(&world, 0, "PATCH", "/settings", body).await.is(200);
    let policy = json!({
        "min_chars": 30, "max_chars": 128, "required": ["digit"], "no_names": true, "no_common": true,
        "no_beginnings": false, "no_keyboard_rows": false, "history": 0,
    });
    assert_eq!(changed.json["passwords"]["own"], policy);
    let weak = account.send(&world, 1, "POST", "/users", json!({"name": "ann", "password": PASSWORD})).await;
    let codes = weak.says(400, "weak_password").json["breaches"].clone();
    assert_eq!([&codes[0]["code"], &codes[1]["code"]], ["too_short", "no_digit"]);
    account.send(&world, 2, "PATCH", "/settings", json!({"passwords": {}})).await.is(200);
    account.user(&world, "ann", &[]).await;
}

#[tokio::test]
async fn settings_begin_with_defaults_and_change_one_by_one() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "member", &["docs:read"]).await;
    let mut expected = defaults();
    let first = account.ask(&world, 0, "GET", "/settings").await.is(200);
    assert_eq!((&first.json, first.tag()), (&expected, "\"0\"".to_owned()));
    for (node, member, value) in [
        (0, "lockout", json!({"failures": 0, "lock_for_s": 60})),
        (1, "strict_users", json!(true)),
        (2, "registration", json!({"open": true, "roles": ["member"]})),
        (0, "retention", json!({"acts_for_s": 86_400, "checks": 0})),
        (1, "registration", json!({"open": false, "roles": []})),
        (2, "passwords", json!({"own": own_policy()})),
        (0, "passwords", json!({})),
    ] {
        expected[member] = value.clone();
        let changed = account.send(&world, node, "PATCH", "/settings", json!({member: value})).await.is(200);
        assert_eq!(changed.json, expected, "{member}");
        assert_eq!(changed.tag(), format!("\"{}\"", changed.revision()));
        for node in 0..3 {
            let shown = account.ask(&world, node, "GET", "/settings").await.is(200);
            assert_eq!((&shown.json, shown.tag()), (&expected, changed.tag()), "{member}");
        }
    }
    // What changes nothing leaves the tag as it is, and no record.
    let tag = account.ask(&world, 0, "GET", "/settings").await.is(200).tag();
    for body in [json!({}), json!({"strict_users": true})] {
        assert_eq!(account.send(&world, 1, "PATCH", "/settings", body).await.is(200).tag(), tag);
    }
    let records = account.ask(&world, 2, "GET", "/audit?action=settings.update").await.is(200);
    assert_eq!(records.items().len(), 7);
}

#[tokio::test]
async fn of_two_who_change_what_they_saw_one_is_told() {
    let world = World::new();
    let account = world.account().await;
    let tag = account.ask(&world, 0, "GET", "/settings").await.is(200).tag();
    let change = |node, strict: bool, tag: &str| {
        let ask = account.ask(&world, node, "PATCH", "/settings").json(&json!({"strict_users": strict}));
        ask.header("if-match", tag)
    };
    let changed = change(0, true, &tag).await.is(200);
    change(1, false, &tag).await.says(412, "precondition_failed");
    change(2, false, &changed.tag()).await.is(200);
    change(0, true, "nonsense").await.is(400);
}

#[tokio::test]
async fn bad_settings_are_refused_and_only_who_may_sees_or_changes_them() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "looker", &["iam:settings:read"]).await;
    account.role(&world, "setter", &["iam:settings:*"]).await;
    account.role(&world, "boss", &["*"]).await;
    let (plain, looker, setter) = (
        account.user(&world, "plain", &[]).await,
        account.user(&world, "looker", &["looker"]).await,
        account.user(&world, "setter", &["setter"]).await,
    );
    let before = world.digest(&account.id).await;
    for bad in [
        json!({"lockout": {"failures": 101, "lock_for_s": 900}}),
        json!({"lockout": {"failures": 5, "lock_for_s": 59}}),
        json!({"lockout": {"failures": 5, "lock_for_s": 86_401}}),
        json!({"lockout": {"failures": 5}}),
        json!({"lockout": {"failures": -1, "lock_for_s": 900}}),
        json!({"retention": {"acts_for_s": 86_399, "checks": 1}}),
        json!({"retention": {"acts_for_s": 86_400, "checks": 1_000_001}}),
        json!({"registration": {"open": false, "roles": ["looker"]}}),
        json!({"registration": {"open": true, "roles": ["a b"]}}),
        json!({"registration": {"roles": []}}),
        json!({"passwords": {"own": {"min_chars": 0}}}),
        json!({"passwords": {"own": {"min_chars": 65}}}),
        json!({"passwords": {"own": {"min_chars": 300}}}),
        json!({"passwords": {"own": {"max_chars": 63}}}),
        json!({"passwords": {"own": {"max_chars": 129}}}),
        json!({"passwords": {"own": {"history": 25}}}),
        json!({"passwords": {"own": {"max_age_s": 86_399}}}),
        json!({"passwords": {"own": {"required": ["emoji"]}}}),
        json!({"passwords": {"own": {"least": 8}}}),
        json!({"passwords": {"own": []}}),
        json!({"passwords": {"min_chars": 8}}),
        json!({"strict_users": "yes"}),
        json!({"strict": true}),
    ] {
        account.send(&world, 0, "PATCH", "/settings", bad).await.is(400);
    }
    let path = account.at("/settings");
    let strict = json!({"strict_users": true});
    world.get(0, &path).by(&plain.token).await.says(403, "forbidden");
    for member in [&plain, &looker] {
        world.patch(1, &path).by(&member.token).json(&strict).await.says(403, "forbidden");
    }
    // Nobody gives strangers what they do not hold.
    let open = json!({"registration": {"open": true, "roles": ["boss"]}});
    world.patch(2, &path).by(&setter.token).json(&open).await.says(403, "forbidden");
    assert_eq!(world.digest(&account.id).await, before, "a refused request left something behind");
    world.get(0, &path).by(&looker.token).await.is(200);
    world.patch(1, &path).by(&setter.token).json(&strict).await.is(200);
}
