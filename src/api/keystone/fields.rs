//! Members of a body, checked one after the other, so that a client is told all that is wrong at once.

use std::collections::BTreeSet;

use crate::app::clients;
use crate::auth::password::Password;
use crate::domain::session::Grant;
use crate::domain::{Email, Label, Lifetime, Permission, Rejection, RoleName, ServiceId, UserName};
use crate::http::problem::Problem;
use crate::secret::Secret;

use super::error::invalid;

/// What is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Fields {
    faults: Vec<String>,
}

impl Fields {
    /// Notes a fault of a member.
    pub(super) fn fault(&mut self, member: &str, says: &str) {
        self.faults.push(format!("{member}: {says}."));
    }

    /// Ends the checking.
    ///
    /// # Errors
    /// 400 with each fault.
    pub(super) fn done(self) -> Result<(), Problem> {
        if self.faults.is_empty() { Ok(()) } else { Err(invalid(self.faults)) }
    }

    /// The same, with a value that is there unless its fault was noted.
    ///
    /// # Errors
    /// As [`Fields::done`].
    pub(super) fn done_with<T>(self, value: Option<T>) -> Result<T, Problem> {
        match value {
            Some(value) => self.done().map(|()| value),
            None => Err(invalid(self.faults)),
        }
    }

    /// The value, unless it is at fault.
    pub(super) fn take<T>(&mut self, member: &str, value: Result<T, Rejection>) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(Rejection::Invalid { rule, .. }) => {
                self.fault(member, &rule);
                None
            }
            Err(other) => {
                self.fault(member, &other.to_string());
                None
            }
        }
    }

    /// A user's name: of letters, digits and `_ - .`, 3 to 50 of them (contract part 4.2).
    pub(super) fn username(&mut self, text: &str) -> Option<UserName> {
        let is_good = (3..=50).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if !is_good {
            self.fault("username", "3 to 50 letters, digits, or any of _ - .");
            return None;
        }
        self.take("username", UserName::parse(text))
    }

    pub(super) fn email(&mut self, text: &str) -> Option<Email> {
        self.take("email", Email::parse(text))
    }

    /// A text for people. `None` where it is missing.
    pub(super) fn label(&mut self, member: &str, text: Option<&str>) -> Option<Label> {
        text.and_then(|text| self.take(member, Label::parse(text)))
    }

    /// A password within the limits of all passwords.
    pub(super) fn password(&mut self, member: &str, text: Secret<String>) -> Option<Password> {
        match Password::parse(text) {
            Ok(password) => Some(password),
            Err(error) => {
                self.fault(member, &error.to_string());
                None
            }
        }
    }

    pub(super) fn roles(&mut self, names: &[String]) -> Vec<RoleName> {
        names.iter().filter_map(|name| self.take("roles", RoleName::parse(name))).collect()
    }
}

/// What clients have.
impl Fields {
    /// A client's id: as a user's name, but as long as the name of its role allows, and never a UUID, so that no
    /// client is taken for a user.
    pub(super) fn client_id(&mut self, text: &str) -> Option<UserName> {
        let is_good = (3..=clients::MAX_NAME).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
            && text.parse::<ServiceId>().is_err();
        if !is_good {
            let most = clients::MAX_NAME;
            self.fault("clientId", &format!("3 to {most} letters, digits, or any of _ - ., and not a UUID"));
            return None;
        }
        self.take("clientId", UserName::parse(text))
    }

    /// The scopes of a client. A `*` is no scope, and the permissions of the native API are not for clients of this
    /// one.
    pub(super) fn scopes(&mut self, names: &[String]) -> BTreeSet<Permission> {
        if names.len() > Grant::MAX_SCOPES {
            self.fault("scopes", &format!("at most {}", Grant::MAX_SCOPES));
            return BTreeSet::new();
        }
        let mut scopes = BTreeSet::new();
        for name in names {
            let Some(scope) = self.take("scopes", Permission::parse(name)) else { continue };
            if name.ends_with('*') || name.starts_with("iam:") {
                self.fault("scopes", "a scope does not end in * nor begin with iam:");
            } else {
                scopes.insert(scope);
            }
        }
        scopes
    }

    pub(super) fn labels(&mut self, member: &str, texts: &[String], most: usize) -> Vec<Label> {
        if texts.len() > most {
            self.fault(member, &format!("at most {most}"));
            return Vec::new();
        }
        let mut labels: Vec<Label> = texts.iter().filter_map(|text| self.label(member, Some(text))).collect();
        labels.dedup();
        labels
    }

    pub(super) fn token_lifetime(&mut self, seconds: Option<u64>) -> Option<Lifetime> {
        let seconds = seconds?;
        if !(60..=86_400).contains(&seconds) {
            self.fault("tokenLifetime", "60 to 86400 seconds");
        }
        Some(Lifetime::from_secs(seconds))
    }
}
