//! [`Draft`]: an answer of which values are missing that are on disk.

use std::cmp::Ordering;

use kv_proto::{Bytes, Direction, KeyValue, RangeReply};

use crate::disk;
use crate::error::StoreError;

/// Of an answer that reads no more values than this, they are kept in memory for others. Who reads
/// more goes through everything once, most likely.
const FEW: usize = 32;

/// What a range [found](crate::Store::find). Which pairs they are is settled, and what they are:
/// the values that were not in memory have yet to be read.
///
/// It may be completed on any thread, and does not mind what the store applies meanwhile, nor its
/// end. But as long as it is there, the state file is open, and none of the room is used again that
/// it takes up as it was.
#[derive(Debug)]
#[must_use]
pub struct Draft {
    pub(crate) reply: RangeReply,
    /// Of its keys and values, also of those that are missing.
    pub(crate) size_bytes: usize,
    pub(crate) missing: Vec<Missing>,
    /// Where the missing are.
    pub(crate) file: Option<Box<disk::Reader>>,
    /// How it is made an answer when nothing is missing any more, if it is not one by then.
    pub(crate) by_value: Option<ByValue>,
}

/// A value that is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The place of its pair in the answer.
    pub(crate) at: usize,
    /// The number of its record.
    pub(crate) seq: u64,
}

/// What may be in one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageLimits {
    /// At least one.
    pub(crate) max_pairs: usize,
    /// Of keys and values. The first pair is taken whatever its size.
    pub(crate) max_bytes: usize,
    pub(crate) keys_only: bool,
}

/// An answer in the order of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByValue {
    pub(crate) direction: Direction,
    pub(crate) limits: PageLimits,
}

impl Draft {
    /// One without pairs.
    pub(crate) fn of(reply: RangeReply) -> Self {
        Self { reply, size_bytes: 0, missing: Vec::new(), file: None, by_value: None }
    }

    /// The same, with all the pairs of the range, as an answer in this order.
    pub(crate) fn in_order(self, by_value: ByValue) -> Self {
        Self { by_value: Some(by_value), ..self }
    }

    /// Whether [`complete`](Self::complete) has nothing to do.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.by_value.is_none()
    }

    /// How many values have yet to be read.
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// How many pairs it has: as many as the answer, or if that is sorted by value, as the range.
    pub fn pairs(&self) -> usize {
        self.reply.kvs.len()
    }

    /// What the keys and values of these pairs take in memory when none is missing, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The answer. Reads what is missing.
    ///
    /// # Errors
    ///
    /// If a value cannot be read any more. Then [`Store::check`](crate::Store::check) tells the
    /// same from now on, and the store must not be used any more.
    pub fn complete(self) -> Result<RangeReply, StoreError> {
        let Self { mut reply, mut missing, file, by_value, .. } = self;
        // In the order in which they are in the file: of a block that has several, it is read once.
        missing.sort_unstable_by_key(|missing| missing.seq);
        if let Some(mut file) = file {
            let are_few = missing.len() <= FEW;
            for Missing { at, seq } in missing {
                let value = if are_few { file.read_and_keep(seq) } else { file.read(seq) };
                reply.kvs[at].value = value?;
            }
        }
        if let Some(by_value) = by_value {
            let kvs = std::mem::take(&mut reply.kvs);
            (reply.kvs, reply.more) = by_value.page(kvs);
        }
        Ok(reply)
    }
}

impl PageLimits {
    /// Everything fits.
    pub(crate) const NONE: Self =
        Self { max_pairs: usize::MAX, max_bytes: usize::MAX, keys_only: false };

    /// Whether another pair fits to so many, if it makes them so large.
    pub(crate) fn admit(&self, pairs: usize, bytes_with_it: usize) -> bool {
        pairs == 0 || pairs < self.max_pairs && bytes_with_it <= self.max_bytes
    }
}

impl ByValue {
    /// Those of `all` pairs that are in the answer, and whether others are not.
    fn page(&self, all: Vec<KeyValue>) -> (Vec<KeyValue>, bool) {
        let Self { direction, limits } = *self;
        let compare = |one: &KeyValue, other: &KeyValue| {
            let by_value = directed(direction, one.value.cmp(&other.value));
            by_value.then_with(|| one.key.cmp(&other.key))
        };
        let mut kvs = first_of(all, limits.max_pairs, compare);
        if limits.keys_only {
            for kv in &mut kvs {
                kv.value = Bytes::default();
            }
        }
        let mut bytes = 0;
        let fits = |(pairs, kv): &(usize, &KeyValue)| {
            bytes += kv.key.len() + kv.value.len();
            limits.admit(*pairs, bytes)
        };
        let taken = kvs.iter().enumerate().take_while(fits).count();
        let more = taken < kvs.len();
        kvs.truncate(taken);
        (kvs, more)
    }
}

/// Those of `all` that come first, in order, and one more: enough for an answer of so many, and to
/// know that it leaves something out.
///
/// What lies behind is not put in order: of a million keys, that would take most of the time.
pub(crate) fn first_of<T>(
    mut all: Vec<T>,
    most: usize,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Vec<T> {
    if all.len() > most {
        all.select_nth_unstable_by(most, &compare);
        all.truncate(most + 1);
    }
    all.sort_unstable_by(compare);
    all
}

/// An order from this end. What is equal in it stays in ascending order of the keys.
pub(crate) fn directed(direction: Direction, ordering: Ordering) -> Ordering {
    match direction {
        Direction::Ascending => ordering,
        Direction::Descending => ordering.reverse(),
    }
}
