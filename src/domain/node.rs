//! The nodes of the cluster, as the rules know them: who was let in and by what, what each shall be, which
//! certificates it was given, and which ids are given up for ever.
//!
//! Who votes is Raft's membership and nothing else. What is kept here is what Raft cannot say: that a token was
//! used, that an id belonged to a node once, that a node shall stay without a vote.
//!
//! # Why in the log
//! A join token is used once, whichever nodes race for it, and an id is never given twice. Both are decided
//! in log order, as everything that happens once.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::rows::tables;
use super::{
    AccountId, Context, Lifetime, Noun, Read, Rejection, Reply, Rows, Sealed, SecretHash, Stored, Timestamp,
};

/// The number of a node, from 1. Given once and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeNumber(pub u64);

/// Names a join token; not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JoinTokenId(pub Uuid);

/// SHA-256 of a node's public key (`SubjectPublicKeyInfo`, DER): by it a node that asks again is known.
pub type KeyPrint = [u8; 32];

/// What a node shall be once it has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// It votes.
    Voter,
    /// It gets the log, answers clients, and never votes: a read replica.
    Learner,
}

/// Whether a node may be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// It was let in. Whether it is a member yet, Raft says.
    Admitted,
    /// It was taken out: its id and its certificates are refused for ever.
    Removed { at: Timestamp },
}

/// A certificate that a node was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// Its serial number, in lower-case hex.
    pub serial: String,
    /// Behind it nobody accepts it.
    pub expires_at: Timestamp,
    /// Since when it is refused, if it is.
    pub revoked_at: Option<Timestamp>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its key when it was let in; none for one that was a member before it was known here.
    pub key: Option<KeyPrint>,
    pub part: Part,
    pub state: NodeState,
    /// The node that is to go when this one has its place.
    pub replaces: Option<NodeNumber>,
    pub admitted_at: Timestamp,
    /// The token it came with, if it came with one.
    pub token: Option<JoinTokenId>,
    /// The certificates it was given and that have not expired, oldest first; at most
    /// [`Node::MAX_CERTIFICATES`].
    pub certificates: Vec<IssuedCertificate>,
}

/// Lets one node in, once, until it expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    pub secret: SecretHash,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub part: Part,
    pub replaces: Option<NodeNumber>,
    /// The node that used it.
    pub used_by: Option<NodeNumber>,
}

/// The authority that issues the nodes' certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAuthority {
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its private key, PEM, sealed.
    pub key: Sealed,
}

/// What can be ordered about nodes; only the cluster itself orders it, for its operators. Grows at the end only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeOrder {
    /// Takes the authority over from the founder's disk, once.
    InstallAuthority(NodeAuthority),
    CreateToken {
        token: JoinTokenId,
        secret: SecretHash,
        good_for: Lifetime,
        part: Part,
        replaces: Option<NodeNumber>,
    },
    RevokeToken {
        token: JoinTokenId,
    },
    /// Lets a node in and gives it the next id; the same node again gets the same.
    Admit {
        by: Admission,
        key: KeyPrint,
    },
    /// Writes down a member that came without being let in here: of an earlier release, or set up by hand.
    Register {
        node: NodeNumber,
        part: Part,
    },
    SetPart {
        node: NodeNumber,
        part: Part,
    },
    /// Gives a node and its id up.
    Remove {
        node: NodeNumber,
    },
    /// Writes down a certificate before it is handed out.
    IssueCertificate {
        node: NodeNumber,
        serial: String,
        good_for: Lifetime,
    },
    /// Refuses all certificates of a node but one.
    RevokeCertificates {
        node: NodeNumber,
        except: Option<String>,
    },
}

/// By what a node asks to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admission {
    /// A join token.
    Token { token: JoinTokenId, secret: SecretHash },
    /// It holds the authority's key, as all nodes of a cluster do that was set up from files.
    Authority { part: Part },
}

/// Why a join token lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenFault {
    /// There is none such, or not with that secret.
    Unknown,
    /// Another node came with it.
    Used,
    /// Its time is over.
    Expired,
}

impl std::fmt::Display for TokenFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "is not known here, or was revoked",
            Self::Used => "was used by another node",
            Self::Expired => "has expired",
        })
    }
}

impl Node {
    /// The most certificates of one node that are good at once.
    pub const MAX_CERTIFICATES: usize = 16;

    /// Whether it was taken out.
    #[must_use]
    pub const fn is_removed(&self) -> bool {
        matches!(self.state, NodeState::Removed { .. })
    }
}

