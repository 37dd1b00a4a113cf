//! Password policies: whose rule counts, that it counts wherever a password is set, earlier passwords, and
//! those that have grown too old.

use std::sync::Arc;
use std::time::Duration;

use conclave::app::{App, Request};
use conclave::clock::Clock;
use conclave::domain::policy::PasswordPolicy;
use conclave::domain::settings::{PasswordRule, SettingsChanges};
use conclave::domain::{AccountId, Action, Actor, Command, Lifetime, Origin};
use conclave::node::Node;
use conclave::telemetry::Metrics;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{Client, Reply};
use crate::clock::Forward;
use crate::harness::{Account, NEW_PASSWORD, PASSWORD, PATIENCE, Prepared, World, eventually, unique};

/// Gives the account a policy of its own.
async fn set_policy(app: &App, account: &Account, policy: PasswordPolicy) {
    let passwords = Some(PasswordRule::Own(policy));
    let action = Action::ChangeSettings(SettingsChanges { passwords, ..SettingsChanges::default() });
    let account = AccountId::parse(&account.id).unwrap();
    let (by, origin) = (Actor::System, Origin::default());
    let command = Command { account, by, origin: origin.clone(), expect: Vec::new(), action };
    app.execute(&command, &Request::once(Instant::now() + PATIENCE, origin)).await.unwrap();
}

/// Fails the test unless the password was refused for exactly these breaches, told without quoting it.
#[track_caller]
fn is_weak(reply: Reply, password: &str, codes: &[&str]) {
    let reply = reply.says(400, "weak_password");
    let breaches = reply.json["breaches"].as_array().unwrap();
    let told: Vec<&str> = breaches.iter().map(|breach| breach["code"].as_str().unwrap()).collect();
    assert_eq!(told, codes, "{password}");
    let detail = reply.text("detail");
    for breach in breaches {
        assert!(detail.contains(breach["message"].as_str().unwrap()), "{detail}");
    }
    let said = String::from_utf8_lossy(&reply.body);
    assert!(!said.contains(password) || "weak_password".contains(password), "{said}");
}

const COMMON: [&str; 50] = [
    "password",
    "password1",
    "passw0rd",
    "12345678",
    "123456789",
    "1234567890",
    "qwertyuiop",
    "qwerty123",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "trustno1",
    "welcome1",
    "letmein1",
    "starwars",
    "whatever",
    "michelle",
    "jennifer",
    "computer",
    "corvette",
    "mercedes",
    "maverick",
    "midnight",
    "11111111",
    "88888888",
    "abcd1234",
    "1q2w3e4r",
    "1qaz2wsx",
    "zaq12wsx",
    "asdfghjkl",
    "asdf1234",
    "mustang1",
    "liverpool",
    "blink182",
    "charlie1",
    "dragon12",
    "killer12",
    "master12",
    "monkey12",
    "shadow12",
    "Sunshine!",
    "P@ssw0rd",
    "Football1",
    "Michael1",
    "Jordan23",
    "Chelsea1",
    "Internet",
];

#[tokio::test]
async fn a_common_password_is_refused_wherever_one_is_set() {
    let world = World::new();
    let account = world.account().await;
    let ann = account.user(&world, "ann", &[]).await;
    for (node, password) in COMMON.into_iter().enumerate() {
        let email = format!("common-{}@stories.test", unique());
        let sign_up = world.post(node, "/v1/accounts").json(&json!({"email": email, "password": password}));
        is_weak(sign_up.await, password, &["common"]);
        let create = json!({"name": "zed", "password": password});
        is_weak(
            account.send(&world, node + 1, "POST", "/users", create.clone()).await,
            password,
            &["common"],
        );
        let mut step = create;
        step["action"] = json!("create_user");
        let steps = json!({"actions": [step]});
        is_weak(account.send(&world, node + 1, "POST", "/transactions", steps).await, password, &["common"]);
        let reset = json!({"new_password": password});
        let reset = account.send(&world, node + 2, "PUT", "/users/ann/password", reset).await;
        is_weak(reset, password, &["common"]);
    }
    for password in ["iloveyou", "Password2024!"] {
        let own = json!({"current_password": PASSWORD, "new_password": password});
        let own = world.put(0, account.at("/users/me/password")).by(&ann.token).json(&own).await;
        is_weak(own, password, &["common"]);
        let change = json!({"login": "ann", "current_password": PASSWORD, "new_password": password});
        is_weak(world.post(1, account.at("/password")).json(&change).await, password, &["common"]);
    }
    account.ask(&world, 0, "GET", "/users/zed").await.is(404);
    account.sign_in(&world, 1, "ann", PASSWORD).await.is(200);
}

