//! The tenant's settings (contract part 3.4).

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::wire::data;
use super::{AuthClient, Call, Read, Target, Write};

/// The settings of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether only users with an API key count.
    pub strict_users: bool,
}

impl AuthClient {
    /// The settings.
    pub fn get_settings(&self) -> Call<Settings, Read> {
        self.get(Target::new("/api/settings"), data)
    }

    /// Whether only users with an API key shall count from now on.
    pub fn set_strict_users(&self, strict_users: bool) -> Call<Settings, Write> {
        self.write(Method::PUT, Target::new("/api/settings"), data).json(&Settings { strict_users })
    }
}
