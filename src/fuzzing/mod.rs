//! Targets of fuzzing: every decoder and parser of the program as a function over bytes that must not panic, and
//! what must hold beside that.
//!
//! Those of `conclave_cluster` are there. Only with the feature `fuzzing`, which no build of the program has.

mod proofs;
mod stored;
mod text;
mod web;

pub use conclave_cluster::fuzzing::Target;
use conclave_cluster::fuzzing::{found, must};

/// All of this crate.
pub const TARGETS: [Target; 22] = [
    ("command", stored::command),
    ("row", stored::row),
    ("rules", stored::rules),
    ("letter", stored::letter),
    ("order", stored::order),
    ("access_token", proofs::access_token),
    ("claims", proofs::claims),
    ("secret", proofs::secret),
    ("join_token", proofs::join_token),
    ("password", proofs::password),
    ("key_file", proofs::key_file),
    ("body", web::body),
    ("json", web::json),
    ("query", web::query),
    ("path", web::path),
    ("headers", web::headers),
    ("source", web::source),
    ("name", text::name),
    ("time", text::time),
    ("rate", text::rate),
    ("cron", text::cron),
    ("settings", text::settings),
];

/// The data as text; nothing where it is none.
fn utf8(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}
