//! Texts that people write: names, times, rates, schedules, settings, exported trails.

use std::net::IpAddr;

use super::{must, utf8};
use crate::api::rodmena::time as naive_time;
use crate::cli::audit::verify;
use crate::client::workflow::Watch;
use crate::clock::{parse_rfc3339, rfc3339};
use crate::config::{Config, Network};
use crate::domain::audit::search::Pattern;
use crate::domain::{AccountId, Email, Label, Permission, RoleName, Timestamp, UserId, UserName};
use crate::rate::Rate;

/// Names and ids: what is taken stays what it is.
pub(super) fn name(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    if let Ok(account) = AccountId::parse(text) {
        assert!(AccountId::parse(account.as_str()) == Ok(account), "an account is another one now: {text}");
    }
    if let Ok(id) = text.parse::<UserId>() {
        assert!(id.to_string().parse() == Ok(id), "an id is another one now: {text}");
    }
    if let Ok(name) = UserName::parse(text) {
        let folded = must(UserName::parse(&name.folded()), "a folded name is a name");
        assert!(folded.folded() == name.folded(), "a name folds twice: {text}");
    }
    if let Ok(email) = Email::parse(text) {
        assert!(email.as_str() == text && !text.contains(char::is_whitespace), "an address: {text}");
    }
    if let Ok(role) = RoleName::parse(text) {
        assert!(role.as_str() == text && !text.contains('\0'), "a role: {text}");
    }
    if let Ok(label) = Label::parse(text) {
        assert!(!label.as_str().chars().any(char::is_control), "a label: {text}");
    }
    if let Ok(permission) = Permission::parse(text) {
        let wanted = text.replace('*', "x");
        assert!(permission.covers(&wanted), "{permission} does not cover {wanted}");
        // The index is asked for these, and must find whoever is covered.
        for covering in Permission::covering(&wanted) {
            let covering = must(Permission::parse(&covering), "what covers is a permission");
            assert!(covering.covers(&wanted), "{covering} does not cover {wanted}");
        }
        let is_found = Permission::covering(&wanted).any(|covering| covering == permission.as_str());
        assert!(is_found, "{permission} covers {wanted} and is not found");
    }
    drop(Pattern::parse(text));
}

/// Moments, in both spellings.
pub(super) fn time(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    if let Some(at) = parse_rfc3339(text) {
        assert!(parse_rfc3339(&rfc3339(at)) == Some(at), "a moment is another one now: {text}");
    }
    if let Some(at) = naive_time::parse(text) {
        let Timestamp(ms) = at;
        // What lies behind the year 9999 is shown as its end.
        if ms < 253_402_300_800_000 {
            let shown = naive_time::naive(at);
            assert!(naive_time::parse(&shown) == Some(at), "a moment is another one now: {text} {shown}");
        }
    }
}

/// Rates and networks, as settings have them.
pub(super) fn rate(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    if let Ok(Some(rate)) = Rate::parse_setting(text) {
        let again = format!("{}/{} seconds", rate.count(), rate.per().as_secs());
        assert!(again.parse() == Ok(rate), "a rate is another one now: {text} {again}");
        assert!(rate.count().get() <= Rate::MAX_COUNT && rate.per() <= Rate::MAX_PER, "a rate: {text}");
    }
    let Ok(network) = text.parse::<Network>() else { return };
    let address = text.trim().split('/').next().unwrap_or_default().parse::<IpAddr>();
    // One in the dress of IPv6 is the IPv4 address, and so in no network of IPv6.
    if let Ok(address) = address.map(|address| address.to_canonical())
        && (address.is_ipv4() != text.contains(':'))
    {
        assert!(network.contains(address), "{text} does not hold its own address");
    }
}

/// Times of a periodic check.
pub(super) fn cron(data: &[u8]) {
    let Some(text) = utf8(data) else { return };
    drop(Watch::cron(text));
}

/// A configuration file, and an exported audit trail.
pub(super) fn settings(data: &[u8]) {
    if let Some(text) = utf8(data) {
        drop(Config::of_text(text));
    }
    drop(verify::check(data, None));
}
