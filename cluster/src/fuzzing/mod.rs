//! Targets of fuzzing: every decoder of this crate as a function over bytes that must not panic.
//!
//! Each also says what must hold beside that: what was decoded is the same after it was encoded and decoded
//! again, what is not as it was sealed does not open, and nothing is longer than the bytes it came from.
//!
//! Only with the feature `fuzzing`, which no build of the program has. Two run them: `tests/it/fuzzed.rs` over
//! their seeds with mutations, and `scripts/fuzz.sh` guided by coverage.

mod certificates;
mod disk;
mod files;
mod wire;

/// A target and its name, by which its seeds are found.
pub type Target = (&'static str, fn(&[u8]));

/// All of this crate.
pub const TARGETS: [Target; 15] = [
    ("frame", wire::frame),
    ("greeting", wire::greeting),
    ("request", wire::request),
    ("response", wire::response),
    ("enrolment", wire::enrolment),
    ("log_record", disk::log_record),
    ("log_entry", disk::log_entry),
    ("state_meta", disk::state_meta),
    ("snapshot", disk::snapshot),
    ("seal_header", files::seal_header),
    ("sealed", files::sealed),
    ("archive", files::archive),
    ("identity", files::identity),
    ("certificate", certificates::certificate),
    ("certificate_request", certificates::certificate_request),
];

/// Fails the target.
///
/// # Panics
/// Always.
#[expect(clippy::panic, reason = "so a target says that it has found something")]
#[track_caller]
pub fn found(what: &str) -> ! {
    panic!("{what}")
}

/// What cannot fail, whatever the bytes were.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn must<T, E: std::fmt::Debug>(outcome: Result<T, E>, what: &str) -> T {
    outcome.unwrap_or_else(|error| found(&format!("{what}: {error:?}")))
}
