//! Which records are dead, and where so many of them lie together that it is worth cleaning.
//!
//! Old versions die all over the file, because keys are overwritten in any order. Taking each out
//! by itself would rewrite a page for each. So the dead are only marked, in a bitmap for each group
//! of 1024 records, until they take more room than they may: then groups are rewritten without
//! them, those first of which the most is dead. The longer a group is left alone, the less of it
//! there is to rewrite; so nothing is cleaned before it has to be.
//!
//! Invariants:
//! 1. A marked record is never read again, whether its bytes are still there or not.
//! 2. Marks are written in the same transaction as the position up to which the log is applied: a
//!    restart finds exactly the records that lived at that position.
//! 3. A group's mark stays until nothing of the group lives. Then group and marks go.
//! 4. A group stands in the set of its level if that is at least [`LEAST_LEVEL`] and rose since it
//!    was cleaned; and in no other.

use std::collections::{BTreeMap, BTreeSet};

/// How many records share a bitmap.
pub(crate) const GROUP_RECORDS: u64 = 1024;

/// The dead may take this much of the room that the living take.
const DEAD_PER_LIVE: (u64, u64) = (3, 8);

/// Groups are told apart by how many of so many parts of them are dead.
const LEVELS: usize = 16;

/// Below this level, cleaning would rewrite three records to get rid of one.
const LEAST_LEVEL: usize = 4;

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

/// A block of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The number under which it stands in the table.
    pub(crate) first: u64,
    /// How many records are in it, dead ones too. Those that were taken out of it earlier have
    /// numbers within its range as well, and marks: they are not among them.
    pub(crate) records: u64,
}

/// What is known of a group of records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    marks: Marks,
    /// Its blocks, in order.
    blocks: Vec<Place>,
    live_records: u32,
    /// By the weight of the records.
    live_bytes: u64,
    /// Of the dead that are still in the file.
    dead_bytes: u64,
    /// What [`dead_level`](Self::dead_level) was when that was last looked at.
    level: usize,
    /// Whether its marks are not written yet.
    is_changed: bool,
}

impl Group {
    pub(crate) fn marks(&self) -> Marks {
        self.marks
    }

    /// About how much cleaning it would have to read, in bytes.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.live_bytes + self.dead_bytes
    }

    pub(crate) fn blocks(&self) -> &[Place] {
        &self.blocks
    }

    /// A block begins with the record `first`.
    fn begin_block(&mut self, first: u64) {
        self.blocks.push(Place { first, records: 0 });
    }

    /// The last block got another record.
    fn count_record(&mut self) {
        if let Some(block) = self.blocks.last_mut() {
            block.records += 1;
        }
    }

    /// How much of it is dead, from 0 to [`LEVELS`].
    fn dead_level(&self) -> usize {
        let parts = self.dead_bytes * LEVELS as u64 / self.size_bytes().max(1);
        usize::try_from(parts).unwrap_or(LEVELS).min(LEVELS)
    }
}

/// A group while one of its blocks is loaded.
#[derive(Debug)]
pub(crate) struct Loading<'a> {
    group: &'a mut Group,
    live_bytes: &'a mut u64,
    dead_bytes: &'a mut u64,
}

impl Loading<'_> {
    /// A record was found in the block; returns whether it lives.
    pub(crate) fn load_record(&mut self, seq: u64, weight: u64) -> bool {
        let lives = !self.group.marks.is_dead(seq);
        self.group.count_record();
        if lives {
            self.group.live_records += 1;
            self.group.live_bytes += weight;
            *self.live_bytes += weight;
        } else {
            self.group.dead_bytes += weight;
            *self.dead_bytes += weight;
        }
        lives
    }
}

/// All groups of which anything lives.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_number: BTreeMap<u64, Group>,
    /// For each level, the groups worth cleaning that are at it.
    by_level: [BTreeSet<u64>; LEVELS + 1],
    /// Those whose marks are not written yet, each once.
    changed: Vec<u64>,
    /// The sums over all groups.
    live_bytes: u64,
    dead_bytes: u64,
}

impl Groups {
    /// A block begins with the record `first`.
    pub(crate) fn add_block(&mut self, first: u64) {
        self.by_number.entry(first / GROUP_RECORDS).or_default().begin_block(first);
    }

    /// No more records will be added to the block that begins with `first`.
    pub(crate) fn close_block(&mut self, first: u64) {
        self.judge(first / GROUP_RECORDS);
    }

    /// A record was written, into the last block of its group.
    pub(crate) fn add_record(&mut self, seq: u64, weight: u64) {
        let group = self.by_number.entry(seq / GROUP_RECORDS).or_default();
        group.count_record();
        group.live_records += 1;
        group.live_bytes += weight;
        self.live_bytes += weight;
    }

    /// A record died.
    pub(crate) fn kill(&mut self, seq: u64, weight: u64) {
        let number = seq / GROUP_RECORDS;
        let Some(group) = self.by_number.get_mut(&number) else { return };
        group.marks.kill(seq);
        group.live_records = group.live_records.saturating_sub(1);
        group.live_bytes = group.live_bytes.saturating_sub(weight);
        group.dead_bytes += weight;
        self.live_bytes = self.live_bytes.saturating_sub(weight);
        self.dead_bytes += weight;
        if !group.is_changed {
            group.is_changed = true;
            self.changed.push(number);
        }
        self.judge(number);
    }

