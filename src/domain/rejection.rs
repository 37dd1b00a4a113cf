//! Every way in which the rules say no. A refusal is a reply like any other: it changes no rows.

use serde::{Deserialize, Serialize};

use super::node::TokenFault;

/// Why a command was refused, with a stable code for clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Rejection {
    /// A value breaks the rule of its type.
    #[error("{field}: {rule}")]
    Invalid { field: String, rule: String },
    /// The caller is not, or no longer, who it says: session ended or expired, principal gone.
    #[error("not signed in, or no longer")]
    Unauthenticated,
    /// The credentials do not open a session. Says no more on purpose.
    #[error("the credentials are wrong")]
    BadCredentials,
    /// The refresh token is unknown, expired or spent.
    #[error("the refresh token is not good")]
    BadRefreshToken,
    /// Known caller, but it may not do this.
    #[error("{0} is needed")]
    Forbidden(String),
    /// There is no such thing, or none in this account.
    #[error("no such {0}")]
    NotFound(Noun),
    /// The account number drawn is in use: draw another.
    #[error("the account id is taken")]
    AccountIdTaken,
    /// Another user of the account, or another root user, has the e-mail address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// Another user or service account of the account has the name.
    #[error("the name is taken")]
    NameTaken,
    /// The account has a role of that name.
    #[error("the role exists")]
    RoleExists,
    /// The minted id is in use, which chance alone does not bring about.
    #[error("the id is taken")]
    IdTaken,
    /// A row named by `If-Match` or by a precondition has another revision now.
    #[error("{resource} is at revision {actual}, not {expected}")]
    PreconditionFailed { resource: String, expected: u64, actual: u64 },
    /// A bound that keeps one account from using all of a node.
    #[error("at most {limit} {what}")]
    LimitReached { what: String, limit: u64 },
    /// The command makes no sense where it stands, for instance a transaction inside another.
    #[error("{0}")]
    Misplaced(String),
    /// A row does not decode: damage or a bug, never the caller's fault.
    #[error("a stored row does not decode")]
    Damaged,
    /// The command does not decode on this version.
    #[error("the command is not known to this version")]
    UnknownCommand,
    /// The key that is to own an account owns one.
    #[error("the key is in use")]
    KeyTaken,
    /// The account's recovery secret was given out before.
    #[error("the recovery secret was given out already")]
    RecoveryIssued,
    /// In a strict account only subjects with a live key become members.
    #[error("the user has no key of its own")]
    NotKeyBacked,
    /// Nobody registers by themselves in this account.
    #[error("registration is closed")]
    RegistrationClosed,
    /// The join token lets nobody in.
    #[error("the join token {0}")]
    JoinToken(TokenFault),
    /// The node was taken out of the cluster; nothing brings it back.
    #[error("the node was removed from the cluster, and its id is never used again")]
    NodeRemoved,
}

/// The kinds of things that can be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Noun {
    Account,
    User,
    ServiceAccount,
    ApiKey,
    Role,
    Session,
    SigningKey,
    Node,
    JoinToken,
}

impl std::fmt::Display for Noun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Account => "account",
            Self::User => "user",
            Self::ServiceAccount => "service account",
            Self::ApiKey => "API key",
            Self::Role => "role",
            Self::Session => "session",
            Self::SigningKey => "signing key",
            Self::Node => "node",
            Self::JoinToken => "join token",
        })
    }
}

impl Rejection {
    /// A value that breaks a rule.
    #[must_use]
    pub fn invalid(field: &str, rule: &str) -> Self {
        Self::Invalid { field: field.to_owned(), rule: rule.to_owned() }
    }

    /// The stable code that clients may match on.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_value",
            Self::Unauthenticated => "unauthenticated",
            Self::BadCredentials => "bad_credentials",
            Self::BadRefreshToken => "bad_refresh_token",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::AccountIdTaken => "account_id_taken",
            Self::EmailTaken => "email_taken",
            Self::NameTaken => "name_taken",
            Self::RoleExists => "role_exists",
            Self::IdTaken => "id_taken",
            Self::PreconditionFailed { .. } => "precondition_failed",
            Self::LimitReached { .. } => "limit_reached",
            Self::Misplaced(_) => "misplaced_action",
            Self::Damaged => "damaged_row",
            Self::UnknownCommand => "unknown_command",
            Self::KeyTaken => "key_taken",
            Self::RecoveryIssued => "rotate_key_already_issued",
            Self::NotKeyBacked => "user_not_key_backed",
            Self::RegistrationClosed => "registration_closed",
            Self::JoinToken(TokenFault::Unknown) => "join_token_unknown",
            Self::JoinToken(TokenFault::Used) => "join_token_used",
            Self::JoinToken(TokenFault::Expired) => "join_token_expired",
            Self::NodeRemoved => "node_removed",
        }
    }
}
