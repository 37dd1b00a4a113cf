//! What nodes say to each other about nodes: to be let in, and, once in, to have something done.
//!
//! A version byte and postcard. Enums grow at the end only: nodes of two versions may talk.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// From a node that is no member, on the enrolment channel: it knows us by our certificate, and we know it by what
/// it brings.
#[derive(Serialize, Deserialize)]
pub enum Knock {
    /// It wants to be let in.
    Join(Box<JoinRequest>),
    /// It looks for a cluster, or for others that look for one. `ticket` is its own.
    Look { ticket: Uuid },
    /// Will you found no cluster, and let the node with that ticket do it?
    Yield { to: Uuid },
}

/// How a node asks to be let in.
#[derive(Serialize, Deserialize)]
pub struct JoinRequest {
    pub proof: JoinProof,
    /// A certificate request, PEM: its key stays with it.
    pub certificate_request: String,
    /// Its clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// The release it runs, and the newest level that it knows; see `domain::level`.
    pub version: String,
    pub level: u32,
    /// The names of the key-encryption keys that it has; none if it wants the cluster's.
    pub keys: Vec<String>,
}

/// Why it should be let in.
#[derive(Serialize, Deserialize)]
pub enum JoinProof {
    Token {
        id: Uuid,
        secret: [u8; 32],
    },
    /// Its certificate, which only a holder of the authority's key can make.
    Authority {
        learner: bool,
    },
}

impl Drop for JoinProof {
    fn drop(&mut self) {
        match self {
            Self::Token { secret, .. } => secret.zeroize(),
            Self::Authority { .. } => {}
        }
    }
}

/// What is answered to a [`Knock`].
#[derive(Serialize, Deserialize)]
pub enum Reply {
    Admitted(Box<Admitted>),
    /// Never like this; says what to do.
    Refused {
        code: String,
        reason: String,
    },
    /// Not now: try again, here or elsewhere.
    NotNow {
        reason: String,
    },
    /// A member: there is a cluster.
    Member {
        cluster: Uuid,
        peers: Vec<String>,
    },
    /// No member of any cluster yet. `yielded_to` is whom it lets found one.
    Seeking {
        ticket: Uuid,
        yielded_to: Option<Uuid>,
    },
}

/// What a node needs to be a member.
#[derive(Serialize, Deserialize)]
pub struct Admitted {
    pub cluster: Uuid,
    pub node: u64,
    /// Its certificate, PEM.
    pub certificate: String,
    /// That of the authority, PEM.
    pub authority: String,
    /// Where members listen for peers.
    pub peers: Vec<String>,
    /// The cluster's key file, for a node that has none.
    pub key_file: Option<KeyFileText>,
    /// What it will be once it has caught up.
    pub is_learner: bool,
}

/// The text of a key file. Prints nothing.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct KeyFileText(pub String);

impl fmt::Debug for KeyFileText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFileText(..)")
    }
}

/// From a member to another.
#[derive(Debug, Serialize, Deserialize)]
pub enum Errand {
    /// To the leader: see to the membership.
    Change(Change),
    /// To the leader, as all below but the last two: sign this, for the node that asks.
    Sign { certificate_request: String },
    /// To the leader: who is a member, and how are they?
    Members,
    /// To any node: make a new key, have it signed, use it.
    Rotate,
    /// To any node: how are you?
    Report,
    /// To any node: what do you run?
    Describe,
    /// To any node: never start a program again that does not know this level; see `app::upgrade`.
    Promise { level: u32 },
}

/// A change of the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    Promote {
        node: u64,
    },
    Demote {
        node: u64,
    },
    Remove {
        node: u64,
    },
    /// Give `old` up as soon as `new` has its place.
    Replace {
        old: u64,
        new: u64,
    },
    /// Let another voter lead: that one, or the one that is furthest.
    StepDown {
        to: Option<u64>,
    },
}

/// What is answered to an [`Errand`].
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Changed(Changed),
    Signed {
        certificate: String,
        authority: String,
        serial: String,
    },
    Members(Vec<Seen>),
    Rotated {
        serial: String,
        expires_ms: u64,
    },
    Report(Box<Report>),
    /// It must not be; says why and what to do.
    Refused {
        reason: String,
    },
    /// Not now.
    NotNow {
        reason: String,
    },
    Described {
        release: String,
        level: u32,
    },
    Promised {
        level: u32,
    },
}

/// How the cluster stands after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub is_changed: bool,
    pub voters: u64,
    /// How many of the voters may be lost now.
    pub tolerance: u64,
    /// 0 when the node that answers does not know, as one that was just removed.
    pub leader: u64,
}

/// A member as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub node: u64,
    pub is_voter: bool,
    pub lag: Option<u64>,
    pub contact_ms: Option<u64>,
    pub is_healthy: Option<bool>,
}

