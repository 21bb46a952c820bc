//! What a client or a server of this protocol may be sent: whatever it is, it is refused or
//! understood, and what was understood is written in the same bytes.

use kv_proto::{ClientHello, Command, Request, Response, ServerHello};
use wire::frame::HEADER_BYTES;

/// What is read, as bytes that say the same; `None` if it is refused.
pub(crate) type Decoder = fn(kind: u8, body: &[u8]) -> Option<Vec<u8>>;

/// Reads `body` as the kind of frame that `kind` chooses.
pub(crate) fn decode(kind: u8, body: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Vec::new();
    match kind % 5 {
        0 => Request::decode(body).ok()?.write(&mut frame).ok()?,
        1 => Response::decode(body).ok()?.write(&mut frame).ok()?,
        2 => ClientHello::decode(body).ok()?.write(&mut frame).ok()?,
        3 => ServerHello::decode(body).ok()?.write(&mut frame).ok()?,
        _ => {
            let mut command = Vec::new();
            Command::decode(body).ok()?.encode(&mut command).ok()?;
            return Some(command);
        }
    }
    Some(frame.split_off(HEADER_BYTES))
}

/// The first byte says what the others are.
///
/// # Errors
///
/// What is wrong with the decoder.
pub(crate) fn check(bytes: &[u8], decoder: Decoder) -> Result<(), String> {
    let Some((kind, body)) = bytes.split_first() else { return Ok(()) };
    match decoder(*kind, body) {
        Some(again) if again != body => {
            Err(format!("it was read as something else: {body:02x?} and {again:02x?}"))
        }
        _ => Ok(()),
    }
}
