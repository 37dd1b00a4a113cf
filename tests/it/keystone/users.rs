//! `/users/...` (contract part 4.2).

use serde_json::{Value, json};

use super::{AT, OTHER_SECRET, SECRET, Service, details, has_members, mail, refused, sign_in};
use crate::client::Reply;
use crate::harness::{Own, World, unique};

const PROFILE: &str = "/api/v1/users/profile";

fn person(name: &str) -> Value {
    json!({"username": name, "email": mail(name), "password": SECRET, "firstName": "John", "lastName": "Doe"})
}

async fn register(world: &World, node: usize, body: &Value) -> Reply {
    world.post(node, format!("{AT}/users/register")).json(body).await
}

#[tokio::test]
async fn people_register_and_are_users_on_every_node() {
    let world = World::new();
    for node in 0..3 {
        let name = format!("john.doe-{}", unique());
        let mut body = person(&name);
        if node == 1 {
            // The other spelling of members, and one that a client may not choose: it is passed over.
            body = json!({
                "username": name, "email": mail(&name), "password": SECRET, "first_name": "John",
                "last_name": "Doe", "roles": ["admin"], "enabled": false,
            });
        }
        let made = register(&world, node, &body).await.is(201);
        has_members(
            &made.json,
            &[
                "id",
                "username",
                "email",
                "firstName",
                "lastName",
                "enabled",
                "roles",
                "createdAt",
                "updatedAt",
            ],
        );
        let id: uuid::Uuid = made.text("id").parse().unwrap();
        assert_eq!(id.get_version_num(), 4);
        assert_eq!((&made.json["username"], &made.json["email"]), (&json!(name), &json!(mail(&name))));
        assert_eq!((&made.json["firstName"], &made.json["lastName"]), (&json!("John"), &json!("Doe")));
        assert_eq!((&made.json["enabled"], &made.json["roles"]), (&json!(true), &json!(["user"])));
        assert!(made.text("createdAt").ends_with('Z'));
        for other in 0..3 {
            let signed = sign_in(&world, other, &name, SECRET).await.is(200);
            assert_eq!(signed.text("scope"), "read:profile write:profile");
        }
        // Names and addresses are taken in any case of letters, by each other too.
        for (username, email) in
            [(name.to_uppercase(), mail("free")), (format!("free-{}", unique()), mail(&name).to_uppercase())]
        {
            let body = json!({"username": username, "email": email, "password": SECRET});
            refused(register(&world, node + 1, &body).await, 409, "conflict");
        }
    }
}

#[tokio::test]
async fn every_fault_of_a_registration_is_told_at_once() {
    let world = World::new();
    let bad = json!({"username": "a b", "email": "x", "password": "", "firstName": "a\nb"});
    let reply = refused(register(&world, 0, &bad).await, 400, "validation_failed");
    assert_eq!(details(&reply).len(), 4, "{}", reply.json);
    let name = format!("weak-{}", unique());
    let mut body = person(&name);
    for (node, (password, faults)) in [
        ("short", 4),
        ("alllowercase1!", 1),
        ("ALLUPPERCASE1!", 1),
        ("NoDigitsHere!", 1),
        ("NoSpecial123", 1),
        (&*format!("X1!{}", name.to_uppercase()), 2),
        ("Password123!", 1),
        ("Xqwertyuiop1!", 1),
        ("X0987654321a!", 1),
    ]
    .into_iter()
    .enumerate()
    {
        body["password"] = json!(password);
        let reply = refused(register(&world, node, &body).await, 400, "validation_failed");
        assert_eq!(details(&reply).len(), faults, "{password}: {}", reply.json);
        assert!(!reply.json.to_string().contains(password), "{}", reply.json);
    }
    for (username, is_good) in [
        ("ab", false),
        (&*"x".repeat(51), false),
        ("a@b", false),
        ("a:b", false),
        ("é", false),
        (&*format!("j_o-h.n{}", unique()), true),
    ] {
        let email = mail(&format!("u{}", unique()));
        let body = json!({"username": username, "email": email, "password": SECRET});
        let reply = register(&world, 1, &body).await;
        assert_eq!(reply.status, if is_good { 201 } else { 400 }, "{username}: {}", reply.json);
    }
    let body = json!({"username": format!("no-mail-{}", unique()), "password": SECRET});
    refused(register(&world, 2, &body).await, 400, "invalid_request");
}