#[tokio::test]
async fn each_surface_has_its_rule_and_all_breaches_are_told() {
    let world = World::new();
    let account = world.account().await;
    let body = |password| json!({"name": "wanda", "first_name": "Wanda", "password": password});
    let create = async |password| account.send(&world, 0, "POST", "/users", body(password)).await;
    is_weak(create("wanda1").await, "wanda1", &["too_short", "contains_name", "common"]);
    is_weak(create("my-CONCLAVE-kettle").await, "my-CONCLAVE-kettle", &["contains_name"]);
    // No rule of composition, any characters.
    create("nine kettles on a shelf").await.is(201);
    let email = format!("engine-{}@stories.test", unique());
    let sign_up = json!({"email": email, "password": "p"});
    world.post(1, "/iam/v1/SignUpAsRootUser").json(&sign_up).await.is(201);
    let iam = json!({"accountId": account.id, "email": email, "password": "p"});
    let made = world.post(2, "/iam/v1/SignUpAsIAMUser").by(&account.token).json(&iam).await.is(201);
    let path = format!("/iam/v1/users/{}", made.text("uuid"));
    world.put(0, path).by(&account.token).json(&json!({"password": "q"})).await.is(200);
    account.sign_in(&world, 1, &email, "q").await.is(200);
}

#[tokio::test]
async fn the_accounts_own_policy_counts_on_every_surface_and_node_at_once() {
    let world = World::new();
    let account = world.account().await;
    let email = format!("own-{}@stories.test", unique());
    let iam = |password| json!({"accountId": account.id, "email": email, "password": password});
    let path = "/iam/v1/SignUpAsIAMUser";
    let own = PasswordPolicy { min_chars: 20, ..PasswordPolicy::KEYSTONE };
    set_policy(World::node(0).app(), &account, own).await;
    for node in 0..3 {
        let refused = world.post(node, path).by(&account.token).json(&iam("qwertyuiop")).await;
        let refused = refused.says(400, "weak_password");
        // Its clients see the detail only, so that tells all.
        for part in ["at least 20", "upper-case", "one digit", "at least one of", "start with", "row of"] {
            assert!(refused.text("detail").contains(part), "{part}: {}", refused.json);
        }
        let body = json!({"name": "zed", "password": PASSWORD});
        let codes = ["no_upper_case", "no_digit", "no_special_character"];
        is_weak(account.send(&world, node, "POST", "/users", body).await, PASSWORD, &codes);
    }
    let made = world.post(0, path).by(&account.token).json(&iam("Nine kettles on 1 shelf!")).await.is(201);
    let path = format!("/iam/v1/users/{}", made.text("uuid"));
    let rename = json!({"firstName": "Zed", "password": "Mr. Zed has 9 kettles!!"});
    let refused = world.put(1, path).by(&account.token).json(&rename).await;
    assert!(refused.says(400, "weak_password").text("detail").contains("no name of its user"));
    // What was set before stays good.
    account.sign_in(&world, 2, &account.email, PASSWORD).await.is(200);
    // Another account is not touched.
    let other = world.account().await;
    other.user(&world, "ann", &[]).await;
}

#[tokio::test]
async fn the_last_passwords_do_not_come_back() {
    let world = World::new();
    let account = world.account().await;
    set_policy(World::node(1).app(), &account, PasswordPolicy { history: 3, ..PasswordPolicy::MODERN }).await;
    let passwords = [PASSWORD, "kettle number one", "kettle number two", "kettle number three"];
    let ann = account.user(&world, "ann", &[]).await;
    let path = account.at("/users/me/password");
    let change = async |node, current, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        world.put(node, &path).by(&ann.token).json(&body).await
    };
    change(0, passwords[0], passwords[1]).await.is(204);
    change(1, passwords[1], passwords[2]).await.is(204);
    for again in &passwords[..3] {
        is_weak(change(2, passwords[2], again).await, again, &["reused"]);
        let body = json!({"login": "ann", "current_password": passwords[2], "new_password": again});
        is_weak(world.post(0, account.at("/password")).json(&body).await, again, &["reused"]);
    }
    change(0, passwords[2], passwords[3]).await.is(204);
    is_weak(change(0, passwords[3], passwords[1]).await, passwords[1], &["reused"]);
    change(1, passwords[3], passwords[0]).await.is(204);
    // Who need not give the present one is not told what the others were.
    for known in [passwords[0], passwords[3]] {
        account.send(&world, 2, "PUT", "/users/ann/password", json!({"new_password": known})).await.is(204);
    }
    account.sign_in(&world, 0, "ann", passwords[3]).await.is(200);
}

