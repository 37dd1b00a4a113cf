//! When to stop: what a terminal, an init system or a parent process says.

use std::future::pending;
use std::io;

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

    /// Ends when one of them came.
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
    }
}

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
