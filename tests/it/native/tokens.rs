//! Tokens: refreshed, validated, looked into, taken back, and checked by others with the published keys.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use crate::client::Reply;
use crate::harness::{Account, PASSWORD, World};

async fn post(world: &World, account: &Account, node: usize, verb: &str, body: Value) -> Reply {
    world.post(node, account.at(&format!("/tokens/{verb}"))).json(&body).await
}

/// Checks a token as any resource server does, with nothing but what is public.
fn checked(token: &str, keys: &Value, issuer: &str) -> jsonwebtoken::errors::Result<Value> {
    let keys: JwkSet = serde_json::from_value(keys.clone()).unwrap();
    let key = keys.find(&decode_header(token)?.kid.unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["conclave"]);
    validation.set_issuer(&[issuer]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    Ok(decode::<Value>(token, &DecodingKey::from_jwk(key)?, &validation)?.claims)
}

#[tokio::test]
async fn a_fixed_refresh_token_serves_until_it_is_revoked_and_tells_the_roles_anew() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "late", &["x"]).await;
    account.user(&world, "ann", &[]).await;
    let body = json!({"login": "ann", "password": PASSWORD, "refresh": "fixed"});
    let signed = world.post(0, account.at("/sign-in")).json(&body).await.is(200);
    let refresh = json!({"refresh_token": signed.text("refresh_token")});
    let mut last = signed.text("access_token");
    for node in 0..3 {
        let again = post(&world, &account, node, "refresh", refresh.clone()).await.is(200);
        assert!(again.json.get("refresh_token").is_none(), "the old one stays good");
        assert_ne!(again.text("access_token"), last);
        last = again.text("access_token");
    }
    account.ask(&world, 0, "PUT", "/users/ann/roles/late").await.is(200);
    let again = post(&world, &account, 1, "refresh", refresh.clone()).await.is(200);
    let look = json!({"token": again.text("access_token")});
    let look = account.send(&world, 2, "POST", "/tokens/introspect", look).await.is(200);
    assert_eq!(look.json["roles"], json!(["late"]));
    // Either token takes the whole session back; so does doing it again.
    for _ in 0..2 {
        let token = json!({"token": signed.text("refresh_token")});
        assert_eq!(post(&world, &account, 2, "revoke", token).await.is(200).json, json!({}));
    }
    for node in 0..3 {
        post(&world, &account, node, "refresh", refresh.clone()).await.says(401, "bad_refresh_token");
        let valid = post(&world, &account, node, "validate", json!({"token": last})).await.is(200);
        assert_eq!(valid.json, json!({"valid": false}));
    }
}

#[tokio::test]
async fn validating_answers_yes_or_no_and_revoking_always_ok() {
    let world = World::new();
    let account = world.account().await;
    let other = world.account().await;
    let ann = account.user(&world, "ann", &[]).await;
    let valid = async |account: &Account, node, token: &str| {
        post(&world, account, node, "validate", json!({"token": token})).await.is(200).json["valid"].clone()
    };
    for node in 0..3 {
        assert_eq!(valid(&account, node, &ann.token).await, json!(true));
        assert_eq!(valid(&other, node, &ann.token).await, json!(false), "of another account");
        for bad in ["", "x", "a.b.c", ann.refresh.as_str(), &ann.token[..ann.token.len() - 4]] {
            assert_eq!(valid(&account, node, bad).await, json!(false), "{bad}");
            if bad != ann.refresh {
                post(&world, &account, node, "revoke", json!({"token": bad})).await.is(200);
            }
        }
        // Another account's door takes nothing away.
        post(&world, &other, node, "revoke", json!({"token": ann.token})).await.is(200);
        post(&world, &other, node, "refresh", json!({"refresh_token": ann.refresh})).await.is(401);
        assert_eq!(valid(&account, node, &ann.token).await, json!(true));
    }
    post(&world, &account, 0, "revoke", json!({"token": ann.token})).await.is(200);
    for node in 0..3 {
        assert_eq!(valid(&account, node, &ann.token).await, json!(false));
    }
    world.post(0, "/v1/accounts/100000000000/tokens/validate").json(&json!({"token": "x"})).await.is(200);
}

#[tokio::test]
async fn looking_into_a_token_is_for_its_owner_and_those_who_may() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "looker", &["iam:tokens:introspect"]).await;
    let (ann, bob) = (account.user(&world, "ann", &[]).await, account.user(&world, "bob", &["looker"]).await);
    let look = async |node, token: &str, by: &str| {
        world.post(node, account.at("/tokens/introspect")).by(by).json(&json!({"token": token})).await
    };
    for node in 0..3 {
        let own = look(node, &ann.token, &ann.token).await.is(200);
        assert_eq!((&own.json["active"], &own.json["sub"]), (&json!(true), &json!(ann.id)));
        assert_eq!((&own.json["username"], &own.json["session"]), (&json!("ann"), &json!(ann.session)));
        assert_eq!((&own.json["account"], &own.json["kind"]), (&json!(account.id), &json!("user")));
        assert_eq!(look(node, &ann.token, &bob.token).await.is(200).json, own.json);
        look(node, &bob.token, &ann.token).await.says(403, "forbidden");
        look(node, "nonsense", &ann.token).await.says(403, "forbidden");
        assert_eq!(look(node, "nonsense", &bob.token).await.is(200).json, json!({"active": false}));
        let other = world.account().await;
        assert_eq!(look(node, &other.token, &bob.token).await.is(200).json, json!({"active": false}));
    }
}

#[tokio::test]
async fn others_check_tokens_with_the_published_keys_also_across_a_rotation() {
    let world = World::new();
    let account = world.account().await;
    let issuer = account.ask(&world, 0, "GET", "").await.is(200).text("issuer");
    let keys = async |node| world.get(node, account.at("/jwks.json")).await.is(200).json;
    let first = keys(0).await;
    assert_eq!(first["keys"].as_array().unwrap().len(), 1);
    assert!(!first.to_string().contains("\"d\""), "a private key");
    let claims = checked(&account.token, &first, &issuer).unwrap();
    assert_eq!((&claims["sub"], &claims["acct"]), (&json!(account.root), &json!(account.id)));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
    assert!(claims["jti"].is_string() && claims["sid"].is_string());

    let rotated = account.ask(&world, 1, "POST", "/signing-keys").await.is(201);
    assert_eq!(rotated.json["keys"].as_array().unwrap().len(), 2);
    let body = json!({"email": account.email, "password": PASSWORD});
    let fresh = world.post(2, "/v1/sign-in").json(&body).await.is(200).text("access_token");
    assert_ne!(decode_header(&fresh).unwrap().kid, decode_header(&account.token).unwrap().kid);
    for node in 0..3 {
        let published = keys(node).await;
        for token in [&fresh, &account.token] {
            checked(token, &published, &issuer).unwrap();
            world.get(node, account.at("")).by(token).await.is(200);
        }
        let mut forged = fresh.clone().into_bytes();
        let middle = forged.len() / 2;
        forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
        assert!(checked(&String::from_utf8(forged).unwrap(), &published, &issuer).is_err());
    }
    // The keys of an account that is not there are not there.
    world.get(0, "/v1/accounts/100000000000/jwks.json").await.is(404);
}
