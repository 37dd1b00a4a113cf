//! Which new passwords this surface takes.

use crate::api::Api;
use crate::app::passwords::WantedPassword;
use crate::auth::password::Password;
use crate::domain::policy::PasswordPolicy;

/// A new password under the policy of this surface (contract part 4.2), as long as this node's setting asks. It
/// counts unless the account has a policy of its own.
pub(in crate::api) fn wanted(api: &Api, password: Password) -> WantedPassword {
    let least = api.app.settings().keystone.password_min_length;
    let min_chars = u8::try_from(least).unwrap_or(PasswordPolicy::MAX_CHARS);
    WantedPassword { password, of_surface: PasswordPolicy { min_chars, ..PasswordPolicy::KEYSTONE } }
}
