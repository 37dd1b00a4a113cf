//! `/iam/v1` as the clients of seed 001 speak it (contract part 5), each step on another node.

use serde_json::{Value, json};

use crate::client::Reply;
use crate::harness::{World, unique};

/// A root user of an account, as the seed's own example says it.
struct Root {
    email: String,
    account: String,
    uuid: String,
    token: String,
}

const ROOT_PASSWORD: &str = "SecurePass123";
const DEV_PASSWORD: &str = "DevPass456";

async fn sign_up_root(world: &World, node: usize, email: &str) -> Reply {
    let body =
        json!({"email": email, "password": ROOT_PASSWORD, "firstName": "Alice", "lastName": "Johnson"});
    world.post(node, "/iam/v1/SignUpAsRootUser").json(&body).await
}

async fn sign_in_root(world: &World, node: usize, email: &str, password: &str) -> Reply {
    let body = json!({"email": email, "password": password});
    world.post(node, "/iam/v1/SignInAsRootUser").json(&body).await
}

async fn sign_in_iam(world: &World, node: usize, account: &str, email: &str, password: &str) -> Reply {
    let body = json!({"accountId": account, "email": email, "password": password});
    world.post(node, "/iam/v1/SignInAsIAMUser").json(&body).await
}

async fn root(world: &World) -> Root {
    let email = format!("admin-{}@example.com", unique());
    let record = sign_up_root(world, 0, &email).await.is(201);
    let token = sign_in_root(world, 1, &email, ROOT_PASSWORD).await.is(200).text("access_token");
    Root { email, account: record.text("accountId"), uuid: record.text("uuid"), token }
}

/// A new IAM user, its record and its token.
async fn iam_user(world: &World, root: &Root, email: &str) -> (Value, String) {
    let body = json!({
        "accountId": root.account, "email": email, "password": DEV_PASSWORD,
        "firstName": "Bob", "lastName": "Smith",
    });
    let record = world.post(2, "/iam/v1/SignUpAsIAMUser").by(&root.token).json(&body).await.is(201).json;
    let signed = sign_in_iam(world, 0, &root.account, email, DEV_PASSWORD).await.is(200);
    (record, signed.text("access_token"))
}

fn path(user: &Value) -> String {
    format!("/iam/v1/users/{}", user.as_str().unwrap())
}

/// The members of a user record, and nothing else: no password, no hash.
#[track_caller]
fn is_record(record: &Value, email: &str, is_root: bool) {
    let members: Vec<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "accountId",
        "createdAt",
        "email",
        "firstName",
        "isDeleted",
        "isRoot",
        "krn",
        "lastName",
        "status",
        "updatedAt",
        "uuid",
    ];
    assert_eq!(members, expected);
    let account = record["accountId"].as_str().unwrap();
    assert!(account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()), "{account}");
    let uuid: uuid::Uuid = record["uuid"].as_str().unwrap().parse().unwrap();
    assert_eq!(uuid.get_version_num(), 4);
    assert_eq!(record["krn"], format!("krn:iam:{account}:users:{uuid}"));
    assert_eq!((&record["email"], &record["isRoot"]), (&json!(email), &json!(is_root)));
    assert_eq!((&record["status"], &record["isDeleted"]), (&json!("active"), &json!(false)));
    for time in ["createdAt", "updatedAt"] {
        let time = record[time].as_str().unwrap();
        assert!(time.ends_with('Z') && humantime::parse_rfc3339(time).is_ok(), "{time}");
    }
}

