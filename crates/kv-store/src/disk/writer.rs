//! The thread that writes: batches into the file, one transaction each.
//!
//! A transaction holds, together: the new records, which records died, what cleaning moved, and the
//! state after the batch's last entry. A crash leaves all of it or nothing.

use std::path::Path;
use std::sync::Arc;

use super::block::BlockBuilder;
use super::died;
use super::file::{DEAD, DIED, RECORDS, STATE, STATE_ROW, StateFile};
use super::groups::{Due, Groups};
use super::marks::{GROUP_RECORDS, row_numbers};
use super::packer::{Packer, Rows, write_block};
use super::queue::{Batch, Queue};
use super::record::Record;
use super::starts::Starts;
use super::state::{Mark, State};
use crate::error::StoreError;

/// The least that a batch may clean, in bytes, usually.
const CLEAN_BYTES: u64 = 4 << 20;

/// How much a batch may clean for each byte it writes: more than it takes to keep up with keys
/// that are overwritten all the time, of which a third of what is cleaned goes.
const CLEAN_PER_BYTE: u64 = 4;

/// Marks are written when so many records are listed for each group that has any: then they cost
/// little for each of them, and the lists take less room than marks do.
const LISTED_PER_GROUP: u64 = 64;

/// Or when there are so many lists.
const MAX_LISTS: u64 = 64;

/// What the thread owns.
#[derive(Debug)]
pub(crate) struct Writer {
    file: Arc<StateFile>,
    groups: Groups,
    starts: Arc<Starts>,
    /// The last block, as long as it is not full. Its row is written anew with every batch.
    tail: BlockBuilder,
    state: State,
    /// How many lists of dead records there are, and how many records are in them.
    lists: (u64, u64),
    /// The number of the next record; ahead of the state while a batch is written.
    next_seq: u64,
    /// The least that a batch may clean, in bytes; tests have less.
    clean_bytes: u64,
    /// For the bytes of blocks.
    scratch: Vec<u8>,
}

impl Writer {
    /// A writer that goes on after `state`, of which `groups` are what is there. It tells `starts`
    /// where blocks are.
    pub(crate) fn new(
        file: Arc<StateFile>,
        groups: Groups,
        starts: Arc<Starts>,
        state: State,
    ) -> Self {
        groups.tell_starts(&starts);
        let (tail, next_seq) = (BlockBuilder::default(), state.mark.next_seq);
        // The first batch with any dead writes marks, and is rid of the lists that there may be.
        let lists = (MAX_LISTS, 0);
        let (clean_bytes, scratch) = (CLEAN_BYTES, Vec::new());
        Self { file, groups, starts, tail, state, lists, next_seq, clean_bytes, scratch }
    }

    /// The name of the file.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes what the queue holds, until it is closed or something fails.
    pub(crate) fn run(mut self, queue: &Queue) {
        while let Some(batch) = queue.take() {
            match self.write(batch) {
                Ok(mark) => queue.written(mark),
                Err(error) => return queue.fail(error),
            }
        }
    }

    /// Writes one batch. After an error, neither the file nor this writer may be used again.
    pub(crate) fn write(&mut self, mut batch: Batch) -> Result<Mark, StoreError> {
        let file = Arc::clone(&self.file);
        let mut transaction = file.database().begin_write().map_err(|error| file.fault(error))?;
        // So that a file of any size is open at once after a crash.
        transaction.set_quick_repair(true);
        {
            let table = |table| transaction.open_table(table).map_err(|error| file.fault(error));
            let mut records = table(RECORDS)?;
            let written_bytes =
                self.add_records(&mut records, &batch).map_err(|error| file.fault(error))?;
            // So that neighbours are found one after the other; lists have to be in order anyway.
            batch.dead.sort_unstable();
            for (seq, weight) in &batch.dead {
                self.groups.kill(*seq, *weight);
            }
            self.clean(&mut records, CLEAN_PER_BYTE * written_bytes)?;
            self.write_dead(&batch.dead, &mut table(DIED)?, &mut table(DEAD)?)
                .map_err(|error| file.fault(error))?;
            self.state.mark = batch.mark;
            if let Some(members) = batch.members {
                self.state.members = members;
            }
            let row = self.state.encode();
            let mut state = table(STATE)?;
            state.insert(STATE_ROW, row.as_slice()).map_err(|error| file.fault(error))?;
        }
        transaction.commit().map_err(|error| file.fault(error))?;
        self.groups.tell_moved(&self.starts);
        Ok(self.state.mark)
    }