#[tokio::test]
async fn who_may_not_set_a_password_learns_nothing_of_its_user() {
    let world = World::new();
    let account = world.account().await;
    let body = json!({"name": "ann", "first_name": "Wilhelmina", "password": PASSWORD});
    account.send(&world, 0, "POST", "/users", body).await.is(201);
    let bob = account.user(&world, "bob", &[]).await;
    for password in ["short", "one Wilhelmina more", NEW_PASSWORD] {
        let body = json!({"new_password": password});
        let set = world.put(1, account.at("/users/ann/password")).by(&bob.token).json(&body);
        set.await.says(403, "forbidden");
    }
}

#[tokio::test]
async fn a_password_is_changed_without_a_token_by_giving_the_present_one() {
    let world = World::new();
    let account = world.account().await;
    let ann = account.user(&world, "ann", &[]).await;
    let path = account.at("/password");
    let body = |login: &str, current: &str, new: &str| json!({"login": login, "current_password": current, "new_password": new});
    // Whatever is wrong, the refusal is the same, and says nothing of the new one.
    let refusals = [
        world.post(0, &path).json(&body("ann", "wrong", "short")).await,
        world.post(1, &path).json(&body("nobody", PASSWORD, "short")).await,
        world.post(2, "/v1/accounts/123456789012/password").json(&body("ann", PASSWORD, "short")).await,
        world.post(2, "/v1/accounts/nonsense/password").json(&body("ann", PASSWORD, "short")).await,
    ];
    for refused in &refusals {
        refused.clone().says(401, "bad_credentials");
        assert_eq!(refused.body_but_request_id(), refusals[0].body_but_request_id());
    }
    let change = |node| world.post(node, &path).key("change").json(&body("ANN", PASSWORD, NEW_PASSWORD));
    let revision = change(0).await.is(204).revision();
    for node in 0..3 {
        assert_eq!(change(node).await.is(204).revision(), revision, "a retry gets the first answer");
        world.get(node, account.at("/users/me")).by(&ann.token).await.is(401);
        account.sign_in(&world, node, "ann", PASSWORD).await.is(401);
    }
    let signed = account.sign_in(&world, 1, "ann", NEW_PASSWORD).await.is(200);
    let own = world.get(2, account.at("/users/me/sessions")).by(&signed.text("access_token")).await.is(200);
    assert_eq!(own.items().len(), 1, "the change left no session: {}", own.json);
    let audit = account.ask(&world, 0, "GET", "/audit?limit=200").await.is(200);
    let set = audit.items().iter().find(|item| item["action"] == "user.set-password").unwrap();
    assert!(set["by"].to_string().contains(&ann.id), "it was the user itself: {set}");
    // A disabled user does not get past this either.
    account.ask(&world, 0, "POST", "/users/ann/disable").await.is(200);
    let again = world.post(1, &path).json(&body("ann", NEW_PASSWORD, PASSWORD)).await;
    assert_eq!(again.body_but_request_id(), refusals[0].body_but_request_id());
}

#[tokio::test]
async fn guesses_at_the_present_password_are_counted_wherever_they_are_made() {
    let world = World::new();
    let account = world.account().await;
    let path = account.at("/password");
    for (key, kind) in [(None, "plain"), (Some("k"), "under one key"), (Some("k"), "of a signed-in user")] {
        let name = format!("ann-{}", unique());
        let ann = account.user(&world, &name, &[]).await;
        let guess = |node: usize, current: String| {
            let (ask, body) = if kind == "of a signed-in user" {
                let body = json!({"current_password": current, "new_password": NEW_PASSWORD});
                (world.put(node, account.at("/users/me/password")).by(&ann.token), body)
            } else {
                let body = json!({"login": name, "current_password": current, "new_password": NEW_PASSWORD});
                (world.post(node, &path), body)
            };
            let ask = if let Some(key) = key { ask.key(&format!("{name}{key}")) } else { ask };
            ask.json(&body)
        };
        for node in 0..5 {
            guess(node, format!("wrong {node}")).await.says(401, "bad_credentials");
        }
        guess(0, PASSWORD.to_owned()).await.says(401, "bad_credentials");
        account.sign_in(&world, 1, &name, PASSWORD).await.says(401, "bad_credentials");
    }
}

