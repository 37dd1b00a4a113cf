//! `/admin/users` (contract part 4.2).

use serde_json::{Value, json};

use super::{AT, SECRET, Service, details, has_members, mail, refused, sign_in};
use crate::harness::{World, unique};

const MEMBERS: [&str; 11] = [
    "id",
    "username",
    "email",
    "firstName",
    "lastName",
    "enabled",
    "roles",
    "createdAt",
    "updatedAt",
    "lastLogin",
    "lockedUntil",
];
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

#[tokio::test]
async fn an_administrator_makes_changes_and_deletes_users() {
    let world = World::new();
    let service = Service::new(&world).await;
    let name = format!("jane.doe-{}", unique());
    let body = json!({
        "username": name, "email": mail(&name), "password": "TempSecret123!", "firstName": "Jane",
        "roles": ["user", "trader"], "enabled": true,
    });
    let made = service.send(0, "POST", "/admin/users", body).await.is(201);
    has_members(&made.json, &MEMBERS);
    let (id, path) = (made.text("id"), format!("/admin/users/{}", made.text("id")));
    assert_eq!(made.header("location"), Some(&*format!("{AT}{path}")));
    assert_eq!(made.json["roles"], json!(["trader", "user"]));
    assert!(made.json["lastLogin"].is_null());
    for node in 0..3 {
        assert_eq!(service.ask(node, "GET", &path).await.is(200).json, made.json);
    }
    let signed = sign_in(&world, 1, &name, "TempSecret123!").await.is(200);
    assert!(service.ask(2, "GET", &path).await.is(200).text("lastLogin").ends_with('Z'));
    // The list of roles is all that the user is to have.
    let body = json!({"firstName": "", "lastName": "Smith", "roles": ["trader"], "enabled": true});
    let changed = service.send(1, "PUT", &path, body).await.is(200);
    assert_eq!((&changed.json["firstName"], &changed.json["lastName"]), (&Value::Null, &json!("Smith")));
    assert_eq!(changed.json["roles"], json!(["trader"]));
    for node in 0..3 {
        assert_eq!(service.ask(node, "GET", &path).await.is(200).json["roles"], json!(["trader"]));
        let profile = world.get(node, format!("{AT}/users/profile")).by(&signed.text("access_token"));
        refused(profile.await, 403, "insufficient_scope");
    }
    // All of a change or nothing.
    let body = json!({"lastName": "Never", "roles": ["trader", "no-such-role"]});
    let reply = refused(service.send(2, "PUT", &path, body).await, 400, "validation_failed");
    assert_eq!(details(&reply).len(), 1);
    assert_eq!(service.ask(0, "GET", &path).await.is(200).json["lastName"], "Smith");
    // A change that somebody overtook, for clients that ask.
    let stale = service.ask(0, "PUT", &path).header("if-match", &made.tag()).json(&json!({"lastName": "X"}));
    refused(stale.await, 412, "precondition_failed");
    service.ask(1, "DELETE", &path).await.is(204);
    for node in 0..3 {
        for method in ["GET", "PUT", "DELETE"] {
            refused(service.send(node, method, &path, json!({"firstName": "X"})).await, 404, "not_found");
        }
        refused(service.ask(node, "POST", &format!("{path}/unlock")).await, 404, "not_found");
        let profile = world.get(node, format!("{AT}/users/profile")).by(&signed.text("access_token"));
        refused(profile.await, 401, "token_revoked");
        refused(sign_in(&world, node, &name, "TempSecret123!").await, 401, "invalid_grant");
        let found = service.ask(node, "GET", &format!("/admin/users?search={name}")).await.is(200);
        assert_eq!(found.json["content"], json!([]));
    }
    // Name and address are free again.
    let body = json!({"username": name, "email": mail(&name), "password": SECRET, "enabled": false});
    let again = service.send(2, "POST", "/admin/users", body).await.is(201);
    assert_ne!(again.text("id"), id);
    assert_eq!((&again.json["enabled"], &again.json["roles"]), (&json!(false), &json!(["user"])));
    refused(sign_in(&world, 0, &name, SECRET).await, 403, "account_disabled");
}

