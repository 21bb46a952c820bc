//! A disk that tears, flips, forgets and refuses; and writes to try it with.

#![allow(dead_code, reason = "every test uses its own part of this")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft_core::{
    ClusterConfig, Entries, Entry, HardState, Index, NodeId, Payload, PersistId, Position, Term,
    Write,
};
use raft_storage::{Access, Disk, DiskFile, Log, MemoryLog, Options, Recovered};

pub(crate) const SECTOR: usize = 512;

/// A directory in memory that keeps what is durable apart from what was only written.
#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimDisk")
    }
}

#[derive(Clone, Default)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the directory was synced, in order.
    pending_names: Vec<NameChange>,
    locked: bool,
    logs_made: u64,
    /// Changes made so far, and the one at which the power goes.
    changes: u64,
    power_off_at: Option<u64>,
    /// The change that is refused once; whether it is carried out all the same.
    refused: Option<(u64, bool)>,
    /// Reads made so far, and the one that is refused once.
    reads: u64,
    refused_read: Option<u64>,
    /// How the name of the file ends whose next write, or sync, fails.
    fail_write: Option<&'static str>,
    fail_sync: Option<&'static str>,
    history: Vec<String>,
    /// How many bytes fit on the disk, each file counted as at least a sector.
    capacity: Option<usize>,
    /// Whether room can be reserved without writing.
    reserves: bool,
}

#[derive(Clone, Default)]
struct Contents {
    now: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    /// The sectors that were reserved and never written.
    reserved: BTreeSet<usize>,
}

#[derive(Clone)]
enum NameChange {
    Set(String, usize),
    Rename(String, String),
    Remove(String),
}

fn apply(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Set(name, file) => {
            names.insert(name.clone(), *file);
        }
        NameChange::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        NameChange::Remove(name) => {
            names.remove(name);
        }
    }
}

impl SimDisk {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy that has nothing in common with this one. Nobody holds its lock.
    pub(crate) fn copy(&self) -> Self {
        let state = State { locked: false, ..self.state().clone() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// How many changes were made or attempted.
    pub(crate) fn changes(&self) -> u64 {
        self.state().changes
    }

    /// From change number `at` on (from 0), nothing more reaches the disk for certain.
    pub(crate) fn power_off_at(&self, at: u64) {
        self.state().power_off_at = Some(at);
    }

    /// Change number `at` (from 0) is refused, and carried out all the same or not. Those after it
    /// are carried out.
    pub(crate) fn refuse_change(&self, at: u64, is_done: bool) {
        self.state().refused = Some((at, is_done));
    }

    /// How many reads there were.
    pub(crate) fn reads(&self) -> u64 {
        self.state().reads
    }

    /// Read number `at` (from 0) is refused.
    pub(crate) fn refuse_read(&self, at: u64) {
        self.state().refused_read = Some(at);
    }

    /// The next write to a segment fails.
    pub(crate) fn fail_next_write(&self) {
        self.state().fail_write = Some(".log");
    }

    /// The next sync of a segment fails.
    pub(crate) fn fail_next_sync(&self) {
        self.state().fail_sync = Some(".log");
    }

    /// The next write to the witness fails.
    pub(crate) fn fail_next_write_of_witness(&self) {
        self.state().fail_write = Some("witness");
    }

    /// The next sync of the witness fails.
    pub(crate) fn fail_next_sync_of_witness(&self) {
        self.state().fail_sync = Some("witness");
    }

    /// From now on no more than this fits on the disk; `None` for as much as one likes.
    pub(crate) fn set_capacity(&self, bytes: Option<usize>) {
        self.state().capacity = bytes;
    }

    /// From now on, room can be reserved without writing.
    pub(crate) fn reserve_room(&self) {
        self.state().reserves = true;
    }

    /// How many sectors of segments were reserved and never written.
    pub(crate) fn reserved_sectors(&self) -> usize {
        let state = self.state();
        let is_segment = |name: &String| name.strip_suffix(".log").is_some();
        let segments = state.names.iter().filter(|(name, _)| is_segment(name));
        segments.map(|(_, file)| state.files[*file].reserved.len()).sum()
    }

    /// How much of the disk is taken.
    pub(crate) fn used(&self) -> usize {
        self.state().used()
    }

    /// What was done, in order, as in `sync 00000001.log`.
    pub(crate) fn history(&self) -> Vec<String> {
        self.state().history.clone()
    }

    pub(crate) fn forget_history(&self) {
        self.state().history.clear();
    }

    /// The sectors that were written and not synced, in order: file number and sector.
    pub(crate) fn unsynced(&self) -> Vec<(usize, usize)> {
        let state = self.state();
        let dirty = |(file, contents): (usize, &Contents)| {
            contents.dirty.iter().map(move |sector| (file, *sector)).collect::<Vec<_>>()
        };
        state.files.iter().enumerate().flat_map(dirty).collect()
    }

    /// How many changes of names were not synced.
    pub(crate) fn unsynced_names(&self) -> usize {
        self.state().pending_names.len()
    }

    /// The disk after the power went: of the unsynced sectors those that `keep` names (by their
    /// place in [`SimDisk::unsynced`]), and the first `names` of the unsynced changes of names.
    pub(crate) fn crash(&self, mut keep: impl FnMut(usize) -> bool, names: usize) -> Self {
        let unsynced = self.unsynced();
        let mut state = self.state().clone();
        for (nth, (file, sector)) in unsynced.into_iter().enumerate() {
            if keep(nth) {
                let Contents { now, durable, .. } = &mut state.files[file];
                let range = sector * SECTOR..((sector + 1) * SECTOR).min(now.len());
                durable.resize(durable.len().max(range.end), 0);
                durable[range.clone()].copy_from_slice(&now[range]);
            }
        }
        for contents in &mut state.files {
            contents.now = contents.durable.clone();
            contents.dirty.clear();
        }
        for change in state.pending_names.drain(..).take(names) {
            apply(&mut state.durable_names, &change);
        }
        state.names = state.durable_names.clone();
        state.locked = false;
        state.power_off_at = None;
        state.refused = None;
        state.refused_read = None;
        state.history.clear();
        Self(Arc::new(Mutex::new(state)))
    }

    /// The bytes of a file, as the running process sees them.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].now.clone()
    }

    /// Changes a file behind everybody's back.
    pub(crate) fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.names[name];
        let contents = &mut state.files[file];
        change(&mut contents.now);
        contents.durable = contents.now.clone();
    }