#[tokio::test]
async fn the_workflow_of_the_seed_step_by_step_on_three_nodes() {
    let world = World::new();
    let email = format!("admin-{}@example.com", unique());
    let record = sign_up_root(&world, 0, &email).await.is(201);
    is_record(&record.json, &email, true);
    assert_eq!((&record.json["firstName"], &record.json["lastName"]), (&json!("Alice"), &json!("Johnson")));
    let signed = sign_in_root(&world, 1, &email, ROOT_PASSWORD).await.is(200);
    assert_eq!((&signed.json["token_type"], &signed.json["mfaEnabled"]), (&json!("Bearer"), &json!(0)));
    assert_eq!(signed.json["expires_in"], 3600);
    assert!(!signed.text("refresh_token").is_empty() && !signed.text("message").is_empty());
    assert_eq!(signed.text("access_token").split('.').count(), 3);

    let account = record.text("accountId");
    let dev = "dev@example.com";
    let body = json!({
        "accountId": format!("acc-{account}"), "email": dev, "password": DEV_PASSWORD,
        "firstName": "Bob", "lastName": "Smith", "rootToken": signed.text("access_token"),
    });
    let user = world.post(2, "/iam/v1/SignUpAsIAMUser").json(&body).await.is(201);
    is_record(&user.json, dev, false);
    assert_eq!(user.text("accountId"), account);
    for node in 0..3 {
        let spelled = if node == 1 { format!("acc-{account}") } else { account.clone() };
        let signed = sign_in_iam(&world, node, &spelled, dev, DEV_PASSWORD).await.is(200);
        let own =
            world.get(node + 1, path(&user.json["uuid"])).by(&signed.text("access_token")).await.is(200);
        assert_eq!(own.json, user.json, "a record is the same wherever it is read");
    }
}

#[tokio::test]
async fn sign_up_refuses_taken_and_bad_values_in_the_shape_of_the_surface() {
    let world = World::new();
    let root = root(&world).await;
    for node in 0..3 {
        let again = sign_up_root(&world, node, &root.email.to_uppercase()).await.says(409, "email_taken");
        assert!(!again.text("detail").is_empty());
    }
    for body in [
        json!({"email": "x", "password": "p"}),
        json!({"email": "a@b.c", "password": ""}),
        json!({"email": "a@b.c"}),
        json!({"password": "p"}),
        json!({"email": 5, "password": "p"}),
        json!({"email": "a@b.c", "password": "p", "isRoot": false}),
        json!({"email": "a@b.c", "password": "p", "accountId": root.account}),
    ] {
        let refused = world.post(0, "/iam/v1/SignUpAsRootUser").json(&body).await.is(400);
        assert!(refused.json["detail"].is_string(), "{}", refused.json);
        assert_eq!(refused.header("content-type"), Some("application/json"));
    }
    // One e-mail address: root once, and IAM user of as many accounts as there are, its own among them.
    let other = self::root(&world).await;
    for (account, status) in [(&root, 409), (&other, 201), (&other, 409)] {
        let body = json!({"accountId": account.account, "email": root.email, "password": DEV_PASSWORD});
        world.post(1, "/iam/v1/SignUpAsIAMUser").by(&account.token).json(&body).await.is(status);
    }
    sign_in_iam(&world, 2, &other.account, &root.email, DEV_PASSWORD).await.is(200);
}

#[tokio::test]
async fn only_the_accounts_own_root_token_signs_up_iam_users() {
    let world = World::new();
    let (root, other) = (root(&world).await, root(&world).await);
    let (_, dev_token) = iam_user(&world, &root, "dev@example.com").await;
    let new = |account: &str| json!({"accountId": account, "email": "new@example.com", "password": "p"});
    let path = "/iam/v1/SignUpAsIAMUser";
    world.post(0, path).json(&new(&root.account)).await.is(401);
    world.post(0, path).by("nonsense").json(&new(&root.account)).await.is(401);
    world.post(1, path).by(&dev_token).json(&new(&root.account)).await.is(403);
    world.post(1, path).by(&other.token).json(&new(&root.account)).await.is(403);
    let mut body = new(&root.account);
    body["rootToken"] = json!("nonsense");
    world.post(2, path).json(&body).await.is(401);
    body["rootToken"] = json!(other.token);
    world.post(2, path).json(&body).await.is(403);
    // The header wins.
    world
        .post(2, path)
        .by(&other.token)
        .json(&{
            let mut body = body.clone();
            body["rootToken"] = json!(root.token);
            body
        })
        .await
        .is(403);
    body["rootToken"] = json!("nonsense");
    world.post(0, path).by(&root.token).json(&body).await.is(201);
}

