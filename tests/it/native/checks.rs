//! Permission checks: one, many, and who can.

use serde_json::{Value, json};

use crate::client::Reply;
use crate::harness::{Account, World};

async fn check(world: &World, account: &Account, node: usize, question: Value) -> Reply {
    account.send(world, node, "POST", "/check", question).await
}

#[tokio::test]
async fn every_form_of_the_question_gets_the_same_answer_on_every_node() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "deployer", &["deploy:*", "logs:read"]).await;
    let ann = account.user(&world, "ann", &["deployer"]).await;
    let robot = account.service(&world, "robot", &["deployer"]).await;
    let table = [
        ("deploy:prod", true),
        ("deploy:", true),
        ("logs:read", true),
        ("logs:write", false),
        ("logs", false),
        ("deploy", false),
        ("*", false),
    ];
    for node in 0..3 {
        let mut questions = Vec::new();
        for (permission, allowed) in table {
            let expected = json!({"allowed": allowed});
            let own = format!("/check?permission={permission}");
            for token in [&ann.token, &robot.token] {
                let reply = world.get(node, account.at(&own)).by(token).await.is(200);
                assert_eq!(reply.json, expected, "{permission}");
            }
            let about = account.at(&format!("{own}&user=ann"));
            assert_eq!(world.get(node, about).by(&account.token).await.is(200).json, expected);
            let question = json!({"service_account": robot.id, "permission": permission});
            assert_eq!(check(&world, &account, node, question.clone()).await.is(200).json, expected);
            questions.push(question);
        }
        let batch = account.send(&world, node, "POST", "/check/batch", json!({"checks": questions})).await;
        let results: Vec<bool> = table.iter().map(|(_, allowed)| *allowed).collect();
        let expected: Vec<Value> = results.iter().map(|allowed| json!({"allowed": allowed})).collect();
        assert_eq!(batch.is(200).json["results"], json!(expected));
        // Who is not there may do nothing, and the root user everything.
        let nobody = json!({"user": "nobody", "permission": "deploy:x"});
        assert_eq!(check(&world, &account, node, nobody).await.is(200).json, json!({"allowed": false}));
        let root = json!({"permission": "anything"});
        assert_eq!(check(&world, &account, node, root).await.is(200).json, json!({"allowed": true}));
    }
}

#[tokio::test]
async fn asking_about_others_takes_a_permission_and_says_nothing_without() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "asker", &["iam:checks:read"]).await;
    let (ann, bob) = (account.user(&world, "ann", &[]).await, account.user(&world, "bob", &["asker"]).await);
    let mut answers = Vec::new();
    for about in ["bob", &bob.id, "nobody", account.email.as_str()] {
        let question = json!({"user": about, "permission": "x"});
        let reply = world.post(0, account.at("/check")).by(&ann.token).json(&question).await;
        answers.push(reply.says(403, "forbidden").body_but_request_id());
        world.post(1, account.at("/check")).by(&bob.token).json(&question).await.is(200);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    world.get(2, account.at("/who-can?permission=x")).by(&ann.token).await.is(403);
    for bad in [
        json!({"user": "ann", "service_account": "x", "permission": "x"}),
        json!({"permission": "a b"}),
        json!({"permission": ""}),
        json!({}),
    ] {
        check(&world, &account, 0, bad.clone()).await.is(400);
        account.send(&world, 0, "POST", "/check/batch", json!({"checks": [bad]})).await.is(400);
    }
    let many = |count| json!({"checks": vec![json!({"permission": "x"}); count]});
    account.send(&world, 0, "POST", "/check/batch", many(200)).await.is(200);
    account.send(&world, 0, "POST", "/check/batch", many(201)).await.is(400);
    assert_eq!(
        account.send(&world, 0, "POST", "/check/batch", many(0)).await.is(200).json["results"],
        json!([])
    );
}

#[tokio::test]
async fn who_can_names_those_who_may_act_and_by_which_role() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "all", &["*"]).await;
    account.role(&world, "docs", &["docs:*"]).await;
    account.role(&world, "other", &["docs"]).await;
    let ann = account.user(&world, "ann", &["all", "docs"]).await;
    let robot = account.service(&world, "robot", &["docs"]).await;
    account.user(&world, "off", &["docs", "other"]).await;
    account.ask(&world, 0, "POST", "/users/off/disable").await.is(200);
    let held = account.ask(&world, 1, "GET", "/users/off/permissions").await.is(200);
    assert_eq!(held.json["items"], json!([]), "who is disabled may do nothing");
    let root = account.ask(&world, 1, "GET", "/users/me/permissions").await.is(200);
    assert_eq!(root.json["items"], json!(["*"]));
    for node in 0..3 {
        let reply = account.ask(&world, node, "GET", "/who-can?permission=docs:read").await.is(200);
        let mut found: Vec<(String, String)> = Vec::new();
        for item in reply.items() {
            let text = |member: &str| item[member].as_str().unwrap().to_owned();
            found.push((text("id"), text("role")));
        }
        let mut expected = vec![
            (ann.id.clone(), "all".to_owned()),
            (ann.id.clone(), "docs".to_owned()),
            (robot.id.clone(), "docs".to_owned()),
        ];
        found.sort();
        expected.sort();
        assert_eq!((found, &reply.json["truncated"]), (expected, &json!(false)));
    }
}
