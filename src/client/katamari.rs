//! The verbs of KatamariIAM (seed 000, contract part 2), on a cluster.
//!
//! They are called as there and mean what they mean there, but for its faults: an error is returned and not
//! swallowed, of two who make the same name at once one wins, and [`Katamari::revoke_token`] works.
//!
//! ```no_run
//! use conclave::client::katamari::Katamari;
//! use conclave::client::{Client, Error, Session};
//!
//! # async fn run() -> Result<(), Error> {
//! let client = Client::new(["http://127.0.0.1:8080", "http://127.0.0.1:8081"])?;
//! let root = Session::new(&client, client.sign_in_as_root("admin@example.com", "SecurePass123").await?.value);
//! let iam = Katamari::new(root.account());
//! iam.create_role("admin", &["read", "write", "delete"]).await?;
//! iam.create_user("john_doe", "super_secure_password", &["admin"]).await?;
//! let tokens = iam.authenticate_user("john_doe", "super_secure_password").await?;
//! assert!(iam.validate_jwt_token(tokens.access_token.clone()).await?);
//! let _next = iam.refresh_oauth_token(tokens.refresh_token).await?;
//! iam.revoke_token(tokens.access_token).await?;
//! # Ok(())
//! # }
//! ```

use super::Error;
use super::native::{Account, KeyForm, NewRole, NewServiceAccount, NewUser, Principal, RefreshStyle};
use crate::secret::Secret;

/// An account as KatamariIAM would have it.
#[derive(Clone, Debug)]
pub struct Katamari {
    account: Account,
}

/// What [`Katamari::authenticate_user`] gives.
#[derive(Clone, Debug)]
pub struct UserTokens {
    /// A JWT with `sub`, `roles`, `exp` and more.
    pub access_token: Secret<String>,
    /// Good for [`Katamari::refresh_oauth_token`] until its session ends; it does not rotate.
    pub refresh_token: Secret<String>,
}

impl Katamari {
    /// On this account, in the name it is asked in: the verbs that make things need its permissions. Only the
    /// root user may give roles that do not exist yet.
    #[must_use]
    pub fn new(account: Account) -> Self {
        Self { account }
    }

    /// Makes a user with these roles.
    ///
    /// # Errors
    /// Refused with `name_taken` where there is one of that name.
    pub async fn create_user(&self, username: &str, password: &str, roles: &[&str]) -> Result<(), Error> {
        let user = roles.iter().fold(NewUser::named(username, password), |user, role| user.role(*role));
        self.account.users().create(&user).await.map(drop)
    }

    /// Signs a user in.
    ///
    /// # Errors
    /// Refused with `bad_credentials` for an unknown user and for a wrong password alike.
    pub async fn authenticate_user(&self, username: &str, password: &str) -> Result<UserTokens, Error> {
        let tokens = self.account.sign_in_with_style(username, password, RefreshStyle::Fixed).await?.value;
        let reason = "it has no refresh token".to_owned();
        let refresh_token = tokens.refresh_token.ok_or(Error::BadAnswer { status: 200, reason })?;
        Ok(UserTokens { access_token: tokens.access_token, refresh_token })
    }

    /// Whether an access token is good now, by the word of the cluster: a revoked one is not.
    /// [`super::verify`] answers without asking, as KatamariIAM did.
    ///
    /// # Errors
    /// When nobody could say.
    pub async fn validate_jwt_token(&self, token: impl Into<Secret<String>>) -> Result<bool, Error> {
        Ok(self.account.tokens().validate(token).await?.valid)
    }

    /// A new access token, with the roles that the user has now. The refresh token stays good.
    ///
    /// # Errors
    /// Refused with `bad_refresh_token` for everything that is wrong with it.
    pub async fn refresh_oauth_token(
        &self,
        refresh_token: impl Into<Secret<String>>,
    ) -> Result<Secret<String>, Error> {
        Ok(self.account.tokens().refresh(refresh_token).await?.value.access_token)
    }

    /// Makes a service account and gives its API key, a UUID that is shown here and never again.
    ///
    /// # Errors
    /// Refused with `name_taken` where there is one of that name.
    pub async fn create_service_account(&self, name: &str, roles: &[&str]) -> Result<Secret<String>, Error> {
        let new = NewServiceAccount { key_form: KeyForm::Uuid, ..NewServiceAccount::named(name) };
        let new = roles.iter().fold(new, |new, role| new.role(*role));
        Ok(self.account.service_accounts().create(&new).await?.value.key.api_key)
    }

    /// Signs a service account in with its API key.
    ///
    /// # Errors
    /// Refused with `bad_credentials` for an unknown name, a wrong key and an expired one alike.
    pub async fn authenticate_service_account(
        &self,
        name: &str,
        api_key: impl Into<Secret<String>>,
    ) -> Result<Secret<String>, Error> {
        Ok(self.account.sign_in_with_key(Some(name), api_key).await?.value.access_token)
    }

    /// Makes a role with these permissions.
    ///
    /// # Errors
    /// Refused with `role_exists` where there is one of that name.
    pub async fn create_role(&self, name: &str, permissions: &[&str]) -> Result<(), Error> {
        let role = permissions.iter().fold(NewRole::named(name), |role, one| role.permission(*one));
        self.account.roles().create(&role).await.map(drop)
    }

    /// Gives a user a role; nothing happens where it has it.
    ///
    /// # Errors
    /// Refused with 404 where there is no such user or role.
    pub async fn assign_role_to_user(&self, username: &str, role: &str) -> Result<(), Error> {
        self.account.memberships().assign(&Principal::user(username), role).await.map(drop)
    }

    /// Ends the session of an access or refresh token: no node takes any of its tokens afterwards. It is no
    /// error where there is nothing to end.
    ///
    /// # Errors
    /// When it could not be done.
    pub async fn revoke_token(&self, token: impl Into<Secret<String>>) -> Result<(), Error> {
        self.account.tokens().revoke(token).await.map(drop)
    }
}
