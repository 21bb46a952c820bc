//! A disk that is synced a piece at a time, while nobody is in a hurry.
//!
//! A transaction writes up to a dozen megabytes. Synced all at once at its end, they keep the disk
//! for as long as that takes, and a log on the same disk, for which clients wait, stands behind
//! them. A piece is short. But each sync is one more wait, so whoever writes falls behind with more
//! of them: when something waits for it, all is synced in one go ([`Haste`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use redb::StorageBackend;

use super::layer::Layer;

/// So much that was written is synced.
const PIECE_BYTES: usize = 1 << 20;

/// Whether anything waits for what is being written. At first it counts as if it did: a file that
/// is made or taken in has nobody who could say.
#[derive(Debug)]
pub(crate) struct Haste(AtomicBool);

impl Default for Haste {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Haste {
    /// From now on something waits, or nothing does.
    pub(crate) fn set(&self, waits: bool) {
        // Nothing else hangs on it.
        self.0.store(waits, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A storage that is synced in pieces.
#[derive(Debug)]
pub(crate) struct Pieces<B> {
    storage: B,
    haste: Arc<Haste>,
    unsynced_bytes: AtomicUsize,
}

impl<B: StorageBackend> Pieces<B> {
    pub(crate) fn new(storage: B) -> Self {
        Self { storage, haste: Arc::default(), unsynced_bytes: AtomicUsize::new(0) }
    }

    pub(crate) fn haste(&self) -> &Arc<Haste> {
        &self.haste
    }
}

impl<B: StorageBackend> Layer for Pieces<B> {
    type Below = B;

    fn below(&self) -> &B {
        &self.storage
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.storage.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.storage.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.unsynced_bytes.store(0, Ordering::Relaxed);
        self.storage.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.storage.write(offset, data)?;
        let before = self.unsynced_bytes.fetch_add(data.len(), Ordering::Relaxed);
        if before + data.len() < PIECE_BYTES || self.haste.is_on() {
            return Ok(());
        }
        // Whoever finds no room to write may try again. A sync that failed may have lost what was
        // written before, so it must not look like that.
        self.sync_data().map_err(|error| io::Error::other(format!("a sync failed: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use redb::backends::InMemoryBackend;

    use super::super::layer::Layered;
    use super::*;

    /// Counts the syncs, and refuses them if it is to.
    #[derive(Debug)]
    struct Counting {
        storage: InMemoryBackend,
        syncs: Arc<Mutex<usize>>,
        refuses: bool,
    }

    impl Layer for Counting {
        type Below = InMemoryBackend;

        fn below(&self) -> &InMemoryBackend {
            &self.storage
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.storage.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.storage.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            *self.syncs.lock().expect("nobody panics with it") += 1;
            if self.refuses { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.storage.write(offset, data)
        }
    }

    /// A file of four pieces, and how many syncs there were.
    fn pieces(refuses: bool) -> (Pieces<Layered<Counting>>, Arc<Mutex<usize>>) {
        let syncs = Arc::new(Mutex::new(0));
        let storage =
            Counting { storage: InMemoryBackend::new(), syncs: Arc::clone(&syncs), refuses };
        storage.set_len(4 * PIECE_BYTES as u64).expect("memory");
        (Pieces::new(Layered(storage)), syncs)
    }

    /// Writes so much of it, half a piece at a time.
    fn write(pieces: &impl Layer, halves: usize) -> io::Result<()> {
        let half = vec![7; PIECE_BYTES / 2];
        (0..halves).try_for_each(|number| pieces.write((number * half.len()) as u64, &half))
    }

    #[test]
    fn every_piece_is_synced_unless_something_waits() {
        let (pieces, syncs) = pieces(false);
        let synced = || *syncs.lock().expect("nobody panics with it");
        write(&pieces, 5).expect("memory");
        assert_eq!(synced(), 0, "nobody has said that nothing waits");
        pieces.sync_data().expect("memory");
        pieces.haste().set(false);
        write(&pieces, 5).expect("memory");
        assert_eq!(synced(), 1 + 2);
        write(&pieces, 1).expect("memory");
        assert_eq!(synced(), 1 + 3, "the half before counts");
        write(&pieces, 1).expect("memory");
        pieces.haste().set(true);
        write(&pieces, 4).expect("memory");
        assert_eq!(synced(), 1 + 3);
    }

    /// The layer above waits for room when a write finds none, and writes again: after a sync that
    /// was refused, and lost what was written before it, the file would count as whole.
    #[test]
    fn a_sync_without_room_is_not_taken_for_a_write_without_room() {
        let (pieces, _) = pieces(true);
        pieces.haste().set(false);
        let error = write(&pieces, 2).expect_err("it is refused");
        assert!(!super::super::is_full(&error), "{error}");
    }
}