#[tokio::test]
async fn sign_in_answers_all_that_is_wrong_alike() {
    let world = World::new();
    let (root, other) = (root(&world).await, root(&world).await);
    iam_user(&world, &root, "dev@example.com").await;
    let mut answers = Vec::new();
    for (email, password) in
        [(root.email.as_str(), "wrong"), ("nobody@example.com", ROOT_PASSWORD), ("no address", "x")]
    {
        answers.push(sign_in_root(&world, answers.len(), email, password).await.is(401));
    }
    for (account, email, password) in [
        (root.account.as_str(), "dev@example.com", "wrong"),
        (&root.account, "nobody@example.com", DEV_PASSWORD),
        (&other.account, "dev@example.com", DEV_PASSWORD),
        ("123456789", "dev@example.com", DEV_PASSWORD),
        ("000000000000", "dev@example.com", DEV_PASSWORD),
        // The root user is no IAM user, nor the other way round.
        (&root.account, &root.email, ROOT_PASSWORD),
    ] {
        answers.push(sign_in_iam(&world, answers.len(), account, email, password).await.is(401));
    }
    answers.push(sign_in_root(&world, 0, "dev@example.com", DEV_PASSWORD).await.is(401));
    for answer in &answers {
        assert_eq!(answer.body_but_request_id(), answers[0].body_but_request_id());
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
}

#[tokio::test]
async fn real_clients_write_small_verbs_and_no_content_type() {
    let world = World::new();
    let email = format!("small-{}@example.com", unique());
    let body = json!({"email": email, "password": "x"}).to_string();
    let record = world.post(0, "/iam/v1/signUpAsRootUser").body(body.clone()).await.is(201);
    let signed = world.post(1, "/iam/v1/signInAsRootUser").body(body).await.is(200);
    let account = record.text("accountId");
    let dev = json!({"accountId": account, "email": "dev@example.com", "password": "y"}).to_string();
    let token = signed.text("access_token");
    world.post(2, "/iam/v1/signUpAsIAMUser").by(&token).body(dev.clone()).await.is(201);
    world.post(0, "/iam/v1/signInAsIAMUser").body(dev).await.is(200);
    let form = "email=a%40b.c&password=x";
    let sent = world.post(0, "/iam/v1/SignInAsRootUser").body(form);
    sent.header("content-type", "application/x-www-form-urlencoded").await.is(415);
}

#[tokio::test]
async fn users_are_read_by_uuid_and_krn_by_root_and_themselves_only() {
    let world = World::new();
    let (root, other) = (root(&world).await, root(&world).await);
    let (dev, dev_token) = iam_user(&world, &root, "dev@example.com").await;
    let (ops, _) = iam_user(&world, &root, "ops@example.com").await;
    let krn = dev["krn"].as_str().unwrap().to_owned();
    for (node, name) in [
        dev["uuid"].as_str().unwrap().to_owned(),
        krn.clone(),
        krn.replace(":users:", ":user:"),
        krn.replace(':', "%3A"),
    ]
    .into_iter()
    .enumerate()
    {
        for token in [&root.token, &dev_token] {
            let read = world.get(node, format!("/iam/v1/users/{name}")).by(token).await.is(200);
            assert_eq!(read.json, dev);
        }
    }
    // Nobody else, and nothing tells another account's user from one that is not there.
    let nobody = json!("00000000-0000-4000-8000-000000000000");
    for (token, user) in [
        (&dev_token, &ops["uuid"]),
        (&dev_token, &json!(root.uuid)),
        (&other.token, &dev["uuid"]),
        (&dev_token, &ops["krn"]),
        (&root.token, &json!(krn.replace(&root.account, &other.account))),
        (&root.token, &json!("krn:s3:1:users:2")),
        (&root.token, &json!("x")),
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let body = if method == "PUT" { "{\"firstName\":\"Eve\"}" } else { "" };
            let ask = |user| world.ask(1, method, path(user)).by(token).body(body);
            let (refused, missing) = (ask(user).await.is(404), ask(&nobody).await.is(404));
            // What is no id of this account by its looks may be told from one that is.
            if *token != root.token {
                let missing = missing.body_but_request_id();
                assert_eq!(refused.body_but_request_id(), missing, "{method} {user}");
            }
        }
    }
    for token in ["nonsense", "a.b.c"] {
        world.get(2, path(&dev["uuid"])).by(token).await.is(401);
    }
    world.get(2, path(&dev["uuid"])).await.is(401);
}

