//! The handshake: one frame each way, before anything else.
//!
//! Its layout is the same in every version of the protocol, so that two sides that have none in
//! common can still tell each other so.

use serde::{Deserialize, Serialize};
use wire::codec;
use wire::frame::write_frame;

use crate::error::Error;
use crate::limits::Limits;

/// The newest version of the protocol that this code speaks.
///
/// Version 1 has writes, ranges and the status. Version 2 adds [`Call::Backup`] and
/// [`Call::Digests`](crate::Call::Digests) with their answers, the command
/// [`Compact`](crate::Command::Compact), [`Error::Diverged`], [`Error::NoSpace`], and
/// [`DiskState`](crate::DiskState) in a node's status. Version 3 adds
/// [`Sending`](crate::Sending) to it. Nothing of an earlier version changed: who speaks it gets
/// none of the new answers.
///
/// [`Call::Backup`]: crate::Call::Backup
pub const PROTOCOL_VERSION: u16 = 3;

/// The oldest version of the protocol that this code speaks.
pub const OLDEST_PROTOCOL_VERSION: u16 = 1;

/// The largest body of a handshake frame, in bytes: what both sides set their frame reader to
/// until the handshake is done.
pub const MAX_HELLO_BYTES: usize = 4 << 10;

/// What a client's first frame begins with.
const MAGIC: [u8; 8] = *b"kv-proto";

/// The client's first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHello {
    magic: [u8; 8],
    /// The oldest version the client knows.
    pub min_version: u16,
    /// The newest version the client knows.
    pub max_version: u16,
}

impl Default for ClientHello {
    /// A client that knows what this code knows.
    fn default() -> Self {
        let (min_version, max_version) = (OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION);
        Self { magic: MAGIC, min_version, max_version }
    }
}

impl ClientHello {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    ///
    /// None that can happen: the hello is a few bytes long.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(write_frame(out, self, &[])?)
    }

    /// Reads it from the body of a frame.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if it is not one. The server answers with
    /// [`ServerHello::Refused`] and closes.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let hello: Self = codec::decode_all(body)?;
        if hello.magic != MAGIC {
            return Err(Error::malformed("it does not begin with kv-proto"));
        }
        Ok(hello)
    }

    /// The version the two sides will speak: the newest that both know.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedVersion`] if there is none.
    pub fn negotiate(&self) -> Result<u16, Error> {
        let newest = self.max_version.min(PROTOCOL_VERSION);
        if newest >= self.min_version.max(OLDEST_PROTOCOL_VERSION) {
            return Ok(newest);
        }
        Err(Error::UnsupportedVersion {
            server_min: OLDEST_PROTOCOL_VERSION,
            server_max: PROTOCOL_VERSION,
        })
    }
}

/// The server's answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerHello {
    /// Go ahead.
    Welcome(Welcome),
    /// The server closes the connection, for this reason.
    Refused(Error),
}

/// What a server says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version both sides speak from now on.
    pub version: u16,
    /// The cluster.
    pub cluster_id: u64,
    /// The node.
    pub node_id: u64,
    /// What it accepts.
    pub limits: Limits,
    /// The version of its software.
    pub server: String,
}

impl ServerHello {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    ///
    /// If a string in it is above the codec's limit; `out` is left as it was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        Ok(write_frame(out, self, &[])?)
    }

    /// Reads it from the body of a frame.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if it is not one.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        Ok(codec::decode_all(body)?)
    }
}
