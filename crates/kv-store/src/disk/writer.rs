//! The thread that writes: batches into the file, one transaction each.
//!
//! A transaction holds, together: the new records, the marks of those that died, what cleaning
//! moved, and the state after the batch's last entry. A crash leaves all of it or nothing.

use std::path::Path;
use std::sync::Arc;

use redb::{ReadableTable, Table};

use super::block::{Block, BlockBuilder};
use super::file::{DEAD, RECORDS, STATE, STATE_ROW, StateFile};
use super::groups::{GROUP_RECORDS, Group, Groups, Place};
use super::queue::{Batch, Queue};
use super::state::{Mark, State};
use crate::error::StoreError;

/// The least that a batch may clean, in bytes.
const CLEAN_BYTES: u64 = 4 << 20;

/// How much a batch may clean for each byte it writes: more than it takes to keep up with keys
/// that are overwritten all the time, of which a third of what is cleaned goes.
const CLEAN_PER_BYTE: u64 = 4;

type Rows<'txn> = Table<'txn, u64, &'static [u8]>;

/// What the thread owns.
#[derive(Debug)]
pub(crate) struct Writer {
    file: Arc<StateFile>,
    groups: Groups,
    /// The last block, as long as it is not full. Its row is written anew with every batch.
    tail: BlockBuilder,
    state: State,
    /// The number of the next record; ahead of the state while a batch is written.
    next_seq: u64,
    /// For the bytes of blocks.
    scratch: Vec<u8>,
}

impl Writer {
    /// A writer that goes on after `state`, of which `groups` are what is there.
    pub(crate) fn new(file: Arc<StateFile>, groups: Groups, state: State) -> Self {
        let (tail, next_seq) = (BlockBuilder::default(), state.mark.next_seq);
        Self { file, groups, tail, state, next_seq, scratch: Vec::new() }
    }

    /// The name of the file.
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes what the queue holds, until it is closed or something fails.
    pub(crate) fn run(mut self, queue: &Queue) {
        while let Some(batch) = queue.take() {
            match self.write(&batch) {
                Ok(mark) => queue.written(mark),
                Err(error) => return queue.fail(error),
            }
        }
    }

    /// Writes one batch. After an error, neither the file nor this writer may be used again.
    pub(crate) fn write(&mut self, batch: &Batch) -> Result<Mark, StoreError> {
        let file = Arc::clone(&self.file);
        let mut transaction = file.database().begin_write().map_err(|error| file.fault(error))?;
        // So that a file of any size is open at once after a crash.
        transaction.set_quick_repair(true);
        {
            let table = |table| transaction.open_table(table).map_err(|error| file.fault(error));
            let mut records = table(RECORDS)?;
            let written_bytes =
                self.add_records(&mut records, batch).map_err(|error| file.fault(error))?;
            for (seq, weight) in &batch.dead {
                self.groups.kill(*seq, *weight);
            }
            self.clean(&mut records, CLEAN_PER_BYTE * written_bytes)?;
            self.write_marks(&mut table(DEAD)?).map_err(|error| file.fault(error))?;
            self.state.mark = batch.mark;
            if let Some(members) = &batch.members {
                self.state.members = Arc::clone(members);
            }
            let row = self.state.encode();
            let mut state = table(STATE)?;
            state.insert(STATE_ROW, row.as_slice()).map_err(|error| file.fault(error))?;
        }
        transaction.commit().map_err(|error| file.fault(error))?;
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

    fn write_marks(&mut self, rows: &mut Rows<'_>) -> Result<(), redb::StorageError> {
        for (number, marks) in self.groups.take_changed() {
            match marks {
                Some(marks) => drop(rows.insert(number, marks.to_row(number).as_slice())?),
                None => drop(rows.remove(number)?),
            }
        }
        Ok(())
    }

    /// Cleans what is worth it, about `budget_bytes` of it.
    fn clean(&mut self, rows: &mut Rows<'_>, budget_bytes: u64) -> Result<(), StoreError> {
        let mut rest_bytes = budget_bytes.max(CLEAN_BYTES);
        while rest_bytes > 0
            && let Some(number) = self.groups.next_due()
        {
            let size_bytes = self.groups.get(number).map_or(0, Group::size_bytes);
            rest_bytes = rest_bytes.saturating_sub(size_bytes.max(1));
            self.clean_group(rows, number)?;
        }
        Ok(())
    }

    /// Rewrites the blocks of a group without the dead.
    ///
    /// A block of which nothing lives is not even read, and one of which all live stays as it is.
    /// The last block of the file is left alone: it is still being filled.
    fn clean_group(&mut self, rows: &mut Rows<'_>, number: u64) -> Result<(), StoreError> {
        let Some(group) = self.groups.get(number) else { return Ok(()) };
        let (marks, blocks) = (group.marks(), group.blocks().to_vec());
        let end_of_group = (number + 1) * GROUP_RECORDS;
        let file = Arc::clone(&self.file);
        let fault = |error| file.fault(error);
        let mut packer = Packer { rows, packed: BlockBuilder::default(), kept: Vec::new() };
        let mut rest_bytes = 0;
        for (at, &block) in blocks.iter().enumerate() {
            let first = block.first;
            let end = blocks.get(at + 1).map(|next| next.first);
            let end = end.unwrap_or(end_of_group.min(self.next_seq));
            let is_tail = !self.tail.is_empty() && first == self.tail.first();
            // All of them are in this block: what is missing of the range is dead.
            let live = (first..end).filter(|seq| !marks.is_dead(*seq)).count() as u64;
            if is_tail || live == block.records {
                rest_bytes += if is_tail { self.tail.dead_bytes(&marks) } else { 0 };
                packer.flush(&mut self.scratch).map_err(fault)?;
                packer.kept.push(block);
                continue;
            }
            if live > 0 {
                let bytes = packer.read(first).map_err(fault)?;
                let block = bytes.as_deref().and_then(|bytes| Block::check(first, bytes));
                let block = block.ok_or_else(|| file.damaged(bad_block(first)))?;
                let live = block.iter().filter(|(seq, _)| !marks.is_dead(*seq));
                packer.take(live, &mut self.scratch).map_err(fault)?;
            }
            packer.rows.remove(first).map_err(fault)?;
        }
        packer.flush(&mut self.scratch).map_err(fault)?;
        let kept = packer.kept;
        self.groups.cleaned(number, kept, rest_bytes, end_of_group <= self.next_seq);
        Ok(())
    }
}

/// What cannot be read is named like this.
pub(crate) fn bad_block(first: u64) -> String {
    format!("the block of record {first} is missing, or does not match its checksum")
}

fn write_block(
    rows: &mut Rows<'_>,
    block: &BlockBuilder,
    scratch: &mut Vec<u8>,
) -> Result<(), redb::StorageError> {
    block.write(scratch);
    rows.insert(block.first(), scratch.as_slice())?;
    Ok(())
}

/// Packs the living of a group into as few blocks as they need.
///
/// It only ever writes under the number of a record that it was given, so never over a block that
/// it has not reached yet.
struct Packer<'a, 'txn> {
    rows: &'a mut Rows<'txn>,
    packed: BlockBuilder,
    /// The blocks that the group has from now on.
    kept: Vec<Place>,
}

impl Packer<'_, '_> {
    /// A copy of the block, because the table cannot be changed while it is looked into.
    fn read(&self, first: u64) -> Result<Option<Vec<u8>>, redb::StorageError> {
        Ok(self.rows.get(first)?.map(|row| row.value().to_vec()))
    }

