//! When a session asks for its next token, with paused time.

use std::collections::VecDeque;

use futures_util::future::join_all;
use tokio::time::{advance, sleep};

use super::*;

const LIFE: Duration = Duration::from_secs(100);
/// How long the cluster takes to answer.
const TRIP: Duration = Duration::from_secs(3);

fn tokens(number: usize) -> Tokens {
    serde_json::from_value(serde_json::json!({
        "access_token": format!("access-{number}"),
        "refresh_token": format!("refresh-{number}"),
        "expires_in": LIFE.as_secs(),
        "account": "123456789012",
        "session": Uuid::nil(),
        "session_expires_at": "2030-01-01T00:00:00Z",
    }))
    .unwrap()
}

/// What the cluster was asked: the refresh token and the key.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// A session whose cluster fails as often as it is told to, and then gives the next tokens.
fn session(failures: &[Error]) -> (Session, Asked) {
    let client = Client::new(["http://127.0.0.1:9"]).unwrap();
    let asked = Asked::default();
    let (log, failures) = (Arc::clone(&asked), Mutex::new(VecDeque::from(failures.to_vec())));
    let ask: Ask = Box::new(move |with, key| {
        let With::RefreshToken(token) = with else { panic!("without a refresh token") };
        log.lock().unwrap().push((token.expose().clone(), key));
        let failure = failures.lock().unwrap().pop_front();
        let number: usize = token.expose().strip_prefix("refresh-").unwrap().parse().unwrap();
        Box::pin(async move {
            sleep(TRIP).await;
            failure.map_or_else(|| Ok(tokens(number + 1)), Err)
        })
    });
    let mut first = tokens(0);
    let with = With::RefreshToken(first.refresh_token.take().unwrap());
    (Session::renewed_by(&client, first, with, ask), asked)
}

async fn token(session: &Session) -> Result<String, Error> {
    session.token(Instant::now() + 2 * TRIP).await.map(|token| token.expose().clone())
}

fn gone() -> Error {
    Error::Transport { reason: "cut off".to_owned(), outcome_unknown: true }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_in_good_time_while_calls_go_on_with_it() {
    let (session, asked) = session(&[]);
    assert_eq!(token(&session).await.unwrap(), "access-0");
    advance((LIFE * 4 / 5).checked_sub(Duration::from_millis(1)).unwrap()).await;
    assert_eq!(token(&session).await.unwrap(), "access-0");
    assert!(asked.lock().unwrap().is_empty(), "too early");
    advance(Duration::from_millis(1)).await;
    let before = Instant::now();
    for _ in 0..20 {
        assert_eq!(token(&session).await.unwrap(), "access-0");
    }
    assert_eq!(before.elapsed(), Duration::ZERO, "nobody waits");
    sleep(2 * TRIP).await;
    assert_eq!(token(&session).await.unwrap(), "access-1");
    assert_eq!(asked.lock().unwrap().len(), 1);
    assert!(!format!("{session:?}").contains("access"), "{session:?}");
}

#[tokio::test(start_paused = true)]
async fn all_who_need_an_expired_token_wait_for_one_renewal() {
    let (session, asked) = session(&[]);
    advance(LIFE).await;
    let all = join_all((0..50).map(|_| token(&session))).await;
    assert!(all.iter().all(|token| token.as_ref().unwrap() == "access-1"));
    assert_eq!(asked.lock().unwrap().len(), 1);
    advance(LIFE).await;
    assert_eq!(token(&session).await.unwrap(), "access-2");
    let asked = asked.lock().unwrap();
    assert_eq!(asked[1].0, "refresh-1", "the one that came with the last");
    assert_ne!(asked[0].1, asked[1].1, "another renewal has another key");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_too_and_the_next_try_has_the_same_name() {
    let (session, asked) = session(&[gone()]);
    advance(LIFE).await;
    let all = join_all((0..50).map(|_| token(&session))).await;
    assert!(all.iter().all(|token| matches!(token, Err(Error::Transport { .. }))));
    assert_eq!(asked.lock().unwrap().len(), 1);
    assert_eq!(token(&session).await.unwrap(), "access-1", "asked again at once: there is nothing else");
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0], asked[1], "one renewal, tried twice");
}

#[tokio::test(start_paused = true)]
async fn a_good_token_outlives_failures_which_are_not_asked_for_again_at_once() {
    let (session, asked) = session(&[gone(), gone()]);
    advance(LIFE * 4 / 5).await;
    for _ in 0..10 {
        assert_eq!(token(&session).await.unwrap(), "access-0");
        sleep(Duration::from_millis(400)).await;
    }
    // 4 s went by: 3 s of the first try, which is put off for 2 s.
    assert_eq!(asked.lock().unwrap().len(), 1);
    sleep(PUT_OFF).await;
    assert_eq!(token(&session).await.unwrap(), "access-0");
    sleep(TRIP + PUT_OFF).await;
    assert_eq!(asked.lock().unwrap().len(), 2);
    assert_eq!(token(&session).await.unwrap(), "access-0");
    sleep(2 * TRIP).await;
    assert_eq!(token(&session).await.unwrap(), "access-1");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_cluster_refuses_is_renewed_once_for_all() {
    let (session, asked) = session(&[]);
    let refused = session.token(Instant::now()).await.unwrap();
    let until = Instant::now() + 2 * TRIP;
    let all = join_all((0..20).map(|_| session.token_after(&refused, until))).await;
    assert!(all.iter().all(|token| token.as_ref().unwrap().expose() == "access-1"));
    assert_eq!(asked.lock().unwrap().len(), 1);
    let late = session.token_after(&refused, until).await.unwrap();
    assert_eq!((late.expose().as_str(), asked.lock().unwrap().len()), ("access-1", 1));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_goes_on_without_whoever_needed_it() {
    let (session, asked) = session(&[]);
    advance(LIFE).await;
    let impatient = session.token(Instant::now() + TRIP / 3).await;
    assert!(matches!(impatient, Err(Error::Transport { outcome_unknown: false, .. })));
    let cancelled = tokio::time::timeout(TRIP / 3, token(&session)).await;
    assert!(cancelled.is_err());
    let before = Instant::now();
    assert_eq!(token(&session).await.unwrap(), "access-1");
    assert!(before.elapsed() < TRIP, "it did not begin anew");
    assert_eq!(asked.lock().unwrap().len(), 1);
}
