//! What a client sends after the handshake: requests, as many at a time as the limits allow.

use serde::{Deserialize, Serialize};
use wire::codec::{self, CodecError};
use wire::frame::write_frame;

use crate::error::Error;
use crate::range::{Range, RangeOptions};

/// One request: one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The client's name for it, given back with the answer. It should differ from those of the
    /// other requests that are waiting.
    pub id: u64,
    /// How long the client will wait, in milliseconds. The server gives up on the request by then
    /// and says so.
    pub timeout_millis: u32,
    /// What is asked.
    pub call: Call<'a>,
}

/// What a client can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// Write: exactly the bytes of a [`Command`](crate::Command), not looked at yet.
    Write(&'a [u8]),
    /// Read.
    Range(Range),
    /// How is the node?
    Status,
}

/// What stands before the raw bytes. The order of the variants and fields is the format.
#[derive(Serialize, Deserialize)]
struct Meta {
    id: u64,
    timeout_millis: u32,
    kind: Kind,
}

#[derive(Serialize, Deserialize)]
enum Kind {
    /// Raw: the command.
    Write,
    /// Raw: the key, then the range end.
    Range { key_bytes: u32, options: RangeOptions },
    /// Raw: nothing.
    Status,
}

impl<'a> Request<'a> {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    ///
    /// If its body would not fit a 32-bit length; `out` is left as it was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let meta = |kind| Meta { id: self.id, timeout_millis: self.timeout_millis, kind };
        match &self.call {
            Call::Write(command) => write_frame(out, &meta(Kind::Write), &[command]),
            Call::Range(range) => {
                let kind = Kind::Range {
                    // A key of 4 GiB and more does not fit the body either, which is an error.
                    key_bytes: u32::try_from(range.key.len()).unwrap_or(u32::MAX),
                    options: range.options,
                };
                write_frame(out, &meta(kind), &[&range.key, &range.range_end])
            }
            Call::Status => write_frame(out, &meta(Kind::Status), &[]),
        }
    }

    /// Reads a request from the body of a frame. A command is not looked into: it has its own
    /// checks, after which the connection can go on.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`]. There is no telling which request it was: the server says so with
    /// [`Response::Closing`](crate::Response) and closes.
    pub fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let (meta, raw): (Meta, _) = codec::decode(body)?;
        let call = match (meta.kind, raw) {
            (Kind::Write, command) => Call::Write(command),
            (Kind::Range { key_bytes, options }, raw) => {
                let (key, range_end) = raw
                    .split_at_checked(key_bytes as usize)
                    .ok_or_else(|| Error::malformed("a range shorter than its key"))?;
                Call::Range(Range { key: key.to_vec(), range_end: range_end.to_vec(), options })
            }
            (Kind::Status, []) => Call::Status,
            (Kind::Status, _) => return Err(Error::malformed("bytes behind a status request")),
        };
        Ok(Self { id: meta.id, timeout_millis: meta.timeout_millis, call })
    }
}
