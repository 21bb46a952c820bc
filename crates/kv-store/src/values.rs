//! The bytes of values: the one door to them, wherever they are.

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
        match self {
            Self::Memory(values) => Reader::Memory(values),
            Self::Disk(disk) => Reader::Disk(disk::Reader::new(disk)),
        }
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

/// Reads values for one question.
#[derive(Debug)]
pub(crate) enum Reader<'a> {
    Memory(&'a BTreeMap<u64, Bytes>),
    Disk(disk::Reader<'a>),
}

impl Reader<'_> {
    /// The value of the record `seq`, which must live.
    pub(crate) fn load(&self, seq: u64) -> Result<Bytes, StoreError> {
        match self {
            // What lives is there.
            Self::Memory(values) => Ok(values.get(&seq).cloned().unwrap_or_default()),
            Self::Disk(reader) => reader.load(seq),
        }
    }
}
