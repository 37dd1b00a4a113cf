//! Levels: which kinds of commands, and which formats of rows, a program knows, as one number.
//!
//! A program knows all levels up to [`LEVEL`]. The cluster is at one level, which is a row like any other:
//! none means 1, the level of the first release. A command of a higher level than the cluster's is refused,
//! by every node alike. The level rises when all members have said that their programs know the next
//! one, and that they will never again be started with one that does not. It never falls.
//!
//! # Why in the rows, and not by asking around before each command
//! Whether a command is carried out must be the same on every node, also on one that applies it a week later from
//! its log. So it can depend on nothing but the rows before it.
//!
//! # Why such a command is answered as one that is not known
//! A program of a lower level cannot decode the command and answers [`Rejection::UnknownCommand`]. What is
//! answered is remembered, and counts in the digest of the state: any other word here and the nodes would
//! differ. Clients do not see it: the node that is asked looks at the level first, and says who is behind.
//!
//! # How a release adds something
//! - A new kind of command, or a new variant anywhere inside one, is given its level below. It may be stored
//!   only by such a command: a new table, a new version of a row, a new [`Reply`] or [`Rejection`]. To older kinds
//!   of commands the same is answered as ever, until `of(rows)` says that all nodes know better.
//! - A kind gets no new fields: a program that does not know them would read on as if nothing were there.
//! - [`LEVEL`] is raised by one in each release that adds anything.

use super::node::NodeOrder;
use super::reseal::SealedSecret;
use super::rows::tables;
use super::{AccountId, Action, Actor, Command, Context, Read, Rejection, Reply, Resource};

/// The newest level that this program knows. With the feature `previous-level` it is the program before this
/// one, as far as others can tell: for the test of an upgrade.
pub const LEVEL: u32 = if cfg!(feature = "previous-level") { 1 } else { 2 };

/// The release that this program is, as it tells others.
pub const RELEASE: &str = if cfg!(feature = "previous-level") {
    concat!(env!("CARGO_PKG_VERSION"), "-previous")
} else {
    env!("CARGO_PKG_VERSION")
};

/// The level of a cluster that never raised it, and of all that the first release knows.
pub const FIRST: u32 = 1;
/// What operators do through the cluster: nodes, their tokens and certificates; the offer to make the first
/// administrator; putting an account back to a backup.
pub const OPERATIONS: u32 = 2;

/// The level of the cluster.
///
/// # Errors
/// [`Rejection::Damaged`] if the row does not decode.
pub fn of(rows: &dyn Read) -> Result<u32, Rejection> {
    Ok(tables::LEVEL.get(rows, &[])?.map_or(FIRST, |row| row.value))
}

/// Refuses a command that the cluster's level does not have.
pub(super) fn check(rows: &dyn Read, command: &Command) -> Result<(), Rejection> {
    if command.level() > of(rows)? { Err(Rejection::UnknownCommand) } else { Ok(()) }
}

/// Raises the level. Whoever orders it knows that all members know that level: see `app::upgrade`.
pub(super) fn raise(context: &mut Context<'_>, to: u32) -> Result<Reply, Rejection> {
    if context.account != AccountId::CLUSTER {
        return Err(Rejection::Misplaced("the level belongs to the cluster".to_owned()));
    }
    let now = of(context.rows)?;
    if to < now {
        return Err(Rejection::Misplaced(format!("the cluster is at level {now}, and a level never falls")));
    }
    if to == now {
        return Ok(Reply::Changed(false));
    }
    tables::LEVEL.put(context.rows, &[], &to)?;
    Ok(Reply::Changed(true))
}

impl Command {
    /// The level that all nodes must know before this is carried out: the highest of anything inside.
    #[must_use]
    pub fn level(&self) -> u32 {
        let expected = self.expect.iter().map(|expectation| expectation.resource.level()).max();
        self.action.level().max(self.by.level()).max(expected.unwrap_or(FIRST))
    }
}

impl Action {
    /// The level that this kind came with.
    #[must_use]
    pub fn level(&self) -> u32 {
        match self {
            Self::InstallSecrets(_)
            | Self::CreateAccount(_)
            | Self::CreateUser(_)
            | Self::UpdateUser { .. }
            | Self::SetUserStatus { .. }
            | Self::SetPassword { .. }
            | Self::RehashPassword { .. }
            | Self::DeleteUser { .. }
            | Self::CreateServiceAccount(_)
            | Self::DeleteServiceAccount { .. }
            | Self::AddApiKey { .. }
            | Self::RevokeApiKey { .. }
            | Self::CreateRole(_)
            | Self::UpdateRole { .. }
            | Self::DeleteRole { .. }
            | Self::AssignRole { .. }
            | Self::UnassignRole { .. }
            | Self::OpenSession(_)
            | Self::RefreshSession(_)
            | Self::EndSession { .. }
            | Self::EndSessions { .. }
            | Self::RotateSigningKey { .. }
            | Self::SetServiceStatus { .. }
            | Self::OpenDefaultAccount(_)
            | Self::CreateFirstAdmin(_)
            | Self::Register(_)
            | Self::OpenKeyAccount { .. }
            | Self::RotateHolder { .. }
            | Self::SetRecovery { .. }
            | Self::Recover(_)
            | Self::ChangeSettings(_)
            | Self::AddMember { .. }
            | Self::RemoveMember { .. }
            | Self::AddSubjectKey { .. }
            | Self::RevokeSubjectKey { .. }
            | Self::ShortenSubjectKey { .. }
            | Self::RefuseSignIn(_)
            | Self::Unlock { .. }
            | Self::SetClient { .. }
            | Self::ProvePassword { .. }
            | Self::SetRoles { .. }
            // By this the level rises, so it cannot wait for it. Nobody orders it before all know it.
            | Self::RaiseLevel { .. } => FIRST,
            Self::Observe(seen) => seen.iter().map(|one| one.by.level()).max().unwrap_or(FIRST),
            Self::Reseal(new) => new.secret.level(),
            Self::OfferSetup { .. }
            | Self::BeginRestore { .. }
            | Self::RestoreRows(_)
            | Self::FinishRestore(_)
            | Self::AbandonRestore { .. } => OPERATIONS,
            Self::OrderNodes(order) => order.level(),
            Self::Transaction(actions) => actions.iter().map(Self::level).max().unwrap_or(FIRST),
        }
    }
}

