//! Which records died since marks were last written.
//!
//! Keys are overwritten in any order, so a batch has one that died in nearly every group, and to
//! write the marks of all groups with every batch is work for each group there is. So a batch adds
//! a list of its dead, as a row of its own. Only when the lists have become long enough for that
//! work, marks are written, and the lists go.
//!
//! A row of a list is the numbers in rising order, each as its distance from the one before it, in
//! base 128, behind a checksum of the row's key and of all of it.

use std::collections::{BTreeMap, BTreeSet};

use super::bytes::{Cursor, put_number};
use super::marks::{GROUP_RECORDS, Marks, group_of_row};

const CHECKSUM_BYTES: usize = 4;

/// The list of these records, which come in rising order, as the row `key`.
pub(crate) fn encode(key: u64, dead: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut out = vec![0; CHECKSUM_BYTES];
    let mut last = 0;
    for seq in dead {
        put_number(seq - last, &mut out);
        last = seq;
    }
    let checksum = checksum(key, &out[CHECKSUM_BYTES..]);
    out[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// The records in a list, in rising order; `None` if these are not the bytes of the row `key`.
pub(crate) fn decode(key: u64, row: &[u8]) -> Option<Vec<u64>> {
    let (stored, rest) = row.split_first_chunk::<CHECKSUM_BYTES>()?;
    if u32::from_le_bytes(*stored) != checksum(key, rest) {
        return None;
    }
    let (mut dead, mut last, mut cursor) = (Vec::new(), 0_u64, Cursor(rest));
    while !cursor.is_empty() {
        last = last.checked_add(cursor.number()?)?;
        dead.push(last);
    }
    Some(dead)
}

/// What cannot be read is named like this.
pub(crate) fn bad_list(key: u64) -> String {
    format!("list {key} of dead records does not match its checksum")
}

fn checksum(key: u64, rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&key.to_le_bytes()), rest)
}

/// All marks of a file: those that are written, and those of the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllMarks {
    by_group: BTreeMap<u64, Marks>,
    /// The groups with records in the lists.
    listed: BTreeSet<u64>,
}

impl AllMarks {
    /// Adds what is in a row of marks; `None` if it is damaged.
    pub(crate) fn add_row(&mut self, number: u64, row: &[u8]) -> Option<()> {
        self.by_group.entry(group_of_row(number)).or_default().add_row(number, row)
    }

    /// Adds the records of a list.
    pub(crate) fn add_list(&mut self, dead: &[u64]) {
        for seq in dead {
            let group = seq / GROUP_RECORDS;
            self.by_group.entry(group).or_default().kill(*seq);
            self.listed.insert(group);
        }
    }

    /// The highest number with a mark.
    pub(crate) fn last(&self) -> Option<u64> {
        let mut groups = self.by_group.iter().rev();
        let last = groups.find_map(|(group, marks)| Some((group, marks.last()?)));
        last.map(|(group, at)| group.saturating_mul(GROUP_RECORDS).saturating_add(at))
    }

    /// Those of a group.
    pub(crate) fn of(&self, group: u64) -> Marks {
        self.by_group.get(&group).copied().unwrap_or_default()
    }

    /// Those of all groups that have any, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Marks)> {
        self.by_group.iter().map(|(group, marks)| (*group, marks))
    }

    /// The groups of which not all marks are written.
    pub(crate) fn listed(&self) -> impl Iterator<Item = u64> {
        self.listed.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_in_order_and_damage_is_noticed() {
        assert_eq!(decode(0, &encode(0, std::iter::empty())), Some(Vec::new()));
        let row = encode(3, [0, 5, 6, 70_000, u64::MAX].into_iter());
        assert_eq!(decode(3, &row), Some(vec![0, 5, 6, 70_000, u64::MAX]));
        assert_eq!(decode(2, &row), None, "another row's");
        for bit in 0..8 * row.len() {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(3, &flipped), None, "bit {bit}");
        }
        for cut in 0..row.len() {
            assert_eq!(decode(3, &row[..cut]), None, "cut at {cut}");
        }
    }

    /// Whoever can make a checksum right can write anything into a file.
    #[test]
    fn what_only_claims_to_be_a_list_is_refused() {
        let forged = |rest: &[u8]| [&checksum(1, rest).to_le_bytes(), rest].concat();
        let mut beyond = Vec::new();
        put_number(u64::MAX, &mut beyond);
        put_number(1, &mut beyond);
        assert_eq!(decode(1, &forged(&beyond)), None, "no record has that number");
        assert_eq!(decode(1, &forged(&[0x80])), None, "half a number");
    }

    #[test]
    fn marks_are_what_is_written_and_what_is_listed() {
        let (mut all, mut written) = (AllMarks::default(), Marks::default());
        written.kill(4097);
        for (number, row) in written.to_rows(1) {
            all.add_row(number, &row).expect("it is whole");
        }
        all.add_list(&[2, 4098, 20_000]);
        let dead = |seq| all.of(seq / GROUP_RECORDS).is_dead(seq);
        assert!([2, 4097, 4098, 20_000].into_iter().all(dead));
        assert!(![0, 1, 4096, 4099, 19_999].into_iter().any(dead));
        assert_eq!(all.last(), Some(20_000));
        assert_eq!(all.listed().collect::<Vec<_>>(), [0, 1, 4]);
        assert_eq!(all.iter().map(|(group, _)| group).collect::<Vec<_>>(), [0, 1, 4]);
    }
}
