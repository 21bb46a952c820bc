//! A file that is written from its beginning to its end, and again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a disk writes in one piece, for the log of our nodes.
const SECTOR_BYTES: usize = 512;

/// Each file has so many. They have all been written before: nothing is cheaper to sync.
const FILE_BYTES: usize = 64 << 20;

/// How much is written at once, to make one.
const PIECE_BYTES: usize = 1 << 20;

/// The longest write: as much as the log of our nodes takes at once.
pub(super) const MAX_WRITE_BYTES: usize = 8 << 20;

/// A log, or the state beside it.
#[derive(Debug)]
pub(super) struct Ring {
    file: File,
    at_bytes: u64,
    /// What is written together, put together.
    sectors: Vec<u8>,
}

impl Ring {
    /// Makes it, and writes all of it once.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(path)?;
        let zeros = vec![0; PIECE_BYTES];
        for piece in 0..FILE_BYTES / PIECE_BYTES {
            file.write_all_at(&zeros, (piece * PIECE_BYTES) as u64)?;
        }
        file.sync_all()?;
        Ok(Self { file, at_bytes: 0, sectors: Vec::new() })
    }

    /// Writes all of `batches`, and syncs. So much is one write, up to [`MAX_WRITE_BYTES`] and the
    /// last batch.
    pub(super) fn write<B: AsRef<[u8]>>(&mut self, batches: &[B]) -> io::Result<()> {
        self.sectors.clear();
        for batch in batches {
            self.sectors.extend_from_slice(batch.as_ref());
            if self.sectors.len() >= MAX_WRITE_BYTES {
                self.write_sectors()?;
            }
        }
        self.write_sectors()?;
        self.file.sync_data()
    }

    fn write_sectors(&mut self) -> io::Result<()> {
        let len = self.sectors.len().next_multiple_of(SECTOR_BYTES);
        self.sectors.resize(len, 0);
        if self.at_bytes + len as u64 > FILE_BYTES as u64 {
            self.at_bytes = 0;
        }
        self.file.write_all_at(&self.sectors, self.at_bytes)?;
        self.at_bytes += len as u64;
        self.sectors.clear();
        Ok(())
    }
}
