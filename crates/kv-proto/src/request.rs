//! What a client sends after the handshake: requests, as many at a time as the limits allow.

use serde::{Deserialize, Serialize};
use wire::codec::{self, CodecError};
use wire::frame::write_frame;

use crate::error::Error;
use crate::range::{Consistency, Range, RangeOptions};

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
    /// A piece of a backup of the whole store.
    Backup(BackupRequest),
    /// Which digests had the node's state? (Nodes ask each other.)
    Digests,
}

/// Asks for a piece of a backup.
///
/// Piece 0 begins one, of the state as the node has it then; each connection has one at most. The
/// others follow in order, and a few may be asked for ahead. The backup ends with its last piece,
/// when nothing was asked for half a minute, and when piece 0 is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRequest {
    /// The number of the piece.
    pub piece: u64,
    /// How fresh the state must be, of piece 0. With [`Consistency::Stale`] a node answers that
    /// hears nothing from the others.
    pub consistency: Consistency,
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
    /// Raw: nothing.
    Backup(BackupRequest),
    /// Raw: nothing.
    Digests,
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
            Call::Backup(backup) => write_frame(out, &meta(Kind::Backup(*backup)), &[]),
            Call::Digests => write_frame(out, &meta(Kind::Digests), &[]),
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
            (Kind::Backup(backup), []) => Call::Backup(backup),
            (Kind::Digests, []) => Call::Digests,
            (Kind::Status | Kind::Backup(_) | Kind::Digests, _) => {
                return Err(Error::malformed("bytes behind a request that has none"));
            }
        };
        Ok(Self { id: meta.id, timeout_millis: meta.timeout_millis, call })
    }
}
