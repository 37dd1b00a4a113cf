//! The first administrator comes by a link that works once.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::Crew;
use crate::harness::PASSWORD;

fn offer(crew: &Crew, machine: usize) -> (String, String) {
    let offer: Value = serde_json::from_str(&crew.must(machine, &["setup", "--json"])).unwrap();
    let (base, secret) = offer["url"].as_str().unwrap().split_once("/setup#").unwrap();
    (base.to_owned(), secret.to_owned())
}

#[tokio::test]
async fn a_setup_link_works_once_on_any_node_whoever_races() {
    let crew = Crew::grown(2, "").await;
    let client = crew.client();
    let (base, void) = offer(&crew, 0);
    assert_eq!(base, format!("http://{}", crew.machines[0].http));
    let (_, secret) = offer(&crew, 1);
    let body = |secret: &str, name: &str| json!({"secret": secret, "username": name, "password": PASSWORD});
    for wrong in [void.as_str(), "", "rubbish", &secret[1..]] {
        client.post(1, "/v1/setup").json(&body(wrong, "eve")).await.is(401);
    }
    let weak = json!({"secret": secret, "username": "ada", "password": "12345678"});
    client.post(0, "/v1/setup").json(&weak).await.is(400);
    client.post(0, "/v1/setup").json(&json!({"secret": secret})).await.is(400);

    // Six at once, at both nodes: one gets in.
    let bodies: Vec<Value> = (0..6).map(|number| body(&secret, &format!("admin-{number}"))).collect();
    let asked =
        bodies.iter().enumerate().map(|(node, body)| client.post(node, "/v1/setup").json(body).send());
    let replies: Vec<_> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
    let made: Vec<_> = replies.iter().filter(|reply| reply.status == 201).collect();
    assert_eq!(made.len(), 1, "{replies:?}");
    assert!(replies.iter().all(|reply| matches!(reply.status, 201 | 401)), "{replies:?}");
    let name = made[0].text("username");
    let credentials = json!({"grant_type": "password", "username": name, "password": PASSWORD});
    let signed = client.post(1, "/api/v1/auth/token").json(&credentials).await.is(200);
    client.get(0, "/api/v1/admin/users").by(&signed.text("access_token")).await.is(200);
    client.post(0, "/v1/setup").json(&body(&secret, "late")).await.is(401);
    for machine in 0..2 {
        crew.refuses(machine, &["setup"], 1, "conclave admin create");
        let log = crew.log(machine);
        assert!(
            !log.contains(&secret) && !log.contains(&void) && !log.contains(PASSWORD),
            "a secret is logged"
        );
    }

    // The page that the link opens.
    let page = client.get(1, "/setup").await.is(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    for rule in ["script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    let html = String::from_utf8_lossy(&page.body).into_owned();
    for (file, kind) in
        [("/setup/page.js", "text/javascript; charset=utf-8"), ("/setup/page.css", "text/css; charset=utf-8")]
    {
        assert!(html.contains(file), "{html}");
        let reply = client.get(0, file).await.is(200);
        assert_eq!(reply.header("content-type"), Some(kind));
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(!text.contains("innerHTML") && !html.contains("<style") && !html.contains("onclick"));
    }
}
