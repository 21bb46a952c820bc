//! Values, wherever they are.

use std::cell::RefCell;
use std::fmt;

use kv_proto::Bytes;
use redb::{AccessGuard, ReadOnlyTable};

use super::Disk;
use super::block::{Block, bad_block};
use super::file::RECORDS;
use super::marks::GROUP_RECORDS;
use super::record::Record;
use crate::error::StoreError;

/// Reads values for one question. It opens the file with the first value that is not in memory,
/// and is not kept for long: as long as it lives, the file keeps the pages that it sees.
pub(crate) struct Reader<'a> {
    disk: &'a Disk,
    open: RefCell<Option<Box<Open>>>,
}

struct Open {
    table: ReadOnlyTable<u64, &'static [u8]>,
    /// The block that was read last: neighbours are often asked for one after the other.
    last: Option<(u64, AccessGuard<'static, &'static [u8]>)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(disk: &'a Disk) -> Self {
        Self { disk, open: RefCell::new(None) }
    }

    /// The value of the record `seq`, which must live.
    pub(crate) fn load(&self, seq: u64) -> Result<Bytes, StoreError> {
        if let Some(value) = self.disk.handed().get(seq) {
            return Ok(value);
        }
        let read = self.disk.recent(seq).map_or_else(|| self.read(seq), Ok);
        match &read {
            Ok(value) => self.disk.handed().note(seq, value),
            Err(error) => {
                self.disk.fail(error.clone());
                // What failed first says why: the database refuses everything from then on.
                self.disk.check()?;
            }
        }
        read
    }

    fn read(&self, seq: u64) -> Result<Bytes, StoreError> {
        let mut open = self.open.borrow_mut();
        let open = match &mut *open {
            Some(open) => open,
            closed => {
                let file = self.disk.file();
                let table = file.table(&file.view()?, RECORDS)?;
                closed.insert(Box::new(Open { table, last: None }))
            }
        };
        if let Some(value) = open.find_in_last(seq) {
            return Ok(value);
        }
        self.read_block(open, seq)?;
        let missing = || self.disk.file().damaged(format!("record {seq} is missing"));
        open.find_in_last(seq).ok_or_else(missing)
    }

    /// Reads the block that the record `seq` must be in.
    fn read_block(&self, open: &mut Open, seq: u64) -> Result<(), StoreError> {
        let file = self.disk.file();
        let group_start = seq - seq % GROUP_RECORDS;
        let mut range = open.table.range(group_start..=seq).map_err(|error| file.fault(error))?;
        let found = range.next_back().transpose().map_err(|error| file.fault(error))?;
        let (first, row) = found.ok_or_else(|| file.damaged(bad_block(seq)))?;
        let first = first.value();
        // Its page matched a checksum just now (`checked`).
        if Block::split(first, row.value()).is_none() {
            return Err(file.damaged(bad_block(first)));
        }
        open.last = Some((first, row));
        Ok(())
    }
}

impl Open {
    fn find_in_last(&self, seq: u64) -> Option<Bytes> {
        let (first, row) = self.last.as_ref()?;
        let record = Block::split(*first, row.value())?.find(seq)?;
        Record::decode(record)?.put.map(|put| Bytes::from(put.value))
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}
