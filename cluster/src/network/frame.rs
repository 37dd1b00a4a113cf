//! Frames on a stream, and the greeting that comes first.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Channel, MOST_FRAME_BYTES};
use crate::identity::{ClusterId, NodeId};

/// The first frame, from the side that connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) cluster: ClusterId,
    pub(crate) from: NodeId,
    /// Whom it means to talk to: an address may belong to another node by now.
    pub(crate) to: Option<NodeId>,
    pub(crate) channel: Channel,
}

/// The answer to it. Grows at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Welcome {
    Accepted {
        node: NodeId,
    },
    Refused {
        reason: String,
    },
    /// For good: the node was removed, or its certificate revoked.
    Fenced {
        reason: String,
    },
}

/// A request or an answer, with the number that ties the two together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) id: u64,
    pub(crate) body: Bytes,
}

/// The version of everything between nodes. Another one is refused in the greeting.
pub(crate) const WIRE_VERSION: u8 = 1;

/// Length (4 bytes), id (8 bytes), body.
pub(crate) async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let length = from.read_u32().await? as usize;
    if !(ID_BYTES..=MOST_FRAME_BYTES).contains(&length) {
        return Err(invalid("the length of a frame is out of bounds"));
    }
    let id = from.read_u64().await?;
    let body = length - ID_BYTES;
    // Grows as bytes arrive, so that a peer cannot make us reserve what it does not send.
    let mut bytes = BytesMut::with_capacity(body.min(FIRST_BYTES));
    let mut rest = from.take(body as u64);
    while bytes.len() < body {
        if rest.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Frame { id, body: bytes.freeze() })
}

/// Does not flush.
pub(crate) async fn write_frame(to: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> io::Result<()> {
    let length = frame.body.len() + ID_BYTES;
    if length > MOST_FRAME_BYTES {
        return Err(invalid("a frame is too long"));
    }
    let mut head = BytesMut::with_capacity(4 + ID_BYTES);
    head.put_u32(u32::try_from(length).map_err(io::Error::other)?);
    head.put_u64(frame.id);
    to.write_all(&head).await?;
    to.write_all(&frame.body).await
}

/// Reads one record of the greeting.
pub(crate) async fn read_greeting<T: for<'de> Deserialize<'de>>(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let version = from.read_u8().await?;
    if version != WIRE_VERSION {
        return Err(invalid(&format!("the peer speaks version {version}, this program {WIRE_VERSION}")));
    }
    let length = from.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    from.read_exact(&mut bytes).await?;
    postcard::from_bytes(&bytes).map_err(|error| invalid(&error.to_string()))
}

/// Writes one record of the greeting, and flushes.
pub(crate) async fn write_greeting<T: Serialize>(
    to: &mut (impl AsyncWrite + Unpin),
    greeting: &T,
) -> io::Result<()> {
    let record = postcard::to_stdvec(greeting).map_err(io::Error::other)?;
    let length = u16::try_from(record.len()).map_err(io::Error::other)?;
    let mut bytes = vec![WIRE_VERSION];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&record);
    to.write_all(&bytes).await?;
    to.flush().await
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}

const ID_BYTES: usize = 8;
const FIRST_BYTES: usize = 64 << 10;
