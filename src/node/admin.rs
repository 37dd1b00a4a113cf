//! The first administrator, as the settings name it.
//!
//! # Why each node proposes it
//! The settings may be on any node or on all, and no node knows at its start whether it is the first. So each one
//! that has them proposes the same, and the log takes the first and never another: also not after the
//! administrator was deleted, so that a forgotten setting is no way in.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use super::PATIENCE;
use crate::app::accounts::Person;
use crate::app::passwords::WantedPassword;
use crate::app::{App, Failure};
use crate::auth::policy::breaches;
use crate::config::Config;
use crate::domain::policy::PasswordPolicy;
use crate::domain::{Email, UserName};

/// Reads the settings, which are looked at before anything is started.
///
/// # Errors
/// What is wrong with them; never the password.
pub(super) fn first(config: &Config) -> Result<Option<Person>, String> {
    let Some(admin) = &config.keystone.admin else { return Ok(None) };
    let rule = |error: &dyn std::fmt::Display| error.to_string();
    let of_surface = PasswordPolicy::MODERN;
    let password = WantedPassword::parse(admin.password.clone(), of_surface).map_err(|error| rule(&error))?;
    let person = Person {
        name: Some(UserName::parse(&admin.username).map_err(|error| rule(&error))?),
        email: admin.email.as_deref().map(Email::parse).transpose().map_err(|error| rule(&error))?,
        first_name: None,
        last_name: None,
        password,
    };
    let broken = breaches(&of_surface, &person.password.password, &person.names());
    if broken.is_empty() {
        return Ok(Some(person));
    }
    Err(broken.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

/// Proposes it until the cluster has decided.
pub(super) async fn make(app: &App, person: &Person) {
    loop {
        match app.bootstrap_admin(person, PATIENCE).await {
            Ok(true) => return tracing::info!("the first administrator was made, as the settings say"),
            Ok(false) => return tracing::debug!("there has been an administrator"),
            Err(failure @ (Failure::Rejected(_) | Failure::WeakPassword(_))) => {
                return tracing::error!(%failure, "the first administrator was not made");
            }
            Err(failure) => {
                tracing::debug!(%failure, "the first administrator waits");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Shows whoever sits at the terminal the link by which the first administrator comes in. A secret has no place in a log,
/// so elsewhere it says how to get one.
pub(super) async fn offer(app: &App) {
    if !std::io::stdout().is_terminal() {
        tracing::info!(
            "nobody administers this cluster yet: `conclave setup` makes a link for whoever is to"
        );
        return;
    }
    match app.first_setup(PATIENCE).await {
        Ok(Some(secret)) => {
            let status = app.cluster.status();
            let own = status.members.iter().find(|member| member.node == status.node);
            let base = own.map(|member| member.member.api_url.as_str()).unwrap_or_default();
            // Nobody may be reading any more.
            let _ = writeln!(
                std::io::stdout(),
                "\nThe cluster is new. Whoever opens this within 30 minutes administers it; it works once:\n\n  {base}/setup#{}\n",
                secret.expose()
            );
        }
        Ok(None) => {}
        Err(failure) => tracing::warn!(%failure, "no setup link was made: `conclave setup` makes one"),
    }
}
