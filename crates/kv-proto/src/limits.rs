//! How large and how many: the bounds a server tells in its handshake.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Part};

/// The most bytes of a frame's body that either side ever accepts, whatever was announced.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// The bounds of one server. Going beyond one is answered by an error that names it.
///
/// Every replica of a cluster checks commands against the same limits again when they are applied:
/// two servers of one cluster must not differ in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The longest key, in bytes.
    pub max_key_bytes: u32,
    /// The longest value, in bytes.
    pub max_value_bytes: u32,
    /// The longest body of a request frame, in bytes.
    pub max_request_bytes: u32,
    /// The most keys and values in one reply, in bytes. A range stops before it and says where to
    /// go on; a single pair is always sent.
    pub max_reply_bytes: u32,
    /// The most pairs in one reply.
    pub max_reply_pairs: u32,
    /// The most requests of one connection that may wait for their answer.
    pub max_in_flight: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_key_bytes: 4 << 10,
            max_value_bytes: 1 << 20,
            max_request_bytes: 3 << 19,
            max_reply_bytes: 4 << 20,
            max_reply_pairs: 10_000,
            max_in_flight: 1_024,
        }
    }
}

impl Limits {
    /// The largest body of a frame that a server with these limits sends, in bytes: what a client
    /// sets its frame reader to. Never above [`MAX_FRAME_BYTES`].
    pub fn max_response_frame_bytes(&self) -> usize {
        let largest_pair = self.max_key_bytes as usize + self.max_value_bytes as usize;
        let raw = (self.max_reply_bytes as usize).max(largest_pair);
        raw.saturating_add(wire::codec::MAX_METADATA_BYTES).min(MAX_FRAME_BYTES)
    }

    /// A key that is stored, or that a range starts at.
    pub(crate) fn check_key(&self, key: &[u8]) -> Result<(), Error> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        check_size(Part::Key, key.len(), self.max_key_bytes)
    }

    /// The end of a range may be the successor of the longest key: that key and one byte.
    pub(crate) fn check_range_end(&self, range_end: &[u8]) -> Result<(), Error> {
        let limit = self.max_key_bytes.saturating_add(1);
        check_size(Part::RangeEnd, range_end.len(), limit)
    }

    pub(crate) fn check_value(&self, value: &[u8]) -> Result<(), Error> {
        check_size(Part::Value, value.len(), self.max_value_bytes)
    }
}

fn check_size(part: Part, size_bytes: usize, limit_bytes: u32) -> Result<(), Error> {
    if size_bytes <= limit_bytes as usize {
        return Ok(());
    }
    Err(Error::TooLarge {
        part,
        size_bytes: size_bytes as u64,
        limit_bytes: u64::from(limit_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_pair_fits_a_request_and_a_reply() {
        let limits = Limits::default();
        let pair = limits.max_key_bytes + limits.max_value_bytes;
        assert!(pair + 64 <= limits.max_request_bytes);
        assert!(pair <= limits.max_reply_bytes);
    }

    #[test]
    fn a_server_that_claims_huge_limits_is_not_believed() {
        let limits = Limits { max_reply_bytes: u32::MAX, ..Limits::default() };
        assert_eq!(limits.max_response_frame_bytes(), MAX_FRAME_BYTES);
    }
}