impl JoinToken {
    /// The longest that a token is good for: seven days.
    pub const MAX_LIFETIME: Lifetime = Lifetime::from_secs(7 * 24 * 3600);
    /// The most tokens that are kept; those that are used or over make room.
    pub const MAX_KEPT: usize = 100;
}

/// A node by its number, removed ones too.
///
/// # Errors
/// [`Rejection::Damaged`] if the row does not decode, here and below.
pub fn find(rows: &dyn Read, node: NodeNumber) -> Result<Option<Stored<Node>>, Rejection> {
    tables::NODE.get(rows, &node.0.to_be_bytes())
}

/// All nodes there ever were, in the order of their numbers.
///
/// # Errors
/// As [`find`].
pub fn list(rows: &dyn Read) -> Result<Vec<(NodeNumber, Node)>, Rejection> {
    let found = tables::NODE.scan(rows, &[])?.into_iter();
    Ok(found.filter_map(|(key, row)| Some((number(&key)?, row.value))).collect())
}

/// The node that has that key, unless it was removed.
///
/// # Errors
/// As [`find`].
pub fn find_by_key(rows: &dyn Read, key: &KeyPrint) -> Result<Option<(NodeNumber, Node)>, Rejection> {
    Ok(list(rows)?.into_iter().find(|(_, node)| node.key.as_ref() == Some(key)))
}

/// All tokens that are kept, with their ids.
///
/// # Errors
/// As [`find`].
pub fn tokens(rows: &dyn Read) -> Result<Vec<(JoinTokenId, JoinToken)>, Rejection> {
    let found = tables::JOIN_TOKEN.scan(rows, &[])?.into_iter();
    Ok(found.filter_map(|(key, row)| Some((token_id(&key)?, row.value))).collect())
}

/// The authority, once it is in the rows.
///
/// # Errors
/// As [`find`].
pub fn authority(rows: &dyn Read) -> Result<Option<Stored<NodeAuthority>>, Rejection> {
    tables::NODE_AUTHORITY.get(rows, &[])
}

pub(super) fn order(context: &mut Context<'_>, order: &NodeOrder) -> Result<Reply, Rejection> {
    if context.account != AccountId::CLUSTER {
        return Err(Rejection::Misplaced("nodes belong to the cluster".to_owned()));
    }
    match order {
        NodeOrder::InstallAuthority(authority) => install_authority(context, authority),
        NodeOrder::CreateToken { token, secret, good_for, part, replaces } => {
            let new = JoinToken {
                secret: *secret,
                created_at: context.at,
                expires_at: context.at.plus(*good_for),
                part: *part,
                replaces: *replaces,
                used_by: None,
            };
            create_token(context, *token, *good_for, &new)
        }
        NodeOrder::RevokeToken { token } => {
            if tables::JOIN_TOKEN.get(context.rows, token.0.as_bytes())?.is_none() {
                return Err(Rejection::NotFound(Noun::JoinToken));
            }
            tables::JOIN_TOKEN.delete(context.rows, token.0.as_bytes());
            Ok(Reply::Done)
        }
        NodeOrder::Admit { by, key } => admit(context, by, key),
        NodeOrder::Register { node, part } => register(context, *node, *part),
        NodeOrder::SetPart { node, part } => set_part(context, *node, *part),
        NodeOrder::Remove { node } => remove(context, *node),
        NodeOrder::IssueCertificate { node, serial, good_for } => {
            let expires_at = context.at.plus(*good_for);
            issue(context, *node, IssuedCertificate { serial: serial.clone(), expires_at, revoked_at: None })
        }
        NodeOrder::RevokeCertificates { node, except } => revoke(context, *node, except.as_deref()),
    }
}

/// The stable name of an order in the audit trail, and what it is about.
pub(super) fn described(order: &NodeOrder) -> (&'static str, String) {
    let node = |node: &NodeNumber| format!("node/{}", node.0);
    let token = |token: &JoinTokenId| format!("join-token/{}", token.0.as_hyphenated());
    match order {
        NodeOrder::InstallAuthority(_) => ("cluster.install-authority", String::new()),
        NodeOrder::CreateToken { token: id, .. } => ("join-token.create", token(id)),
        NodeOrder::RevokeToken { token: id } => ("join-token.revoke", token(id)),
        NodeOrder::Admit { by: Admission::Token { token: id, .. }, .. } => ("node.admit", token(id)),
        NodeOrder::Admit { by: Admission::Authority { .. }, .. } => ("node.admit", "authority".to_owned()),
        NodeOrder::Register { node: id, .. } => ("node.register", node(id)),
        NodeOrder::SetPart { node: id, part: Part::Voter } => ("node.promote", node(id)),
        NodeOrder::SetPart { node: id, part: Part::Learner } => ("node.demote", node(id)),
        NodeOrder::Remove { node: id } => ("node.remove", node(id)),
        NodeOrder::IssueCertificate { node: id, serial, .. } => {
            ("certificate.issue", format!("{} certificate/{serial}", node(id)))
        }
        NodeOrder::RevokeCertificates { node: id, .. } => ("certificate.revoke", node(id)),
    }
}

