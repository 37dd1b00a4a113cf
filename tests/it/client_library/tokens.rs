//! Tokens that real nodes signed, checked without asking them.

use std::fs;
use std::time::Duration;

use conclave::client::native::{KeyForm, NewServiceAccount, NewUser};
use conclave::client::verify::{Kind, TokenError, Verifier};
use conclave::client::{Client, Error, Session};

use super::{account_of, urls};
use crate::harness::PASSWORD;

#[tokio::test]
async fn tokens_are_checked_by_published_keys_and_revocation_is_asked_for() {
    let client = Client::new(urls()).unwrap();
    let (_, account) = account_of(&client).await;
    let issuer = account.show().await.unwrap().value.issuer;
    let verifier = Verifier::new(&client.account(account.id()), issuer);
    account.users().create(&NewUser::with_email("ann@example.com", PASSWORD)).await.unwrap();
    let tokens = account.sign_in("ann@example.com", PASSWORD).await.unwrap().value;
    let text = tokens.access_token.expose().clone();
    let claims = verifier.verify(&text).await.unwrap();
    assert_eq!((claims.kind, claims.email.as_deref()), (Kind::User, Some("ann@example.com")));
    assert_eq!(claims.sid, tokens.session.to_string());

    // Another account's token, and one signed by a key that is newer than those that are kept.
    let (_, other) = account_of(&client).await;
    let strange = Verifier::new(&other, other.show().await.unwrap().value.issuer);
    assert!(matches!(strange.verify(&text).await, Err(TokenError::UnknownKey)));
    let caching = conclave::client::verify::Caching { pause: Duration::ZERO, ..Default::default() };
    let eager = verifier.clone().caching(caching);
    eager.verify(&text).await.unwrap();
    assert_eq!(account.rotate_signing_key().await.unwrap().keys.len(), 2);
    let newer = account.sign_in("ann@example.com", PASSWORD).await.unwrap().value;
    eager.verify(newer.access_token.expose()).await.unwrap();
    eager.verify(&text).await.expect("the key before still checks");

    // What nobody can know without asking.
    account.sessions().end(tokens.session).await.unwrap();
    verifier.verify(&text).await.unwrap();
    assert!(!verifier.check(tokens.access_token).await.unwrap());
    assert!(verifier.check(newer.access_token).await.unwrap());
}

#[tokio::test]
async fn a_service_account_signs_in_with_its_key_and_a_token_can_be_used_as_it_is() {
    let client = Client::new(urls()).unwrap();
    let (_, account) = account_of(&client).await;
    let new = NewServiceAccount { key_form: KeyForm::Uuid, ..NewServiceAccount::named("robot") };
    let made = account.service_accounts().create(&new).await.unwrap().value;
    let key = made.key.api_key;
    let session = Session::with_api_key(&client, account.id(), key.clone()).await.unwrap();
    let own = session.account().service_accounts().get("me").await.unwrap();
    assert_eq!((own.id, own.name.as_str()), (made.service.id, "robot"));
    // Somebody ends it: the key opens another.
    account.sessions().end(session.id()).await.unwrap();
    session.account().service_accounts().get("me").await.unwrap();
    let tokens = account.sign_in_with_key(None, key.clone()).await.unwrap().value;
    assert!(tokens.refresh_token.is_none());
    let plain = client.account(account.id()).with_token(tokens.access_token.clone());
    plain.service_accounts().get("me").await.unwrap();
    for shown in [format!("{plain:?} {session:?} {tokens:?}"), format!("{:?}", plain.users().get("me"))] {
        assert!(!shown.contains(tokens.access_token.expose()) && !shown.contains(key.expose()), "{shown}");
    }
}

#[tokio::test]
async fn under_tls_a_node_is_who_the_given_authority_says() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tls.pem"), issued.cert.pem()).unwrap();
    fs::write(folder.path().join("tls.key"), issued.signing_key.serialize_pem()).unwrap();
    let server = crate::tls::serve(folder.path()).await;
    let url = |host: &str| format!("https://{host}:{}", server.local_addr().port());
    let ask = async |builder: conclave::client::Builder| {
        let client = builder.build()?;
        client.account("123456789012").jwks().await.map(drop)
    };
    let trusting = |host| Client::builder([url(host)]).trust_only(issued.cert.pem());
    // The server there knows no accounts: that it says so is all that is asked of it.
    assert_eq!(ask(trusting("localhost")).await.unwrap_err().code(), Some("route_not_found"));
    // A machine that trusts nobody at all cannot even ask.
    for builder in [trusting("127.0.0.1"), Client::builder([url("localhost")])] {
        let error = ask(builder.deadline(Duration::from_millis(500))).await.unwrap_err();
        assert!(matches!(error, Error::Transport { .. } | Error::Invalid(_)), "{error:?}");
    }
    server.stop().await;
}
