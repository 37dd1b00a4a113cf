//! The first administrator: by settings, once, whichever nodes propose it; and by the operator.

use conclave::app::Request;
use conclave::app::accounts::Person;
use conclave::app::passwords::WantedPassword;
use conclave::auth::kek::Kek;
use conclave::domain::policy::PasswordPolicy;
use conclave::domain::{Origin, UserName};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use super::{AT, SECRET, Service, claims, details, refused, sign_in};
use crate::harness::{Own, PASSWORD, PATIENCE, World, eventually, unique};

#[tokio::test]
async fn three_nodes_that_propose_an_administrator_make_one() {
    let settings = format!(
        "bootstrap_admin_username = 'grace'\nbootstrap_admin_password = '{PASSWORD}'\n\
         bootstrap_admin_email = 'grace@example.com'\n\
         keystone_access_token_lifetime = '2m'\nkeystone_refresh_token_lifetime = '1h'\n\
         keystone_password_min_length = 20\n"
    );
    let own = Own::start(3, &settings).await;
    let signed = eventually("an administrator", async || {
        let reply = sign_in(&own, 1, "grace@example.com", PASSWORD).await;
        (reply.status == 200).then_some(reply)
    })
    .await;
    let token = signed.text("access_token");
    for node in 0..3 {
        let listed = own.get(node, format!("{AT}/admin/users")).by(&token).await.is(200);
        assert_eq!(listed.json["pageable"]["totalElements"], 1, "{}", listed.json);
        assert_eq!(listed.json["content"][0]["roles"], json!(["admin"]));
    }
    // The settings of the surface count.
    assert_eq!(signed.json["expires_in"], 120);
    let refresh = claims(&signed.text("refresh_token"));
    assert_eq!(refresh["exp"].as_u64().unwrap() - refresh["iat"].as_u64().unwrap(), 3600);
    let body = json!({"username": "short", "email": "short@example.com", "password": SECRET});
    let short = own.post(0, format!("{AT}/admin/users")).by(&token).json(&body).await;
    let short = refused(short, 400, "validation_failed");
    assert_eq!(details(&short), ["A password has at least 20 characters."]);
    for node in own.nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn of_several_first_administrators_one_is_made_and_never_another() {
    let own = Own::start(3, "").await;
    let propose = |node: usize| {
        let person = Person {
            name: Some(UserName::parse(&format!("first-{node}")).unwrap()),
            email: None,
            first_name: None,
            last_name: None,
            password: WantedPassword::parse(PASSWORD.to_owned().into(), PasswordPolicy::MODERN).unwrap(),
        };
        let app = own.nodes[node % 3].app();
        async move {
            let request = Request::once(Instant::now() + PATIENCE, Origin::default());
            app.create_first_admin(person, Vec::new(), &request).await.unwrap().map(|(id, _)| (node, id))
        }
    };
    let made: Vec<_> = join_all((0..6).map(propose)).await.into_iter().flatten().collect();
    let [(node, id)] = made[..] else { panic!("{made:?}") };
    let token = sign_in(&own, 0, &format!("first-{node}"), PASSWORD).await.is(200).text("access_token");
    let listed = own.get(1, format!("{AT}/admin/users")).by(&token).await.is(200);
    assert_eq!(listed.json["pageable"]["totalElements"], 1, "{}", listed.json);
    assert_eq!(listed.json["content"][0]["id"], id.to_string());
    // Also when it is gone.
    let body = json!({"username": "other", "email": "o@x.test", "password": SECRET, "roles": ["admin"]});
    own.post(2, format!("{AT}/admin/users")).by(&token).json(&body).await.is(201);
    let other = sign_in(&own, 0, "other", SECRET).await.is(200).text("access_token");
    own.delete(1, format!("{AT}/admin/users/{id}")).by(&other).await.is(204);
    assert!(propose(9).await.is_none());
    for node in own.nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn an_operator_makes_administrators_and_nobody_else_does() {
    let world = World::new();
    let operator = Kek::read_file(World::key_file()).unwrap().operator_token();
    let name = format!("ada-{}", unique());
    let body = json!({"username": name, "email": format!("{name}@stories.test"), "password": PASSWORD});
    let path = "/v1/cluster/admins";
    let service = Service::new(&world).await;
    let account = world.account().await;
    for (node, token) in [&service.admin, &account.token, "x"].into_iter().enumerate() {
        world.post(node, path).by(token).json(&body).await.is(401);
    }
    let made = world.post(1, path).by(operator.expose()).json(&body).await.is(201);
    assert_eq!((&made.json["username"], &made.json["account"]), (&json!(name), &json!("000000000001")));
    world.post(2, path).by(operator.expose()).json(&body).await.says(409, "name_taken");
    let weak = json!({"username": "x", "password": "password"});
    world.post(0, path).by(operator.expose()).json(&weak).await.is(400);
    let token = sign_in(&world, 2, &name, PASSWORD).await.is(200).text("access_token");
    world.get(0, format!("{AT}/admin/users")).by(&token).await.is(200);
    // It is one administrator among others: one deletes another.
    service.ask(1, "DELETE", &format!("/admin/users/{}", made.text("id"))).await.is(204);
    refused(world.get(0, format!("{AT}/admin/users")).by(&token).await, 401, "token_revoked");
}
