//! The log's side of the store: entries in, outcomes out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::vec;

use kv_proto::{Command, Error, Limits, Reply, Revision};
use redb::StorageBackend;

use crate::build::build;
use crate::digest::Digest;
use crate::disk::{self, Bounds, Disk, Mark, PAGE_CACHE_BYTES, Position, State, Steps, weight};
use crate::error::{Failure, StoreError};
use crate::history::Version;
use crate::index::{Index, KeyId};
use crate::keys::Spot;
use crate::retention::{Deletion, Past, Retention};
use crate::snapshot::{Snapshot, Snapshots};
use crate::turns::{Turn, Turns};
use crate::values::Values;

/// How many commands it is best to [look ahead](Store::look_ahead): as many as a processor can wait
/// for at once, and not so many that the first of what was fetched has to make room again.
pub const AHEAD: usize = 32;

/// The state machine. See the [crate's documentation](crate) for its parts and invariants.
#[derive(Debug)]
pub struct Store {
    pub(crate) limits: Limits,
    pub(crate) index: Index,
    /// Where the keys of the next commands are or belong, most likely, in their order.
    pub(crate) ahead: vec::IntoIter<Spot>,
    pub(crate) past: Past,
    pub(crate) turns: Turns,
    pub(crate) revision: Revision,
    pub(crate) digest: Digest,
    pub(crate) live_keys: u64,
    pub(crate) values: Values,
    /// The number of the next record.
    pub(crate) next_seq: u64,
    position: Position,
    members: Arc<[u8]>,
}

/// How a store is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What clients may ask. Every replica needs the same: commands are checked against them when
    /// they are applied.
    pub limits: Limits,
    /// How much of the past is kept.
    pub retention: Retention,
    /// The memory for values that are in the state file as well, in bytes: the latest. The default
    /// is 8 MiB.
    pub cache_bytes: usize,
    /// The memory for values that were read from the state file, a few at a time, in bytes: those
    /// that are asked for again. The default is 8 MiB.
    pub read_cache_bytes: usize,
    /// The memory for pages of the state file, in bytes. The default is 8 MiB.
    pub page_cache_bytes: usize,
    /// The memory for values that are not in the state file yet, in bytes. When the disk is so far
    /// behind, applying waits for it; on a full disk, when it is eight times as far behind. The
    /// default is 16 MiB.
    pub max_unwritten_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            retention: Retention::default(),
            cache_bytes: 8 << 20,
            read_cache_bytes: 8 << 20,
            page_cache_bytes: PAGE_CACHE_BYTES,
            max_unwritten_bytes: 16 << 20,
        }
    }
}

/// What became of one entry: the answer to whoever proposed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The store's revision after it: what belongs into the header of the reply. A command that
    /// changed nothing finds it as it was.
    pub revision: Revision,
    /// [`Reply::Put`], [`Reply::Delete`] or [`Reply::Compact`]; or why nothing was changed.
    pub result: Result<Reply, Error>,
}

/// How much the store holds, for metrics and for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The keys that exist now.
    pub live_keys: u64,
    /// The versions that were overwritten or deleted and are not forgotten yet.
    pub superseded_versions: u64,
    /// About how much room those take, in bytes: in memory, or in memory and in the state file.
    pub superseded_bytes: u64,
    /// Those of them that cannot be read any more, because their revision is compacted: they go
    /// with the next entries, a few with each.
    pub overdue_versions: u64,
}

impl Store {
    /// An empty store in memory, before the first entry of the log. Every replica needs the same
    /// `limits`: commands are checked against them when they are applied.
    pub fn new(limits: Limits) -> Self {
        Self::with_retention(limits, Retention::default())
    }

    /// An empty store in memory that keeps as much of the past as `retention` says.
    pub fn with_retention(limits: Limits, retention: Retention) -> Self {
        Self {
            limits,
            index: Index::default(),
            ahead: vec::IntoIter::default(),
            past: Past::new(retention),
            turns: Turns::default(),
            revision: Revision::FRESH,
            digest: Digest::EMPTY,
            live_keys: 0,
            values: Values::Memory(BTreeMap::new()),
            next_seq: 0,
            position: Position::default(),
            members: Arc::default(),
        }
    }

