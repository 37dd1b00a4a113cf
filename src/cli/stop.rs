//! When to stop: what a terminal, an init system or a parent process says.

use std::future::pending;
use std::io;
use std::sync::mpsc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Tells when the process was asked to stop. Made early, so that no signal is lost.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
    stdin: Option<oneshot::Receiver<()>>,
}

impl Stop {
    /// Listens for SIGINT (Ctrl-C) and SIGTERM, and for the end of standard input if asked to.
    ///
    /// # Errors
    /// When the system does not let us listen.
    pub fn new(with_stdin: bool) -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { interrupt, terminate, stdin: with_stdin.then(end_of_stdin) })
    }

    /// Ends when one of them came. From then on the process has 10 s.
    pub async fn asked(&mut self) {
        let stdin = async {
            match &mut self.stdin {
                Some(ended) => drop(ended.await),
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = stdin => {}
        }
        end_in_time();
    }
}

/// Ends the process when it has not ended by itself within 10 s: whatever hangs, be it a disk. What was acknowledged is
/// on a majority of the disks by then, so that nothing is lost but the politeness.
pub fn end_in_time() {
    let wait = || {
        let (never, told) = mpsc::channel::<()>();
        let _ = told.recv_timeout(LIMIT);
        drop(never);
        tracing::error!(limit = ?LIMIT, "stopping took too long: ending without waiting any more");
        std::process::exit(1);
    };
    // Without the thread nothing cuts the stop short.
    let _ = std::thread::Builder::new().name("end-in-time".to_owned()).spawn(wait);
}

/// All of a stop, from the signal to the end of the process.
const LIMIT: Duration = Duration::from_secs(10);

/// Reads in a thread of its own: a read of standard input cannot be cancelled, and must hold up nobody.
fn end_of_stdin() -> oneshot::Receiver<()> {
    let (ended, receiver) = oneshot::channel();
    let read = move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    };
    // Without the thread the sender is dropped, which counts as the end.
    let _ = std::thread::Builder::new().name("stdin".to_owned()).spawn(read);
    receiver
}
