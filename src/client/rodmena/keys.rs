//! The tenant's own key (contract part 3.4): rotate it, get it back.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::super::wire::{exposed, exposed_if_any};
use super::wire::data;
use super::{AuthClient, Call, Client, Proof, Target, Write};
use crate::secret::Secret;

/// What rotating the key gives.
#[derive(Clone, Debug, Deserialize)]
pub struct Rotated {
    /// The key from now on: make an [`AuthClient`] with it. The old one owns nothing any more.
    pub new_key: Secret<String>,
    /// How many things went over, by kind.
    #[serde(default)]
    pub migrated: BTreeMap<String, u64>,
}

/// What recovering gives.
#[derive(Clone, Debug, Deserialize)]
pub struct Recovered {
    /// The key from now on.
    pub client_key: Secret<String>,
    /// For the next time; the one that was used is dead.
    pub rotate_key: Secret<String>,
}

#[derive(Deserialize)]
struct RotateKey {
    rotate_key: Secret<String>,
}

#[derive(Serialize)]
struct Recover {
    #[serde(serialize_with = "exposed")]
    rotate_key: Secret<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    new_client_key: Option<Secret<String>>,
}

impl AuthClient {
    /// Moves all that the tenant has to a new key. Not repeated when its outcome is not known: then the old
    /// key is tried, and the tenant recovered if that is dead.
    pub fn rotate_key(&self) -> Call<Rotated, Write> {
        self.write(Method::POST, Target::new("/api/keys/rotate"), data).only_if_not_done()
    }

    /// The key to recover the tenant with, `rrk_…`, given once.
    pub fn get_rotate_key(&self) -> Call<Secret<String>, Write> {
        let read = |raw| Ok(data::<RotateKey>(raw)?.rotate_key);
        self.write(Method::POST, Target::new("/api/keys/get_rotate_key"), read).only_if_not_done()
    }

    /// A new key for the tenant of that rotate key: this one, if one is given. Takes no key of the tenant.
    pub fn recover(
        client: &Client,
        rotate_key: impl Into<Secret<String>>,
        new_client_key: Option<Secret<String>>,
    ) -> Call<Recovered, Write> {
        let body = Recover { rotate_key: rotate_key.into(), new_client_key };
        let target = Target::new("/api/keys/recover");
        Call::writing(client, &Proof::Nobody, Method::POST, target, data).only_if_not_done().json(&body)
    }
}