    /// Opens the store in the state file at `path`, or creates an empty one there. The log goes on
    /// after [`position`](Self::position).
    ///
    /// It reads and checks the whole file, which takes about half a second for a million keys.
    ///
    /// # Errors
    ///
    /// If the file cannot be used, or is not as it was written.
    pub fn open(path: &Path, options: &Options) -> Result<Self, StoreError> {
        let empty = Self::with_retention(options.limits, options.retention).state();
        Self::load(disk::find_or_create(path, &empty)?, path, None, options, None)
    }

    /// As [`open`](Self::open), in what `backend` holds: for tests that are the disk themselves.
    /// `name` stands for the path in errors.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_on(
        backend: impl StorageBackend,
        name: &Path,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let empty = Self::with_retention(options.limits, options.retention).state();
        Self::load(backend, name, Some(&empty), options, None)
    }

    /// As [`open_on`](Self::open_on), for a simulator: nothing is written but in a step of `steps`,
    /// which belong to this store alone. Nobody may wait for what is not written, so
    /// [`Options::max_unwritten_bytes`] has to be out of reach, and neither
    /// [`flush`](Self::flush) nor [`snapshots`](Self::snapshots) is for such a store.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_in_steps(
        backend: impl StorageBackend,
        name: &Path,
        options: &Options,
        steps: &Steps,
    ) -> Result<Self, StoreError> {
        let empty = Self::with_retention(options.limits, options.retention).state();
        Self::load(backend, name, Some(&empty), options, Some(steps.clone()))
    }

    /// A file without a state gets `empty`, if that is given.
    fn load(
        backend: impl StorageBackend,
        path: &Path,
        empty: Option<&State>,
        options: &Options,
        steps: Option<Steps>,
    ) -> Result<Self, StoreError> {
        let mut store = Self::with_retention(options.limits, options.retention);
        let (file, loaded, parts) = disk::open(backend, path, options.page_cache_bytes, empty)?;
        let built = build(parts, &mut store.past);
        let built = built.map_err(|(seq, why)| file.damaged(format!("record {seq} {why}")))?;
        (store.index, store.live_keys, store.turns) = (built.index, built.live_keys, built.turns);
        let Mark { position, revision, compacted, digest, next_seq } = loaded.state.mark;
        store.past.resume(compacted);
        (store.position, store.revision, store.next_seq) = (position, revision, next_seq);
        store.digest = Digest::resume(digest);
        store.members = Arc::clone(&loaded.state.members);
        let Options { cache_bytes, read_cache_bytes, max_unwritten_bytes, .. } = *options;
        let bounds = Bounds { cache_bytes, read_cache_bytes, max_unwritten_bytes };
        store.values = Values::Disk(Box::new(Disk::start(file, loaded, bounds, steps)?));
        Ok(store)
    }

    /// Makes `version` what the key is from now on.
    pub(crate) fn make(&mut self, id: KeyId, key: &[u8], version: Version) {
        let exists = version.is_live();
        let at = version.modified;
        let existed = self.index.make(id, key, version, &mut self.past);
        if exists != existed {
            self.turns.push(Turn { at, key: key.into(), came: exists });
        }
        self.live_keys = self.live_keys + u64::from(exists) - u64::from(existed);
    }

    /// Looks for the keys of the commands that are to be [applied](Self::apply) next, in their
    /// order; some [`AHEAD`] at a time. Among many keys, this takes less time for all of them
    /// together than for one after the other: it waits for memory a few times, and not for each.
    ///
    /// It only saves time. What becomes of a command is the same without it, and if others are
    /// applied than were given.
    pub fn look_ahead<'a>(&mut self, commands: impl Iterator<Item = &'a [u8]>) {
        let key = |command| match Command::decode(command) {
            Ok(Command::Put(put)) => put.key,
            Ok(Command::Delete(delete)) => delete.key,
            // No key is empty.
            Ok(Command::Compact(_)) | Err(_) => &[],
        };
        let keys: Vec<_> = commands.map(key).collect();
        self.ahead = match &*keys {
            [] | [_] => vec::IntoIter::default(),
            keys => self.index.spots(keys).into_iter(),
        };
    }

    /// Applies the command of the entry at `at`. Whatever its bytes are, there is an outcome, and
    /// it is the same on every replica; they are checked again, limits included, although whoever
    /// proposed them has checked them before.
    ///
    /// It takes about as long as the number of keys it changes; forgetting the past adds a small
    /// multiple of that. It waits for a disk only if that is far behind
    /// ([`Options::max_unwritten_bytes`]), or to read a value that the command keeps or returns.
    ///
    /// # Errors
    ///
    /// If the state file failed, now or before: the store must not be used any more. Or if `at` is
    /// not the index after that of [`position`](Self::position): then nothing was changed.
    pub fn apply(&mut self, at: Position, command: &[u8]) -> Result<Applied, StoreError> {
        self.begin(at)?;
        let mut result = match self.execute(command) {
            Ok(reply) => Ok(reply),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Broken(error)) => return Err(error),
        };
        self.digest.number(outcome_code(&result));
        self.digest.number(self.revision.get());
        self.forget(steps(&result));
        if let Ok(Reply::Compact(compact)) = &mut result {
            compact.overdue = self.past.overdue() as u64;
        }
        self.end_entry()?;
        Ok(Applied { revision: self.revision, result })
    }

    /// Passes over the entry at `at`, which holds no command for the store.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    pub fn skip(&mut self, at: Position) -> Result<(), StoreError> {
        self.begin(at)?;
        self.end_entry()
    }

    /// Passes over the entry at `at`, which gave the cluster these members. What the bytes mean is
    /// the caller's business; they are kept with the state.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    pub fn set_members(&mut self, at: Position, members: &[u8]) -> Result<(), StoreError> {
        self.begin(at)?;
        self.members = Arc::from(members);
        self.values.set_members(Arc::clone(&self.members));
        self.end_entry()
    }

    /// Forgets who the members of the cluster were, as if they had never been
    /// [set](Self::set_members): the store belongs to a new cluster from now on. Waits for the
    /// disk.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    pub fn forget_members(&mut self) -> Result<(), StoreError> {
        self.members = Arc::default();
        self.values.set_members(Arc::clone(&self.members));
        self.end_entry()?;
        self.flush().map(|_| ())
    }

    /// The members of the cluster as they were last [set](Self::set_members); empty if never.
    pub fn members(&self) -> &[u8] {
        &self.members
    }

    /// The last entry applied or skipped; index 0 before the first.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Up to where the state file holds the state for sure: after a crash, the log is replayed from
    /// there on. Index 0 for a store in memory.
    pub fn durable(&self) -> Position {
        self.values.durable()
    }

    /// Waits until the state file holds everything that was applied.
    ///
    /// # Errors
    ///
    /// If the state file failed, now or before.
    pub fn flush(&self) -> Result<Position, StoreError> {
        self.values.flush()
    }

    /// The store at its [durable](Self::durable) position, to be handed to others. `None` for a
    /// store in memory.
    ///
    /// # Errors
    ///
    /// If the state file cannot be read.
    pub fn snapshot(&self) -> Result<Option<Snapshot>, StoreError> {
        match &self.values {
            Values::Memory(_) => Ok(None),
            Values::Disk(disk) => Snapshot::new(disk.shared_file()).map(Some),
        }
    }

    /// A door to snapshots of this store, for another thread: there it may wait for the disk.
    /// `None` for a store in memory.
    pub fn snapshots(&self) -> Option<Snapshots> {
        match &self.values {
            Values::Memory(_) => None,
            Values::Disk(disk) => Some(Snapshots::new(disk, self.position)),
        }
    }

    /// Has `listener` told `true` when the disk has no room for the state file, and `false` when
    /// writing goes on; and at once, how it is now. Nothing is lost meanwhile, and reads go on; but
    /// applying waits once eight times [`Options::max_unwritten_bytes`] are unwritten, so it is
    /// time to take on less. Later calls come from another thread. A store in memory has nothing to
    /// tell.
    pub fn on_full_disk(&self, listener: impl Fn(bool) + Send + 'static) {
        if let Values::Disk(disk) = &self.values {
            disk.file().patience().listen(listener);
        }
    }

    /// Whether the state file has not failed yet: a read that fails can only tell its client.
    ///
    /// # Errors
    ///
    /// What it failed with.
    pub fn check(&self) -> Result<(), StoreError> {
        self.values.check()
    }

    /// The index of the last entry applied or skipped; 0 before the first.
    pub fn applied_index(&self) -> u64 {
        self.position.index
    }

    /// The current revision: of the last command that changed something.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The oldest revision that can be read. What was superseded before it is forgotten, or will
    /// be soon. In a fresh store it is revision 1, the empty one.
    pub fn compacted_revision(&self) -> Revision {
        self.past.compacted()
    }

    /// The applied index, and a digest of everything that was applied up to it. Two replicas at
    /// one index have equal digests unless their states differ.
    ///
    /// It covers, in order: the index of every entry; of every command whether it was done or with
    /// which error it failed, and the revision after it; of every key that it changed the key and
    /// whether it was put or deleted, and after a put its value, version, lease and the revision of
    /// its creation.
    ///
    /// It covers neither which old revisions were forgotten, nor memory that went bad after it was
    /// written: it says that replicas *did* the same.
    pub fn digest(&self) -> (u64, u64) {
        (self.position.index, self.digest.get())
    }

    /// How much the store holds.
    pub fn stats(&self) -> Stats {
        Stats {
            live_keys: self.live_keys,
            superseded_versions: self.past.len() as u64,
            superseded_bytes: self.past.size_bytes(),
            overdue_versions: self.past.overdue() as u64,
        }
    }

    fn begin(&mut self, at: Position) -> Result<(), StoreError> {
        let due = self.position.index + 1;
        if at.index != due {
            return Err(StoreError::OutOfOrder { due, came: at.index });
        }
        self.position = at;
        self.digest.number(at.index);
        Ok(())
    }

    fn end_entry(&mut self) -> Result<(), StoreError> {
        let mark = self.mark();
        self.values.end_entry(mark)
    }

    fn mark(&self) -> Mark {
        Mark {
            position: self.position,
            revision: self.revision,
            compacted: self.compacted_revision(),
            digest: self.digest.get(),
            next_seq: self.next_seq,
        }
    }

    fn state(&self) -> State {
        State { mark: self.mark(), members: Arc::clone(&self.members) }
    }

    /// Forgets a bounded part of what nobody may ask for any more.
    fn forget(&mut self, steps: u64) {
        self.past.advance(self.revision);
        self.turns.forget(self.past.compacted(), steps);
        for _ in 0..steps {
            let Some(note) = self.past.pop(self.revision) else { return };
            self.values.kill(note.superseded.seq, weight(note.size_bytes));
            if let Some(Deletion { seq, key }) = &note.deletion {
                self.values.kill(*seq, weight(key.as_slice().len() as u64));
            }
            if let Some(key) = self.index.forget(note) {
                self.turns.forget_key(&key);
            }
        }
    }
}

/// What an outcome is in the digest: 0 if it was done, or one more than the error's code.
fn outcome_code(result: &Result<Reply, Error>) -> u64 {
    match result {
        // How much of the past a replica keeps is its own affair.
        Ok(_) | Err(Error::Compacted { .. }) => 0,
        Err(error) => u64::from(error.code()) + 1,
    }
}

/// How many notes of the past may go with a command that had this outcome.
fn steps(result: &Result<Reply, Error>) -> u64 {
    match result {
        Ok(Reply::Compact(_)) => Past::steps_of_compaction(),
        Ok(Reply::Delete(delete)) => Past::steps(delete.deleted),
        Ok(_) => Past::steps(1),
        Err(_) => Past::steps(0),
    }
}
