//! What a peer may send: whatever it is, it is refused or understood, and what was understood is
//! written in the same bytes.

use raft_net_tcp::format::{Packet, decode, encode_messages, encode_ping, encode_pong};
use wire::frame::HEADER_BYTES;

/// What is read, as bytes that say the same; `None` if it is refused.
pub(crate) type Decoder = fn(body: &[u8]) -> Option<Vec<u8>>;

/// Reads the body of a frame.
pub(crate) fn read(body: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Vec::new();
    match decode(body).ok()? {
        Packet::Messages(messages) => encode_messages(&mut frame, &messages).ok()?,
        Packet::Ping => encode_ping(&mut frame).ok()?,
        Packet::Pong => encode_pong(&mut frame).ok()?,
    }
    Some(frame.split_off(HEADER_BYTES))
}

/// # Errors
///
/// What is wrong with the decoder.
pub(crate) fn check(body: &[u8], decoder: Decoder) -> Result<(), String> {
    match decoder(body) {
        Some(again) if again != body => {
            Err(format!("it was read as something else: {body:02x?} and {again:02x?}"))
        }
        _ => Ok(()),
    }
}