    /// Adds the records of a batch; returns how many bytes they are.
    fn add_records(
        &mut self,
        rows: &mut Rows<'_>,
        batch: &Batch,
    ) -> Result<u64, redb::StorageError> {
        let mut bytes = 0;
        for (record, weight) in batch.records.iter().flat_map(|chunk| chunk.iter()) {
            let seq = self.next_seq;
            if !self.tail.takes(seq, record.len()) {
                write_block(rows, &self.tail, &mut self.scratch)?;
                self.groups.close_block(self.tail.first());
                self.tail.clear();
            }
            if self.tail.is_empty() {
                self.groups.add_block(seq);
            }
            self.tail.push(seq, record);
            self.groups.add_record(seq, weight);
            self.next_seq += 1;
            bytes += record.len() as u64;
        }
        if bytes > 0 {
            write_block(rows, &self.tail, &mut self.scratch)?;
        }
        Ok(bytes)
    }

    /// Lists the dead of a batch, or writes all marks instead and is rid of the lists.
    fn write_dead(
        &mut self,
        dead: &[(u64, u64)],
        lists: &mut Rows<'_>,
        marks: &mut Rows<'_>,
    ) -> Result<(), redb::StorageError> {
        if dead.is_empty() {
            return Ok(());
        }
        let (count, listed) = self.lists;
        let listed = listed + dead.len() as u64;
        if count >= MAX_LISTS || listed >= LISTED_PER_GROUP * self.groups.changed() {
            while lists.pop_first()?.is_some() {}
            self.lists = (0, 0);
            return self.write_marks(marks);
        }
        let row = died::encode(count, dead.iter().map(|(seq, _)| *seq));
        lists.insert(count, row.as_slice())?;
        self.lists = (count + 1, listed);
        Ok(())
    }

    fn write_marks(&mut self, rows: &mut Rows<'_>) -> Result<(), redb::StorageError> {
        for (group, marks) in self.groups.take_changed() {
            if let Some(marks) = marks {
                for (number, row) in marks.to_rows(group) {
                    rows.insert(number, row.as_slice())?;
                }
            } else {
                for number in row_numbers(group) {
                    rows.remove(number)?;
                }
            }
        }
        Ok(())
    }

    /// Cleans what is worth it, about `budget_bytes` of it.
    fn clean(&mut self, rows: &mut Rows<'_>, budget_bytes: u64) -> Result<(), StoreError> {
        let mut rest_bytes = budget_bytes.max(self.clean_bytes);
        while rest_bytes > 0
            && let Some(due) = self.groups.next_due()
        {
            self.clean_group(rows, due, &mut rest_bytes)?;
        }
        Ok(())
    }

    /// Rewrites the blocks of a group without the dead, and takes from `rest_bytes` what that was.
    /// Stops half-way when nothing is left of it.
    ///
    /// A block of which nothing lives is not even read, and one of which all live stays as it is.
    /// The last block of the file is left alone: it is still being filled.
    fn clean_group(
        &mut self,
        rows: &mut Rows<'_>,
        due: Due,
        rest_bytes: &mut u64,
    ) -> Result<(), StoreError> {
        let number = due.number;
        let Some(group) = self.groups.get(number) else { return Ok(()) };
        let (marks, blocks) = (group.marks(), group.blocks().to_vec());
        let file = Arc::clone(&self.file);
        let mut packer = Packer::new(&file, rows, &mut self.scratch);
        let mut left_bytes = 0;
        for (at, &block) in blocks.iter().enumerate() {
            let first = block.first;
            let is_tail = !self.tail.is_empty() && first == self.tail.first();
            // All of them are in this block: what is missing of the range is dead.
            let live = marks.count_live(first..block.last + 1);
            if is_tail || live == block.records || first < due.from {
                left_bytes += if is_tail { weights(self.tail.dead(&marks)) } else { 0 };
                packer.keep(block)?;
            } else if *rest_bytes == 0 {
                blocks[at..].iter().try_for_each(|block| packer.keep(*block))?;
                self.groups.cleaned_until(Due { from: first, ..due }, packer.finish()?);
                return Ok(());
            } else {
                *rest_bytes = rest_bytes.saturating_sub(due.block_bytes);
                packer.take(first, live, &marks)?;
            }
        }
        let kept = packer.finish()?;
        let is_complete = number < self.next_seq / GROUP_RECORDS;
        self.groups.cleaned(number, kept, left_bytes, is_complete);
        Ok(())
    }
}

