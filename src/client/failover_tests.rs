//! Which node is asked when, with a script in the place of the network and paused time.

use std::sync::Mutex;

use super::*;
use crate::client::breaker;

const SECOND: Duration = Duration::from_secs(1);

/// Nodes that do what a test says, and what they were asked.
struct Rig {
    nodes: Nodes,
    start: Instant,
    asked: Mutex<Vec<(usize, Instant)>>,
}

impl Rig {
    fn new(count: usize) -> Self {
        let limits = breaker::Limits { failures: 3, pause: 5 * SECOND };
        Self { nodes: Nodes::new(count, limits), start: Instant::now(), asked: Mutex::default() }
    }

    /// A call of at most this long; `act` is given the node and the number of the try.
    async fn ask(
        &self,
        time: Duration,
        repeat: Repeat,
        act: impl Fn(usize, usize) -> Result<Raw, Lost> + Sync,
    ) -> Result<Raw, Error> {
        let limits = Limits { deadline: Instant::now() + time, attempt: 2 * SECOND };
        self.asked.lock().unwrap().clear();
        ask(&self.nodes, limits, repeat, |node, _| {
            let tries = {
                let mut asked = self.asked.lock().unwrap();
                asked.push((node, Instant::now()));
                asked.len()
            };
            let result = act(node, tries);
            async { result }
        })
        .await
    }

    fn nodes_asked(&self) -> Vec<usize> {
        self.asked.lock().unwrap().iter().map(|(node, _)| *node).collect()
    }

    /// The pauses between the tries.
    fn pauses(&self) -> Vec<Duration> {
        let asked = self.asked.lock().unwrap();
        asked.windows(2).map(|pair| pair[1].1.duration_since(pair[0].1)).collect()
    }
}

