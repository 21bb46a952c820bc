//! Which records are dead, and where so many of them lie together that it is worth cleaning.
//!
//! Old versions die all over the file, because keys are overwritten in any order. Taking each out
//! by itself would rewrite a page for each. So the dead are only marked, with a bit for each record
//! of a group (`marks`), until they take more room than they may: then groups are rewritten without
//! them, those first of which the most is dead. The longer a group is left alone, the less of it
//! there is to rewrite; so nothing is cleaned before it has to be.
//!
//! A group of large values is more than may be cleaned at once. Then cleaning stops half-way, and
//! goes on there before anything else.
//!
//! Invariants:
//! 1. A marked record is never read again, whether its bytes are still there or not.
//! 2. Marks are written, or the dead listed (`died`), in the same transaction as the position up to
//!    which the log is applied: a restart finds exactly the records that lived at that position.
//! 3. A group's mark stays until nothing of the group lives. Then group and marks go; from the
//!    file, when marks are written the next time.
//! 4. A group stands in the set of its level if that is at least [`LEAST_LEVEL`], and rose since
//!    it was cleaned or something died meanwhile in what was cleaned of it; and in no other.
//! 5. What is dead of a group counts until all of it is cleaned.
//! 6. Between the first and the last number in its blocks, whatever is in none of them has a mark.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::died::AllMarks;
use super::marks::{GROUP_RECORDS, Marks};
use super::starts::Starts;

/// The dead may take this much of the room that the living take.
const DEAD_PER_LIVE: (u64, u64) = (3, 8);

/// Groups are told apart by how many of so many parts of them are dead.
const LEVELS: usize = 16;

/// Below this level, cleaning would rewrite three records to get rid of one.
const LEAST_LEVEL: usize = 4;

/// A block of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The number under which it stands in the table.
    pub(crate) first: u64,
    /// The number of its last record.
    pub(crate) last: u64,
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

    fn size_bytes(&self) -> u64 {
        self.live_bytes + self.dead_bytes
    }

    /// About how much of it is in one of its blocks, if none of it was cleaned half-way.
    fn block_bytes(&self) -> u64 {
        (self.size_bytes() / (self.blocks.len() as u64).max(1)).max(1)
    }

    pub(crate) fn blocks(&self) -> &[Place] {
        &self.blocks
    }

    /// The first records of its blocks.
    fn firsts(&self) -> impl Iterator<Item = u64> {
        self.blocks.iter().map(|block| block.first)
    }

    /// A block begins with the record `first`.
    fn begin_block(&mut self, first: u64) {
        self.blocks.push(Place { first, last: first, records: 0 });
    }

    /// Records of these numbers are not there any more.
    fn mark_gone(&mut self, seqs: Range<u64>) {
        for seq in seqs {
            self.marks.kill(seq);
        }
    }

    /// Marks what is between its blocks, and behind the last one up to the record `end`.
    fn mark_gaps(&mut self, end: u64) {
        for at in 0..self.blocks.len() {
            let until = self.blocks.get(at + 1).map_or(end, |next| next.first);
            self.mark_gone(self.blocks[at].last + 1..until);
        }
    }

    /// The last block got another record.
    fn count_record(&mut self, seq: u64) {
        if let Some(block) = self.blocks.last_mut() {
            block.last = seq;
            block.records += 1;
        }
    }

    /// How much of it is dead, from 0 to [`LEVELS`].
    fn dead_level(&self) -> usize {
        let parts = self.dead_bytes * LEVELS as u64 / self.size_bytes().max(1);
        usize::try_from(parts).unwrap_or(LEVELS).min(LEVELS)
    }
}

/// A group that is to be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) number: u64,
    /// The blocks before this number are cleaned already.
    pub(crate) from: u64,
    /// About how much of it was in one of its blocks when cleaning began with it, in bytes.
    pub(crate) block_bytes: u64,
}