impl NodeOrder {
    fn level(&self) -> u32 {
        match self {
            Self::InstallAuthority(_)
            | Self::CreateToken { .. }
            | Self::RevokeToken { .. }
            | Self::Admit { .. }
            | Self::Register { .. }
            | Self::SetPart { .. }
            | Self::Remove { .. }
            | Self::IssueCertificate { .. }
            | Self::RevokeCertificates { .. } => OPERATIONS,
        }
    }
}

impl SealedSecret {
    fn level(&self) -> u32 {
        match self {
            Self::MintKey | Self::SigningKey(_) => FIRST,
            Self::NodeAuthority => OPERATIONS,
        }
    }
}

impl Actor {
    fn level(&self) -> u32 {
        match self {
            Self::Anonymous | Self::SignedIn { .. } | Self::System | Self::KeyHolder(_) => FIRST,
        }
    }
}

impl Resource {
    fn level(&self) -> u32 {
        match self {
            Self::Account
            | Self::User(_)
            | Self::Password(_)
            | Self::ServiceAccount(_)
            | Self::Role(_)
            | Self::Settings => FIRST,
            Self::SetupOffer => OPERATIONS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::NodeNumber;
    use super::super::testing::MemoryRows;
    use super::super::{Origin, Timestamp};
    use super::*;

    fn command(action: Action) -> Command {
        Command {
            account: AccountId::CLUSTER,
            by: Actor::System,
            origin: Origin::default(),
            expect: Vec::new(),
            action,
        }
    }

    fn raise(to: u32) -> Command {
        command(Action::RaiseLevel { to })
    }

    fn newer() -> Action {
        Action::OrderNodes(NodeOrder::Remove { node: NodeNumber(7) })
    }

    #[test]
    fn a_cluster_of_the_first_release_is_at_level_1_and_a_level_only_rises() {
        let (mut rows, at) = (MemoryRows::of_the_first_release(), Timestamp(1));
        assert_eq!(of(&rows), Ok(1));
        assert_eq!(rows.apply(at, &raise(1)), Ok(Reply::Changed(false)));
        assert_eq!(rows.apply(at, &raise(3)), Ok(Reply::Changed(true)));
        assert_eq!(rows.apply(at, &raise(3)), Ok(Reply::Changed(false)));
        assert!(matches!(rows.apply(at, &raise(2)), Err(Rejection::Misplaced(_))));
        assert_eq!(of(&rows), Ok(3));
    }

    #[test]
    fn only_the_cluster_itself_raises_it_and_not_among_other_things() {
        let (mut rows, at) = (MemoryRows::of_the_first_release(), Timestamp(1));
        for by in [Actor::Anonymous, Actor::KeyHolder(super::super::SecretHash::new([1; 32]))] {
            assert!(rows.apply(at, &Command { by, ..raise(2) }).is_err());
        }
        let elsewhere = Command { account: AccountId::parse("123456789012").unwrap(), ..raise(2) };
        assert!(matches!(rows.apply(at, &elsewhere), Err(Rejection::Misplaced(_))));
        let packed = command(Action::Transaction(vec![Action::RaiseLevel { to: 2 }]));
        assert!(matches!(rows.apply(at, &packed), Err(Rejection::Misplaced(_))));
        assert_eq!(of(&rows), Ok(1));
    }

    /// The answer is that of a program that cannot decode the command, whoever asks and whatever else is wrong
    /// with it: answers are remembered, and count in the digest.
    #[test]
    fn what_the_cluster_is_too_old_for_is_refused_in_the_words_of_an_old_program() {
        let (mut rows, at) = (MemoryRows::of_the_first_release(), Timestamp(1));
        let older = rows.clone();
        for by in [Actor::System, Actor::KeyHolder(super::super::SecretHash::new([1; 32]))] {
            for action in [newer(), Action::Transaction(vec![newer()])] {
                let refused = rows.apply(at, &Command { by: by.clone(), ..command(action) });
                assert_eq!(refused, Err(Rejection::UnknownCommand));
            }
        }
        assert_eq!(rows.rows, older.rows);
        rows.apply(at, &raise(2)).unwrap();
        assert_ne!(rows.apply(at, &command(newer())), Err(Rejection::UnknownCommand));
    }

    #[test]
    fn the_level_of_a_command_is_the_highest_inside() {
        let first = Action::Transaction(Vec::new());
        assert_eq!(command(Action::Transaction(vec![first, newer()])).level(), 2);
        assert_eq!(raise(9).level(), 1);
    }
}
