//! Clients that are slow on purpose, more of them than one address may have.

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Own, World};

async fn from(address: &str, to: std::net::SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.ok()
}

#[tokio::test]
async fn h2_a_crowd_of_slow_clients_leaves_room_for_others() {
    let cluster = Own::start(1, "max_connections = 200\nmax_connections_per_address = 50\n").await;
    let to = cluster.nodes[0].http_address();
    let ways: [&[u8]; 4] = [
        b"",
        b"G",
        b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: y\r\n",
        b"POST /v1/sign-in HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{",
    ];
    let mut crowd = Vec::new();
    for n in 0..300 {
        if let Some(mut stream) = from("127.0.0.9", to).await {
            let _ = stream.write_all(ways[n % 4]).await;
            crowd.push(stream);
        }
    }
    assert!(crowd.len() > 100, "{}", crowd.len());
    // Others are answered meanwhile, several at once, each of these ways.
    for _ in 0..5 {
        let asks = (0..8).map(|_| cluster.get(0, "/health").into_future());
        assert!(join_all(asks).await.iter().all(|reply| reply.status == 200));
        cluster.get(0, "/ready").await.is(200);
    }
    let figures = cluster.get(0, "/metrics").await.is(200);
    let text = String::from_utf8_lossy(&figures.body).into_owned();
    let open = text.lines().find_map(|line| line.strip_prefix("http_connections ")).unwrap();
    assert!(open.parse::<usize>().unwrap() <= 80, "the crowd holds {open} connections");
}

/// The shared cluster is as others have it: a request in pieces is a request.
#[tokio::test]
async fn h2_a_request_in_small_pieces_is_answered() {
    let to = World::node(0).http_address();
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut reply = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut reply).await.unwrap();
    assert_eq!(crate::raw::answer(&reply).unwrap().status, 200);
}
