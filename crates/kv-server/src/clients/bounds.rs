//! How much the clients may take.

use kv_proto::{Call, Command, KeyValue, Limits, Reply as ProtoReply};

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
    /// The memory that one client may be owed, in bytes: what waits for it to be fetched, and what
    /// the answers to its other requests may take at most. When it is owed so much, nothing more
    /// is read from it; so it never has more than that and one answer.
    pub max_owed_bytes: usize,
    /// The memory of answers that nobody fetches, over all connections, in bytes; the first
    /// [`FREE_HELD_BYTES`] of each are always granted. A value that several answers share counts
    /// for each of them.
    pub max_unfetched_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_connections: 16 << 10,
            max_held_bytes: 256 << 20,
            max_owed_bytes: 64 << 20,
            max_unfetched_bytes: 1 << 30,
        }
    }
}

/// What a connection may hold of requests on their way, or of answers that it does not fetch,
/// whatever the others hold.
pub const FREE_HELD_BYTES: usize = 64 << 10;

/// The sum of what all connections hold.
#[derive(Debug)]
pub(super) struct Held {
    total_bytes: usize,
    max_bytes: usize,
}

impl Held {
    /// Nothing so far, and this much at most.
    pub(super) fn up_to(max_bytes: usize) -> Self {
        Self { total_bytes: 0, max_bytes }
    }

    /// As [`change`](Self::change), for a connection that counts for `counted` bytes so far.
    pub(super) fn update(&mut self, counted: &mut usize, after: usize) -> bool {
        self.change(std::mem::replace(counted, after), after)
    }

    /// One connection held `before` bytes and holds `after` now. False if it grew beyond what
    /// there is for all: it must be closed.
    pub(super) fn change(&mut self, before: usize, after: usize) -> bool {
        self.total_bytes = self.total_bytes.saturating_sub(before).saturating_add(after);
        let is_modest = after <= before || after <= FREE_HELD_BYTES;
        is_modest || self.total_bytes <= self.max_bytes
    }
}

/// What an answer takes beyond its keys and values, in bytes: about, and rather too much.
const REPLY_BYTES: usize = 256;

/// The same of each pair in it.
const PAIR_BYTES: usize = 128;

/// What an answer takes in memory until it is encoded, in bytes, as if it shared nothing.
pub(crate) fn reply_bytes(reply: &Reply) -> usize {
    let all = |pairs: &[KeyValue]| pairs.iter().map(pair_bytes).sum();
    let content = match &reply.result {
        Ok((_, ProtoReply::Put(put))) => put.prev.as_ref().map_or(0, pair_bytes),
        Ok((_, ProtoReply::Delete(delete))) => all(&delete.prev),
        Ok((_, ProtoReply::Range(range))) => all(&range.kvs),
        Ok((_, ProtoReply::Backup(piece))) => piece.bytes.len(),
        _ => 0,
    };
    REPLY_BYTES + content
}

/// The same of an answer to a read with so many pairs, the keys and values of which are so large.
pub(crate) fn found_bytes(pairs: usize, keys_and_values_bytes: usize) -> usize {
    REPLY_BYTES + pairs * PAIR_BYTES + keys_and_values_bytes
}

fn pair_bytes(pair: &KeyValue) -> usize {
    PAIR_BYTES + pair.key.len() + pair.value.len()
}

/// The most that [`reply_bytes`] of the answer to this request can be; `command` is what is in it,
/// if it is a write.
pub(super) fn most_reply_bytes(
    call: &Call<'_>,
    command: Option<&Command<'_>>,
    limits: &Limits,
) -> usize {
    let key_bytes = limits.max_key_bytes as usize;
    let pair_bytes = PAIR_BYTES + key_bytes + limits.max_value_bytes as usize;
    let page_bytes = |pairs: usize, bytes: usize| pairs * PAIR_BYTES + bytes.max(pair_bytes);
    let whole_page =
        || page_bytes(limits.max_reply_pairs as usize, limits.max_reply_bytes as usize);
    let content = match (call, command) {
        (_, Some(Command::Put(put))) if put.prev => pair_bytes,
        (_, Some(Command::Delete(delete))) if delete.prev && delete.range_end.is_empty() => {
            pair_bytes
        }
        (_, Some(Command::Delete(delete))) if delete.prev => whole_page(),
        (Call::Range(range), _) if range.options.count_only => 0,
        (Call::Range(range), _) if range.range_end.is_empty() && range.options.keys_only => {
            PAIR_BYTES + key_bytes
        }
        (Call::Range(range), _) if range.range_end.is_empty() => pair_bytes,
        (Call::Range(range), _) => {
            page_bytes(range.options.max_pairs(limits), range.options.max_bytes(limits))
        }
        // A piece is much smaller than the largest page: see `kv_store::snapshot`.
        (Call::Backup(_), _) => whole_page(),
        _ => 0,
    };
    REPLY_BYTES + content
}

#[cfg(test)]
mod tests {
    use kv_proto::{Delete, Put, Range};

    use super::*;

    /// Three hundred requests of which the last byte was missing once held 607 MiB.
    #[test]
    fn who_grows_beyond_what_there_is_for_all_is_closed_and_the_modest_are_not() {
        let mut held = Held::up_to(3 << 20);
        assert!(held.change(0, 1 << 20));
        assert!(held.change(0, 2 << 20));
        assert!(!held.change(0, FREE_HELD_BYTES + 1), "there is no room");
        assert!(held.change(FREE_HELD_BYTES + 1, 0));
        assert!(held.change(0, FREE_HELD_BYTES), "it asks for little");
        assert!(held.change(2 << 20, 1 << 20), "it gives some back");
        assert!(held.change(0, 512 << 10), "there is room again");
    }

    fn most_of_range(change: impl Fn(&mut Range)) -> usize {
        let mut range = Range::prefix(b"key");
        change(&mut range);
        most_reply_bytes(&Call::Range(range), None, &Limits::default())
    }

    fn most_of_write(command: Command<'_>) -> usize {
        most_reply_bytes(&Call::Write(&[]), Some(&command), &Limits::default())
    }

    #[test]
    fn what_asks_for_less_is_owed_less() {
        let page = most_of_range(|_| {});
        assert!(page > 4 << 20);
        assert!(most_of_range(|range| range.range_end.clear()) < 2 << 20);
        assert!(most_of_range(|range| range.options.limit = Some(10)) < page);
        assert_eq!(most_of_range(|range| range.options.count_only = true), REPLY_BYTES);
        assert_eq!(most_of_write(Command::Put(Put::new(b"key", b"value"))), REPLY_BYTES);
        let put = Put { prev: true, ..Put::new(b"key", b"value") };
        assert!(most_of_write(Command::Put(put)) > 1 << 20);
        let delete = Delete { key: b"a", range_end: b"b", prev: true };
        assert_eq!(most_of_write(Command::Delete(delete)), page);
    }
}
