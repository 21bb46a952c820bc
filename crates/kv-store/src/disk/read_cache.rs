//! Values that were read from the file, kept for the next who asks.

use kv_proto::Bytes;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// In how many parts the room is divided, each with a lock of its own.
const SHARDS: usize = 4;

/// A value that would take more than this part of all the room is not kept.
const LARGEST_PART: usize = 16;

/// What a value takes beyond its bytes, about: its count of owners, and its place.
const OVERHEAD_BYTES: usize = 96;

/// What a value takes in most stores, about.
const USUAL_BYTES: usize = 512;

/// Values by the numbers of their records. A record never changes, so none of them is ever wrong.
#[derive(Debug)]
pub(crate) struct ReadCache {
    values: Cache<u64, Bytes, Weight>,
    max_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Weight;

impl Weighter<u64, Bytes> for Weight {
    fn weight(&self, _: &u64, value: &Bytes) -> u64 {
        size_bytes(value) as u64
    }
}

impl ReadCache {
    /// An empty one that never takes more memory than this.
    pub(crate) fn up_to(max_bytes: usize) -> Self {
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity(max_bytes / USUAL_BYTES)
            .weight_capacity(max_bytes as u64)
            .build()
            .unwrap_or_else(|error| unreachable!("both capacities are given: {error}"));
        let (hash, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self { values: Cache::with_options(options, Weight, hash, lifecycle), max_bytes }
    }

    /// The value of the record `seq`, if it is kept.
    pub(crate) fn get(&self, seq: u64) -> Option<Bytes> {
        self.values.get(&seq)
    }

    /// Keeps this value, and evicts others for it that were asked for less.
    pub(crate) fn keep(&self, seq: u64, value: &Bytes) {
        if size_bytes(value) <= self.max_bytes / LARGEST_PART {
            self.values.insert(seq, value.clone());
        }
    }
}

fn size_bytes(value: &Bytes) -> usize {
    value.len() + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(seq: u64, size: usize) -> Bytes {
        vec![seq.to_le_bytes()[0]; size].into()
    }

    /// What is kept of those before `end`, in bytes; all of it must be right.
    fn kept_bytes(cache: &ReadCache, end: u64) -> usize {
        let kept = (0..end).filter_map(|seq| Some((seq, cache.get(seq)?)));
        kept.map(|(seq, kept)| {
            assert_eq!(kept, value(seq, kept.len()));
            size_bytes(&kept)
        })
        .sum()
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let max_bytes = 200_000;
        let cache = ReadCache::up_to(max_bytes);
        for seq in 0..5_000 {
            cache.keep(seq, &value(seq, usize::try_from(seq * 7919 % 1_000).unwrap_or(0)));
            if seq % 100 == 0 {
                assert!(kept_bytes(&cache, seq + 1) <= max_bytes);
            }
        }
        assert!(kept_bytes(&cache, 5_000) > max_bytes / 2);
    }

    #[test]
    fn what_is_asked_for_again_outlives_what_was_asked_for_once() {
        let cache = ReadCache::up_to(1_000 * (OVERHEAD_BYTES + 100));
        for seq in 0..200 {
            cache.keep(seq, &value(seq, 100));
        }
        for seq in 1_000..20_000 {
            cache.keep(seq, &value(seq, 100));
            let _ = cache.get(seq % 200);
        }
        let often = (0..200).filter(|seq| cache.get(*seq).is_some()).count();
        assert!(often > 190, "{often} of 200 are left");
    }

    #[test]
    fn a_value_that_would_evict_too_many_is_not_kept() {
        let cache = ReadCache::up_to(16_000);
        cache.keep(1, &value(1, 1_000 - OVERHEAD_BYTES));
        cache.keep(2, &value(2, 1_001 - OVERHEAD_BYTES));
        assert_eq!((cache.get(1).is_some(), cache.get(2)), (true, None));
        let none = ReadCache::up_to(0);
        none.keep(1, &value(1, 0));
        assert_eq!(none.get(1), None);
    }
}