/// A group of which only a part is cleaned.
#[derive(Clone, Copy, Debug)]
struct Begun {
    due: Due,
    /// Of those that died since in the part that is cleaned.
    died_bytes: u64,
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
        if let Some(block) = self.group.blocks.last() {
            let next = block.last + u64::from(block.records > 0);
            self.group.mark_gone(next..seq);
        }
        self.group.count_record(seq);
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
    /// The one in which cleaning stopped half-way.
    begun: Option<Begun>,
    /// Those whose marks are not written yet, each once.
    changed: Vec<u64>,
    /// Those whose blocks start elsewhere than they did, some of them twice.
    moved: Vec<u64>,
    /// The sums over all groups.
    live_bytes: u64,
    dead_bytes: u64,
}

impl Groups {
    /// A block begins with the record `first`.
    pub(crate) fn add_block(&mut self, first: u64) {
        let number = first / GROUP_RECORDS;
        self.by_number.entry(number).or_default().begin_block(first);
        self.moved.push(number);
    }

    /// No more records will be added to the block that begins with `first`.
    pub(crate) fn close_block(&mut self, first: u64) {
        self.judge(first / GROUP_RECORDS);
    }

    /// A record was written, into the last block of its group.
    pub(crate) fn add_record(&mut self, seq: u64, weight: u64) {
        let group = self.by_number.entry(seq / GROUP_RECORDS).or_default();
        group.count_record(seq);
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
        match &mut self.begun {
            Some(Begun { due, died_bytes }) if due.number == number && seq < due.from => {
                *died_bytes += weight;
            }
            _ => {}
        }
        self.note_change(number);
        self.judge(number);
    }

    /// The marks of a group are not written.
    fn note_change(&mut self, number: u64) {
        let is_noted = self
            .by_number
            .get_mut(&number)
            .is_some_and(|group| std::mem::replace(&mut group.is_changed, true));
        if !is_noted {
            self.changed.push(number);
        }
    }