/// Forgets all nodes, tokens and the authority: rows of another cluster are to be those of a new one.
pub(super) fn forget_all(rows: &mut dyn Rows) -> Result<(), Rejection> {
    for (key, _) in tables::NODE.scan(rows, &[])? {
        tables::NODE.delete(rows, &key);
    }
    for (key, _) in tables::JOIN_TOKEN.scan(rows, &[])? {
        tables::JOIN_TOKEN.delete(rows, &key);
    }
    tables::NODE_AUTHORITY.delete(rows, &[]);
    Ok(())
}

fn install_authority(context: &mut Context<'_>, new: &NodeAuthority) -> Result<Reply, Rejection> {
    if authority(context.rows)?.is_some() {
        return Ok(Reply::Changed(false));
    }
    tables::NODE_AUTHORITY.put(context.rows, &[], new)?;
    Ok(Reply::Changed(true))
}

fn create_token(
    context: &mut Context<'_>,
    id: JoinTokenId,
    good_for: Lifetime,
    new: &JoinToken,
) -> Result<Reply, Rejection> {
    if good_for == Lifetime(0) || good_for > JoinToken::MAX_LIFETIME {
        return Err(Rejection::invalid("expires_in", "a join token is good for 1 second to 7 days"));
    }
    if let Some(old) = new.replaces {
        let stored = find(context.rows, old)?.ok_or(Rejection::NotFound(Noun::Node))?;
        if stored.value.is_removed() {
            return Err(Rejection::NodeRemoved);
        }
    }
    let kept = tokens(context.rows)?;
    let mut room = JoinToken::MAX_KEPT.saturating_sub(kept.len());
    for (old, token) in &kept {
        if token.expires_at <= context.at && (room == 0 || token.used_by.is_none()) {
            tables::JOIN_TOKEN.delete(context.rows, old.0.as_bytes());
            room += 1;
        }
    }
    if room == 0 {
        let limit = u64::try_from(JoinToken::MAX_KEPT).unwrap_or(u64::MAX);
        return Err(Rejection::LimitReached { what: "join tokens".to_owned(), limit });
    }
    if kept.iter().any(|(taken, _)| *taken == id) {
        return Err(Rejection::IdTaken);
    }
    tables::JOIN_TOKEN.put(context.rows, id.0.as_bytes(), new)?;
    Ok(Reply::Done)
}

fn admit(context: &mut Context<'_>, by: &Admission, key: &KeyPrint) -> Result<Reply, Rejection> {
    let known = find_by_key(context.rows, key)?;
    if known.as_ref().is_some_and(|(_, node)| node.is_removed()) {
        return Err(Rejection::NodeRemoved);
    }
    let known = known.map(|(number, _)| number);
    let number = match known {
        Some(number) => number,
        None => NodeNumber(list(context.rows)?.last().map_or(0, |(last, _)| last.0) + 1),
    };
    let (part, replaces, token) = match by {
        Admission::Authority { part } => (*part, None, None),
        Admission::Token { token: id, secret } => {
            let stored = tables::JOIN_TOKEN.get(context.rows, id.0.as_bytes())?;
            // A hash of 256 random bits: how long the comparison takes tells nothing.
            let token = stored.map(|row| row.value).filter(|token| token.secret == *secret);
            let mut token = token.ok_or(Rejection::JoinToken(TokenFault::Unknown))?;
            match token.used_by {
                Some(node) if Some(node) == known => {}
                Some(_) => return Err(Rejection::JoinToken(TokenFault::Used)),
                None if token.expires_at <= context.at => {
                    return Err(Rejection::JoinToken(TokenFault::Expired));
                }
                None => {
                    token.used_by = Some(number);
                    tables::JOIN_TOKEN.put(context.rows, id.0.as_bytes(), &token)?;
                }
            }
            (token.part, token.replaces, Some(*id))
        }
    };
    if known.is_some() {
        return Ok(Reply::Changed(false));
    }
    let node = Node {
        key: Some(*key),
        part,
        state: NodeState::Admitted,
        replaces,
        admitted_at: context.at,
        token,
        certificates: Vec::new(),
    };
    put(context, number, &node)?;
    Ok(Reply::Changed(true))
}