#[tokio::test]
async fn registration_is_closed_where_the_account_or_the_node_says_so() {
    let world = World::new();
    let account = world.account().await;
    let body = person(&format!("stranger-{}", unique()));
    for (node, header) in [&*account.id, "100000000001", "000000000000", "x"].into_iter().enumerate() {
        let ask = world.post(node, format!("{AT}/users/register")).header("x-account-id", header);
        refused(ask.json(&body).await, 403, "registration_closed");
    }
    let own = Own::start(1, "registration = false\n").await;
    let reply = own.post(0, format!("{AT}/users/register")).json(&body).await;
    refused(reply, 403, "registration_closed");
    for node in own.nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_user_sees_and_changes_its_own_profile() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user", "trader"]).await;
    let before = world.get(0, PROFILE).by(&user.access).await.is(200);
    has_members(
        &before.json,
        &[
            "id",
            "username",
            "email",
            "firstName",
            "lastName",
            "enabled",
            "roles",
            "createdAt",
            "updatedAt",
            "scopes",
            "lastLogin",
        ],
    );
    assert_eq!(before.json["roles"], json!(["trader", "user"]));
    assert_eq!(
        before.json["scopes"],
        json!(["read:profile", "read:trades", "write:profile", "write:trades"])
    );
    assert!(before.text("lastLogin").ends_with('Z') && before.json["firstName"].is_null());
    let new = mail(&format!("new-{}", user.name));
    // Role, id and name are not its own to change, and passed over.
    let body = json!({
        "firstName": "John", "last_name": "Smith", "email": new, "roles": ["admin"], "username": "root",
        "id": "x", "enabled": false,
    });
    let changed = world.put(1, PROFILE).by(&user.access).json(&body).await.is(200);
    assert!(changed.text("updatedAt") >= before.text("updatedAt"));
    for node in 0..3 {
        let seen = world.get(node, PROFILE).by(&user.access).await.is(200).json;
        assert_eq!(seen, changed.json);
        assert_eq!((&seen["firstName"], &seen["lastName"]), (&json!("John"), &json!("Smith")));
        assert_eq!((&seen["username"], &seen["email"]), (&json!(user.name), &json!(new)));
        assert_eq!(seen["roles"], json!(["trader", "user"]));
    }
    for node in 0..3 {
        sign_in(&world, node, &new, SECRET).await.is(200);
        refused(sign_in(&world, node, &mail(&user.name), SECRET).await, 401, "invalid_grant");
    }
    let gone = world.put(2, PROFILE).by(&user.access).json(&json!({"firstName": ""})).await.is(200);
    assert!(gone.json["firstName"].is_null());
    let other = service.user(&[]).await;
    let taken = world.put(0, PROFILE).by(&user.access).json(&json!({"email": mail(&other.name)})).await;
    refused(taken, 409, "conflict");
    let bad = json!({"email": "x", "firstName": "a\nb"});
    let reply = refused(world.put(0, PROFILE).by(&user.access).json(&bad).await, 400, "validation_failed");
    assert_eq!(details(&reply).len(), 2);
    // Of no role, and so of no scope.
    for (method, body) in [("GET", json!({})), ("PUT", json!({"firstName": "X"}))] {
        let ask = world.ask(1, method, PROFILE);
        refused(ask.by(&other.access).json(&body).await, 403, "insufficient_scope");
    }
    refused(world.get(2, PROFILE).await, 401, "invalid_token");
}

#[tokio::test]
async fn a_changed_password_counts_at_once_everywhere_and_ends_other_sessions() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user"]).await;
    let elsewhere = sign_in(&world, 2, &user.name, SECRET).await.is(200).text("access_token");
    let path = format!("{AT}/users/change-password");
    let ask = |node: usize, current: &str, new: &str, again: &str| {
        let body = json!({"currentPassword": current, "newPassword": new, "confirmPassword": again});
        world.post(node, &path).by(&user.access).json(&body)
    };
    refused(ask(0, "wrong", OTHER_SECRET, OTHER_SECRET).await, 400, "invalid_grant");
    let reply = refused(ask(1, SECRET, OTHER_SECRET, SECRET).await, 400, "validation_failed");
    assert_eq!(details(&reply), ["confirmPassword: is not the new password."]);
    let weak = refused(ask(2, SECRET, "weak", "weak").await, 400, "validation_failed");
    assert_eq!(details(&weak).len(), 4, "{}", weak.json);
    refused(ask(0, SECRET, SECRET, SECRET).await, 400, "validation_failed");
    let done = ask(1, SECRET, OTHER_SECRET, OTHER_SECRET).await.is(200);
    assert_eq!(done.json, json!({"message": "Password changed successfully"}));
    for node in 0..3 {
        refused(sign_in(&world, node, &user.name, SECRET).await, 401, "invalid_grant");
        sign_in(&world, node, &user.name, OTHER_SECRET).await.is(200);
        world.get(node, PROFILE).by(&user.access).await.is(200);
        refused(world.get(node, PROFILE).by(&elsewhere).await, 401, "token_revoked");
    }
    // The one before is remembered.
    refused(ask(2, OTHER_SECRET, SECRET, SECRET).await, 400, "validation_failed");
    let other = json!({"current_password": OTHER_SECRET, "new_password": "Third-Secret789!",
        "confirm_password": "Third-Secret789!"});
    world.post(0, &path).by(&user.access).json(&other).await.is(200);
    refused(world.post(0, &path).json(&other).await, 401, "invalid_token");
}
