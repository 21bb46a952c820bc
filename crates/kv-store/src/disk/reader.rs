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
        let file = self.disk.file();
        if let Some(first) = self.disk.starts().guess(seq) {
            let row = open.table.get(first).map_err(|error| file.fault(error))?;
            open.last = row.map(|row| (first, row));
            if let Some(value) = open.find_in_last(seq) {
                return Ok(value);
            }
        }
        self.find_block(open, seq)?;
        let missing = || file.damaged(format!("record {seq} is missing"));
        open.find_in_last(seq).ok_or_else(missing)
    }

    /// Finds the block that the record `seq` must be in.
    fn find_block(&self, open: &mut Open, seq: u64) -> Result<(), StoreError> {
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use kv_proto::Revision;
    use redb::backends::InMemoryBackend;

    use super::super::groups::Groups;
    use super::super::record::PutRecord;
    use super::super::state::{Mark, Position, State};
    use super::super::{Bounds, Loaded, StateFile};
    use super::*;

    /// A reader may have a view of the file from before a transaction that moved blocks, and the
    /// guesses from after it.
    #[test]
    fn a_wrong_guess_of_where_a_block_starts_does_no_harm() {
        let file = StateFile::create_on(InMemoryBackend::new(), Path::new("state"));
        let mark = |seq| Mark {
            position: Position { term: 1, index: seq },
            revision: Revision::new(1 + seq),
            compacted: Revision::FRESH,
            digest: 0,
            next_seq: seq,
        };
        let state = State { mark: mark(0), members: Arc::default() };
        let loaded = Loaded { state, groups: Groups::default() };
        let bounds = Bounds { cache_bytes: 0, max_unwritten_bytes: 1 << 20 };
        let mut disk = Disk::start(file.expect("memory"), loaded, bounds, None).expect("a thread");
        let value = |seq: u64| vec![u8::try_from(seq).unwrap_or(0); 5_000];
        for seq in 0..20 {
            let value = &value(seq);
            let put = PutRecord { created: Revision::new(2), version: 1, lease: None, value };
            let modified = Revision::new(2 + seq);
            disk.add(&Record { modified, sub: 0, key: b"key", put: Some(put) });
            disk.end_entry(mark(seq + 1)).expect("memory");
        }
        disk.flush().expect("memory");
        // The next entry makes room in memory.
        disk.end_entry(Mark { position: Position { term: 1, index: 21 }, ..mark(20) })
            .expect("memory");
        assert!((0..20).all(|seq| disk.recent(seq).is_none()));
        let right: Vec<_> = (0..20).map(|seq| disk.starts().guess(seq).expect("told")).collect();
        assert!(right.iter().any(|first| *first > 0), "there is more than one block");
        for wrong in [vec![], vec![0], vec![9], vec![0, 1, 2, 3], vec![19], (0..20).collect()] {
            disk.starts().set(0, wrong.iter().copied());
            let reader = Reader::new(&disk);
            for seq in (0..20).rev() {
                assert_eq!(*reader.load(seq).expect("it is there"), value(seq), "{wrong:?}");
            }
        }
    }
}
