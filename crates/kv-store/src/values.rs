//! The bytes of values: the one door to them, wherever they are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use kv_proto::Bytes;

use crate::disk::{self, Disk, Mark, Position, Record};
use crate::error::StoreError;

/// Where the values are. The index only knows the number of each.
#[derive(Debug)]
pub(crate) enum Values {
    /// All in memory: for tests, and for whoever can do without the rest.
    Memory(BTreeMap<u64, Bytes>),
    /// In a file, and the latest in memory.
    Disk(Box<Disk>),
}

impl Values {
    /// Takes the record `seq`, which follows the one before.
    pub(crate) fn add(&mut self, seq: u64, record: &Record<'_>) {
        match (self, &record.put) {
            (Self::Memory(values), Some(put)) => _ = values.insert(seq, Bytes::from(put.value)),
            (Self::Memory(_), None) => {}
            (Self::Disk(disk), _) => disk.add(record),
        }
    }

    /// The record `seq` of this weight will not be read any more.
    pub(crate) fn kill(&mut self, seq: u64, weight: u64) {
        match self {
            Self::Memory(values) => _ = values.remove(&seq),
            Self::Disk(disk) => disk.kill(seq, weight),
        }
    }

    /// The cluster has these members from the entry on that is being applied.
    pub(crate) fn set_members(&mut self, members: Arc<[u8]>) {
        if let Self::Disk(disk) = self {
            disk.set_members(members);
        }
    }

    /// Ends an entry, after which the state is as `mark` says.
    pub(crate) fn end_entry(&mut self, mark: Mark) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Disk(disk) => disk.end_entry(mark),
        }
    }

    /// A reader for one question.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { values: self, file: RefCell::new(None) }
    }

    /// Up to where the log need not be replayed after a crash.
    pub(crate) fn durable(&self) -> Position {
        match self {
            Self::Memory(_) => Position::default(),
            Self::Disk(disk) => disk.durable(),
        }
    }

    /// Whether anything went wrong.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Disk(disk) => disk.check(),
        }
    }

    /// Waits until everything is in the file, if there is one.
    pub(crate) fn flush(&self) -> Result<Position, StoreError> {
        match self {
            Self::Memory(_) => Ok(Position::default()),
            Self::Disk(disk) => disk.flush(),
        }
    }
}

/// Reads values for one question, before the next entry is applied. It opens the file with the
/// first value that is not in memory.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    values: &'a Values,
    file: RefCell<Option<Box<disk::Reader>>>,
}

impl Reader<'_> {
    /// The value of the record `seq`, which must live, if it is in memory.
    pub(crate) fn in_memory(&self, seq: u64) -> Option<Bytes> {
        match self.values {
            // What lives is there.
            Values::Memory(values) => Some(values.get(&seq).cloned().unwrap_or_default()),
            Values::Disk(disk) => disk.in_memory(seq),
        }
    }

    /// The value of the record `seq`, which must live. Waits for the disk if it is not in memory.
    pub(crate) fn load(&self, seq: u64) -> Result<Bytes, StoreError> {
        if let Some(value) = self.in_memory(seq) {
            return Ok(value);
        }
        let mut file = self.file.borrow_mut();
        if file.is_none() {
            *file = self.open_file()?;
        }
        // Without a file, all are in memory.
        file.as_mut().map_or_else(|| Ok(Bytes::default()), |file| file.read(seq))
    }

    /// A reader of what was not in memory, for later, and for any thread. `None` without a file.
    pub(crate) fn open_file(&self) -> Result<Option<Box<disk::Reader>>, StoreError> {
        match self.values {
            Values::Memory(_) => Ok(None),
            Values::Disk(disk) => disk.reader().map(|reader| Some(Box::new(reader))),
        }
    }
}
