//! The log's side of the store: entries in, outcomes out.

use kv_proto::{Error, Limits, Reply, Revision};

use crate::digest::Digest;
use crate::index::Index;
use crate::retention::{Past, Retention};

/// The state machine. See the [crate's documentation](crate) for its parts and invariants.
#[derive(Debug)]
pub struct Store {
    pub(crate) limits: Limits,
    pub(crate) index: Index,
    pub(crate) past: Past,
    pub(crate) revision: Revision,
    pub(crate) digest: Digest,
    pub(crate) live_keys: u64,
    applied_index: u64,
}

/// What became of one entry: the answer to whoever proposed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The store's revision after it: what belongs into the header of the reply. A command that
    /// changed nothing finds it as it was.
    pub revision: Revision,
    /// [`Reply::Put`] or [`Reply::Delete`]; or why nothing was changed.
    pub result: Result<Reply, Error>,
}

/// How much the store holds, for metrics and for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The keys that exist now.
    pub live_keys: u64,
    /// The versions that were overwritten or deleted and are not forgotten yet.
    pub superseded_versions: u64,
    /// About how much memory those take, in bytes.
    pub superseded_bytes: u64,
}

impl Store {
    /// An empty store, before the first entry of the log. Every replica needs the same `limits`:
    /// commands are checked against them when they are applied.
    pub fn new(limits: Limits) -> Self {
        Self::with_retention(limits, Retention::default())
    }

    /// An empty store that keeps as much of the past as `retention` says.
    pub fn with_retention(limits: Limits, retention: Retention) -> Self {
        Self {
            limits,
            index: Index::default(),
            past: Past::new(retention),
            revision: Revision::FRESH,
            digest: Digest::EMPTY,
            live_keys: 0,
            applied_index: 0,
        }
    }

    /// Applies the command at `index` of the log. Whatever its bytes are, there is an outcome, and
    /// it is the same on every replica; they are checked again, limits included, although whoever
    /// proposed them has checked them before.
    ///
    /// It takes about as long as the number of keys it changes; forgetting the past adds a small
    /// multiple of that.
    ///
    /// # Panics
    ///
    /// If `index` is not the one after [`applied_index`](Self::applied_index): entries were lost,
    /// repeated or reordered on their way from the log, and the state could not be trusted.
    pub fn apply(&mut self, index: u64, command: &[u8]) -> Applied {
        self.begin(index);
        let result = self.execute(command);
        self.digest.number(outcome_code(&result));
        self.digest.number(self.revision.get());
        self.forget(changes(&result));
        Applied { revision: self.revision, result }
    }

    /// Passes over the entry at `index`, which holds no command for the store.
    ///
    /// # Panics
    ///
    /// As [`apply`](Self::apply).
    pub fn skip(&mut self, index: u64) {
        self.begin(index);
    }

    /// The index of the last entry applied or skipped; 0 before the first.
    pub fn applied_index(&self) -> u64 {
        self.applied_index
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
        (self.applied_index, self.digest.get())
    }

    /// How much the store holds.
    pub fn stats(&self) -> Stats {
        Stats {
            live_keys: self.live_keys,
            superseded_versions: self.past.len() as u64,
            superseded_bytes: self.past.memory_bytes(),
        }
    }

    fn begin(&mut self, index: u64) {
        let expected = self.applied_index + 1;
        assert_eq!(index, expected, "the log must be applied in order, without gaps");
        self.applied_index = index;
        self.digest.number(index);
    }

    /// Forgets a bounded part of what nobody may ask for any more.
    fn forget(&mut self, changes: u64) {
        self.past.advance(self.revision);
        for _ in 0..Past::steps(changes) {
            let Some(note) = self.past.pop(self.revision) else { return };
            let history = self.index.history_mut(note.id);
            history.forget_until(note.at);
            if let (true, Some(key)) = (history.is_empty(), note.deleted_key) {
                self.index.remove(key.as_slice());
            }
        }
    }
}

/// What an outcome is in the digest: 0 if it was done, or one more than the error's code.
fn outcome_code(result: &Result<Reply, Error>) -> u64 {
    match result {
        Ok(_) => 0,
        Err(error) => u64::from(error.code()) + 1,
    }
}

/// How many keys a command changed.
fn changes(result: &Result<Reply, Error>) -> u64 {
    match result {
        Ok(Reply::Delete(delete)) => delete.deleted,
        Ok(_) => 1,
        Err(_) => 0,
    }
}
