//! A disk in memory that loses power when it is told to.

#![allow(dead_code, reason = "every test file uses some of it")]

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

const SECTOR_BYTES: usize = 512;

/// What is on the disk, and what is only on its way there. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// What reads see.
    seen: Vec<u8>,
    /// What a loss of power cannot take.
    safe: Vec<u8>,
    /// What happened since the last sync.
    unsafe_changes: Vec<Change>,
    /// Changes and syncs so far.
    steps: usize,
    /// The step that fails, and every one after it.
    power_fails_at: Option<usize>,
    /// The step that fails, and none after it.
    fails_once_at: Option<usize>,
    /// Reads so far.
    reads: usize,
    /// The bytes that they read.
    read_bytes: usize,
    /// The read that fails, and none after it.
    read_fails_at: Option<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write { offset: usize, bytes: Vec<u8> },
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(length) => image.resize(*length, 0),
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(bytes);
            }
        }
    }

    /// The part of it that `keeps` says reached the disk, sector by sector.
    fn torn(&self, keeps: &mut impl FnMut() -> bool) -> Vec<Self> {
        let Self::Write { offset, bytes } = self else {
            return if keeps() { vec![self.clone()] } else { Vec::new() };
        };
        let sectors = bytes.chunks(SECTOR_BYTES).enumerate().filter(|_| keeps());
        let part = |(number, bytes): (usize, &[u8])| Self::Write {
            offset: offset + number * SECTOR_BYTES,
            bytes: bytes.to_vec(),
        };
        sectors.map(part).collect()
    }
}

impl SimDisk {
    /// A disk with this content.
    pub(crate) fn with_content(content: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.lock().seen.clone_from(&content);
        disk.lock().safe = content;
        disk
    }

    /// Every change and sync from this step on fails.
    pub(crate) fn fail_power_at(&self, step: usize) {
        self.lock().power_fails_at = Some(step);
    }

    /// The change or sync that is this step fails, and nothing else.
    pub(crate) fn fail_once_at(&self, step: usize) {
        self.lock().fails_once_at = Some(step);
    }

    /// This read fails, and nothing else.
    pub(crate) fn fail_read_at(&self, read: usize) {
        self.lock().read_fails_at = Some(read);
    }

    pub(crate) fn reads(&self) -> usize {
        self.lock().reads
    }

    pub(crate) fn read_bytes(&self) -> usize {
        self.lock().read_bytes
    }

    /// One bit of one byte is another one from now on.
    pub(crate) fn flip(&self, offset: usize) {
        self.lock().seen[offset] ^= 0x10;
    }

    /// Every page for which `is_meant` goes bad.
    pub(crate) fn rot(&self, is_meant: impl Fn(&[u8]) -> bool) {
        for page in self.lock().seen.chunks_mut(4096).filter(|page| is_meant(page)) {
            page[2048] ^= 1;
        }
    }

    pub(crate) fn steps(&self) -> usize {
        self.lock().steps
    }

    /// What is on the disk when power is back: everything synced, and of the rest what `keeps`
    /// says, sector by sector.
    pub(crate) fn after_power_loss(&self, mut keeps: impl FnMut() -> bool) -> Vec<u8> {
        let inner = self.lock();
        let mut image = inner.safe.clone();
        for change in inner.unsafe_changes.iter().flat_map(|change| change.torn(&mut keeps)) {
            change.apply(&mut image);
        }
        image
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: &Change) -> io::Result<()> {
        let mut inner = self.lock();
        // The change that fails may have got through, all or in part.
        let outcome = inner.step();
        inner.unsafe_changes.push(change.clone());
        outcome?;
        change.apply(&mut inner.seen);
        Ok(())
    }
}

impl Inner {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        if self.fails_once_at.is_some_and(|step| self.steps == step + 1) {
            return Err(io::Error::other("the disk failed"));
        }
        match self.power_fails_at {
            Some(limit) if self.steps > limit => Err(io::Error::other("the power is gone")),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut inner = self.lock();
        inner.reads += 1;
        inner.read_bytes += out.len();
        if inner.read_fails_at.is_some_and(|read| inner.reads == read + 1) {
            return Err(io::Error::other("the disk failed"));
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = inner.seen.get(start..).and_then(|rest| rest.get(..out.len()));
        let found = found.ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(&Change::Length(usize::try_from(length).unwrap_or(usize::MAX)))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step()?;
        let Inner { seen, safe, .. } = &mut *inner;
        safe.clone_from(seen);
        inner.unsafe_changes.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.change(&Change::Write { offset, bytes: data.to_vec() })
    }
}

/// Looks at what a disk is about to do.
pub(crate) trait Watch: fmt::Debug + Send + Sync + 'static {
    /// May refuse a write.
    fn before_write(&self, _offset: u64, _data: &[u8]) -> io::Result<()> {
        Ok(())
    }

    /// May hold up a sync.
    fn before_sync(&self) {}
}

/// A disk that somebody watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched<W> {
    pub(crate) disk: SimDisk,
    pub(crate) watch: W,
}

impl<W: Watch> StorageBackend for Watched<W> {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watch.before_sync();
        self.disk.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.watch.before_write(offset, data)?;
        self.disk.write(offset, data)
    }
}

/// A small generator of numbers, the same from the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 31)) % sides
    }
}
