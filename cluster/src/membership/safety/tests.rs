//! The rules by example, and against every way in which voters may fail.

use proptest::prelude::*;

use super::*;

/// `1 2! 3? l4 l5~ x6`: node 1 leads; 2 is silent, 3 keeps no pace, 4 is a learner that has caught up, 5 one that has
/// not, 6 was given up.
fn situation(text: &str) -> Situation {
    let mut situation = Situation {
        leader: NodeId(1),
        members: BTreeMap::new(),
        gone: BTreeSet::new(),
        patience: Duration::from_secs(1),
    };
    for word in text.split_whitespace() {
        let digits: String = word.chars().filter(char::is_ascii_digit).collect();
        let node = NodeId(digits.parse().unwrap());
        if word.starts_with('x') {
            situation.gone.insert(node);
        }
        let silence = Duration::from_millis(if word.ends_with('!') { 12_345 } else { 40 });
        let lag = if word.ends_with('?') {
            5_000
        } else if word.ends_with('~') {
            500
        } else {
            3
        };
        let is_voter = !word.starts_with('l');
        situation.members.insert(node, Standing { is_voter, silence: Some(silence), lag: Some(lag) });
    }
    situation
}

fn wish(text: &str) -> Wish {
    let (verb, node) = text.split_once(' ').unwrap();
    let node = NodeId(node.parse().unwrap());
    match verb {
        "promote" => Wish::Promote(node),
        "demote" => Wish::Demote(node),
        "remove" => Wish::Remove(node),
        _ => panic!("{verb}"),
    }
}

fn told(members: &str, wanted: &str) -> String {
    match situation(members).check(wish(wanted)) {
        Ok(After { voters, tolerance }) => format!("{}; can lose {tolerance}", list(voters.into_iter())),
        Err(reason) => reason,
    }
}

#[test]
fn what_is_granted() {
    let table = [
        ("1 l2", "promote 2", "1, 2; can lose 0"),
        ("1 2 l3", "promote 3", "1, 2, 3; can lose 1"),
        ("1 2 3 4 l5", "promote 5", "1, 2, 3, 4, 5; can lose 2"),
        // Nothing to do.
        ("1 2 3", "promote 2", "1, 2, 3; can lose 1"),
        ("1 2 3 l4", "demote 4", "1, 2, 3; can lose 1"),
        ("1 2 3", "remove 7", "1, 2, 3; can lose 1"),
        ("1 2 3 l4!", "remove 4", "1, 2, 3; can lose 1"),
        // A learner beside a dead voter, before or after that goes.
        ("1 2 3! l4", "promote 4", "1, 2, 3, 4; can lose 0"),
        ("1 2 3! 4", "remove 3", "1, 2, 4; can lose 1"),
        ("1 2 3! l4", "remove 3", "1, 2; can lose 0"),
        ("1 2 3! l4", "demote 3", "1, 2; can lose 0"),
        // All the way down.
        ("1 2 3 4 5", "remove 5", "1, 2, 3, 4; can lose 1"),
        ("1 2 3 4", "remove 4", "1, 2, 3; can lose 1"),
        ("1 2 3", "remove 3", "1, 2; can lose 0"),
        ("1 2", "remove 2", "1; can lose 0"),
        // The leader too: it hands over first.
        ("1 2 3", "remove 1", "2, 3; can lose 0"),
        ("1 2 3", "demote 1", "2, 3; can lose 0"),
        // Two are down and one of them goes.
        ("1 2 3 4! 5!", "remove 5", "1, 2, 3, 4; can lose 0"),
        ("1 2 3 4 5!", "remove 5", "1, 2, 3, 4; can lose 1"),
        ("1 2 3 4? 5!", "remove 4", "1, 2, 3, 5; can lose 0"),
        ("1 2 3 4 5 6!", "remove 5", "1, 2, 3, 4, 6; can lose 1"),
    ];
    for (members, wanted, expected) in table {
        assert_eq!(told(members, wanted), expected, "{wanted} of {members}");
    }
}

