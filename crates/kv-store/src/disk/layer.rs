//! What lies between the database and its storage, in layers.
//!
//! A layer changes what reading, writing and syncing do, and is written as if there were nothing
//! else. The rest of what the database asks of a storage, its locks above all, belongs to the
//! storage at the bottom, and is passed down here.

use std::fmt;
use std::io;
use std::ops::Bound;

use redb::{BackendError, StorageBackend};

/// Something that stands before a storage. What it does not say is done by the one below.
pub(crate) trait Layer: fmt::Debug + Send + Sync + 'static {
    type Below: StorageBackend;

    fn below(&self) -> &Self::Below;

    fn len(&self) -> io::Result<u64> {
        self.below().len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    fn set_len(&self, len: u64) -> io::Result<()>;

    fn sync_data(&self) -> io::Result<()> {
        self.below().sync_data()
    }
}

/// A layer, as a storage.
#[derive(Debug)]
pub(crate) struct Layered<L>(pub(crate) L);

impl<L: Layer> StorageBackend for Layered<L> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.below().close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.below().try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.below().try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.below().lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.below().lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.below().unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.below().query_lock_range(start, end)
    }
}
