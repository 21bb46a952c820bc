//! A disk that does not hand out what it was not given.
//!
//! The database checks its pages when it is opened, and believes them from then on: a page of its
//! own structure that goes bad while it is open may make it panic, or worse, lead it astray. So
//! this layer remembers a checksum of every page that was read or written, four bytes for four
//! kilobytes, and a page that comes back as another one is an error of the disk. What the database
//! gets to see is therefore what it found right at the start, or what it wrote itself.
//!
//! 1. A page that was written or read in whole is known from then on; one that was written in part
//!    is not known until it is read again.
//! 2. Nothing is kept in the file: what a page was in a former life is the database's own to check,
//!    and it does so before it returns from opening.
//! 3. The beginning of the file, which the database writes in parts and never reads again, is not
//!    looked at.
//! 4. There are only whole pages. A part of one at the end is what a power loss left where the file
//!    was being made longer. The database has not relied on it, and would take it for damage.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::layer::Layer;

/// What is remembered together. The pages of the database are as long, or longer.
const PAGE_BYTES: usize = 4096;

/// A storage whose pages are held against what they were.
#[derive(Debug)]
pub(crate) struct Checked<B> {
    storage: B,
    /// For each page its checksum, or [`UNKNOWN`].
    sums: Mutex<Vec<u32>>,
}

/// Stands for a page that was not seen yet. A page with this very checksum counts as having
/// another.
const UNKNOWN: u32 = 0;

impl<B: StorageBackend> Checked<B> {
    pub(crate) fn new(storage: B) -> Self {
        Self { storage, sums: Mutex::default() }
    }

    fn sums(&self) -> MutexGuard<'_, Vec<u32>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what is about to be written.
    fn note_write(&self, offset: u64, data: &[u8]) {
        let pages = Pages::of(offset, data);
        let known: Vec<_> = pages.whole().map(sum).collect();
        let mut sums = self.sums();
        let end = pages.end_number();
        if sums.len() < end {
            sums.resize(end, UNKNOWN);
        }
        // Those at both ends may be touched in part only.
        sums[pages.start_number()..end].fill(UNKNOWN);
        sums[pages.first_whole..][..known.len()].copy_from_slice(&known);
    }

    /// Holds what was read against what is remembered, and remembers what is new.
    fn check_read(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let pages = Pages::of(offset, data);
        let found: Vec<_> = pages.whole().map(sum).collect();
        let mut sums = self.sums();
        let end = pages.first_whole + found.len();
        if sums.len() < end {
            sums.resize(end, UNKNOWN);
        }
        let known = &mut sums[pages.first_whole..end];
        for (number, (known, found)) in (pages.first_whole..).zip(known.iter_mut().zip(found)) {
            if *known != found && *known != UNKNOWN {
                let what = format!("the page at byte {} is not as it was", number * PAGE_BYTES);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            *known = found;
        }
        Ok(())
    }
}

/// Bytes at a place of the file, cut into pages.
struct Pages<'a> {
    offset: usize,
    data: &'a [u8],
    /// The number of the first page that begins here.
    first_whole: usize,
}

impl<'a> Pages<'a> {
    fn of(offset: u64, data: &'a [u8]) -> Self {
        // What is longer than memory was refused before.
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        Self { offset, data, first_whole: offset.div_ceil(PAGE_BYTES) }
    }

    /// The pages that are here from their first to their last byte.
    fn whole(&self) -> impl Iterator<Item = &'a [u8; PAGE_BYTES]> {
        let before = self.first_whole * PAGE_BYTES - self.offset;
        self.data.get(before..).unwrap_or_default().as_chunks().0.iter()
    }

    fn start_number(&self) -> usize {
        self.offset / PAGE_BYTES
    }

    fn end_number(&self) -> usize {
        (self.offset + self.data.len()).div_ceil(PAGE_BYTES)
    }
}

fn sum(page: &[u8; PAGE_BYTES]) -> u32 {
    crc32c::crc32c(page).max(UNKNOWN + 1)
}

impl<B: StorageBackend> Layer for Checked<B> {
    type Below = B;

    fn below(&self) -> &B {
        &self.storage
    }

    fn len(&self) -> io::Result<u64> {
        let (length, page) = (self.storage.len()?, PAGE_BYTES as u64);
        // Less than one page is no new file.
        Ok(if length < page { length } else { length - length % page })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.storage.read(offset, out)?;
        self.check_read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note_write(offset, data);
        self.storage.write(offset, data)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let whole = usize::try_from(len).unwrap_or(usize::MAX) / PAGE_BYTES;
        self.sums().truncate(whole);
        self.storage.set_len(len)
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    fn disk(pages: u64) -> Checked<InMemoryBackend> {
        let storage = InMemoryBackend::new();
        storage.set_len(pages * PAGE_BYTES as u64).expect("memory");
        Checked::new(storage)
    }

    fn read(disk: &Checked<InMemoryBackend>, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut out = vec![0; bytes];
        disk.read(offset, &mut out).map(|()| out)
    }

    #[test]
    fn what_was_written_or_read_in_whole_must_come_back() {
        let disk = disk(8);
        disk.write(4096, &[1; 8192]).expect("memory");
        read(&disk, 16384, 4096).expect("it is new");
        for offset in [4096, 8192, 16384] {
            disk.storage.write(offset + 100, &[9]).expect("memory");
            let error = read(&disk, offset, 4096).expect_err("it is another one");
            assert!(error.to_string().contains(&format!("byte {offset} ")), "{error}");
            assert!(read(&disk, 0, 32768).is_err(), "also as a part of more");
            assert!(read(&disk, offset, 4095).is_ok(), "a part is not looked at");
            disk.write(offset, &[2; 4096]).expect("memory");
            assert_eq!(read(&disk, offset, 4096).expect("it is right again"), [2; 4096]);
        }
    }

    #[test]
    fn what_was_written_in_part_or_cut_off_is_new() {
        let disk = disk(4);
        disk.write(0, &[1; 16384]).expect("memory");
        disk.write(4000, &[2; 200]).expect("memory");
        assert_eq!(read(&disk, 0, 8192).expect("both are new")[4000..4200], [2; 200]);
        disk.set_len(10_000).expect("memory");
        disk.set_len(16_384).expect("memory");
        assert_eq!(read(&disk, 12_288, 4096).expect("zeros"), [0; 4096]);
        assert!(read(&disk, 8192, 4096).is_ok(), "half of it is zeros now");
    }
}