#[test]
fn what_is_refused_and_why() {
    let table = [
        (
            "1",
            "remove 1",
            "node 1 is the last voter: without it the cluster would be gone. Let another node join first",
        ),
        (
            "1 l2",
            "demote 1",
            "node 1 is the last voter: without it the cluster would be gone. Let another node join first",
        ),
        (
            "1 2 3!",
            "remove 2",
            "the voters would be 1, 3, 2 of them are needed, and node 3 has not answered for 12 s. Bring that back \
             first, or remove what will not come back",
        ),
        (
            "1 2!",
            "remove 1",
            "the voters would be 2, 1 of them are needed, and node 2 has not answered for 12 s. Bring that back \
             first, or remove what will not come back",
        ),
        (
            "1 2 3 4!",
            "remove 3",
            "node 3 works, and node 4 has not answered for 12 s: without node 3 not one voter more could fail. Remove \
             what will not come back first, or bring it back",
        ),
        (
            "1 2 3 4 5?",
            "demote 3",
            "node 3 works, and node 5 lacks 5000 entries of the log: without node 3 not one voter more could fail. \
             Remove what will not come back first, or bring it back",
        ),
        (
            "1 2 x3",
            "remove 2",
            "the voters would be 1, 3, 2 of them are needed, and node 3 has been given up. Bring that back first, or \
             remove what will not come back",
        ),
        ("1 2 3", "promote 7", "node 7 is not a member; those are 1, 2, 3"),
        ("1 2 3", "demote 7", "node 7 is not a member; those are 1, 2, 3"),
        (
            "1 2 3 l4!",
            "promote 4",
            "node 4 has not answered for 12 s: as a voter it would hold up the others. See to it that it runs and \
             catches up, and try again",
        ),
        (
            "1 2 3 l4~",
            "promote 4",
            "node 4 lacks 500 entries of the log: as a voter it would hold up the others. See to it that it runs and \
             catches up, and try again",
        ),
        (
            "1 2! 3! l4",
            "promote 4",
            "the voters would be 1, 2, 3, 4, 3 of them are needed, and node 2 has not answered for 12 s, node 3 has \
             not answered for 12 s. Bring that back first, or remove what will not come back",
        ),
    ];
    for (members, wanted, expected) in table {
        assert_eq!(told(members, wanted), expected, "{wanted} of {members}");
    }
    let mut given_up = situation("1 2 3 l4");
    given_up.gone.insert(NodeId(4));
    let refusal = given_up.check(wish("promote 4")).unwrap_err();
    assert!(refusal.contains("never used again"), "{refusal}");
    let mut unheard = situation("1 2 l3");
    unheard.members.insert(NodeId(3), Standing { is_voter: false, silence: None, lag: None });
    let refusal = unheard.check(wish("promote 3")).unwrap_err();
    assert!(refusal.starts_with("node 3 has not answered node 1, which leads"), "{refusal}");
}

/// Whether `voters` decide while just `working` work.
fn decide(voters: &BTreeSet<NodeId>, working: &BTreeSet<NodeId>) -> bool {
    voters.intersection(working).count() * 2 > voters.len()
}

/// Every set of so many of `nodes`.
fn subsets(nodes: &[NodeId], size: usize) -> Vec<BTreeSet<NodeId>> {
    (0_u32..1 << nodes.len())
        .filter(|bits| usize::try_from(bits.count_ones()).unwrap() == size)
        .map(|bits| (0..nodes.len()).filter(|n| bits >> n & 1 == 1).map(|n| nodes[n]).collect())
        .collect()
}

/// How many may fail, whichever they are: found by letting them.
fn survives(voters: &BTreeSet<NodeId>, working: &BTreeSet<NodeId>) -> Option<usize> {
    let alive: Vec<NodeId> = voters.intersection(working).copied().collect();
    let lives = |failed: &BTreeSet<NodeId>| decide(voters, &working.difference(failed).copied().collect());
    (0..=alive.len()).take_while(|lost| subsets(&alive, *lost).iter().all(lives)).last()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_check_never_ends_in_a_cluster_that_stands_still(
        kinds in proptest::collection::vec((any::<bool>(), 0..4_u8), 1..7),
        about in 1..8_u64,
        verb in 0..3_u8,
    ) {
        let words = kinds.iter().enumerate().map(|(n, (is_voter, state))| {
            let is_voter = *is_voter || n == 0;
            let mark = if n == 0 { "" } else { ["", "!", "?", "~"][usize::from(*state)] };
            format!("{}{}{mark}", if is_voter { "" } else { "l" }, n + 1)
        });
        let text = words.collect::<Vec<_>>().join(" ");
        let before = situation(&text);
        let node = NodeId(about);
        let wish = [Wish::Promote(node), Wish::Demote(node), Wish::Remove(node)][usize::from(verb)];
        let working: BTreeSet<NodeId> =
            before.members.keys().copied().filter(|node| before.is_healthy(*node)).collect();
        let voters = before.voters();
        let mut wanted = voters.clone();
        match wish {
            Wish::Promote(node) => wanted.insert(node),
            Wish::Demote(node) | Wish::Remove(node) => wanted.remove(&node),
        };
        let down: Vec<NodeId> = wanted.difference(&working).copied().collect();
        if let Ok(after) = before.check(wish) {
            prop_assert_eq!(&after.voters, &wanted);
            if wanted == voters {
                return Ok(());
            }
            prop_assert!(decide(&wanted, &working), "{} {:?}", text, wish);
            prop_assert_eq!(Some(after.tolerance), survives(&wanted, &working));
            if working.contains(&node) && !wanted.contains(&node) && !down.is_empty() {
                prop_assert!(after.tolerance > 0, "{} {:?}", text, wish);
            }
            return Ok(());
        }
        let is_member = before.members.contains_key(&node);
        let is_unfit = matches!(wish, Wish::Promote(_)) && !before.has_caught_up(node);
        let hangs = survives(&wanted, &working) == Some(0) && !down.is_empty() && working.contains(&node);
        prop_assert!(!is_member || is_unfit || !decide(&wanted, &working) || hangs, "{} {:?}", text, wish);
        // What does not work may go at any time, while the others decide.
        let is_dead_weight = voters.contains(&node) && !working.contains(&node);
        if decide(&voters, &working) && is_dead_weight {
            prop_assert!(matches!(wish, Wish::Promote(_)), "{} {:?}", text, wish);
        }
    }
}