    /// Groups with the marks that were found in a file, of which nothing else is known yet.
    pub(crate) fn of_marks(marks: &[(u64, Marks)]) -> Self {
        let group = |marks| Group { marks, ..Group::default() };
        let by_number = marks.iter().map(|(number, marks)| (*number, group(*marks))).collect();
        Self { by_number, ..Self::default() }
    }

    /// A block that begins with the record `first` was found in the file.
    pub(crate) fn load_block(&mut self, first: u64) -> Loading<'_> {
        let group = self.by_number.entry(first / GROUP_RECORDS).or_default();
        group.begin_block(first);
        let (live_bytes, dead_bytes) = (&mut self.live_bytes, &mut self.dead_bytes);
        Loading { group, live_bytes, dead_bytes }
    }

    /// Adds what was loaded of other blocks of the same file.
    pub(crate) fn append(&mut self, other: Self) {
        for (number, mut loaded) in other.by_number {
            let group = self.by_number.entry(number).or_default();
            group.marks = loaded.marks;
            group.blocks.append(&mut loaded.blocks);
            group.blocks.sort_unstable();
            group.live_records += loaded.live_records;
            group.live_bytes += loaded.live_bytes;
            group.dead_bytes += loaded.dead_bytes;
        }
        self.live_bytes += other.live_bytes;
        self.dead_bytes += other.dead_bytes;
    }

    /// Looks for groups worth cleaning, after loading.
    pub(crate) fn judge_all(&mut self) {
        let numbers: Vec<_> = self.by_number.keys().copied().collect();
        for number in numbers {
            self.judge(number);
        }
    }

    fn judge(&mut self, number: u64) {
        let Some(group) = self.by_number.get_mut(&number) else { return };
        let level = group.dead_level();
        if level > group.level {
            self.by_level[group.level].remove(&number);
            group.level = level;
            if level >= LEAST_LEVEL {
                self.by_level[level].insert(number);
            }
        }
    }

    /// The number of the next group to clean, if anything has to be.
    pub(crate) fn next_due(&mut self) -> Option<u64> {
        let (dead, live) = DEAD_PER_LIVE;
        if live * self.dead_bytes <= dead * self.live_bytes {
            return None;
        }
        self.by_level.iter_mut().rev().find_map(BTreeSet::pop_first)
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
        blocks: Vec<Place>,
        rest_bytes: u64,
        is_complete: bool,
    ) {
        let Some(group) = self.by_number.get_mut(&number) else { return };
        self.by_level[group.level].remove(&number);
        self.dead_bytes = self.dead_bytes.saturating_sub(group.dead_bytes) + rest_bytes;
        group.dead_bytes = rest_bytes;
        group.blocks = blocks;
        group.level = group.dead_level();
        if is_complete && group.live_records == 0 && group.blocks.is_empty() {
            if !group.is_changed {
                self.changed.push(number);
            }
            self.by_number.remove(&number);
        }
    }

    /// The groups whose marks have to be written, with their marks; `None` where they have to be
    /// removed.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = (u64, Option<Marks>)> {
        let groups = &mut self.by_number;
        let mut changed = std::mem::take(&mut self.changed);
        // In the order in which they stand in the file.
        changed.sort_unstable();
        changed.into_iter().map(|number| {
            let group = groups.get_mut(&number);
            let marks = group.map(|group| {
                group.is_changed = false;
                group.marks
            });
            (number, marks)
        })
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
    fn nothing_is_cleaned_before_the_dead_take_three_eighths_of_what_lives() {
        let mut groups = full_group(100);
        for seq in 0..279 {
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
    fn the_group_of_which_the_most_is_dead_is_cleaned_first() {
        let mut groups = Groups::default();
        for seq in 0..4 * GROUP_RECORDS {
            groups.add_record(seq, 100);
        }
        for (group, dead) in [(0, 300), (1, 700), (2, 500), (3, 100)] {
            for seq in 0..dead {
                groups.kill(group * GROUP_RECORDS + seq, 100);
            }
        }
        assert_eq!(groups.next_due(), Some(1));
        groups.cleaned(1, vec![Place { first: GROUP_RECORDS, records: 324 }], 0, true);
        assert_eq!(groups.next_due(), None, "900 of 2496 are not too many");
        for seq in 700..800 {
            groups.kill(GROUP_RECORDS + seq, 100);
        }
        assert_eq!(groups.next_due(), Some(2), "what was cleaned has few dead again");
        assert_eq!(groups.next_due(), Some(0));
        assert_eq!(groups.next_due(), Some(1));
        assert_eq!(groups.next_due(), None, "a tenth of a group is not worth it");
    }

    #[test]
    fn large_records_go_when_they_are_too_many() {
        let mut groups = full_group(1 << 20);
        for seq in 0..280 {
            assert_eq!(groups.next_due(), None);
            groups.kill(seq, 1 << 20);
        }
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
