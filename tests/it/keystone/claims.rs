//! What tokens say (contract part 4.1).

use conclave::clock::{Clock, SystemClock};
use serde_json::json;

use super::{SECRET, Service, claims, has_members, mail, sign_in};
use crate::harness::World;

#[tokio::test]
async fn access_refresh_and_service_tokens_say_what_the_contract_says() {
    let world = World::new();
    let service = Service::new(&world).await;
    let user = service.user(&["user", "trader"]).await;
    let now = SystemClock.now().0 / 1000;
    for node in 0..3 {
        let signed = sign_in(&world, node, &user.name, SECRET).await.is(200);
        let access = claims(&signed.text("access_token"));
        has_members(
            &access,
            &[
                "iss", "aud", "sub", "exp", "iat", "nbf", "jti", "type", "roles", "scopes", "username",
                "email", "sid", "acct", "kind",
            ],
        );
        assert_eq!((&access["iss"], &access["aud"]), (&json!("keystone-auth"), &json!(["keystone-auth"])));
        assert_eq!((&access["sub"], &access["type"]), (&json!(user.id), &json!("access")));
        assert_eq!((&access["username"], &access["email"]), (&json!(user.name), &json!(mail(&user.name))));
        assert_eq!(access["roles"], json!(["trader", "user"]));
        assert_eq!(access["scopes"], json!(["read:profile", "read:trades", "write:profile", "write:trades"]));
        assert_eq!(access["jti"], signed.json["jti"]);
        let at = |claim: &str| access[claim].as_u64().unwrap();
        assert_eq!((at("exp") - at("iat"), at("nbf")), (900, at("iat")));
        assert!(now.abs_diff(at("iat")) < 60);

        let refresh = claims(&signed.text("refresh_token"));
        has_members(&refresh, &["iss", "aud", "sub", "exp", "iat", "jti", "type", "acct", "secret"]);
        assert_eq!((&refresh["aud"], &refresh["type"]), (&json!(["keystone-auth"]), &json!("refresh")));
        assert_eq!(refresh["sub"], json!(user.id));
        assert_eq!(refresh["exp"].as_u64().unwrap() - refresh["iat"].as_u64().unwrap(), 30 * 86_400);
        assert_ne!(refresh["jti"], access["jti"]);
        assert!(refresh["jti"].as_str().unwrap().parse::<uuid::Uuid>().is_ok());
    }
    let program = service.program(&["read:trades"], &["mt5-api", "trading-api"]).await;
    let given = service.token_of(1, &program, &json!({})).await.is(200);
    let said = claims(&given.text("access_token"));
    has_members(
        &said,
        &[
            "iss",
            "aud",
            "sub",
            "exp",
            "iat",
            "nbf",
            "jti",
            "type",
            "scopes",
            "client_id",
            "sid",
            "acct",
            "kind",
        ],
    );
    assert_eq!((&said["type"], &said["sub"]), (&json!("service"), &json!(program.client_id)));
    assert_eq!((&said["client_id"], &said["scopes"]), (&json!(program.client_id), &json!(["read:trades"])));
    assert_eq!(said["aud"], json!(["mt5-api", "trading-api"]));
    // Two tokens of one second are two.
    let other = service.token_of(1, &program, &json!({})).await.is(200);
    assert_ne!(claims(&other.text("access_token"))["jti"], said["jti"]);
}