#[tokio::test]
async fn updates_change_what_may_change_and_nothing_else() {
    let world = World::new();
    let root = root(&world).await;
    let (dev, dev_token) = iam_user(&world, &root, "dev@example.com").await;
    iam_user(&world, &root, "ops@example.com").await;
    let own = path(&dev["uuid"]);
    let changes = json!({"firstName": "Robert", "email": "rob@example.com"});
    let changed = world.put(1, &own).by(&dev_token).json(&changes).await.is(200);
    let mut expected = dev.clone();
    expected["firstName"] = json!("Robert");
    expected["email"] = json!("rob@example.com");
    expected["updatedAt"] = changed.json["updatedAt"].clone();
    assert_eq!(changed.json, expected);
    assert!(changed.text("updatedAt").as_str() >= dev["updatedAt"].as_str().unwrap());
    for node in 0..3 {
        assert_eq!(world.get(node, &own).by(&root.token).await.is(200).json, expected);
    }
    for fixed in ["uuid", "accountId", "krn", "isRoot", "createdAt", "status", "isDeleted", "roles"] {
        let body = json!({fixed: "x"});
        world.put(0, &own).by(&root.token).json(&body).await.is(400);
    }
    let taken = json!({"email": "OPS@example.com"});
    world.put(2, &own).by(&root.token).json(&taken).await.says(409, "email_taken");
    world.put(2, &own).json(&changes).await.is(401);
    // The old address is free, and opens nothing.
    sign_in_iam(&world, 0, &root.account, "dev@example.com", DEV_PASSWORD).await.is(401);
    iam_user(&world, &root, "dev@example.com").await;
    sign_in_iam(&world, 0, &root.account, "rob@example.com", DEV_PASSWORD).await.is(200);
    // A root user's address is unique among roots, also after a change.
    let other = self::root(&world).await;
    let taken = json!({"email": root.email});
    let other_path = format!("/iam/v1/users/{}", other.uuid);
    world.put(1, &other_path).by(&other.token).json(&taken).await.says(409, "email_taken");
}

#[tokio::test]
async fn a_new_password_counts_at_once_and_the_old_one_no_more() {
    let world = World::new();
    let root = root(&world).await;
    let (dev, dev_token) = iam_user(&world, &root, "dev@example.com").await;
    let reset = json!({"password": "Another1"});
    world.put(0, path(&dev["uuid"])).by(&root.token).json(&reset).await.is(200);
    for node in 0..3 {
        sign_in_iam(&world, node, &root.account, "dev@example.com", DEV_PASSWORD).await.is(401);
        sign_in_iam(&world, node, &root.account, "dev@example.com", "Another1").await.is(200);
        world.get(node, path(&dev["uuid"])).by(&dev_token).await.is(401);
    }
}

#[tokio::test]
async fn deleted_users_are_gone_everywhere_and_their_address_is_free() {
    let world = World::new();
    let root = root(&world).await;
    let (dev, dev_token) = iam_user(&world, &root, "dev@example.com").await;
    let own = path(&dev["uuid"]);
    world.delete(0, &own).by(&dev_token).await.is(403);
    let deleted = world.delete(1, &own).by(&root.token).await.is(200);
    assert!(!deleted.text("message").is_empty());
    for node in 0..3 {
        world.get(node, &own).by(&dev_token).await.is(401);
        world.get(node, &own).by(&root.token).await.is(404);
        sign_in_iam(&world, node, &root.account, "dev@example.com", DEV_PASSWORD).await.is(401);
    }
    world.delete(2, &own).by(&root.token).await.is(404);
    world.put(2, &own).by(&root.token).json(&json!({"firstName": "x"})).await.is(404);
    let (again, _) = iam_user(&world, &root, "dev@example.com").await;
    assert_ne!(again["uuid"], dev["uuid"]);
}

#[tokio::test]
async fn with_its_root_an_account_ends() {
    let world = World::new();
    let root = root(&world).await;
    let (dev, dev_token) = iam_user(&world, &root, "dev@example.com").await;
    world.delete(0, format!("/iam/v1/users/{}", root.uuid)).by(&root.token).await.is(200);
    for node in 0..3 {
        world.get(node, path(&dev["uuid"])).by(&root.token).await.is(401);
        world.get(node, path(&dev["uuid"])).by(&dev_token).await.is(401);
        sign_in_root(&world, node, &root.email, ROOT_PASSWORD).await.is(401);
        sign_in_iam(&world, node, &root.account, "dev@example.com", DEV_PASSWORD).await.is(401);
        let body = json!({"accountId": root.account, "email": "x@example.com", "password": "p"});
        world.post(node, "/iam/v1/SignUpAsIAMUser").by(&root.token).json(&body).await.is(401);
    }
    let again = sign_up_root(&world, 1, &root.email).await.is(201);
    assert_ne!(again.text("accountId"), root.account);
}
