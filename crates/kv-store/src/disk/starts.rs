//! Where blocks start, for whoever looks for a record.
//!
//! Asked for the last row up to a number, the database goes to the row behind it first and then one
//! back; and a row is a block, which it reads: two blocks for one value. Asked for a row by its
//! very number, it reads that one. So the numbers are remembered, two bytes for each block.
//!
//! They are told after a transaction, and a reader has a view of the file that may be older or
//! newer. So what is found here is a guess. It is right if the block has the record.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use super::marks::GROUP_RECORDS;

/// For each group with blocks, the places in it at which they start, in order.
#[derive(Debug, Default)]
pub(crate) struct Starts(RwLock<BTreeMap<u64, Box<[u16]>>>);

impl Starts {
    /// The blocks of a group start with these records from now on, which are in order.
    pub(crate) fn set(&self, group: u64, firsts: impl Iterator<Item = u64>) {
        let place = |first| u16::try_from(first % GROUP_RECORDS).unwrap_or(0);
        let places: Box<[u16]> = firsts.map(place).collect();
        let mut groups = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if places.is_empty() {
            groups.remove(&group);
        } else {
            groups.insert(group, places);
        }
    }

    /// The first record of the block in which the record `seq` is, probably.
    pub(crate) fn guess(&self, seq: u64) -> Option<u64> {
        let groups = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let places = groups.get(&(seq / GROUP_RECORDS))?;
        let at = seq % GROUP_RECORDS;
        let behind = places.partition_point(|place| u64::from(*place) <= at);
        Some(seq - at + u64::from(places[behind.checked_sub(1)?]))
    }
}

const _: () = assert!(GROUP_RECORDS <= 1 << 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_looked_for_in_the_last_block_that_starts_before_it() {
        let starts = Starts::default();
        assert_eq!(starts.guess(0), None);
        starts.set(1, [4096, 4100, 8191].into_iter());
        starts.set(2, [8200].into_iter());
        let guesses = [4095, 4096, 4099, 4100, 8190, 8191, 8192, 8200, 12_287, 12_288];
        let guesses = guesses.map(|seq| starts.guess(seq));
        let firsts = [0, 4096, 4096, 4100, 4100, 8191, 0, 8200, 8200, 0];
        assert_eq!(guesses, firsts.map(|first| (first > 0).then_some(first)));
        starts.set(1, std::iter::empty());
        assert_eq!((starts.guess(4100), starts.guess(8200)), (None, Some(8200)));
    }
}
