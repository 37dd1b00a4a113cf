//! Closes connections whose other end is too slow, by watching their bytes.
//!
//! # Why
//! hyper's own timer covers the waiting for a request and the reading of its head together, so it is
//! either too long for a head that drips or too short for a connection that is kept for later. It starts
//! after the protocol is known, which an attacker can put off for ever, and nothing times a client that
//! does not read its reply.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the other end may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the first byte of a request's head to its last.
    pub(super) head: Duration,
    /// For nothing at all between requests, and for taking the next bytes of a reply.
    pub(super) idle: Duration,
}

/// What a connection's service tells the watch: how many requests it is working on, and how many it has
/// begun.
#[derive(Clone, Default)]
pub(super) struct Activity(Arc<(AtomicUsize, AtomicU64)>);

impl Activity {
    /// A request begins; it ends when the guard is dropped.
    pub(super) fn begin(&self) -> Busy {
        self.0.0.fetch_add(1, Ordering::AcqRel);
        self.0.1.fetch_add(1, Ordering::AcqRel);
        Busy(self.clone())
    }

    fn is_busy(&self) -> bool {
        self.0.0.load(Ordering::Acquire) > 0
    }

    fn begun(&self) -> u64 {
        self.0.1.load(Ordering::Acquire)
    }
}

/// One request in progress.
pub(super) struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection under watch.
pub(super) struct Watched<T> {
    io: T,
    patience: Patience,
    activity: Activity,
    reading: Reading,
    begun: u64,
    is_http2: bool,
    read_timer: Timer,
    write_timer: Timer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Nothing has come since the last request.
    Nothing,
    /// A head has begun to come.
    Head,
}

impl<T> Watched<T> {
    pub(super) fn new(io: T, patience: Patience, activity: Activity) -> Self {
        Self {
            io,
            patience,
            activity,
            reading: Reading::Nothing,
            begun: 0,
            is_http2: false,
            read_timer: Timer::default(),
            write_timer: Timer::default(),
        }
    }

    /// Looks at bytes that came.
    fn came(&mut self, bytes: &[u8]) {
        if self.begun == 0 && self.reading == Reading::Nothing && self.activity.begun() == 0 {
            self.is_http2 = bytes.starts_with(b"PRI ");
        }
        // HTTP/2 sends frames of its own between requests, so there only requests count.
        if !self.is_http2 && self.reading == Reading::Nothing && !self.activity.is_busy() {
            self.reading = Reading::Head;
            self.read_timer.set(self.patience.head);
        }
    }

    /// Nothing came: is it too long?
    fn waits(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let begun = self.activity.begun();
        if self.begun != begun || self.activity.is_busy() {
            self.begun = begun;
            self.reading = Reading::Nothing;
            self.read_timer.clear();
        }
        if self.activity.is_busy() {
            // The time of bodies and handlers is the service's to judge.
            return Poll::Pending;
        }
        if !self.read_timer.is_set() {
            self.read_timer.set(self.patience.idle);
        }
        self.read_timer.poll(cx)
    }

    fn wrote<R>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if outcome.is_ready() {
            self.write_timer.clear();
            return outcome;
        }
        if !self.write_timer.is_set() {
            self.write_timer.set(self.patience.idle);
        }
        Poll::Ready(Err(ready!(self.write_timer.poll(cx))))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Ready(outcome) => {
                let bytes = buf.filled().get(before..).unwrap_or_default();
                if outcome.is_ok() && !bytes.is_empty() {
                    this.came(bytes);
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => Poll::Ready(Err(ready!(this.waits(cx)))),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.wrote(cx, outcome)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.io).poll_flush(cx);
        this.wrote(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.io).poll_shutdown(cx);
        this.wrote(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.wrote(cx, outcome)
    }
}

/// A timer that keeps its place in the runtime's wheel between uses.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl Timer {
    fn is_set(&self) -> bool {
        self.is_set
    }

    fn set(&mut self, after: Duration) {
        let at = Instant::now() + after;
        self.is_set = true;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(sleep_until(at))),
        }
    }

    fn clear(&mut self) {
        self.is_set = false;
    }

    /// Ready with the error to give when the time that was set is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match &mut self.sleep {
            Some(sleep) if self.is_set => {
                ready!(sleep.as_mut().poll(cx));
                Poll::Ready(io::ErrorKind::TimedOut.into())
            }
            Some(_) | None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const PATIENCE: Patience = Patience { head: Duration::from_secs(5), idle: Duration::from_secs(30) };

    fn pair() -> (DuplexStream, Watched<DuplexStream>, Activity) {
        let (client, server) = duplex(64);
        let activity = Activity::default();
        (client, Watched::new(server, PATIENCE, activity.clone()), activity)
    }

    /// Seconds until reading fails for lack of patience.
    async fn cut_after(watched: &mut Watched<DuplexStream>) -> u64 {
        let start = Instant::now();
        let mut buf = [0; 64];
        loop {
            match watched.read(&mut buf).await {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                    return start.elapsed().as_secs();
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_cut_after_the_idle_time() {
        let (_client, mut watched, _) = pair();
        assert_eq!(cut_after(&mut watched).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dripping_head_is_cut_after_the_head_time() {
        let (mut client, mut watched, _) = pair();
        let drip = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            while client.write_all(b"x").await.is_ok() {
                tick.tick().await;
            }
        });
        assert_eq!(cut_after(&mut watched).await, 5);
        drip.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn http2_frames_between_requests_are_no_head() {
        let (mut client, mut watched, _) = pair();
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        assert_eq!(cut_after(&mut watched).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_progress_is_not_cut_and_the_time_starts_anew_after_it() {
        let (mut client, mut watched, activity) = pair();
        client.write_all(b"head").await.unwrap();
        let mut buf = [0; 64];
        assert_eq!(watched.read(&mut buf).await.unwrap(), 4);
        let busy = activity.begin();
        let long = Duration::from_secs(100);
        assert!(tokio::time::timeout(long, watched.read(&mut buf)).await.is_err());
        drop(busy);
        assert_eq!(cut_after(&mut watched).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_request_does_not_leave_its_head_time_behind() {
        let (mut client, mut watched, activity) = pair();
        client.write_all(b"head").await.unwrap();
        let mut buf = [0; 64];
        assert_eq!(watched.read(&mut buf).await.unwrap(), 4);
        drop(activity.begin());
        assert_eq!(cut_after(&mut watched).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_is_not_read_is_cut() {
        let (_client, mut watched, activity) = pair();
        let _busy = activity.begin();
        let start = Instant::now();
        let error = watched.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, 30));
    }
}
