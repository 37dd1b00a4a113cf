use super::super::testing::MemoryRows;
use super::super::{Action, Actor, Command, Origin};
use super::*;

const HOUR: Lifetime = Lifetime::from_secs(3600);

#[derive(Default)]
struct World {
    rows: MemoryRows,
    at: u64,
}

impl World {
    fn order(&mut self, order: NodeOrder) -> Result<Reply, Rejection> {
        self.by(Actor::System, AccountId::CLUSTER, order)
    }

    fn by(&mut self, by: Actor, account: AccountId, order: NodeOrder) -> Result<Reply, Rejection> {
        let action = Action::OrderNodes(order);
        let command = Command { account, by, origin: Origin::default(), expect: Vec::new(), action };
        self.rows.apply(Timestamp(self.at), &command)
    }

    fn token(&mut self, n: u8, replaces: Option<u64>) -> Result<Reply, Rejection> {
        self.order(NodeOrder::CreateToken {
            token: id(n),
            secret: secret(n),
            good_for: HOUR,
            part: Part::Voter,
            replaces: replaces.map(NodeNumber),
        })
    }

    fn admit(&mut self, token: u8, secret_of: u8, key: u8) -> Result<u64, Rejection> {
        let by = Admission::Token { token: id(token), secret: secret(secret_of) };
        self.order(NodeOrder::Admit { by, key: [key; 32] })?;
        Ok(find_by_key(&self.rows, &[key; 32])?.unwrap().0.0)
    }
}

fn id(n: u8) -> JoinTokenId {
    JoinTokenId(Uuid::from_bytes([n; 16]))
}

fn secret(n: u8) -> SecretHash {
    SecretHash::new([n; 32])
}

/// A cluster whose node 1 founded it.
fn founded() -> World {
    let mut world = World::default();
    world.order(NodeOrder::Register { node: NodeNumber(1), part: Part::Voter }).unwrap();
    world
}

#[test]
fn a_token_lets_one_node_in_and_that_one_again() {
    let mut world = founded();
    world.token(1, None).unwrap();
    let unknown = Err(Rejection::JoinToken(TokenFault::Unknown));
    assert_eq!(world.admit(1, 2, 10), unknown, "not its secret");
    assert_eq!(world.admit(2, 1, 10), unknown, "no such token");
    assert_eq!(world.admit(1, 1, 10), Ok(2));
    assert_eq!(world.admit(1, 1, 11), Err(Rejection::JoinToken(TokenFault::Used)));
    world.at += HOUR.0 + 1;
    assert_eq!(world.admit(1, 1, 10), Ok(2), "it got in, and asks once more for its answer");
    world.token(3, None).unwrap();
    assert_eq!(world.admit(3, 3, 11), Ok(3));
}

#[test]
fn a_token_ends() {
    let mut world = founded();
    world.token(1, None).unwrap();
    world.at += HOUR.0;
    assert_eq!(world.admit(1, 1, 10), Err(Rejection::JoinToken(TokenFault::Expired)));
    world.token(2, None).unwrap();
    world.order(NodeOrder::RevokeToken { token: id(2) }).unwrap();
    assert_eq!(world.admit(2, 2, 10), Err(Rejection::JoinToken(TokenFault::Unknown)));
    let again = world.order(NodeOrder::RevokeToken { token: id(2) });
    assert_eq!(again, Err(Rejection::NotFound(Noun::JoinToken)));
    for good_for in [Lifetime(0), Lifetime(JoinToken::MAX_LIFETIME.0 + 1)] {
        let order = NodeOrder::CreateToken {
            token: id(9),
            secret: secret(9),
            good_for,
            part: Part::Voter,
            replaces: None,
        };
        assert!(matches!(world.order(order), Err(Rejection::Invalid { .. })));
    }
}

#[test]
fn tokens_do_not_pile_up() {
    let mut world = founded();
    for n in 0..100 {
        world.token(n, None).unwrap();
    }
    assert!(matches!(world.token(100, None), Err(Rejection::LimitReached { limit: 100, .. })));
    world.at += HOUR.0;
    world.token(100, None).unwrap();
    assert_eq!(tokens(&world.rows).unwrap().len(), 1);
}

