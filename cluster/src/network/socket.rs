//! How the sockets between nodes are set.

use std::io;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl};
use tokio::net::TcpStream;

/// Sends at once what is small, and notices within some five seconds that the other machine is gone, also while
/// nothing is to be sent to it.
///
/// # Why
/// A machine that loses its power closes nothing. Whoever waits for its answer, for instance to a snapshot that takes
/// minutes to install, would wait for all of that time and send nothing else meanwhile.
pub(crate) fn set(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    set_socket_keepalive(stream, true)?;
    set_tcp_keepidle(stream, IDLE)?;
    set_tcp_keepintvl(stream, BETWEEN)?;
    set_tcp_keepcnt(stream, MISSED)?;
    Ok(())
}

const IDLE: Duration = Duration::from_secs(2);
const BETWEEN: Duration = Duration::from_secs(1);
const MISSED: u32 = 3;

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::{socket_keepalive, tcp_keepcnt, tcp_keepidle, tcp_keepintvl};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_silent_machine_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        set(&stream).unwrap();
        assert!(stream.nodelay().unwrap() && socket_keepalive(&stream).unwrap());
        let within =
            tcp_keepidle(&stream).unwrap() + tcp_keepintvl(&stream).unwrap() * tcp_keepcnt(&stream).unwrap();
        assert_eq!(within, Duration::from_secs(5));
    }
}
