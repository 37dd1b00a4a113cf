//! Which new passwords this surface takes.

use crate::api::Api;
use crate::auth::password::Password;
use crate::auth::policy::breaches;
use crate::domain::policy::PasswordPolicy;
use crate::domain::settings::{self, PasswordRule};
use crate::domain::{AccountId, Rejection};
use conclave_cluster::state::View;

/// The policy of an account for passwords that come this way: its own, or that of Keystone (contract part 4.2).
pub(super) fn policy(api: &Api, rows: &View, account: AccountId) -> Result<PasswordPolicy, Rejection> {
    let min_chars = api.app.settings().keystone.password_min_length;
    let min_chars = u8::try_from(min_chars).unwrap_or(PasswordPolicy::MAX_CHARS);
    Ok(match settings::of(rows, account)?.passwords {
        PasswordRule::Own(policy) => policy,
        PasswordRule::OfSurface => PasswordPolicy { min_chars, ..PasswordPolicy::KEYSTONE },
    })
}

/// A sentence for each rule that a password breaks. `about` are the names of its user.
pub(super) fn faults(policy: &PasswordPolicy, password: &Password, about: &[&str]) -> Vec<String> {
    breaches(policy, password, about).iter().map(ToString::to_string).collect()
}
