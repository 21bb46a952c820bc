//! [`SimDisk`]: a directory in memory that may lose whatever was not synced, sector by sector.
//!
//! It keeps what is written, and beside it what every unsynced sector held before: a sync forgets
//! the past, a loss of power goes back to it wherever the dice say so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft_storage::{Access, Disk, DiskFile};
use redb::StorageBackend;

use crate::dice::Dice;

pub(crate) const SECTOR_BYTES: usize = 512;

/// What a file is given at once, on a disk that may be full.
const BLOCK_BYTES: usize = 4096;

/// Sectors of a file, by its number.
pub(crate) type Extent = (usize, Range<usize>);

type Names = BTreeMap<String, usize>;

/// One disk. Clones are the same one.
#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<File>,
    names: Names,
    /// What the changes of names since the last sync of the directory have replaced.
    past_names: Vec<Vec<(String, Option<usize>)>>,
    is_locked: bool,
    /// Tells the logs that are made on this disk from each other.
    next_number: u64,
    /// What was written since somebody asked, but for zeros.
    written: Vec<Extent>,
    /// How many changes happen before the process ends; none, if it goes on.
    changes_left: Option<u64>,
    /// Mistakes to be noticed: files, or directories, that are not synced whatever is said.
    omits_files: bool,
    omits_directories: bool,
    /// How many blocks there are, if they are counted.
    blocks: Option<usize>,
}

#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    synced_len: usize,
    /// What the sectors written since the last sync held before, of those that lay in the file.
    /// All others held nothing, and are not listed.
    past: BTreeMap<usize, [u8; SECTOR_BYTES]>,
    /// The blocks that it was given, where they are counted.
    blocks: BTreeSet<usize>,
}

impl File {
    fn write(&mut self, bytes: &[u8], start: usize) {
        let end = start + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let held = self.synced_len.div_ceil(SECTOR_BYTES);
        for sector in start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES).min(held) {
            let held = &self.bytes[sector * SECTOR_BYTES..];
            let held = &held[..held.len().min(SECTOR_BYTES)];
            self.past.entry(sector).or_insert_with(|| {
                let mut past = [0; SECTOR_BYTES];
                past[..held.len()].copy_from_slice(held);
                past
            });
        }
        self.bytes[start..end].copy_from_slice(bytes);
    }

    /// Makes it longer, by what takes no block, or shorter, which no loss of power takes back.
    fn set_len(&mut self, len: usize) {
        self.bytes.resize(len, 0);
        self.synced_len = self.synced_len.min(len);
        self.past.retain(|sector, _| sector * SECTOR_BYTES < len);
        self.blocks.retain(|block| block * BLOCK_BYTES < len);
    }

    fn sync(&mut self) {
        self.past.clear();
        self.synced_len = self.bytes.len();
    }

    /// Some of what was not synced is lost, and the rest is durable from now on.
    fn lose_power(&mut self, dice: &mut Dice) {
        for (sector, past) in std::mem::take(&mut self.past) {
            let start = sector * SECTOR_BYTES;
            let end = self.bytes.len().min(start + SECTOR_BYTES);
            if dice.coin() {
                self.bytes[start..end].copy_from_slice(&past[..end - start]);
            }
        }
        let mut len = self.synced_len;
        for sector in len.div_ceil(SECTOR_BYTES)..self.bytes.len().div_ceil(SECTOR_BYTES) {
            let start = sector * SECTOR_BYTES;
            let end = self.bytes.len().min(start + SECTOR_BYTES);
            if dice.coin() {
                self.bytes[start..end].fill(0);
            } else {
                len = end;
            }
        }
        self.set_len(len);
        self.synced_len = len;
    }
}

impl State {
    /// Counts a change. `Ok(false)` is the last one of a process: it happens, and nobody is told.
    fn change(&mut self) -> io::Result<bool> {
        match &mut self.changes_left {
            None => Ok(true),
            Some(0) => Err(gone()),
            Some(left) => {
                *left -= 1;
                Ok(*left > 0)
            }
        }
    }

    /// Gives each of these names to a file, or to none.
    fn change_names(&mut self, changes: &[(&str, Option<usize>)]) -> io::Result<()> {
        let is_told = self.change()?;
        let replaced = changes.iter().map(|(name, file)| {
            let past = match file {
                Some(file) => self.names.insert((*name).into(), *file),
                None => self.names.remove(*name),
            };
            ((*name).into(), past)
        });
        self.past_names.push(replaced.collect());
        told(is_told)
    }

    /// Takes back the last changes of names that were not synced.
    fn restore_names(&mut self, kept: usize) {
        let lost = self.past_names.drain(kept..).rev().flatten();
        for (name, past) in lost {
            match past {
                Some(file) => self.names.insert(name, file),
                None => self.names.remove(&name),
            };
        }
        self.past_names.clear();
    }

