//! What cleaning does with the blocks of a group: the living are packed, the dead go.

use redb::Table;

use super::block::{Block, BlockBuilder, bad_block};
use super::file::StateFile;
use super::groups::Place;
use super::marks::Marks;
use crate::error::StoreError;

pub(super) type Rows<'txn> = Table<'txn, u64, &'static [u8]>;

/// Writes a block under its number.
pub(super) fn write_block(
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
pub(super) struct Packer<'a, 'txn> {
    file: &'a StateFile,
    rows: &'a mut Rows<'txn>,
    scratch: &'a mut Vec<u8>,
    packed: BlockBuilder,
    /// The blocks that the group has from now on.
    kept: Vec<Place>,
}

impl<'a, 'txn> Packer<'a, 'txn> {
    pub(super) fn new(
        file: &'a StateFile,
        rows: &'a mut Rows<'txn>,
        scratch: &'a mut Vec<u8>,
    ) -> Self {
        Self { file, rows, scratch, packed: BlockBuilder::default(), kept: Vec::new() }
    }

    /// Leaves the next block as it is.
    pub(super) fn keep(&mut self, block: Place) -> Result<(), StoreError> {
        self.flush()?;
        self.kept.push(block);
        Ok(())
    }

    /// Takes the next block out, and packs the records that live of it. There are `live` of them.
    ///
    /// It is out before anything is written: the first of its records may begin a block under the
    /// same number.
    pub(super) fn take(&mut self, first: u64, live: u64, marks: &Marks) -> Result<(), StoreError> {
        let row = self.rows.remove(first).map_err(|error| self.file.fault(error))?;
        if live == 0 {
            return Ok(());
        }
        let bytes = row.map(|row| row.value().to_vec());
        let block = bytes.as_deref().and_then(|bytes| Block::check(first, bytes));
        let block = block.ok_or_else(|| self.file.damaged(bad_block(first)))?;
        for (seq, record) in block.iter().filter(|(seq, _)| !marks.is_dead(*seq)) {
            if !self.packed.takes(seq, record.len()) {
                self.flush()?;
            }
            self.packed.push(seq, record);
        }
        Ok(())
    }

    /// Ends it; returns the blocks that the group has now.
    pub(super) fn finish(mut self) -> Result<Vec<Place>, StoreError> {
        self.flush()?;
        Ok(self.kept)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if !self.packed.is_empty() {
            write_block(self.rows, &self.packed, self.scratch)
                .map_err(|error| self.file.fault(error))?;
            let (first, last) = (self.packed.first(), self.packed.last());
            self.kept.push(Place { first, last, records: self.packed.len() });
            self.packed.clear();
        }
        Ok(())
    }
}