#[tokio::test]
async fn a_password_is_judged_without_being_set() {
    let world = World::new();
    let account = world.account().await;
    let ann = account.user(&world, "wilhelmina", &[]).await;
    let ask = async |token: &str, body: Value| {
        world.post(0, account.at("/password-strength")).by(token).json(&body).await.is(200).json
    };
    let good = ask(&ann.token, json!({"password": "nine kettles on a shelf"})).await;
    assert_eq!((&good["score"], &good["breaches"]), (&json!(4), &json!([])));
    assert!(good["guesses_log10"].as_f64().unwrap() > 10.0);
    let bad = ask(&ann.token, json!({"password": "Password1"})).await;
    assert_eq!((&bad["score"], &bad["breaches"][0]["code"]), (&json!(0), &json!("common")));
    // Without names it is the caller's own.
    let named = json!({"password": "nine wilhelmina kettles"});
    assert_eq!(ask(&ann.token, named.clone()).await["breaches"][0]["code"], "contains_name");
    assert_eq!(ask(&account.token, named.clone()).await["breaches"], json!([]));
    let mut for_another = named;
    for_another["names"] = json!(["Wilhelmina"]);
    assert_eq!(ask(&account.token, for_another).await["breaches"][0]["code"], "contains_name");
    let own = PasswordPolicy { min_chars: 30, ..PasswordPolicy::ENGINE };
    set_policy(World::node(1).app(), &account, own).await;
    let short = ask(&ann.token, json!({"password": "nine kettles on a shelf"})).await;
    assert_eq!(short["breaches"][0]["code"], "too_short");
    for names in [vec!["x"; 9], vec![&"x".repeat(255)]] {
        let body = json!({"password": PASSWORD, "names": names});
        let asked = world.post(1, account.at("/password-strength")).by(&ann.token).json(&body);
        asked.await.says(400, "invalid_value");
    }
}

#[tokio::test]
async fn an_expired_password_is_good_only_to_be_changed() {
    const DAY: Duration = Duration::from_hours(24);
    let folder = tempfile::tempdir().unwrap();
    let prepared = Prepared::new(folder.path(), 1, "");
    let clock = Arc::new(Forward::default());
    let pass = |time: Duration| clock.pass(time);
    let (config, by) = (prepared.config(0), Arc::clone(&clock) as Arc<dyn Clock>);
    let node = Node::start_by(&config, Arc::new(Metrics::new()), by).await.unwrap();
    let client = Client::new(prepared.http.clone());
    eventually("a node that serves", async || node.app().is_open().then_some(())).await;
    let account = Account::open(&client).await;
    account.user(&client, "ann", &[]).await;
    let max_age = Some(Lifetime::from_secs(90 * 86_400));
    set_policy(node.app(), &account, PasswordPolicy { max_age, ..PasswordPolicy::MODERN }).await;
    pass(DAY * 89);
    let live = account.sign_in(&client, 0, "ann", PASSWORD).await.is(200).text("access_token");
    pass(DAY);
    let expired = account.sign_in(&client, 0, "ann", PASSWORD).await.says(403, "password_expired");
    assert_eq!(expired.text("account"), account.id);
    // Only whoever knows the password learns that.
    account.sign_in(&client, 0, "ann", "wrong").await.says(401, "bad_credentials");
    let root = json!({"email": account.email, "password": PASSWORD});
    client.post(0, "/v1/sign-in").json(&root).await.says(403, "password_expired");
    client.post(0, "/iam/v1/SignInAsRootUser").json(&root).await.says(403, "password_expired");
    // The session of the day before has an hour's token, which is over; it is not the password that ends it.
    client.get(0, account.at("/users/me")).by(&live).await.is(401);
    let path = account.at("/password");
    let change = |new: &str| {
        client
            .post(0, &path)
            .json(&json!({"login": "ann", "current_password": PASSWORD, "new_password": new}))
    };
    is_weak(change(PASSWORD).await, PASSWORD, &["reused"]);
    change(NEW_PASSWORD).await.is(204);
    account.sign_in(&client, 0, "ann", NEW_PASSWORD).await.is(200);
    // A lock hides that it has expired, as it hides that it is right.
    pass(DAY * 90);
    for _ in 0..5 {
        account.sign_in(&client, 0, "ann", "wrong").await.says(401, "bad_credentials");
    }
    account.sign_in(&client, 0, "ann", NEW_PASSWORD).await.says(401, "bad_credentials");
    node.stop().await;
}
