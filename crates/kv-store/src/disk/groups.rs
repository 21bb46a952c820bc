//! Which records are dead, and where enough of them lie together to be worth cleaning.
//!
//! Old versions die all over the file, because keys are overwritten in any order. Taking each out
//! by itself would rewrite a page for each. So the dead are only marked, in a bitmap for each group
//! of 1024 records; and when a third of a group is dead, or much of it, the group is rewritten
//! without them.
//!
//! Invariants:
//! 1. A marked record is never read again, whether its bytes are still there or not.
//! 2. Marks are written in the same transaction as the position up to which the log is applied: a
//!    restart finds exactly the records that lived at that position.
//! 3. A group's mark stays until nothing of the group lives. Then group and marks go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many records share a bitmap.
pub(crate) const GROUP_RECORDS: u64 = 1024;

/// So many dead bytes make a group worth cleaning, however much of it lives.
const MANY_DEAD_BYTES: u64 = 256 << 10;

const WORDS: usize = 16;

/// The bytes of a bitmap, and of its checksum before it.
const ROW_BYTES: usize = 4 + 8 * WORDS;

/// A bit for each record of a group; set when it died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks([u64; WORDS]);

impl Marks {
    pub(crate) fn is_dead(&self, seq: u64) -> bool {
        let (word, bit) = place(seq);
        self.0[word] & bit != 0
    }

    fn kill(&mut self, seq: u64) {
        let (word, bit) = place(seq);
        self.0[word] |= bit;
    }

    /// The row of this bitmap for a group.
    pub(crate) fn to_row(self, group: u64) -> [u8; ROW_BYTES] {
        let mut row = [0; ROW_BYTES];
        for (place, word) in row[4..].chunks_exact_mut(8).zip(self.0) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let checksum = checksum(group, &row[4..]);
        row[..4].copy_from_slice(&checksum.to_le_bytes());
        row
    }

    /// The bitmap of a group from its row; `None` if that is damaged.
    pub(crate) fn from_row(group: u64, row: &[u8]) -> Option<Self> {
        let row: &[u8; ROW_BYTES] = row.try_into().ok()?;
        let (stored, words) = row.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*stored) != checksum(group, words) {
            return None;
        }
        let mut marks = Self::default();
        for (mark, word) in marks.0.iter_mut().zip(words.as_chunks::<8>().0) {
            *mark = u64::from_le_bytes(*word);
        }
        Some(marks)
    }
}

/// What cannot be read is named like this.
pub(crate) fn bad_marks(group: u64) -> String {
    format!("the marks of group {group} do not match their checksum")
}

/// The word and the bit of a record's mark.
fn place(seq: u64) -> (usize, u64) {
    let number = seq % GROUP_RECORDS;
    // Below 16.
    (usize::try_from(number / 64).unwrap_or(0), 1 << (number % 64))
}

fn checksum(group: u64, words: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&group.to_le_bytes()), words)
}

/// What is known of a group of records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    marks: Marks,
    /// The numbers under which its blocks stand in the table, in order.
    blocks: Vec<u64>,
    live_records: u32,
    /// By the weight of the records.
    live_bytes: u64,
    /// Of the dead that are still in the file.
    dead_bytes: u64,
    /// Whether it waits to be cleaned.
    is_due: bool,
}

impl Group {
    pub(crate) fn marks(&self) -> Marks {
        self.marks
    }

    /// About how much cleaning it would have to read, in bytes.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.live_bytes + self.dead_bytes
    }

    pub(crate) fn blocks(&self) -> &[u64] {
        &self.blocks
    }

    fn is_worth_cleaning(&self) -> bool {
        let is_much = 3 * self.dead_bytes >= self.size_bytes();
        self.dead_bytes > 0 && (is_much || self.dead_bytes >= MANY_DEAD_BYTES)
    }
}

/// All groups of which anything lives.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_number: BTreeMap<u64, Group>,
    /// Those worth cleaning, each once.
    due: VecDeque<u64>,
    /// Those whose marks are not written yet.
    changed: BTreeSet<u64>,
}

impl Groups {
    /// A block begins with the record `first`.
    pub(crate) fn add_block(&mut self, first: u64) {
        self.by_number.entry(first / GROUP_RECORDS).or_default().blocks.push(first);
    }

    /// No more records will be added to the block that begins with `first`.
    pub(crate) fn close_block(&mut self, first: u64) {
        self.judge(first / GROUP_RECORDS);
    }

    /// A record was written.
    pub(crate) fn add_record(&mut self, seq: u64, weight: u64) {
        let group = self.by_number.entry(seq / GROUP_RECORDS).or_default();
        group.live_records += 1;
        group.live_bytes += weight;
    }

    /// A record died.
    pub(crate) fn kill(&mut self, seq: u64, weight: u64) {
        let number = seq / GROUP_RECORDS;
        let Some(group) = self.by_number.get_mut(&number) else { return };
        group.marks.kill(seq);
        group.live_records = group.live_records.saturating_sub(1);
        group.live_bytes = group.live_bytes.saturating_sub(weight);
        group.dead_bytes += weight;
        self.changed.insert(number);
        self.judge(number);
    }

