//! Real faults on real processes: kills, pauses, cut networks, wrong clocks, under load that is written down and judged.
//!
//! Needs root and Linux, and so is not run by a plain `cargo test`; `scripts/faults.sh` runs it. It begins in the
//! machine's own network, makes a namespace for the hub, and runs itself again in there; the outer one cleans up
//! whatever becomes of the inner one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy lets tests do this, but not the functions that tests share"
)]

mod check;
mod client;
mod crew;
mod faults;
mod history;
mod limits;
mod load;
mod membership;
mod nemesis;
mod net;
mod random;
mod recorder;
mod report;
mod runs;
mod site;

use std::ffi::OsString;
use std::io::Read as _;
use std::process::{ExitCode, Stdio};

use clap::Parser;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use runs::Choice;

fn main() -> ExitCode {
    let choice = Choice::parse();
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = threads.expect("a runtime");
    let is_good = match choice.inside {
        Some(owner) => runtime.block_on(inside(owner, &choice)),
        None => runtime.block_on(outside()),
    };
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tries everything, unless the outer one is gone, even by `kill -9`: then this cleans up in its place.
async fn inside(owner: u32, choice: &Choice) -> bool {
    let (gone, is_gone) = oneshot::channel();
    std::thread::spawn(move || {
        // What holds the other end says nothing, and ends when it does.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = gone.send(());
    });
    tokio::select! {
        is_good = runs::all(owner, choice) => is_good,
        _ = is_gone => {
            runs::forget(choice);
            net::close(owner);
            false
        }
    }
}

/// Runs this again in a hub of its own, and cleans up.
async fn outside() -> bool {
    let owner = std::process::id();
    let folder = tempfile::Builder::new().prefix("conclave-faults-").tempdir().expect("a folder");
    net::close(owner);
    net::open(owner);
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", net::hub(owner))).arg("--");
    command.arg(std::env::current_exe().unwrap()).args(std::env::args_os().skip(1));
    command.args([
        "--inside".into(),
        owner.to_string().into(),
        "--folder".into(),
        OsString::from(folder.path()),
    ]);
    // Ctrl-C is for us: the inner one is told by its end.
    let mut inner = command.process_group(0).stdin(Stdio::piped()).spawn().expect("the inner one runs");
    let mut interrupted = signal(SignalKind::interrupt()).unwrap();
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    // Held until here: waiting for a process closes what it reads from.
    let lifeline = inner.stdin.take();
    let is_good = tokio::select! {
        status = inner.wait() => status.is_ok_and(|status| status.success()),
        _ = interrupted.recv() => false,
        _ = terminated.recv() => false,
    };
    let _ = inner.kill().await;
    drop(lifeline);
    net::close(owner);
    is_good
}