#[test]
fn an_id_is_never_given_again() {
    let mut world = founded();
    for n in 1..=3 {
        world.token(n, None).unwrap();
        assert_eq!(world.admit(n, n, n), Ok(u64::from(n) + 1));
        assert_eq!(
            world.order(NodeOrder::Remove { node: NodeNumber(u64::from(n) + 1) }),
            Ok(Reply::Changed(true))
        );
    }
    assert_eq!(world.admit(3, 3, 3), Err(Rejection::NodeRemoved), "nor by the node that had it");
    let again = world.order(NodeOrder::Remove { node: NodeNumber(4) });
    assert_eq!(again, Ok(Reply::Changed(false)));
    let by = Admission::Authority { part: Part::Voter };
    world.order(NodeOrder::Admit { by, key: [9; 32] }).unwrap();
    assert_eq!(find_by_key(&world.rows, &[9; 32]).unwrap().unwrap().0, NodeNumber(5));
}

#[test]
fn somebody_is_left_to_vote() {
    let mut world = founded();
    let one = NodeNumber(1);
    let refused = |outcome: Result<Reply, Rejection>| matches!(outcome, Err(Rejection::Misplaced(_)));
    assert!(refused(world.order(NodeOrder::Remove { node: one })));
    assert!(refused(world.order(NodeOrder::SetPart { node: one, part: Part::Learner })));
    world.token(1, None).unwrap();
    world.admit(1, 1, 1).unwrap();
    world.order(NodeOrder::SetPart { node: one, part: Part::Learner }).unwrap();
    assert!(refused(world.order(NodeOrder::Remove { node: NodeNumber(2) })));
    assert_eq!(world.order(NodeOrder::Remove { node: one }), Ok(Reply::Changed(true)));
    let back = world.order(NodeOrder::SetPart { node: one, part: Part::Voter });
    assert_eq!(back, Err(Rejection::NodeRemoved));
    let unknown = world.order(NodeOrder::Remove { node: NodeNumber(7) });
    assert_eq!(unknown, Err(Rejection::NotFound(Noun::Node)));
}

#[test]
fn certificates_are_revoked_all_but_one() {
    let mut world = founded();
    let node = NodeNumber(1);
    let issue =
        |serial: &str| NodeOrder::IssueCertificate { node, serial: serial.to_owned(), good_for: HOUR };
    for serial in ["a", "b", "c"] {
        world.order(issue(serial)).unwrap();
    }
    let revoke = NodeOrder::RevokeCertificates { node, except: Some("c".to_owned()) };
    assert_eq!(world.order(revoke.clone()), Ok(Reply::Changed(true)));
    assert_eq!(world.order(revoke), Ok(Reply::Changed(false)));
    let stored = find(&world.rows, node).unwrap().unwrap().value.certificates;
    let revoked: Vec<_> = stored.iter().map(|issued| issued.revoked_at.is_some()).collect();
    assert_eq!(revoked, [true, true, false]);
    world.at += HOUR.0;
    world.order(issue("d")).unwrap();
    let stored = find(&world.rows, node).unwrap().unwrap().value.certificates;
    assert_eq!(stored.len(), 1, "what has expired is forgotten");
    for n in 1..Node::MAX_CERTIFICATES {
        world.order(issue(&n.to_string())).unwrap();
    }
    assert!(matches!(world.order(issue("e")), Err(Rejection::LimitReached { .. })));
}

#[test]
fn only_the_cluster_itself_orders_and_only_there() {
    let mut world = founded();
    let order = NodeOrder::Register { node: NodeNumber(2), part: Part::Voter };
    let anybody = world.by(Actor::Anonymous, AccountId::CLUSTER, order.clone());
    assert!(matches!(anybody, Err(Rejection::Forbidden(_))));
    let elsewhere = world.by(Actor::System, AccountId::DEFAULT, order);
    assert!(matches!(elsewhere, Err(Rejection::Misplaced(_))));
}