/// A node as it sees itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub node: u64,
    pub version: String,
    pub now_ms: u64,
    pub uptime_s: u64,
    pub applied: u64,
    pub revision: u64,
    /// The digest of its whole state at `revision`.
    pub digest: String,
    pub certificate_serial: String,
    pub certificate_expires_ms: u64,
    /// How long the last sync of its log took, in microseconds, once there was one.
    pub sync_us: Option<u64>,
    pub disk_free_bytes: Option<u64>,
    pub disk_used_bytes: Option<u64>,
    /// How many files and connections its process may have open.
    pub open_files: Option<u64>,
}

const VERSION: u8 = 1;

/// To bytes. Encoding into a vector does not fail.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION]).unwrap_or_default()
}

/// From bytes.
#[must_use]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (version, rest) = bytes.split_first()?;
    if *version == VERSION { postcard::from_bytes(rest).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &impl Serialize) -> String {
        encode(value).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// As nodes of all releases write them: append variants, change none.
    #[test]
    fn errands_and_answers_are_written_as_ever() {
        let errands = [
            (Errand::Change(Change::Promote { node: 300 }), "010000ac02"),
            (Errand::Change(Change::Demote { node: 300 }), "010001ac02"),
            (Errand::Change(Change::Remove { node: 300 }), "010002ac02"),
            (Errand::Change(Change::Replace { old: 1, new: 2 }), "0100030102"),
            (Errand::Change(Change::StepDown { to: Some(2) }), "0100040102"),
            (Errand::Sign { certificate_request: "r".to_owned() }, "01010172"),
            (Errand::Members, "0102"),
            (Errand::Rotate, "0103"),
            (Errand::Report, "0104"),
            (Errand::Describe, "0105"),
            (Errand::Promise { level: 300 }, "0106ac02"),
        ];
        for (errand, golden) in errands {
            assert_eq!(written(&errand), golden);
        }
        let changed = Changed { is_changed: true, voters: 3, tolerance: 1, leader: 2 };
        let seen = Seen { node: 2, is_voter: true, lag: Some(5), contact_ms: None, is_healthy: Some(true) };
        let signed =
            Answer::Signed { certificate: "c".to_owned(), authority: "a".to_owned(), serial: "s".to_owned() };
        let answers = [
            (Answer::Changed(changed), "010001030102"),
            (signed, "0101016301610173"),
            (Answer::Members(vec![seen]), "0102010201010500 0101"),
            (Answer::Rotated { serial: "s".to_owned(), expires_ms: 300 }, "01030173ac02"),
            (Answer::Refused { reason: "no".to_owned() }, "0105026e6f"),
            (Answer::NotNow { reason: "no".to_owned() }, "0106026e6f"),
            (Answer::Described { release: "1".to_owned(), level: 300 }, "01070131ac02"),
            (Answer::Promised { level: 300 }, "0108ac02"),
        ];
        for (answer, golden) in answers {
            assert_eq!(written(&answer), golden.replace(' ', ""));
        }
    }

    #[test]
    fn what_a_newcomer_says_and_hears_is_written_as_ever() {
        let (ticket, to) = (Uuid::from_bytes([1; 16]), Uuid::from_bytes([2; 16]));
        let join = |proof| {
            Knock::Join(Box::new(JoinRequest {
                proof,
                certificate_request: "r".to_owned(),
                now_ms: 300,
                version: "v".to_owned(),
                level: 2,
                keys: vec!["k".to_owned()],
            }))
        };
        let (ones, twos) = ("01".repeat(16), "02".repeat(16));
        let token = JoinProof::Token { id: ticket, secret: [2; 32] };
        let knocks = [
            (join(token), format!("01000010{ones}{twos}{twos}0172ac0201760201016b")),
            (join(JoinProof::Authority { learner: true }), "010001010172ac0201760201016b".to_owned()),
            (Knock::Look { ticket }, format!("010110{ones}")),
            (Knock::Yield { to }, format!("010210{twos}")),
        ];
        for (knock, golden) in knocks {
            assert_eq!(written(&knock), golden);
        }
        let no = || "no".to_owned();
        let replies = [
            (Reply::Refused { code: "c".to_owned(), reason: no() }, "01010163026e6f".to_owned()),
            (Reply::NotNow { reason: no() }, "0102026e6f".to_owned()),
            (Reply::Member { cluster: to, peers: vec!["p".to_owned()] }, format!("010310{twos}010170")),
            (Reply::Seeking { ticket, yielded_to: None }, format!("010410{ones}00")),
        ];
        for (reply, golden) in replies {
            assert_eq!(written(&reply), golden);
        }
    }
}
