//! What travels along the paths: keys of 16 bytes, values of 256.

use kv_proto::{Command, Put};
use raft_core::{Entries, Entry, Index, Payload, Position, Term};

const VALUE_BYTES: usize = 256;

/// The key of this number.
pub(crate) fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key/....--------";
    key[4..12].copy_from_slice(&number.to_be_bytes());
    key
}

/// A value, half of which can be packed.
pub(crate) fn value(number: u64) -> [u8; VALUE_BYTES] {
    let mut value = [7; VALUE_BYTES];
    for (place, piece) in (1..).zip(value[..VALUE_BYTES / 2].chunks_exact_mut(8)) {
        let scattered = (number ^ (place << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        piece.copy_from_slice(&scattered.to_le_bytes());
    }
    value
}

/// A put as it stands in the log.
pub(crate) fn put(number: u64) -> Vec<u8> {
    let (key, value) = (key(number), value(number));
    let mut bytes = Vec::new();
    let encoded = Command::Put(Put::new(&key, &value)).encode(&mut bytes);
    encoded.expect("a put within the limits");
    bytes
}

/// The term of all entries.
pub(crate) const TERM: Term = Term::new(1);

/// So many entries that follow the one at `after`.
pub(crate) fn entries(after: Index, count: u64) -> Entries {
    let entry = |number| Entry {
        at: Position::new(TERM, Index::new(after.get() + number)),
        payload: Payload::Command(put(number).into()),
    };
    Entries::from((1..=count).map(entry).collect::<Vec<_>>())
}