    /// All files, as the running process sees them.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        state
            .names
            .iter()
            .map(|(name, file)| (name.clone(), state.files[*file].now.clone()))
            .collect()
    }
}

impl State {
    /// Counts a change; an error once the power is off.
    fn change(&mut self, what: String) -> io::Result<()> {
        let nth = self.changes;
        self.changes += 1;
        self.history.push(what);
        match (self.power_off_at, self.refused) {
            (Some(at), _) if nth >= at => Err(io::Error::other("the power is off")),
            (_, Some((at, _))) if nth == at => Err(io::Error::other("the disk refuses")),
            _ => Ok(()),
        }
    }

    /// Whether the change that was counted last has no effect.
    fn is_undone(&self) -> bool {
        self.refused.is_some_and(|(at, is_done)| self.changes == at + 1 && !is_done)
    }

    fn used(&self) -> usize {
        self.names.values().map(|file| self.files[*file].now.len().max(SECTOR)).sum()
    }

    /// Whether there is room for so many bytes more.
    fn find_room(&self, bytes: usize) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if self.used() + bytes > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn is_dead(&self) -> bool {
        self.power_off_at.is_some_and(|at| self.changes > at)
    }

    fn change_name(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.pending_names.push(change);
    }

    fn file(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn name_of(&self, file: usize) -> String {
        let found = self.names.iter().find(|(_, held)| **held == file);
        found.map_or_else(|| "?".into(), |(name, _)| name.clone())
    }
}

#[derive(Debug)]
pub(crate) struct SimLock(SimDisk);

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.state().locked = false;
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
        Ok(SimFile { disk: self.clone(), file: self.state().file(name)? })
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.state();
        let was_dead = state.is_dead();
        let done = state.change(format!("create {name}"));
        if was_dead || state.is_undone() {
            return Err(io::Error::other("the disk is dead"));
        }
        state.find_room(SECTOR)?;
        let file = state.files.len();
        state.files.push(Contents::default());
        state.change_name(NameChange::Set(name.into(), file));
        done.map(|()| SimFile { disk: self.clone(), file })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let was_dead = state.is_dead();
        let done = state.change(format!("rename {from} {to}"));
        if !was_dead && !state.is_undone() {
            state.file(from)?;
            state.change_name(NameChange::Rename(from.into(), to.into()));
        }
        done
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let was_dead = state.is_dead();
        let done = state.change(format!("remove {name}"));
        if !was_dead && !state.is_undone() {
            state.file(name)?;
            state.change_name(NameChange::Remove(name.into()));
        }
        done
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.change("sync directory".into())?;
        let state = &mut *state;
        for change in state.pending_names.drain(..) {
            apply(&mut state.durable_names, &change);
        }
        Ok(())
    }

    fn lock(&self, _: &str) -> io::Result<SimLock> {
        let mut state = self.state();
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(SimLock(self.clone()))
    }

    fn unique_number(&self) -> u64 {
        let mut state = self.state();
        state.logs_made += 1;
        0x5eed_0000 + state.logs_made
    }
}

