//! What comes from the network: frames, greetings, requests, answers, and what strangers ask.

use bytes::Bytes;
use futures_util::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{found, must};
use crate::enrol;
use crate::network::MOST_FRAME_BYTES;
use crate::network::frame::{Frame, Hello, Welcome, read_frame, read_greeting, write_frame, write_greeting};
use crate::raft::convert::{decode, encode};
use crate::wire::{Request, Response};

/// Frames one after the other, as a connection carries them.
pub(super) fn frame(data: &[u8]) {
    let mut rest = data;
    while let Some(Ok(frame)) = read_frame(&mut rest).now_or_never() {
        assert!(frame.body.len() <= data.len(), "a body out of nothing");
        let mut written = Vec::new();
        must(write_frame(&mut written, &frame).now_or_never().unwrap_or(Ok(())), "a frame is written again");
        assert!(written.len() <= MOST_FRAME_BYTES + 4, "a frame is longer than frames are");
        let read = read_frame(&mut &written[..]).now_or_never();
        assert!(matches!(read, Some(Ok(again)) if again == frame), "a frame is read as it was written");
    }
    // A body of any length, also one that no frame has.
    let frame = Frame { id: data.len() as u64, body: Bytes::copy_from_slice(data) };
    let mut written = Vec::new();
    if let Some(Ok(())) = write_frame(&mut written, &frame).now_or_never() {
        let read = read_frame(&mut &written[..]).now_or_never();
        assert!(matches!(read, Some(Ok(again)) if again == frame), "what was written is read");
    }
}

/// The first words on a connection, of either side.
pub(super) fn greeting(data: &[u8]) {
    greeted::<Hello>(data);
    greeted::<Welcome>(data);
}

fn greeted<T: Serialize + DeserializeOwned + PartialEq>(data: &[u8]) {
    let Some(Ok(said)) = read_greeting::<T>(&mut &data[..]).now_or_never() else { return };
    let mut written = Vec::new();
    must(write_greeting(&mut written, &said).now_or_never().unwrap_or(Ok(())), "a greeting is written again");
    let again = read_greeting::<T>(&mut &written[..]).now_or_never();
    assert!(matches!(again, Some(Ok(again)) if again == said), "a greeting is read as it was written");
}

/// What a node asks of another.
pub(super) fn request(data: &[u8]) {
    record::<Request>(data);
}

/// What it answers.
pub(super) fn response(data: &[u8]) {
    record::<Response>(data);
}

/// The one question and the one answer of a machine that is no member yet.
pub(super) fn enrolment(data: &[u8]) {
    let Some(Ok(read)) = enrol::read_bounded(&mut &data[..]).now_or_never() else { return };
    let Some(bytes) = read else { return };
    assert!(bytes.len() <= enrol::MOST_BYTES, "an enrolment may be {} bytes long", bytes.len());
    let mut written = Vec::new();
    must(enrol::write_bounded(&mut written, &bytes).now_or_never().unwrap_or(Ok(())), "it is written again");
    if data.get(..written.len()) != Some(&written[..]) {
        found("an enrolment is not written as it was read");
    }
}

/// A record of ours: what it says survives being written.
pub(super) fn record<T: Serialize + DeserializeOwned + PartialEq>(data: &[u8]) {
    let Ok(record) = decode::<T>(data) else { return };
    let written = must(encode(&record), "a record is written again");
    assert!(must(decode::<T>(&written), "and read again") == record, "a record is another one now");
}