    /// Groups with the marks that were found in a file, of which nothing else is known yet.
    pub(crate) fn of_marks(marks: &AllMarks) -> Self {
        let group = |marks| Group { marks, ..Group::default() };
        let by_number = marks.iter().map(|(number, marks)| (number, group(*marks))).collect();
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
            group.marks.add(&loaded.marks);
            group.blocks.append(&mut loaded.blocks);
            group.blocks.sort_unstable();
            group.live_records += loaded.live_records;
            group.live_bytes += loaded.live_bytes;
            group.dead_bytes += loaded.dead_bytes;
        }
        self.live_bytes += other.live_bytes;
        self.dead_bytes += other.dead_bytes;
    }

    /// After loading everything, of a file in which `next_seq` is the number of the next record:
    /// looks for groups worth cleaning, and for those of which marks have to be written.
    ///
    /// A file made of a snapshot has no marks for what died before.
    pub(crate) fn settle(&mut self, marks: &AllMarks, next_seq: u64) {
        for number in marks.listed() {
            self.note_change(number);
        }
        let numbers: Vec<_> = self.by_number.keys().copied().collect();
        for number in numbers {
            if let Some(group) = self.by_number.get_mut(&number) {
                group.mark_gaps(next_seq.min((number + 1).saturating_mul(GROUP_RECORDS)));
            }
            self.judge(number);
            let is_complete = number < next_seq / GROUP_RECORDS;
            self.forget_if_empty(number, is_complete);
        }
    }

    /// Forgets a group of which nothing is left, if no more records will be added to it.
    fn forget_if_empty(&mut self, number: u64, is_complete: bool) {
        let is_empty = |group: &Group| group.live_records == 0 && group.blocks.is_empty();
        if is_complete && self.by_number.get(&number).is_some_and(is_empty) {
            self.note_change(number);
            self.by_number.remove(&number);
            self.begun.take_if(|begun| begun.due.number == number);
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

    /// What is to be cleaned next, if anything has to be.
    pub(crate) fn next_due(&mut self) -> Option<Due> {
        let (dead, live) = DEAD_PER_LIVE;
        if live * self.dead_bytes <= dead * self.live_bytes {
            return None;
        }
        if let Some(begun) = &self.begun {
            return Some(begun.due);
        }
        let number = self.by_level.iter_mut().rev().find_map(BTreeSet::pop_first)?;
        let block_bytes = self.by_number.get(&number).map_or(1, Group::block_bytes);
        Some(Due { number, from: 0, block_bytes })
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Group> {
        self.by_number.get(&number)
    }

    /// Tells where the blocks of all groups start.
    pub(crate) fn tell_starts(&self, starts: &Starts) {
        for (number, group) in &self.by_number {
            starts.set(*number, group.firsts());
        }
    }

    /// Tells where the blocks start of which that was not told before.
    pub(crate) fn tell_moved(&mut self, starts: &Starts) {
        self.moved.dedup();
        for number in self.moved.drain(..) {
            let firsts = self.by_number.get(&number).into_iter().flat_map(Group::firsts);
            starts.set(number, firsts);
        }
    }

    /// A group was cleaned up to where this says that it is due from now on: these are its blocks.
    pub(crate) fn cleaned_until(&mut self, due: Due, blocks: Vec<Place>) {
        let Some(group) = self.by_number.get_mut(&due.number) else { return };
        group.blocks = blocks;
        self.moved.push(due.number);
        let died_bytes = self.begun.map_or(0, |begun| begun.died_bytes);
        self.begun = Some(Begun { due, died_bytes });
    }

    /// All of a group was cleaned: only these blocks are left of it, and the dead of `rest_bytes`,
    /// which could not go yet. A group of which nothing is left is forgotten if it `is_complete`:
    /// if no more records will be added to it.
    pub(crate) fn cleaned(
        &mut self,
        number: u64,
        blocks: Vec<Place>,
        rest_bytes: u64,
        is_complete: bool,
    ) {
        let died_bytes = self.begun.take().map_or(0, |begun| begun.died_bytes);
        let rest_bytes = rest_bytes + died_bytes;
        let Some(group) = self.by_number.get_mut(&number) else { return };
        self.by_level[group.level].remove(&number);
        self.dead_bytes = self.dead_bytes.saturating_sub(group.dead_bytes) + rest_bytes;
        group.dead_bytes = rest_bytes;
        group.blocks = blocks;
        self.moved.push(number);
        group.level = group.dead_level();
        if died_bytes > 0 {
            // Nothing else may ever die in it, so it has to be found worth cleaning now.
            group.level = 0;
            self.judge(number);
        }
        self.forget_if_empty(number, is_complete);
    }

    /// The bytes of what lives and of what is dead and still there, as far as cleaning has told.
    #[cfg(test)]
    pub(crate) fn weights(&self) -> (u64, u64) {
        (self.live_bytes, self.dead_bytes)
    }

    #[cfg(test)]
    pub(crate) fn is_half_way(&self) -> bool {
        self.begun.is_some()
    }

    /// How many groups have marks that are not written, or were forgotten since.
    pub(crate) fn changed(&self) -> u64 {
        self.changed.len() as u64
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

    fn place(first: u64, records: u64) -> Place {
        Place { first, last: first + records - 1, records }
    }

    /// The next group to clean, and where.
    fn next(groups: &mut Groups) -> Option<(u64, u64)> {
        groups.next_due().map(|due| (due.number, due.from))
    }

    fn due_from(number: u64, from: u64) -> Due {
        Due { number, from, block_bytes: 1 }
    }

    #[test]
    fn nothing_is_cleaned_before_the_dead_take_three_eighths_of_what_lives() {
        let mut groups = full_group(100);
        for seq in 0..1117 {
            groups.kill(3 * seq, 100);
            assert_eq!(next(&mut groups), None);
        }
        groups.kill(1, 100);
        assert_eq!(next(&mut groups), Some((0, 0)));
        assert_eq!(next(&mut groups), None, "once is enough");
        let marks = groups.get(0).expect("it lives").marks();
        assert!(marks.is_dead(0) && marks.is_dead(1) && !marks.is_dead(2) && marks.is_dead(3));
    }

    #[test]
    fn the_group_of_which_the_most_is_dead_is_cleaned_first() {
        let mut groups = Groups::default();
        for seq in 0..4 * GROUP_RECORDS {
            groups.add_record(seq, 100);
        }
        for (group, dead) in [(0, 1200), (1, 2800), (2, 2000), (3, 400)] {
            for seq in 0..dead {
                groups.kill(group * GROUP_RECORDS + seq, 100);
            }
        }
        assert_eq!(next(&mut groups), Some((1, 0)));
        groups.cleaned(1, vec![place(GROUP_RECORDS + 2800, 1296)], 0, true);
        assert_eq!(next(&mut groups), None, "3600 of 9984 are not too many");
        for seq in 2800..3200 {
            groups.kill(GROUP_RECORDS + seq, 100);
        }
        assert_eq!(next(&mut groups), Some((2, 0)), "what was cleaned has few dead again");
        assert_eq!(next(&mut groups), Some((0, 0)));
        assert_eq!(next(&mut groups), Some((1, 0)));
        assert_eq!(next(&mut groups), None, "a tenth of a group is not worth it");
    }

    #[test]
    fn large_records_go_when_they_are_too_many() {
        let mut groups = full_group(1 << 20);
        for seq in 0..1118 {
            assert_eq!(next(&mut groups), None);
            groups.kill(seq, 1 << 20);
        }
        assert_eq!(next(&mut groups), Some((0, 0)));
    }

    /// What died meanwhile in the part that is cleaned is still there when the rest is.
    #[test]
    fn a_group_that_was_cleaned_half_way_is_gone_on_with_before_any_other() {
        let mut groups = Groups::default();
        for seq in 0..2 * GROUP_RECORDS {
            groups.add_record(seq, 100);
        }
        (0..2000).for_each(|seq| groups.kill(2 * seq, 100));
        (0..1500).for_each(|seq| groups.kill(GROUP_RECORDS + 2 * seq, 100));
        assert_eq!(next(&mut groups), Some((0, 0)));
        groups.cleaned_until(due_from(0, 3000), Vec::new());
        // Of these, the first are in the part that is cleaned.
        for seq in [1, 3, 3001, GROUP_RECORDS + 1] {
            groups.kill(seq, 100);
        }
        assert_eq!(next(&mut groups), Some((0, 3000)));
        groups.cleaned_until(due_from(0, 4000), Vec::new());
        groups.kill(3003, 100);
        assert_eq!(next(&mut groups), Some((0, 4000)));
        groups.cleaned(0, vec![place(0, 2096)], 0, true);
        assert_eq!((groups.dead_bytes, groups.live_bytes), (100 * 1504, 100 * 4687));
        assert_eq!(next(&mut groups), None, "1504 of 4687 are not too many");
        (3500..4000).for_each(|seq| groups.kill(2 * seq + 1, 100));
        assert_eq!(next(&mut groups), Some((1, 0)));
        assert_eq!(next(&mut groups), None, "three of a group are not worth it");
    }

    /// All of it died while the rest of it was cleaned, so nothing was left that could die and have
    /// it looked at again: it stayed in the file until the next start.
    #[test]
    fn what_died_in_the_cleaned_half_of_a_group_is_cleaned_too() {
        let mut groups = full_group(100);
        (0..2000).for_each(|seq| groups.kill(2 * seq, 100));
        assert_eq!(next(&mut groups), Some((0, 0)));
        groups.cleaned_until(due_from(0, 2000), vec![place(0, 1000)]);
        (0..1000).for_each(|seq| groups.kill(2 * seq + 1, 100));
        groups.cleaned(0, vec![place(0, 1000), place(2000, 1096)], 0, true);
        assert_eq!(groups.dead_bytes, 100 * 1000);
        assert_eq!(next(&mut groups), Some((0, 0)));
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

    /// Two threads load a file, each some of its blocks.
    #[test]
    fn whatever_no_block_has_is_marked() {
        let load = |blocks: &[&[u64]]| {
            let mut groups = Groups::default();
            for seqs in blocks {
                let mut loading = groups.load_block(seqs[0]);
                assert!(seqs.iter().all(|seq| loading.load_record(*seq, 1)));
            }
            groups
        };
        let mut groups = load(&[&[5, 7], &[20]]);
        groups.append(load(&[&[10, 12, 13]]));
        groups.settle(&AllMarks::default(), 24);
        let marks = groups.get(0).expect("it was loaded").marks();
        let gone: Vec<_> = (0..GROUP_RECORDS).filter(|seq| marks.is_dead(*seq)).collect();
        assert_eq!(gone, [6, 8, 9, 11, 14, 15, 16, 17, 18, 19, 21, 22, 23]);
    }
}
