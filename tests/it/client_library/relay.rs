//! A piece of wire between a client and a node that can be cut, stopped up, or made to lose answers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Carries bytes to a node and back. Everything ends when it is dropped.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    task: Option<JoinHandle<()>>,
}

struct State {
    node: SocketAddr,
    /// So many answers are still to be lost.
    to_lose: AtomicUsize,
    lost: AtomicUsize,
    is_silent: AtomicBool,
    ignored: AtomicUsize,
    asked: Mutex<Vec<String>>,
}

impl Relay {
    pub(super) async fn to(node: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let state = Arc::new(State {
            node,
            to_lose: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            is_silent: AtomicBool::new(false),
            ignored: AtomicUsize::new(0),
            asked: Mutex::default(),
        });
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, task: Some(task) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The node gets what is asked next, and the client gets a closed connection for it.
    pub(super) fn lose_answers(&self, count: usize) {
        self.state.to_lose.store(count, Ordering::SeqCst);
    }

    /// How many answers were lost.
    pub(super) fn lost(&self) -> usize {
        self.state.lost.load(Ordering::SeqCst)
    }

    /// From now on nothing is carried, and nothing is closed.
    pub(super) fn fall_silent(&self) {
        self.state.is_silent.store(true, Ordering::SeqCst);
    }

    /// How many requests came while it was silent.
    pub(super) fn ignored(&self) -> usize {
        self.state.ignored.load(Ordering::SeqCst)
    }

    /// Closes the listener and every connection.
    pub(super) async fn stop(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    /// Listens again at the same address.
    pub(super) async fn start(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.task = Some(tokio::spawn(accept(listener, Arc::clone(&self.state))));
    }

    /// Method and path of everything that was asked.
    pub(super) fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(carry(client, Arc::clone(&state)));
    }
}

/// One connection, one request at a time, as HTTP/1.1 without pipelining has it.
async fn carry(mut client: TcpStream, state: Arc<State>) {
    let Ok(mut node) = TcpStream::connect(state.node).await else { return };
    let (mut from_client, mut from_node) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(length @ 1..) = read else { return };
                if state.is_silent.load(Ordering::SeqCst) {
                    state.ignored.fetch_add(1, Ordering::SeqCst);
                    return std::future::pending().await;
                }
                state.note(&from_client[..length]);
                if node.write_all(&from_client[..length]).await.is_err() {
                    return;
                }
            }
            read = node.read(&mut from_node) => {
                let Ok(length @ 1..) = read else { return };
                if state.loses_one() || client.write_all(&from_node[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl State {
    fn note(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let line = text.lines().next().and_then(|line| line.strip_suffix(" HTTP/1.1"));
        self.asked.lock().unwrap().extend(line.map(str::to_owned));
    }

    fn loses_one(&self) -> bool {
        let order = Ordering::SeqCst;
        let loses = self.to_lose.fetch_update(order, order, |left| left.checked_sub(1)).is_ok();
        self.lost.fetch_add(usize::from(loses), order);
        loses
    }
}