    fn take<'a>(
        &mut self,
        records: impl Iterator<Item = (u64, &'a [u8])>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), redb::StorageError> {
        for (seq, record) in records {
            if !self.packed.takes(seq, record.len()) {
                self.flush(scratch)?;
            }
            self.packed.push(seq, record);
        }
        Ok(())
    }

    fn flush(&mut self, scratch: &mut Vec<u8>) -> Result<(), redb::StorageError> {
        if !self.packed.is_empty() {
            write_block(self.rows, &self.packed, scratch)?;
            let (first, records) = (self.packed.first(), self.packed.len());
            self.kept.push(Place { first, records });
            self.packed.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kv_proto::Revision;
    use redb::backends::InMemoryBackend;

    use super::super::queue::Changes;
    use super::super::record::{PutRecord, Record};
    use super::super::state::Position;
    use super::*;

    /// Too large for two of them in a block.
    const VALUE_BYTES: usize = 200 << 10;

    fn mark(next_seq: u64) -> Mark {
        let (revision, compacted) = (Revision::new(1 + next_seq), Revision::FRESH);
        let position = Position { term: 1, index: next_seq };
        Mark { position, revision, compacted, digest: 0, next_seq }
    }

    /// A batch of these many records, after which `next_seq` is the next; `dead` have died.
    fn batch(records: u64, next_seq: u64, dead: &[u64]) -> Batch {
        let (mut changes, value) = (Changes::default(), vec![7; VALUE_BYTES]);
        for seq in next_seq - records..next_seq {
            let put =
                PutRecord { created: Revision::new(2), version: 1, lease: None, value: &value };
            let modified = Revision::new(2 + seq);
            changes.records.push(&Record { modified, sub: 0, key: b"key", put: Some(put) });
        }
        let dead = dead.iter().map(|seq| (*seq, VALUE_BYTES as u64)).collect();
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

    /// Once cleaning had been at a group, the numbers between two of its blocks counted as dead
    /// records of the first: so every block was read and written again by every later cleaning,
    /// also if all of it lived. That was half of all that was written for values of 64 KiB.
    #[test]
    fn a_block_of_which_all_lives_is_left_alone_however_often_its_group_is_cleaned() {
        let file = StateFile::create_on(InMemoryBackend::new(), Path::new("state"));
        let file = Arc::new(file.expect("memory"));
        let state = State { mark: mark(0), members: Arc::default() };
        let mut writer = Writer::new(Arc::clone(&file), Groups::default(), state);
        writer.write(&batch(10, 10, &[])).expect("memory");
        writer.write(&batch(0, 10, &[1, 3, 5, 7])).expect("memory");
        assert_eq!(rows(&file), [0, 2, 4, 6, 8, 9]);
        // Whoever reads it finds it damaged.
        file.write_blocks(&[(4, b"not a block".to_vec())], None).expect("memory");
        writer.write(&batch(0, 10, &[0, 2])).expect("nobody reads it");
        assert_eq!(rows(&file), [4, 6, 8, 9]);
        writer.write(&batch(1, 11, &[4, 6, 8])).expect("what is dead is not read either");
        assert_eq!(rows(&file), [9, 10]);
    }
}
