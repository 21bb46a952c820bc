//! The latest values, in memory.

use std::collections::VecDeque;

use kv_proto::Bytes;

/// What a value takes in memory beyond its bytes.
const OVERHEAD_BYTES: usize = 48;

/// The values of the latest records, one behind the other: finding one is counting.
///
/// It begins at a record before which everything is in the file for sure.
#[derive(Debug)]
pub(crate) struct Recent {
    /// The number of the record whose value stands first.
    first: u64,
    /// `None` for deletions.
    values: VecDeque<Option<Bytes>>,
    size_bytes: usize,
    cache_bytes: usize,
}

impl Recent {
    /// No values yet; the record `first` comes next.
    pub(crate) fn new(first: u64, cache_bytes: usize) -> Self {
        Self { first, values: VecDeque::new(), size_bytes: 0, cache_bytes }
    }

    /// Adds the value of the next record.
    pub(crate) fn push(&mut self, value: Option<Bytes>) {
        self.size_bytes += memory_bytes(value.as_ref());
        self.values.push_back(value);
    }

    /// The value of the record `seq`, if it is here.
    pub(crate) fn get(&self, seq: u64) -> Option<&Bytes> {
        let place = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.values.get(place)?.as_ref()
    }

    /// Drops the oldest values as long as they are too many. Those of records from `unwritten` on
    /// stay.
    pub(crate) fn evict(&mut self, unwritten: u64) {
        while self.size_bytes > self.cache_bytes && self.first < unwritten {
            let Some(value) = self.values.pop_front() else { return };
            self.size_bytes -= memory_bytes(value.as_ref());
            self.first += 1;
        }
    }
}

fn memory_bytes(value: Option<&Bytes>) -> usize {
    OVERHEAD_BYTES + value.map_or(0, |value| value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_the_unwritten_stay() {
        let mut recent = Recent::new(10, 2 * (OVERHEAD_BYTES + 4));
        for number in 10..15_u32 {
            recent.push(Some(Bytes::from(number.to_le_bytes().as_slice())));
        }
        let present =
            |recent: &Recent| (0..20).filter(|seq| recent.get(*seq).is_some()).collect::<Vec<_>>();
        recent.evict(10);
        assert_eq!(present(&recent), [10, 11, 12, 13, 14], "nothing is written");
        recent.evict(12);
        assert_eq!(present(&recent), [12, 13, 14]);
        recent.evict(15);
        assert_eq!(present(&recent), [13, 14], "two fit the cache");
        assert_eq!(recent.get(14).map(|value| value.to_vec()), Some(14_u32.to_le_bytes().to_vec()));
    }
}