fn register(context: &mut Context<'_>, number: NodeNumber, part: Part) -> Result<Reply, Rejection> {
    if number.0 == 0 || number.0 == u64::MAX {
        return Err(Rejection::invalid("node", "a node has a number from 1"));
    }
    if find(context.rows, number)?.is_some() {
        return Ok(Reply::Changed(false));
    }
    let node = Node {
        key: None,
        part,
        state: NodeState::Admitted,
        replaces: None,
        admitted_at: context.at,
        token: None,
        certificates: Vec::new(),
    };
    put(context, number, &node)?;
    Ok(Reply::Changed(true))
}

fn set_part(context: &mut Context<'_>, number: NodeNumber, part: Part) -> Result<Reply, Rejection> {
    let mut node = admitted(context.rows, number)?;
    if node.part == part {
        return Ok(Reply::Changed(false));
    }
    if part == Part::Learner {
        another_voter(context.rows, number)?;
    }
    node.part = part;
    put(context, number, &node)?;
    Ok(Reply::Changed(true))
}

fn remove(context: &mut Context<'_>, number: NodeNumber) -> Result<Reply, Rejection> {
    let mut node = find(context.rows, number)?.ok_or(Rejection::NotFound(Noun::Node))?.value;
    if node.is_removed() {
        return Ok(Reply::Changed(false));
    }
    another_voter(context.rows, number)?;
    node.state = NodeState::Removed { at: context.at };
    put(context, number, &node)?;
    Ok(Reply::Changed(true))
}

fn issue(context: &mut Context<'_>, number: NodeNumber, new: IssuedCertificate) -> Result<Reply, Rejection> {
    let mut node = admitted(context.rows, number)?;
    node.certificates.retain(|issued| issued.expires_at > context.at);
    if node.certificates.iter().any(|issued| issued.serial == new.serial) {
        return Ok(Reply::Changed(false));
    }
    if node.certificates.len() >= Node::MAX_CERTIFICATES {
        // Only one is in use. An older one that was never revoked must not be forgotten while it is good, or it
        // could no longer be revoked: it is refused instead.
        return Err(Rejection::LimitReached {
            what: "certificates of a node that are good at once: revoke the older ones".to_owned(),
            limit: u64::try_from(Node::MAX_CERTIFICATES).unwrap_or(u64::MAX),
        });
    }
    node.certificates.push(new);
    put(context, number, &node)?;
    Ok(Reply::Changed(true))
}

fn revoke(context: &mut Context<'_>, number: NodeNumber, except: Option<&str>) -> Result<Reply, Rejection> {
    let mut node = admitted(context.rows, number)?;
    let at = context.at;
    let mut is_changed = false;
    for issued in &mut node.certificates {
        if issued.revoked_at.is_none() && Some(issued.serial.as_str()) != except {
            issued.revoked_at = Some(at);
            is_changed = true;
        }
    }
    if is_changed {
        put(context, number, &node)?;
    }
    Ok(Reply::Changed(is_changed))
}

fn admitted(rows: &dyn Read, number: NodeNumber) -> Result<Node, Rejection> {
    let node = find(rows, number)?.ok_or(Rejection::NotFound(Noun::Node))?.value;
    if node.is_removed() { Err(Rejection::NodeRemoved) } else { Ok(node) }
}

/// Whether health and quorum allow it, only the leader can see. That nobody at all would be left to vote, the
/// rows say.
fn another_voter(rows: &dyn Read, number: NodeNumber) -> Result<(), Rejection> {
    let is_other = |(other, node): &(NodeNumber, Node)| {
        *other != number && node.part == Part::Voter && !node.is_removed()
    };
    if list(rows)?.iter().any(is_other) {
        return Ok(());
    }
    Err(Rejection::Misplaced(format!("node {} is the last that votes: let another one in first", number.0)))
}

fn put(context: &mut Context<'_>, number: NodeNumber, node: &Node) -> Result<(), Rejection> {
    tables::NODE.put(context.rows, &number.0.to_be_bytes(), node)
}

fn number(key: &[u8]) -> Option<NodeNumber> {
    Some(NodeNumber(u64::from_be_bytes(key.try_into().ok()?)))
}

fn token_id(key: &[u8]) -> Option<JoinTokenId> {
    Some(JoinTokenId(Uuid::from_bytes(key.try_into().ok()?)))
}

#[cfg(test)]
mod tests;