/// The weights of these records.
fn weights<'a>(records: impl Iterator<Item = &'a [u8]>) -> u64 {
    records.filter_map(Record::decode).map(|record| record.weight()).sum()
}

#[cfg(test)]
mod tests {
    use kv_proto::Revision;
    use redb::ReadableTable;
    use redb::backends::InMemoryBackend;

    use super::super::block::Block;
    use super::super::load::read_tables;
    use super::super::queue::Changes;
    use super::super::record::PutRecord;
    use super::super::state::Position;
    use super::*;
    use crate::build::Part;

    /// Too large for two of them in a block.
    const VALUE_BYTES: usize = 200 << 10;

    fn mark(next_seq: u64) -> Mark {
        let (revision, compacted) = (Revision::new(1 + next_seq), Revision::FRESH);
        let position = Position { term: 1, index: next_seq };
        Mark { position, revision, compacted, digest: 0, next_seq }
    }

    /// A file in memory, and who writes it from the first record on.
    fn empty() -> (Arc<StateFile>, Writer) {
        let file = StateFile::create_on(InMemoryBackend::new(), Path::new("state"));
        let file = Arc::new(file.expect("memory"));
        let state = State { mark: mark(0), members: Arc::default() };
        (Arc::clone(&file), Writer::new(file, Groups::default(), Arc::default(), state))
    }

    /// A batch of these many records, after which `next_seq` is the next; `dead` have died.
    fn batch(records: u64, next_seq: u64, dead: &[u64]) -> Batch {
        batch_of(&vec![7; VALUE_BYTES], records, next_seq, dead)
    }

