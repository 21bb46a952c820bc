//! What clients ask, as commands and ranges that can be told from each other.

use kv_proto::{
    Command, Compact, Consistency, Delete, KeyValue, LeaseChange, LeaseId, Put, Range, RangeReply,
};
use kv_server::replica::Call;

/// The most keys there can be: each is one byte.
pub(super) const KEYS: u8 = 6;

/// What a key holds: the number of the request that put it there; nothing if it does not exist.
pub(super) type Value = Option<u64>;

/// Something that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// To put the request's own number at a key.
    Put { key: u8, value_bytes: usize },
    /// To put it there under a lease that does not exist: it fails when it is applied.
    PutLeased { key: u8 },
    /// To delete a key.
    Delete { key: u8 },
    /// To delete all keys.
    DeleteAll,
    /// To forget all revisions but the last so many.
    Compact { keep: u64 },
    /// What a key holds.
    Read { key: u8, consistency: Consistency },
    /// What all keys hold.
    ReadAll { consistency: Consistency },
    /// How the node is.
    Status,
    /// Which digests its state had.
    Digests,
}

impl What {
    /// Whether it changes something, or tries to.
    pub(super) fn is_write(self) -> bool {
        use What::{Compact, Delete, DeleteAll, Put, PutLeased};
        matches!(self, Put { .. } | PutLeased { .. } | Delete { .. } | DeleteAll | Compact { .. })
    }

    /// Whether it can be told from every other one in the log.
    pub(super) fn is_numbered(self) -> bool {
        self.is_write() && !matches!(self, Self::Compact { .. })
    }

    /// The keys that it is about.
    pub(super) fn keys(self) -> Vec<u8> {
        match self {
            Self::Put { key, .. }
            | Self::PutLeased { key }
            | Self::Delete { key }
            | Self::Read { key, .. } => vec![key],
            Self::DeleteAll | Self::ReadAll { .. } => (0..KEYS).collect(),
            Self::Compact { .. } | Self::Status | Self::Digests => Vec::new(),
        }
    }

    /// What the server is asked. The number is in the value of a put, in the name of a lease that
    /// there is not, and behind the end of what a delete removes.
    pub(super) fn call(self, number: u64) -> Call {
        let name = number.to_le_bytes();
        match self {
            Self::Put { key, value_bytes } => {
                let mut value = name.to_vec();
                value.resize(name.len() + value_bytes, key);
                write(&Command::Put(Put { prev: true, ..Put::new(&[key], &value) }))
            }
            Self::PutLeased { key } => {
                let lease = LeaseChange::Attach(LeaseId::new(number + 1));
                write(&Command::Put(Put { lease, ..Put::new(&[key], b"never there") }))
            }
            Self::Delete { key } => {
                let range_end = [&[key, 0], name.as_slice()].concat();
                write(&Command::Delete(Delete { key: &[key], range_end: &range_end, prev: true }))
            }
            Self::DeleteAll => {
                let range_end = [&[KEYS], name.as_slice()].concat();
                write(&Command::Delete(Delete { key: &[0], range_end: &range_end, prev: true }))
            }
            Self::Compact { keep } => write(&Command::Compact(Compact::Keep(keep))),
            Self::Read { key, consistency } => read(range_of(key), consistency),
            Self::ReadAll { consistency } => read(Range::new(vec![0], vec![KEYS]), consistency),
            Self::Status => Call::Status,
            Self::Digests => Call::Digests,
        }
    }
}

fn write(command: &Command<'_>) -> Call {
    let mut bytes = Vec::new();
    // It fails for keys of 4 GiB.
    let _ = command.encode(&mut bytes);
    Call::Write(bytes.into())
}

fn read(mut range: Range, consistency: Consistency) -> Call {
    range.options.consistency = consistency;
    Call::Read(range)
}

/// The range of one key.
pub(super) fn range_of(key: u8) -> Range {
    Range::key([key])
}

/// The number of the request that this command came from.
pub(super) fn number_of(command: &Command<'_>) -> Option<u64> {
    let name = |bytes: &[u8]| bytes.first_chunk().map(|name| u64::from_le_bytes(*name));
    match command {
        Command::Put(Put { lease: LeaseChange::Attach(lease), .. }) => Some(lease.get() - 1),
        Command::Put(put) => put.value.and_then(name),
        Command::Delete(delete) => {
            delete.range_end.len().checked_sub(8).and_then(|at| name(&delete.range_end[at..]))
        }
        Command::Compact(_) => None,
    }
}

/// What a pair tells of its key.
pub(super) fn value_of(kv: &KeyValue) -> Value {
    kv.value.first_chunk().map(|name| u64::from_le_bytes(*name))
}

/// What a range tells of this key.
pub(super) fn value_in(range: &RangeReply, key: u8) -> Value {
    range.kvs.iter().find(|kv| *kv.key == [key]).and_then(value_of)
}