#[derive(Debug)]
pub(crate) struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl DiskFile for SimFile {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].now.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset_bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let nth = state.reads;
        state.reads += 1;
        if state.refused_read == Some(nth) {
            return Err(io::Error::other("the disk refuses"));
        }
        let start = usize::try_from(offset_bytes).expect("a small file");
        let now = &state.files[self.file].now;
        let source = now.get(start..start + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(source);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset_bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let was_dead = state.is_dead();
        let name = state.name_of(self.file);
        let done = state.change(format!("write {name}"));
        let fails = state.fail_write.take_if(|end| name.ends_with(*end)).is_some();
        if was_dead || fails || state.is_undone() {
            return Err(io::Error::other("the write failed"));
        }
        let start = usize::try_from(offset_bytes).expect("a small file");
        let end = start + bytes.len();
        let taken = state.files[self.file].now.len().max(SECTOR);
        state.find_room(end.saturating_sub(taken))?;
        let contents = &mut state.files[self.file];
        contents.now.resize(contents.now.len().max(end), 0);
        contents.now[start..end].copy_from_slice(bytes);
        contents.dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
        contents.reserved.retain(|sector| !(start / SECTOR..end.div_ceil(SECTOR)).contains(sector));
        done
    }

    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        if !state.reserves {
            return Ok(());
        }
        let was_dead = state.is_dead();
        let name = state.name_of(self.file);
        let done = state.change(format!("reserve {name}"));
        if was_dead || state.is_undone() {
            return Err(io::Error::other("the disk is dead"));
        }
        let size_bytes = usize::try_from(size_bytes).expect("a small file");
        let contents = &mut state.files[self.file];
        contents.reserved.extend(contents.now.len() / SECTOR..size_bytes / SECTOR);
        contents.now.resize(contents.now.len().max(size_bytes), 0);
        done
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let name = state.name_of(self.file);
        state.change(format!("sync {name}"))?;
        if state.fail_sync.take_if(|end| name.ends_with(*end)).is_some() {
            return Err(io::Error::other("the sync failed"));
        }
        let contents = &mut state.files[self.file];
        contents.durable = contents.now.clone();
        contents.dirty.clear();
        Ok(())
    }
}

/// A small generator of numbers that look random (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("below the limit")
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

pub(crate) fn options(segment_sectors: usize) -> Options {
    Options {
        segment_bytes: (segment_sectors * SECTOR) as u64,
        reserve_bytes: 0,
        background: false,
        ..Options::new(NodeId::new(1), 77, "1=a:1,2=b:2,3=c:3")
    }
}

pub(crate) fn at(term: u64, index: u64) -> Position {
    Position::new(Term::new(term), Index::new(index))
}

/// A write in this term with these entries: `(term, index, command)`.
pub(crate) fn write(term: u64, commit: u64, entries: Vec<Entry>) -> Write {
    Write {
        id: PersistId::new(1),
        hard_state: HardState {
            term: Term::new(term),
            vote: Some(NodeId::new(1)),
            boots: 1,
            recovering: false,
        },
        commit: Index::new(commit),
        reset: None,
        entries: Entries::from(entries),
    }
}

pub(crate) fn command(term: u64, index: u64, bytes: &[u8]) -> Entry {
    Entry { at: at(term, index), payload: Payload::Command(bytes.into()) }
}

pub(crate) fn noop(term: u64, index: u64) -> Entry {
    Entry { at: at(term, index), payload: Payload::Noop }
}

pub(crate) fn config(term: u64, index: u64, voters: &[u64]) -> Entry {
    let members = ClusterConfig::of_voters(voters.iter().copied().map(NodeId::new));
    Entry { at: at(term, index), payload: Payload::Config(Arc::new(members)) }
}

/// A command of `size` bytes that tells its place.
pub(crate) fn filler(term: u64, index: u64, size: usize) -> Entry {
    let mut random = Random(index << 8 | term);
    let bytes: Vec<u8> = (0..size).map(|_| random.next().to_le_bytes()[0]).collect();
    command(term, index, &bytes)
}

pub(crate) fn open(disk: &SimDisk, options: &Options) -> (Log<SimDisk>, Recovered) {
    Log::open(disk.clone(), options).expect("the log opens")
}

/// All entries that the log holds.
pub(crate) fn all_entries<D: Disk>(log: &mut Log<D>) -> Vec<Entry> {
    let (first, last) = (log.start().index.next(), log.last().index);
    if first > last {
        return Vec::new();
    }
    log.read(first, last, usize::MAX).expect("the log can be read").to_vec()
}

/// Whether nothing of the one hard state was forgotten in the other.
pub(crate) fn is_kept(one: HardState, later: HardState) -> bool {
    let vote_is_kept = one.vote.is_none() || later.vote == one.vote;
    later.boots >= one.boots && (later.term > one.term || later.term == one.term && vote_is_kept)
}

/// What a log should hold after these writes.
pub(crate) fn model_of(writes: &[Write]) -> MemoryLog {
    let mut model = MemoryLog::new();
    model.append(writes).expect("the writes fit each other");
    model
}

/// Whether the log that was opened is what `model` says, apart from a torn write that was removed.
/// The hard state may be that of a later write: the witness has it first.
pub(crate) fn matches(log: &mut Log<SimDisk>, recovered: &Recovered, model: &MemoryLog) -> bool {
    let expected = model.recovered();
    if !is_kept(expected.hard_state, recovered.hard_state) {
        return false;
    }
    let hard_state = expected.hard_state;
    let found = Recovered { torn: None, damage: None, hard_state, ..recovered.clone() };
    let last = expected.last.index;
    let entries = model.clone().read(expected.start.index.next(), last, usize::MAX);
    found == expected && all_entries(log) == entries.map_or_else(|_| Vec::new(), |it| it.to_vec())
}