    /// The marks of a group, as they were found in the file.
    pub(crate) fn load_marks(&mut self, number: u64, marks: Marks) {
        self.by_number.entry(number).or_default().marks = marks;
    }

    /// A record was found in the file; returns whether it lives.
    pub(crate) fn load_record(&mut self, seq: u64, weight: u64) -> bool {
        let group = self.by_number.entry(seq / GROUP_RECORDS).or_default();
        let lives = !group.marks.is_dead(seq);
        if lives {
            group.live_records += 1;
            group.live_bytes += weight;
        } else {
            group.dead_bytes += weight;
        }
        lives
    }

    /// Looks for groups worth cleaning, after loading.
    pub(crate) fn judge_all(&mut self) {
        let numbers: Vec<_> = self.by_number.keys().copied().collect();
        for number in numbers {
            self.judge(number);
        }
    }

    fn judge(&mut self, number: u64) {
        if let Some(group) = self.by_number.get_mut(&number)
            && !group.is_due
            && group.is_worth_cleaning()
        {
            group.is_due = true;
            self.due.push_back(number);
        }
    }

    /// The number of the next group to clean.
    pub(crate) fn next_due(&mut self) -> Option<u64> {
        let number = self.due.pop_front()?;
        if let Some(group) = self.by_number.get_mut(&number) {
            group.is_due = false;
        }
        Some(number)
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Group> {
        self.by_number.get(&number)
    }

    /// A group was cleaned: only these blocks are left of it, and the dead of `rest_bytes`, which
    /// could not go yet. A group of which nothing is left is forgotten if it `is_complete`: if no
    /// more records will be added to it.
    pub(crate) fn cleaned(
        &mut self,
        number: u64,
        blocks: Vec<u64>,
        rest_bytes: u64,
        is_complete: bool,
    ) {
        let Some(group) = self.by_number.get_mut(&number) else { return };
        group.dead_bytes = rest_bytes;
        group.blocks = blocks;
        if is_complete && group.live_records == 0 && group.blocks.is_empty() {
            self.by_number.remove(&number);
            self.changed.insert(number);
        }
    }

    /// The groups whose marks have to be written, with their marks; `None` where they have to be
    /// removed.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = (u64, Option<Marks>)> {
        let groups = &self.by_number;
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|number| (number, groups.get(&number).map(Group::marks)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_group(weight: u64) -> Groups {
        let mut groups = Groups::default();
        for seq in 0..GROUP_RECORDS {
            groups.add_record(seq, weight);
        }
        groups.add_block(0);
        groups
    }

    #[test]
    fn a_group_is_cleaned_when_a_third_of_it_is_dead() {
        let mut groups = full_group(100);
        for seq in 0..341 {
            groups.kill(3 * seq, 100);
            assert_eq!(groups.next_due(), None);
        }
        groups.kill(1, 100);
        assert_eq!(groups.next_due(), Some(0));
        assert_eq!(groups.next_due(), None, "once is enough");
        let marks = groups.get(0).expect("it lives").marks();
        assert!(marks.is_dead(0) && marks.is_dead(1) && !marks.is_dead(2) && marks.is_dead(3));
    }

    #[test]
    fn large_records_are_worth_cleaning_one_by_one() {
        let mut groups = full_group(1 << 20);
        groups.kill(77, 1 << 20);
        assert_eq!(groups.next_due(), Some(0));
        groups.cleaned(0, vec![0], 0, true);
        groups.kill(78, 1 << 20);
        assert_eq!(groups.next_due(), Some(0));
    }

    #[test]
    fn marks_are_written_once_and_removed_with_their_group() {
        let mut groups = full_group(1);
        groups.kill(5, 1);
        groups.kill(6, 1);
        let written: Vec<_> = groups.take_changed().collect();
        assert_eq!(written.len(), 1);
        assert_eq!(groups.take_changed().count(), 0);
        for seq in (0..GROUP_RECORDS).filter(|seq| ![5, 6].contains(seq)) {
            groups.kill(seq, 1);
        }
        groups.cleaned(0, Vec::new(), 0, false);
        assert!(groups.take_changed().all(|(_, marks)| marks.is_some()), "more may be added");
        groups.cleaned(0, Vec::new(), 0, true);
        assert_eq!(groups.take_changed().collect::<Vec<_>>(), [(0, None)]);
    }

    #[test]
    fn rows_come_back_and_damage_is_noticed() {
        let mut marks = Marks::default();
        for seq in [0, 63, 64, 1023] {
            marks.kill(seq);
        }
        let row = marks.to_row(9);
        assert_eq!(Marks::from_row(9, &row), Some(marks));
        assert_eq!(Marks::from_row(8, &row), None);
        assert_eq!(Marks::from_row(9, &row[1..]), None);
        for bit in 0..8 * ROW_BYTES {
            let mut flipped = row;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Marks::from_row(9, &flipped), None);
        }
    }
}