    fn record(value: &[u8], seq: u64) -> Record<'_> {
        let put = PutRecord { created: Revision::new(2), version: 1, lease: None, value };
        Record { modified: Revision::new(2 + seq), sub: 0, key: b"key", put: Some(put) }
    }

    fn batch_of(value: &[u8], records: u64, next_seq: u64, dead: &[u64]) -> Batch {
        let mut changes = Changes::default();
        for seq in next_seq - records..next_seq {
            changes.records.push(&record(value, seq));
        }
        let dead = dead.iter().map(|seq| (*seq, record(value, *seq).weight())).collect();
        Batch {
            records: vec![Arc::new(changes.records)],
            dead,
            members: None,
            mark: mark(next_seq),
        }
    }

    fn rows(file: &StateFile) -> Vec<u64> {
        let view = file.view().expect("memory");
        let table = file.table(&view, RECORDS).expect("it is there");
        table.iter().expect("memory").map(|row| row.expect("memory").0.value()).collect()
    }

    fn lists(file: &StateFile) -> Vec<(u64, Vec<u64>)> {
        let view = file.view().expect("memory");
        let table = file.table(&view, DIED).expect("it is there");
        let rows = table.iter().expect("memory").map(|row| {
            let (key, row) = row.expect("memory");
            (key.value(), died::decode(key.value(), row.value()).expect("it was written"))
        });
        rows.collect()
    }

    #[test]
    fn the_dead_are_listed_until_they_are_many_and_marked_then() {
        let (file, mut writer) = empty();
        let is_marked = |seq| {
            let view = file.view().expect("memory");
            file.marks(&view, 0).expect("it was written").is_dead(seq)
        };
        writer.write(batch(24, 24, &[9])).expect("memory");
        assert_eq!(lists(&file), [], "the first batch that has any dead marks them");
        assert!(is_marked(9));
        writer.write(batch(0, 24, &[20, 3])).expect("memory");
        writer.write(batch(0, 24, &[])).expect("memory");
        writer.write(batch(0, 24, &[4])).expect("memory");
        assert_eq!(lists(&file), [(0, vec![3, 20]), (1, vec![4])]);
        assert!(!is_marked(3) && !is_marked(4));
        let many: Vec<_> = (21..80).chain([5]).collect();
        writer.write(batch(76, 100, &many)).expect("memory");
        assert_eq!(lists(&file).len(), 3, "63 in the lists");
        writer.write(batch(0, 100, &[18])).expect("memory");
        assert_eq!(lists(&file), [], "with this one there are 64");
        assert!([3, 20, 4, 5, 79, 18].into_iter().all(is_marked) && !is_marked(19));
    }

    /// Once cleaning had been at a group, the numbers between two of its blocks counted as dead
    /// records of the first: so every block was read and written again by every later cleaning,
    /// also if all of it lived. That was half of all that was written for values of 64 KiB.
    #[test]
    fn a_block_of_which_all_lives_is_left_alone_however_often_its_group_is_cleaned() {
        let (file, mut writer) = empty();
        writer.write(batch(10, 10, &[])).expect("memory");
        writer.write(batch(0, 10, &[1, 3, 5, 7])).expect("memory");
        assert_eq!(rows(&file), [0, 2, 4, 6, 8, 9]);
        // Whoever reads it finds it damaged.
        file.write_blocks(&[(4, b"not a block".to_vec())], None).expect("memory");
        writer.write(batch(0, 10, &[0, 2])).expect("nobody reads it");
        assert_eq!(rows(&file), [4, 6, 8, 9]);
        writer.write(batch(1, 11, &[4, 6, 8])).expect("what is dead is not read either");
        assert_eq!(rows(&file), [9, 10]);
    }

    /// A file made of a snapshot has the numbers of the old one, and no marks for those that were
    /// gone. They counted as living: a block of which all lived was rewritten by every cleaning,
    /// and one in which as many had died as were missing was kept with its dead, which nothing
    /// counted any more.
    #[test]
    fn what_is_gone_counts_as_dead_in_a_file_that_has_no_marks_for_it() {
        let (file, _) = empty();
        let block_of = |seqs: &[u64]| {
            let mut block = BlockBuilder::default();
            for seq in seqs {
                let mut bytes = Vec::new();
                record(&[7; 60], *seq).encode(&mut bytes);
                block.push(*seq, &bytes);
            }
            block.take()
        };
        let state = State { mark: mark(20), members: Arc::default() };
        let blocks = [block_of(&[0, 2, 4, 6, 8]), block_of(&[10, 12, 14, 16])];
        file.write_blocks(&blocks, Some(&state)).expect("memory");
        let groups = read_tables(&file, &mut Part::default()).expect("it is whole").groups;
        let mut writer = Writer::new(Arc::clone(&file), groups, Arc::default(), state);
        let batch = batch_of(&[7; 60], 0, 20, &[12, 14, 16]);
        // Whoever reads it finds it damaged.
        file.write_blocks(&[(0, b"not a block".to_vec())], None).expect("memory");
        writer.write(batch).expect("nobody reads it");
        file.write_blocks(&blocks[..1], None).expect("memory");
        let found = weights_of(&writer, &file, |seq| [0, 2, 4, 6, 8, 10].contains(&seq));
        assert_eq!(found, (6 * 81, 0));
        assert_eq!(writer.groups.weights(), found);
    }

    /// Blocks had another size once, and may have another one some day. What is in one that is
    /// larger than they are now goes into several, of which the first stands under its number: it
    /// was removed after that was written, and with it what lived.
    #[test]
    fn a_block_larger_than_blocks_are_is_split_and_loses_nothing() {
        let (file, _) = empty();
        let (mut places, mut records) = (Vec::new(), Vec::new());
        for seq in 0..400_u16 {
            record(&[7; 60], seq.into()).encode(&mut records);
            places.extend_from_slice(&seq.to_le_bytes());
            places.extend_from_slice(&u32::try_from(records.len()).expect("short").to_le_bytes());
        }
        let rest = [&400_u32.to_le_bytes(), places.as_slice(), records.as_slice()].concat();
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&0_u64.to_le_bytes()), &rest);
        let block = [&checksum.to_le_bytes(), rest.as_slice()].concat();
        let state = State { mark: mark(400), members: Arc::default() };
        file.write_blocks(&[(0, block)], Some(&state)).expect("memory");
        let groups = read_tables(&file, &mut Part::default()).expect("it is whole").groups;
        let mut writer = Writer::new(Arc::clone(&file), groups, Arc::default(), state);
        let dead: Vec<_> = (1..150).collect();
        let batch = batch_of(&[7; 60], 0, 400, &dead);
        writer.write(batch).expect("memory");
        assert_eq!(rows(&file).len(), 2);
        let found = weights_of(&writer, &file, |seq| !dead.contains(&seq));
        assert_eq!((found, writer.groups.weights()), ((251 * 81, 0), found));
    }

    /// The weights of what a file has in its blocks, by what is said of each record; and that
    /// everything that lives is there.
    fn weights_of(writer: &Writer, file: &StateFile, lives: impl Fn(u64) -> bool) -> (u64, u64) {
        let (mut live_bytes, mut dead_bytes, mut found) = (0, 0, 0);
        for first in rows(file) {
            let view = file.view().expect("memory");
            let table = file.table(&view, RECORDS).expect("it is there");
            let row = table.get(first).expect("memory").expect("it is there");
            let block = Block::check(first, row.value()).expect("it is whole");
            for (seq, record) in block.iter() {
                let weight = Record::decode(record).expect("it was encoded").weight();
                if lives(seq) {
                    (live_bytes, found) = (live_bytes + weight, found + 1);
                } else {
                    dead_bytes += weight;
                }
            }
        }
        assert_eq!(found, (0..writer.next_seq).filter(|seq| lives(*seq)).count());
        (live_bytes, dead_bytes)
    }

    /// A group has 4096 records, whatever their size, and a batch that had to clean all of one at
    /// once would hold everything up for as long as that takes. So cleaning stops half-way, and
    /// goes on when the next batch is written, of which some dead may lie in what is cleaned.
    #[test]
    fn cleaning_stops_half_way_and_loses_nothing_and_counts_right() {
        let (file, mut writer) = empty();
        let mut keys = vec![None; 3_000];
        let (mut random, mut stops) = (1_u64, 0);
        for round in 0..120 {
            let mut dead = Vec::new();
            for seq in 100 * round..100 * (round + 1) {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let key = usize::try_from(random >> 33).expect("31 bits") % keys.len();
                dead.extend(keys[key].replace(seq));
            }
            writer.clean_bytes =
                [1, 3_000, 20_000, 100_000][usize::try_from(round % 4).unwrap_or(0)];
            let batch = batch_of(&[7; 60], 100, 100 * (round + 1), &dead);
            writer.write(batch).expect("memory");
            let (live, dead) = weights_of(&writer, &file, |seq| keys.contains(&Some(seq)));
            let (counted_live, counted_dead) = writer.groups.weights();
            assert_eq!(live, counted_live, "round {round}");
            if writer.groups.is_half_way() {
                assert!(dead <= counted_dead, "round {round}");
                stops += 1;
            } else {
                assert_eq!(dead, counted_dead, "round {round}");
            }
        }
        assert!((20..80).contains(&stops), "{stops} of 120 times");
    }

    /// What is gone of a group counts until all of it is. With that in the estimate of what a block
    /// costs, each part of a group had fewer blocks than the one before, down to one for a batch:
    /// of large values, that are overwritten in order, more died than was taken out.
    #[test]
    fn the_parts_of_a_group_are_of_the_same_size() {
        let (_, mut writer) = empty();
        let records = GROUP_RECORDS + 100;
        writer.write(batch_of(&[7; 200], records, records, &[])).expect("memory");
        writer.clean_bytes = GROUP_RECORDS * 221 / 8;
        let dead: Vec<_> = (0..GROUP_RECORDS).collect();
        let batch = batch_of(&[7; 200], 0, records, &dead);
        writer.write(batch).expect("memory");
        let mut batches = 1;
        while writer.groups.is_half_way() {
            writer.write(batch_of(&[], 0, records, &[])).expect("memory");
            batches += 1;
        }
        assert!((8..=9).contains(&batches), "{batches}");
        assert_eq!(writer.groups.weights(), (100 * 221, 0));
    }
}
