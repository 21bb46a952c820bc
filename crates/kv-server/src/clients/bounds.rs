//! How much the clients may take.

use kv_proto::Reply as ProtoReply;

use super::Reply;

/// What all clients together, or one of them, may take at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most clients at once. Each takes a few KiB while idle.
    pub max_connections: usize,
    /// The memory that requests may take while they arrive, over all connections, in bytes. The
    /// first [`FREE_HELD_BYTES`] of each connection are always granted, so that clients who ask
    /// for little are served while others hold everything else.
    pub max_held_bytes: usize,
    /// The memory that replies may take which one client does not fetch, in bytes: an estimate
    /// that leaves out keys and values, because keys belong to the store as well, and large values
    /// are shared by all replies that have them.
    pub max_waiting_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_connections: 16 << 10, max_held_bytes: 256 << 20, max_waiting_bytes: 32 << 20 }
    }
}

/// What a connection may hold of requests on their way, whatever the others hold.
pub const FREE_HELD_BYTES: usize = 64 << 10;

/// The sum of what all connections hold of requests that are still arriving.
#[derive(Debug, Default)]
pub(super) struct Held {
    total_bytes: usize,
}

impl Held {
    /// One connection held `before` bytes and holds `after` now. False if it grew beyond what
    /// there is for all: it must be closed.
    pub(super) fn change(&mut self, before: usize, after: usize, bounds: &Bounds) -> bool {
        self.total_bytes = self.total_bytes.saturating_sub(before).saturating_add(after);
        let is_modest = after <= before || after <= FREE_HELD_BYTES;
        is_modest || self.total_bytes <= bounds.max_held_bytes
    }
}

/// What a reply takes that waits to be encoded, in bytes: see [`Bounds::max_waiting_bytes`].
pub(super) fn waiting_bytes(reply: &Reply) -> usize {
    const REPLY_BYTES: usize = 256;
    const PAIR_BYTES: usize = 128;
    let pairs = match &reply.result {
        Ok((_, ProtoReply::Range(range))) => range.kvs.len(),
        Ok((_, ProtoReply::Delete(delete))) => delete.prev.len(),
        _ => 1,
    };
    let own_bytes = match &reply.result {
        // Nobody else holds it.
        Ok((_, ProtoReply::Backup(piece))) => piece.bytes.len(),
        _ => 0,
    };
    REPLY_BYTES + PAIR_BYTES * pairs + own_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three hundred requests of which the last byte was missing once held 607 MiB.
    #[test]
    fn who_grows_beyond_what_there_is_for_all_is_closed_and_the_modest_are_not() {
        let bounds = Bounds { max_held_bytes: 3 << 20, ..Bounds::default() };
        let mut held = Held::default();
        assert!(held.change(0, 1 << 20, &bounds));
        assert!(held.change(0, 2 << 20, &bounds));
        assert!(!held.change(0, FREE_HELD_BYTES + 1, &bounds), "there is no room");
        assert!(held.change(FREE_HELD_BYTES + 1, 0, &bounds));
        assert!(held.change(0, FREE_HELD_BYTES, &bounds), "it asks for little");
        assert!(held.change(2 << 20, 1 << 20, &bounds), "it gives some back");
        assert!(held.change(0, 512 << 10, &bounds), "there is room again");
    }
}
