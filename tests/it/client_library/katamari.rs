//! KatamariIAM's own example (seed 000), verb for verb, and what its originals got wrong.

use conclave::client::katamari::Katamari;
use conclave::client::{Client, Error};
use futures_util::future::join_all;

use super::{account_of, urls};

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, code: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    assert_eq!(error.code(), Some(code));
}

#[tokio::test]
async fn the_example_of_the_seed_runs() {
    let (_, account) = account_of(&Client::new(urls()).unwrap()).await;
    let iam = Katamari::new(account.clone());
    // As there: the user first, with a role that is made later.
    iam.create_user("john_doe", "super_secure_password", &["admin"]).await.unwrap();
    let auth = iam.authenticate_user("john_doe", "super_secure_password").await.unwrap();
    assert!(iam.validate_jwt_token(auth.access_token.clone()).await.unwrap());
    let key = iam.create_service_account("service_account_1", &["service"]).await.unwrap();
    assert!(uuid::Uuid::try_parse(key.expose()).is_ok_and(|key| key.get_version_num() == 4));
    let service = iam.authenticate_service_account("service_account_1", key.clone()).await.unwrap();
    assert!(iam.validate_jwt_token(service).await.unwrap());
    iam.create_role("admin", &["read", "write", "delete"]).await.unwrap();
    iam.create_role("auditor", &["audit"]).await.unwrap();
    for _ in 0..2 {
        iam.assign_role_to_user("john_doe", "auditor").await.unwrap();
    }

    // The refresh token does not rotate, and roles are read anew.
    let mut next = auth.access_token.clone();
    for _ in 0..2 {
        next = iam.refresh_oauth_token(auth.refresh_token.clone()).await.unwrap();
    }
    let told = account.tokens().introspect(next.clone()).await.unwrap();
    assert_eq!(told.roles, ["admin", "auditor"]);
    assert_ne!(next.expose(), auth.access_token.expose());

    iam.revoke_token(auth.access_token.clone()).await.unwrap();
    assert!(!iam.validate_jwt_token(auth.access_token).await.unwrap());
    assert!(!iam.validate_jwt_token(next).await.unwrap(), "the whole session");
    refused(iam.refresh_oauth_token(auth.refresh_token).await, "bad_refresh_token");
    iam.revoke_token("junk".to_owned()).await.unwrap();
    assert!(!iam.validate_jwt_token("junk".to_owned()).await.unwrap());
}

#[tokio::test]
async fn errors_are_returned_and_one_of_many_wins() {
    let (_, account) = account_of(&Client::new(urls()).unwrap()).await;
    let iam = Katamari::new(account);
    let made = join_all((0..8).map(|_| iam.create_user("john_doe", "super_secure_password", &[]))).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    made.into_iter().filter(Result::is_err).for_each(|made| refused(made, "name_taken"));
    for (name, password) in [("john_doe", "wrong"), ("nobody", "super_secure_password")] {
        refused(iam.authenticate_user(name, password).await, "bad_credentials");
    }
    iam.create_service_account("john_doe", &[]).await.expect("names of the two kinds are apart");
    refused(iam.create_service_account("john_doe", &[]).await, "name_taken");
    refused(iam.authenticate_service_account("john_doe", "wrong".to_owned()).await, "bad_credentials");
    iam.create_role("r", &[]).await.unwrap();
    refused(iam.create_role("r", &[]).await, "role_exists");
    refused(iam.assign_role_to_user("john_doe", "unknown").await, "not_found");
    refused(iam.assign_role_to_user("nobody", "r").await, "not_found");
}