fn raw(status: u16, headers: &[(&'static str, &str)], body: &str) -> Raw {
    let named = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    Raw {
        status: StatusCode::from_u16(status).unwrap(),
        headers: named.collect(),
        body: body.to_owned().into(),
    }
}

fn fine() -> Raw {
    raw(200, &[], "{}")
}

fn refused_connection() -> Result<Raw, Lost> {
    Err(Lost { reason: "nobody there".to_owned(), may_have_acted: false })
}

fn lost_answer() -> Result<Raw, Lost> {
    Err(Lost { reason: "cut off".to_owned(), may_have_acted: true })
}

fn no_leader(after: &str) -> Raw {
    let body = r#"{"code":"no_leader","outcome_unknown":false}"#;
    raw(503, &[("retry-after", after)], body)
}

#[tokio::test(start_paused = true)]
async fn the_next_node_is_asked_after_a_short_pause_and_stays_the_first() {
    let rig = Rig::new(3);
    let answer =
        rig.ask(SECOND, Repeat::Safe, |node, _| if node == 1 { Ok(fine()) } else { lost_answer() }).await;
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(rig.nodes_asked(), [0, 1]);
    let pause = rig.pauses()[0];
    assert!((FIRST_PAUSE..=FIRST_PAUSE * 2 + Duration::from_millis(1)).contains(&pause), "{pause:?}");
    rig.ask(SECOND, Repeat::Safe, |_, _| Ok(fine())).await.unwrap();
    assert_eq!(rig.nodes_asked(), [1]);
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_differ_and_the_deadline_ends_them() {
    let rig = Rig::new(2);
    let error = rig.ask(4 * SECOND, Repeat::Safe, |_, _| refused_connection()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Transport { reason, outcome_unknown: false } if reason == "nobody there")
    );
    assert!(error.is_retryable() && rig.start.elapsed() < 4 * SECOND);
    let pauses = rig.pauses();
    let mut least = FIRST_PAUSE;
    for pause in &pauses {
        // The timer counts whole milliseconds.
        let most = least * 2 + Duration::from_millis(2);
        assert!((least..=most).contains(pause), "{pause:?} is not from {least:?} to {most:?}");
        least = (least * 2).min(LONGEST_PAUSE);
    }
    assert!(pauses.len() >= 5, "{pauses:?}");
    assert_eq!(rig.nodes_asked()[..4], [0, 1, 0, 1], "breakers that are all open fail nobody unasked");
    let mut jitters: Vec<_> = Vec::new();
    for _ in 0..20 {
        let rig = Rig::new(1);
        rig.ask(SECOND, Repeat::Safe, |_, tries| if tries == 2 { Ok(fine()) } else { lost_answer() })
            .await
            .unwrap();
        jitters.push(rig.pauses()[0]);
    }
    jitters.dedup();
    assert!(jitters.len() > 1, "without jitter: {jitters:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_answer_at_once_and_never_trips() {
    let rig = Rig::new(2);
    for status in [400, 401, 403, 404, 409, 412, 422, 404, 404, 404] {
        let answer = rig.ask(SECOND, Repeat::Safe, |_, _| Ok(raw(status, &[], "{}"))).await.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(rig.nodes_asked(), [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_an_answer_too_but_the_node_is_left() {
    let rig = Rig::new(2);
    let answer = rig.ask(SECOND, Repeat::Safe, |_, _| Ok(raw(500, &[], "{}"))).await.unwrap();
    assert_eq!((answer.status.as_u16(), rig.nodes_asked()), (500, vec![0]));
    rig.ask(SECOND, Repeat::Safe, |_, _| Ok(fine())).await.unwrap();
    assert_eq!(rig.nodes_asked(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_not_asked_before_it_says_and_others_are() {
    let rig = Rig::new(2);
    let act = |node, tries| match (node, tries) {
        (0, 1) => Ok(no_leader("3")),
        (0, _) => Ok(fine()),
        _ => Ok(no_leader("2")),
    };
    rig.ask(10 * SECOND, Repeat::Safe, act).await.unwrap();
    assert_eq!(rig.nodes_asked(), [0, 1, 1, 0]);
    let pauses = rig.pauses();
    assert!(pauses[0] < SECOND / 10, "the other one is asked soon: {pauses:?}");
    assert!(pauses[1] >= 2 * SECOND && pauses[1] < 3 * SECOND, "{pauses:?}");
    assert!(rig.start.elapsed() >= 3 * SECOND && rig.start.elapsed() < 4 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_asks_for_too_long_is_not_waited_for_when_the_others_go_away_meanwhile() {
    let rig = Rig::new(2);
    let act = |node, _| if node == 0 { Ok(no_leader("60")) } else { lost_answer() };
    let others = async {
        // Between the second try and the third, other calls find the second node gone.
        tokio::time::sleep(FIRST_PAUSE * 5 / 2).await;
        for _ in 0..3 {
            rig.nodes.tour().failed(1, Instant::now());
        }
    };
    let (result, ()) = tokio::join!(rig.ask(5 * SECOND, Repeat::Safe, act), others);
    assert!(matches!(result, Err(Error::Transport { outcome_unknown: true, .. })), "{result:?}");
    assert_eq!(rig.nodes_asked(), [0, 1]);
    assert!(rig.start.elapsed() < SECOND, "{:?}", rig.start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn too_many_requests_holds_for_all_nodes_and_trips_none() {
    let rig = Rig::new(3);
    let many = || Ok(raw(429, &[("retry-after", "2")], r#"{"code":"rate_limit_exceeded"}"#));
    for _ in 0..3 {
        let answer =
            rig.ask(5 * SECOND, Repeat::OnlyIfNotDone, |_, n| if n == 1 { many() } else { Ok(fine()) });
        assert_eq!(answer.await.unwrap().status, 200);
        assert!(rig.pauses()[0] >= 2 * SECOND, "{:?}", rig.pauses());
    }
    // What comes too late is not waited for.
    let before = Instant::now();
    let error = rig.ask(SECOND, Repeat::Safe, |_, _| many()).await.unwrap_err();
    assert_eq!((error.status(), error.code()), (Some(429), Some("rate_limit_exceeded")));
    assert!(error.is_retryable() && !error.is_outcome_unknown());
    assert_eq!(before.elapsed(), Duration::ZERO);
    for _ in 0..4 {
        rig.ask(SECOND, Repeat::Safe, |_, _| many()).await.unwrap_err();
    }
    rig.ask(SECOND, Repeat::Safe, |_, _| Ok(fine())).await.unwrap();
    assert_eq!(rig.nodes_asked(), [0], "the one that answered last is still the first");
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_done_stays_so_until_there_is_an_answer() {
    let rig = Rig::new(2);
    let error = rig
        .ask(SECOND, Repeat::Safe, |_, tries| if tries == 1 { lost_answer() } else { Ok(no_leader("0")) })
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotNow { outcome_unknown: true, .. }), "{error:?}");
    for (body, unknown) in [
        (r#"{"code":"busy"}"#, false),
        (r#"{"code":"outcome_unknown","outcome_unknown":true}"#, true),
        ("<html>a proxy</html>", true),
    ] {
        let error = rig.ask(SECOND, Repeat::Safe, |_, _| Ok(raw(503, &[], body))).await.unwrap_err();
        assert_eq!(error.is_outcome_unknown(), unknown, "{body}");
        assert!(!error.to_string().contains('<'), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_name_is_repeated_only_if_nothing_was_done() {
    let rig = Rig::new(3);
    let act = |_, tries| match tries {
        1 => refused_connection(),
        2 => Ok(no_leader("0")),
        _ => lost_answer(),
    };
    let error = rig.ask(10 * SECOND, Repeat::OnlyIfNotDone, act).await.unwrap_err();
    assert!(matches!(error, Error::Transport { outcome_unknown: true, .. }), "{error:?}");
    assert_eq!(rig.nodes_asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_node_with_an_open_breaker_gets_one_request_after_the_pause() {
    let rig = Rig::new(2);
    for _ in 0..3 {
        rig.nodes.tour().failed(0, Instant::now());
    }
    for _ in 0..3 {
        rig.ask(SECOND, Repeat::Safe, |node, _| if node == 1 { Ok(fine()) } else { lost_answer() })
            .await
            .unwrap();
        assert_eq!(rig.nodes_asked(), [1]);
    }
    let act = |_, tries| if tries == 1 { lost_answer() } else { Ok(fine()) };
    rig.ask(SECOND, Repeat::Safe, act).await.unwrap();
    assert_eq!(rig.nodes_asked(), [1, 1], "rather the same node again than the one that is left alone");
    tokio::time::advance(5 * SECOND).await;
    rig.ask(SECOND, Repeat::Safe, act).await.unwrap();
    assert_eq!(rig.nodes_asked(), [1, 0]);
}
