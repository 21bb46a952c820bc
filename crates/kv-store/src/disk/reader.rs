//! Values in the file, read by any thread.

use std::fmt;
use std::sync::Arc;

use kv_proto::Bytes;
use redb::{AccessGuard, ReadOnlyTable};

use super::block::{Block, bad_block};
use super::file::{RECORDS, StateFile};
use super::handed::Handed;
use super::marks::GROUP_RECORDS;
use super::queue::Queue;
use super::read_cache::ReadCache;
use super::record::Record;
use super::starts::Starts;
use crate::error::StoreError;

/// What it takes to read values, on whichever thread.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(super) file: Arc<StateFile>,
    pub(super) queue: Arc<Queue>,
    /// Where blocks start in the file.
    pub(super) starts: Arc<Starts>,
    /// The large values that are in use.
    pub(super) handed: Handed,
    /// Values that were read.
    pub(super) read: ReadCache,
}

/// The records of the file at one moment. As long as it is there, the file keeps the pages that it
/// shows.
pub(crate) struct Scene(ReadOnlyTable<u64, &'static [u8]>);

/// Reads the values that a scene shows. It is not kept for long.
#[derive(Debug)]
pub(crate) struct Reader {
    sources: Arc<Sources>,
    scene: Arc<Scene>,
    /// The block that was read last: neighbours are often asked for one after the other.
    last: Option<LastBlock>,
}

/// The number of its first record, and its row.
struct LastBlock(u64, AccessGuard<'static, &'static [u8]>);

impl Sources {
    /// The records of the file as it is now.
    pub(super) fn scene(&self) -> Result<Scene, StoreError> {
        let opened = self.file.view().and_then(|view| self.file.table(&view, RECORDS));
        self.checked(opened.map(Scene))
    }

    /// A value that is in memory: of a record of an entry before this one.
    pub(super) fn in_memory(&self, seq: u64) -> Option<Bytes> {
        self.handed.get(seq).or_else(|| {
            let value = self.queue.recent(seq).or_else(|| self.read.get(seq))?;
            self.handed.note(seq, &value);
            Some(value)
        })
    }

    /// An error is the end of this store. What failed first says why: the database refuses
    /// everything from then on.
    fn checked<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        outcome.map_err(|error| {
            self.queue.fail(error.clone());
            self.queue.outcome().err().unwrap_or(error)
        })
    }
}

impl Reader {
    pub(super) fn new(sources: Arc<Sources>, scene: Arc<Scene>) -> Self {
        Self { sources, scene, last: None }
    }

    /// As [`read`](Self::read), and keeps the value in memory for others.
    pub(crate) fn read_and_keep(&mut self, seq: u64) -> Result<Bytes, StoreError> {
        let value = self.read(seq)?;
        self.sources.read.keep(seq, &value);
        Ok(value)
    }

    /// The value of the record `seq`, which must have lived when the scene was opened, and not have
    /// been in memory.
    pub(crate) fn read(&mut self, seq: u64) -> Result<Bytes, StoreError> {
        if let Some(value) = self.sources.handed.get(seq) {
            return Ok(value);
        }
        let found = self.find(seq);
        let value = self.sources.checked(found)?;
        self.sources.handed.note(seq, &value);
        Ok(value)
    }

    fn find(&mut self, seq: u64) -> Result<Bytes, StoreError> {
        if let Some(value) = self.find_in_last(seq) {
            return Ok(value);
        }
        let file = &self.sources.file;
        if let Some(first) = self.sources.starts.guess(seq) {
            let row = self.scene.0.get(first).map_err(|error| file.fault(error))?;
            self.last = row.map(|row| LastBlock(first, row));
            if let Some(value) = self.find_in_last(seq) {
                return Ok(value);
            }
        }
        self.last = Some(self.find_block(seq)?);
        let missing = || self.sources.file.damaged(format!("record {seq} is missing"));
        self.find_in_last(seq).ok_or_else(missing)
    }

    /// Finds the block that the record `seq` must be in.
    fn find_block(&self, seq: u64) -> Result<LastBlock, StoreError> {
        let file = &self.sources.file;
        let group_start = seq - seq % GROUP_RECORDS;
        let rows = self.scene.0.range(group_start..=seq).map_err(|error| file.fault(error));
        let found = rows?.next_back().transpose().map_err(|error| file.fault(error))?;
        let (first, row) = found.ok_or_else(|| file.damaged(bad_block(seq)))?;
        let first = first.value();
        // Its page matched a checksum just now (`checked`).
        if Block::split(first, row.value()).is_none() {
            return Err(file.damaged(bad_block(first)));
        }
        Ok(LastBlock(first, row))
    }

    fn find_in_last(&self, seq: u64) -> Option<Bytes> {
        let LastBlock(first, row) = self.last.as_ref()?;
        let record = Block::split(*first, row.value())?.find(seq)?;
        Record::decode(record)?.put.map(|put| Bytes::from(put.value))
    }
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scene")
    }
}

impl fmt::Debug for LastBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LastBlock({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kv_proto::Revision;
    use redb::backends::InMemoryBackend;

    use super::super::groups::Groups;
    use super::super::record::PutRecord;
    use super::super::state::{Mark, Position, State};
    use super::super::{Bounds, Disk, Loaded};
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
        let bounds = Bounds { cache_bytes: 0, read_cache_bytes: 0, max_unwritten_bytes: 1 << 20 };
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
        assert!((0..20).all(|seq| disk.in_memory(seq).is_none()));
        let starts = Arc::clone(&disk.sources.starts);
        let right: Vec<_> = (0..20).map(|seq| starts.guess(seq).expect("told")).collect();
        assert!(right.iter().any(|first| *first > 0), "there is more than one block");
        for wrong in [vec![], vec![0], vec![9], vec![0, 1, 2, 3], vec![19], (0..20).collect()] {
            starts.set(0, wrong.iter().copied());
            let mut reader = disk.reader().expect("memory");
            for seq in (0..20).rev() {
                assert_eq!(*reader.read(seq).expect("it is there"), value(seq), "{wrong:?}");
            }
        }
    }
}
