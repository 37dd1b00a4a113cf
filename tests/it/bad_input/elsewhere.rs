//! What belongs to another account is as missing as what does not exist, to the last byte.

use conclave::api::Api;

use super::is_refused;
use crate::client::Reply;
use crate::harness::World;
use crate::requests::Things;

/// Ids that nothing has.
const NO_ACCOUNT: &str = "100000000001";
const NO_ID: &str = "00000000-0000-4000-8000-000000000000";

/// Everything a client sees, but what differs between any two requests.
fn seen(reply: &Reply) -> (u16, serde_json::Value, Vec<String>) {
    let mut names: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date", "conclave-revision"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    names.sort();
    let mut body = reply.body_but_request_id();
    if let Some(members) = body.as_object_mut() {
        // What was asked differs.
        members.remove("path");
    }
    (reply.status, body, names)
}

#[tokio::test]
async fn another_account_in_the_path_is_none() {
    let world = World::new();
    let (account, other) = (world.account().await, world.account().await);
    let things = Things::make(&world, &account).await;
    let before = world.digest(&account.id).await;
    for (index, route) in Api::routes().iter().filter(|route| route.pattern.contains("{account}")).enumerate()
    {
        let there = things.sample(route);
        let mut nowhere = there.clone();
        nowhere.path = there.path.replace(&account.id, NO_ACCOUNT);
        if ["sign-in", "tokens/", "jwks.json"].iter().any(|open| route.pattern.contains(open))
            || route.pattern.ends_with("{account}/password")
        {
            // These ask for no token; what they tell of an account is that of its own stories.
            continue;
        }
        if route.pattern.starts_with("/v1/cluster/") {
            // Operators are in no account, and whoever is none is told so whatever the path says.
            there.ask(&world, index).by(&other.token).await.says(401, "not_operator");
            continue;
        }
        let foreign = there.ask(&world, index).by(&other.token).await;
        let missing = nowhere.ask(&world, index).by(&other.token).await;
        is_refused(route.name, &foreign);
        assert_eq!(foreign.status, 404, "{}", route.name);
        assert_eq!(seen(&foreign), seen(&missing), "{}", route.name);
    }
    assert_eq!(world.digest(&account.id).await, before);
}

#[tokio::test]
async fn anothers_ids_in_ones_own_account_are_none() {
    let world = World::new();
    let (account, other) = (world.account().await, world.account().await);
    let things = Things::make(&world, &account).await;
    let own = Things::make(&world, &other).await;
    let (before, own_before) = (world.digest(&account.id).await, world.digest(&other.id).await);
    let mut compared = 0;
    for (index, route) in Api::routes().iter().enumerate() {
        let sample = own.sample(route);
        let swap = |from: &str, to: &str| {
            let mut swapped = sample.clone();
            swapped.path = swapped.path.replace(from, to);
            if let Some(body) = &mut swapped.body {
                *body = serde_json::from_str(&body.to_string().replace(from, to)).unwrap();
            }
            swapped
        };
        let service_key = |things: &Things| things.service.key.clone().unwrap().0;
        for (from, to) in [
            (&own.user.id, &things.user.id),
            (&own.service.id, &things.service.id),
            (&own.user.session, &things.user.session),
            (&service_key(&own), &service_key(&things)),
            (&own.keystone.user.id, &things.keystone.user.id),
            (&own.keystone.client.id, &things.keystone.client.id),
        ] {
            let foreign = swap(from, to);
            let random = swap(from, NO_ID);
            if foreign.path == sample.path && foreign.body == sample.body {
                continue;
            }
            let foreign = foreign.ask(&world, index).by(sample.proof(&other.token)).await;
            let random = random.ask(&world, index).by(sample.proof(&other.token)).await;
            assert!(matches!(foreign.status, 404 | 200), "{}: {}", route.name, foreign.json);
            // Only a check is answered: that it is not allowed.
            assert!(foreign.status == 404 || route.pattern.contains("/check"), "{}", route.name);
            assert_eq!(seen(&foreign), seen(&random), "{}", route.name);
            compared += 1;
        }
    }
    assert!(compared > 30, "{compared}");
    assert_eq!(world.digest(&account.id).await, before, "another account was touched");
    assert_eq!(world.digest(&other.id).await, own_before, "a refused request left something behind");
}