    /// Where blocks are counted, files are large, and come and go: those that nothing can bring
    /// back take no memory.
    fn forget_nameless(&mut self) {
        if self.blocks.is_some() && self.past_names.is_empty() {
            let named: BTreeSet<usize> = self.names.values().copied().collect();
            let files = self.files.iter_mut().enumerate();
            files.filter(|(file, _)| !named.contains(file)).for_each(|(_, file)| {
                *file = File::default();
            });
        }
    }

    /// How many blocks the files take that have a name.
    fn used_blocks(&self) -> usize {
        self.names.values().map(|file| self.files[*file].blocks.len()).sum()
    }

    /// Gives a file the blocks that these bytes take, if there are as many; or says whether there
    /// are.
    fn give(&mut self, file: usize, bytes: Range<usize>, is_for_good: bool) -> io::Result<()> {
        let Some(all) = self.blocks else { return Ok(()) };
        let wanted = bytes.start / BLOCK_BYTES..bytes.end.div_ceil(BLOCK_BYTES);
        let held = &self.files[file].blocks;
        let new: Vec<usize> = wanted.filter(|block| !held.contains(block)).collect();
        if !new.is_empty() && self.used_blocks() + new.len() > all {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if is_for_good {
            self.files[file].blocks.extend(new);
        }
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn gone() -> io::Error {
    io::Error::other("the process has ended")
}

fn told(is_told: bool) -> io::Result<()> {
    if is_told { Ok(()) } else { Err(gone()) }
}

impl SimDisk {
    /// An empty disk; `number` tells the logs made on it from those of other disks.
    pub(crate) fn new(number: u64) -> Self {
        let state = State { next_number: number, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A disk whose blocks are counted.
    pub(crate) fn counting(number: u64) -> Self {
        let disk = Self::new(number);
        disk.set_room(None);
        disk
    }

    /// From now on there is room for so many more bytes, or as much as anybody wants.
    pub(crate) fn set_room(&self, more_bytes: Option<usize>) {
        let mut state = self.state();
        let more = more_bytes.map(|more| state.used_blocks() + more / BLOCK_BYTES);
        state.blocks = Some(more.unwrap_or(usize::MAX));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it not sync files, or directories, whatever it says: mistakes to be noticed.
    pub(crate) fn omit_syncs(&self, files: bool, directories: bool) {
        let mut state = self.state();
        (state.omits_files, state.omits_directories) = (files, directories);
    }

    /// The process ends with its `changes`th change from now, which is made, as far as a change
    /// can be that nobody waited for.
    pub(crate) fn stop_after(&self, changes: u64) {
        self.state().changes_left = Some(changes);
    }

    /// The process has ended: nothing is locked, and another may begin.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        state.is_locked = false;
        state.changes_left = None;
    }

    /// The power goes: of every unsynced sector the old or the new content stays, and of the
    /// changes of names as many as the dice say.
    pub(crate) fn lose_power(&self, dice: &mut Dice) {
        let mut state = self.state();
        for file in &mut state.files {
            file.lose_power(dice);
        }
        let kept = dice.place(state.past_names.len() + 1);
        state.restore_names(kept);
    }

    /// How many files there are.
    pub(crate) fn file_count(&self) -> usize {
        self.state().names.len()
    }

    /// The sectors that were written, with anything but zeros, since this was last called.
    pub(crate) fn take_written(&self) -> Vec<Extent> {
        std::mem::take(&mut self.state().written)
    }

    /// The names and numbers of the files whose names end so.
    pub(crate) fn files(&self, end: &str) -> Vec<(String, usize)> {
        let state = self.state();
        let files = state.names.iter().filter(|(name, _)| name.ends_with(end));
        files.map(|(name, file)| (name.clone(), *file)).collect()
    }

    /// Changes what a file holds, and what it would hold after a loss of power: not by a process.
    pub(crate) fn tamper<T>(&self, file: usize, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let file = &mut self.state().files[file];
        let changed = change(&mut file.bytes);
        file.sync();
        changed
    }

    /// Looks at what a file holds.
    pub(crate) fn look<T>(&self, file: usize, at: impl FnOnce(&[u8]) -> T) -> T {
        at(&self.state().files[file].bytes)
    }

    /// The names of all files, and what they hold.
    pub(crate) fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let files = state.names.iter();
        files.map(|(name, file)| (name.clone(), state.files[*file].bytes.clone())).collect()
    }

    /// People put a file of this name there, for good.
    pub(crate) fn put(&self, name: &str, bytes: Vec<u8>) {
        self.lose(name);
        let state = &mut *self.state();
        let synced_len = bytes.len();
        state.names.insert(name.into(), state.files.len());
        state.files.push(File { bytes, synced_len, ..File::default() });
    }

    /// The file of this name is gone, and no loss of power brings it back.
    pub(crate) fn lose(&self, name: &str) {
        let state = &mut *self.state();
        state.names.remove(name);
        for change in &mut state.past_names {
            change.retain(|(changed, _)| changed != name);
        }
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

/// Nothing else opens the log while this is there.
#[derive(Debug)]
pub(crate) struct SimLock(SimDisk);

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.state().is_locked = false;
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn directory(&self) -> String {
        "data".into()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn open(&self, name: &str, _: Access) -> io::Result<SimFile> {
        let file = self.state().find(name)?;
        Ok(SimFile { disk: self.clone(), file })
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.state();
        let file = state.files.len();
        state.files.push(File::default());
        state.change_names(&[(name, Some(file))])?;
        Ok(SimFile { disk: self.clone(), file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = state.find(from)?;
        state.change_names(&[(from, None), (to, Some(file))])
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.find(name)?;
        state.change_names(&[(name, None)])
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        let is_told = state.change()?;
        if !state.omits_directories {
            state.past_names.clear();
        }
        state.forget_nameless();
        told(is_told)
    }

    fn lock(&self, _: &str) -> io::Result<SimLock> {
        let mut state = self.state();
        if std::mem::replace(&mut state.is_locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(SimLock(self.clone()))
    }

    fn unique_number(&self) -> u64 {
        let mut state = self.state();
        state.next_number += 1;
        state.next_number
    }
}

/// A file of a [`SimDisk`].
#[derive(Clone, Debug)]
pub(crate) struct SimFile {
    disk: SimDisk,
    file: usize,
}

fn offset(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl DiskFile for SimFile {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].bytes.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        let start = offset(offset_bytes)?;
        let state = self.disk.state();
        let held = state.files[self.file].bytes.get(start..start.saturating_add(bytes.len()));
        bytes.copy_from_slice(held.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> io::Result<()> {
        let start = offset(offset_bytes)?;
        let mut state = self.disk.state();
        state.give(self.file, start..start + bytes.len(), true)?;
        let is_told = state.change()?;
        state.files[self.file].write(bytes, start);
        if bytes.iter().any(|byte| *byte != 0) {
            let sectors = start / SECTOR_BYTES..(start + bytes.len()).div_ceil(SECTOR_BYTES);
            state.written.push((self.file, sectors));
        }
        told(is_told)
    }

    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        self.disk.state().give(self.file, 0..offset(size_bytes)?, false)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.change()? {
            if !state.omits_files {
                state.files[self.file].sync();
            }
            return Ok(());
        }
        // Nobody waited for this one: it has done nothing yet.
        Err(gone())
    }
}

/// The state of a store is kept on the same disk.
impl StorageBackend for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.size_bytes()
    }

    fn read(&self, offset_bytes: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_at(out, offset_bytes)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let is_told = state.change()?;
        state.files[self.file].set_len(offset(len_bytes)?);
        told(is_told)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn write(&self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        self.write_at(data, offset_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with_a_file() -> (SimDisk, SimFile) {
        let disk = SimDisk::new(0);
        let file = disk.create("a").expect("a file");
        file.write_at(&[1; 3 * SECTOR_BYTES], 0).expect("written");
        file.sync().expect("synced");
        disk.sync_directory().expect("synced");
        (disk, file)
    }

    fn read(file: &SimFile) -> Vec<u8> {
        let mut bytes = vec![0; 3 * SECTOR_BYTES];
        file.read_at(&mut bytes, 0).expect("three sectors");
        bytes.into_iter().step_by(SECTOR_BYTES).collect()
    }

    #[test]
    fn a_loss_of_power_leaves_every_subset_of_unsynced_sectors() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let (disk, file) = disk_with_a_file();
            file.write_at(&[2; 2 * SECTOR_BYTES], SECTOR_BYTES as u64).expect("written");
            disk.lose_power(&mut Dice::new(seed, "test"));
            seen.insert(read(&file));
        }
        let all = [[1, 1, 1], [1, 1, 2], [1, 2, 1], [1, 2, 2]];
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
    }

    #[test]
    fn what_was_synced_stays_and_unsynced_names_may_go() {
        let mut names = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let (disk, file) = disk_with_a_file();
            file.write_at(&[3; 3 * SECTOR_BYTES], 0).expect("written");
            file.sync().expect("synced");
            disk.rename("a", "b").expect("renamed");
            disk.create("c").expect("made");
            disk.lose_power(&mut Dice::new(seed, "test"));
            assert_eq!(read(&file), [3, 3, 3]);
            names.insert(disk.list().expect("listed").join(" "));
        }
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b", "b c"]);
    }

    #[test]
    fn the_last_change_of_a_process_is_made_and_not_told() {
        let (disk, file) = disk_with_a_file();
        disk.stop_after(1);
        assert!(file.write_at(&[4; SECTOR_BYTES], 0).is_err(), "nobody is told");
        assert!(file.write_at(&[5; SECTOR_BYTES], 0).is_err(), "nothing happens any more");
        assert_eq!(read(&file), [4, 1, 1]);
        disk.restart();
        assert!(file.sync().is_ok());
    }
}