#[tokio::test]
async fn only_administrators_go_there_and_none_locks_itself_out() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user"]).await;
    let own = claims_sub(&service.admin);
    let path = format!("/admin/users/{own}");
    for (node, (method, path)) in [
        ("GET", "/admin/users"),
        ("POST", "/admin/users"),
        ("GET", &*format!("/admin/users/{}", user.id)),
        ("PUT", &*format!("/admin/users/{}", user.id)),
        ("DELETE", &*format!("/admin/users/{}", user.id)),
        ("POST", &*format!("/admin/users/{}/unlock", user.id)),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"username": "xyz", "email": "x@y.z", "password": SECRET, "roles": ["admin"]});
        let ask = || world.ask(node, method, format!("{AT}{path}"));
        refused(ask().by(&user.access).json(&body).await, 403, "insufficient_scope");
        refused(ask().json(&body).await, 401, "invalid_token");
        refused(ask().by("x").json(&body).await, 401, "invalid_token");
    }
    refused(service.ask(0, "DELETE", &path).await, 403, "insufficient_scope");
    refused(service.send(1, "PUT", &path, json!({"enabled": false})).await, 403, "insufficient_scope");
    refused(service.send(2, "PUT", &path, json!({"roles": ["user"]})).await, 403, "insufficient_scope");
    service.send(0, "PUT", &path, json!({"firstName": "Boss", "roles": ["admin", "user"]})).await.is(200);
    for (node, id) in [NOBODY, "x", "me"].into_iter().enumerate() {
        refused(service.ask(node, "DELETE", &format!("/admin/users/{id}")).await, 404, "not_found");
    }
    // An administrator without the scope in its token is none.
    let other = service.user(&["admin", "user"]).await;
    let body = json!({
        "grant_type": "password", "username": other.name, "password": SECRET, "scope": "read:profile",
    });
    let narrow = world.post(0, format!("{AT}/auth/token")).json(&body).await.is(200).text("access_token");
    refused(world.get(1, format!("{AT}/admin/users")).by(&narrow).await, 403, "insufficient_scope");
    world.get(1, format!("{AT}/admin/users")).by(&other.access).await.is(200);
    // And one whose role is taken away is none at once, whatever its token says.
    let path = format!("/admin/users/{}", other.id);
    service.send(2, "PUT", &path, json!({"roles": ["user"]})).await.is(200);
    for node in 0..3 {
        let ask = world.get(node, format!("{AT}/admin/users")).by(&other.access);
        refused(ask.await, 403, "insufficient_scope");
    }
}

fn claims_sub(token: &str) -> String {
    super::claims(token)["sub"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn users_are_listed_in_pages_sorted_and_searched() {
    let world = World::new();
    let service = Service::new(&world).await;
    let tag = format!("tag{}", unique());
    let mut names = Vec::new();
    for (index, first) in ["Zoe", "Anna", "Mia", "Bob", "Yan"].into_iter().enumerate() {
        let name = format!("{first}-{tag}").to_lowercase();
        let roles = if index % 2 == 0 { vec!["user"] } else { vec!["user", "trader"] };
        let body = json!({
            "username": name, "email": mail(&format!("{}-{tag}", 9 - index)), "password": SECRET,
            "firstName": first, "roles": roles,
        });
        service.send(index, "POST", "/admin/users", body).await.is(201);
        names.push(name);
    }
    let list = async |node: usize, query: &str| {
        let path = format!("/admin/users?search={}&{query}", tag.to_uppercase());
        let reply = service.ask(node, "GET", &path).await.is(200);
        has_members(&reply.json, &["content", "pageable"]);
        let content = reply.json["content"].as_array().unwrap();
        let names: Vec<String> = content
            .iter()
            .map(|user| user["username"].as_str().unwrap().split('-').next().unwrap().to_owned())
            .collect();
        (names.join(" "), reply.json["pageable"].clone())
    };
    for node in 0..3 {
        for (query, expected) in [
            ("", "yan bob mia anna zoe"),
            ("sort=createdAt,desc", "yan bob mia anna zoe"),
            ("sort=createdAt", "zoe anna mia bob yan"),
            ("sort=username,asc", "anna bob mia yan zoe"),
            ("sort=username,DESC", "zoe yan mia bob anna"),
            ("sort=email,asc", "yan bob mia anna zoe"),
            ("role=trader&sort=username,asc", "anna bob"),
            ("role=nothing", ""),
            ("page=1&size=2&sort=username,asc", "mia yan"),
            ("page=2&size=2&sort=username,asc", "zoe"),
            ("page=3&size=2", ""),
            ("page=18446744073709551615&size=200", ""),
            ("unknown=1&sort=username,asc&size=1", "anna"),
        ] {
            let (found, _) = list(node, query).await;
            assert_eq!(found, expected, "{query}");
        }
    }
    let (_, pageable) = list(0, "page=1&size=2").await;
    assert_eq!(pageable, json!({"page": 1, "size": 2, "totalElements": 5, "totalPages": 3}));
    let (_, pageable) = list(0, "").await;
    assert_eq!(pageable, json!({"page": 0, "size": 20, "totalElements": 5, "totalPages": 1}));
    // Who signed in last comes first.
    for name in [&names[1], &names[3]] {
        sign_in(&world, 0, name, SECRET).await.is(200);
    }
    let (found, _) = list(1, "sort=lastLogin,desc&size=2").await;
    assert_eq!(found, "bob anna");
    // A first name counts, in any case; a part of a hash does not.
    let found = service.ask(0, "GET", "/admin/users?search=argon2").await.is(200);
    assert_eq!(found.json["pageable"]["totalElements"], 0);
    for bad in
        ["sort=password", "sort=username,up", "size=0", "page=-1", "size=many", "role=a%20b", "page=1&page=2"]
    {
        let reply = service.ask(1, "GET", &format!("/admin/users?{bad}")).await.is(400);
        assert!(["validation_failed", "invalid_request"].contains(&reply.text("error").as_str()), "{bad}");
    }
}
