//! Forgetting the past: how much of it is kept, and in which order it goes.
//!
//! What a write supersedes is noted in a queue. Every applied entry may take a few notes from the
//! other end, so the past is forgotten in small steps that are the same on every replica, and
//! nothing ever stops to clean up.

use std::collections::VecDeque;

use kv_proto::Revision;

use crate::history::Version;
use crate::index::KeyId;
use crate::key::Key;

/// How much of the past is kept. The current value of a key is not the past: it always stays.
///
/// Forgetting never changes what a command does, only which old revisions can be read. Still, give
/// every replica the same values, so that they answer alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// This many revisions before the current one can be read. The default is 10 000.
    pub revisions: u64,
    /// As soon as what was superseded takes more room than about this many bytes, the oldest of
    /// it goes, even if that leaves fewer revisions. The default is 64 MiB.
    pub history_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { revisions: 10_000, history_bytes: 64 << 20 }
    }
}

/// What a retained version costs in memory besides its key and value: its place in a history, its
/// note in the queue, and the allocations' own.
const OVERHEAD_BYTES: u64 = 160;

/// The notes that an entry may take from the queue, whatever it did.
const STEPS: u64 = 16;

/// The notes that an entry may take for each key it changed. A put leaves at most one note by
/// itself and one more when its key is deleted, so two keep the queue from growing beyond what is
/// to be retained.
const STEPS_PER_CHANGE: u64 = 2;

/// The notes that a compaction may take by itself: a few milliseconds' worth. Those that are left
/// go with the entries that follow.
const STEPS_PER_COMPACTION: u64 = 4096;

/// The queue of what was superseded, and the revision up to which it is compacted.
#[derive(Debug)]
pub(crate) struct Past {
    retention: Retention,
    compacted: Revision,
    /// In the order of their revisions.
    notes: VecDeque<Note>,
    /// The number of the first of them; the next ones follow it.
    first: NoteNumber,
    /// The sum over `notes`.
    bytes: u64,
}

/// Which note, counted from the first that ever was. A note that was taken from the queue keeps
/// its number, which leads nowhere then; so does [`NONE`](Self::NONE).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NoteNumber(u64);

impl NoteNumber {
    /// No note has this number.
    pub(crate) const NONE: Self = Self(0);
}

/// A key was put again, or deleted: once `at` lies before the compacted revision, what the key was
/// before `at` can go.
#[derive(Debug)]
pub(crate) struct Note {
    /// The superseding revision.
    pub(crate) at: Revision,
    /// Whose history it is.
    pub(crate) id: KeyId,
    /// What the key was, of which it existed.
    pub(crate) superseded: Version,
    /// The note of what it was before that.
    pub(crate) before: NoteNumber,
    /// How it ended, if it was deleted. That can go as well, then.
    pub(crate) deletion: Option<Deletion>,
    /// The key and the superseded value, in bytes.
    pub(crate) size_bytes: u64,
}

/// The deletion of a key.
#[derive(Debug)]
pub(crate) struct Deletion {
    /// The number of its record.
    pub(crate) seq: u64,
    /// When nothing else is left of the key, it has to be found in the index.
    pub(crate) key: Key,
}

impl Past {
    /// No past yet.
    pub(crate) fn new(retention: Retention) -> Self {
        let (compacted, first) = (Revision::FRESH, NoteNumber(NoteNumber::NONE.0 + 1));
        Self { retention, compacted, notes: VecDeque::new(), first, bytes: 0 }
    }

    /// Goes on where `compacted` was the oldest revision that could be read.
    pub(crate) fn resume(&mut self, compacted: Revision) {
        self.compacted = compacted;
    }

    /// The oldest revision that can be read.
    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    /// Notes that something was superseded, by a revision not before any other.
    pub(crate) fn push(&mut self, note: Note) -> NoteNumber {
        self.bytes += note.memory_bytes();
        self.notes.push_back(note);
        NoteNumber(self.first.0 + self.notes.len() as u64 - 1)
    }

    /// The note of this number, if it is still retained.
    pub(crate) fn get(&self, number: NoteNumber) -> Option<&Note> {
        self.notes.get(usize::try_from(number.0.checked_sub(self.first.0)?).ok()?)
    }

    /// How many notes an entry that changed `changes` keys may take.
    pub(crate) fn steps(changes: u64) -> u64 {
        STEPS + STEPS_PER_CHANGE * changes
    }

    /// How many notes a compaction may take.
    pub(crate) fn steps_of_compaction() -> u64 {
        STEPS_PER_COMPACTION
    }

    /// Lets `oldest` be the oldest revision that can be read, if that is not a later one already.
    /// It never lies beyond the current one.
    pub(crate) fn compact(&mut self, oldest: Revision) {
        self.compacted = self.compacted.max(oldest);
    }

    /// Moves the compacted revision along with the current one.
    pub(crate) fn advance(&mut self, current: Revision) {
        let oldest = Revision::new(current.get().saturating_sub(self.retention.revisions));
        self.compacted = self.compacted.max(oldest);
    }

    /// Takes the next note whose time has come. If there is too much to remember, that time is
    /// now, unless it is about the current revision, which can always be read.
    pub(crate) fn pop(&mut self, current: Revision) -> Option<Note> {
        let at = self.notes.front()?.at;
        let is_too_much = self.bytes > self.retention.history_bytes;
        if is_too_much && at < current {
            self.compacted = self.compacted.max(at.next());
        }
        if at >= self.compacted {
            return None;
        }
        let note = self.notes.pop_front()?;
        self.first.0 += 1;
        self.bytes -= note.memory_bytes();
        Some(note)
    }

    /// How many superseded versions cannot be read any more, and are still to be forgotten.
    pub(crate) fn overdue(&self) -> usize {
        self.notes.partition_point(|note| note.at < self.compacted)
    }

    /// How many superseded versions are retained.
    pub(crate) fn len(&self) -> usize {
        self.notes.len()
    }

    /// About how much room they take.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.bytes
    }
}

impl Note {
    /// What a key was until `at`. It stands behind no other note yet.
    pub(crate) fn new(
        at: Revision,
        id: KeyId,
        key: &[u8],
        superseded: Version,
        deletion: Option<Deletion>,
    ) -> Self {
        let size_bytes = (key.len() + superseded.value_bytes()) as u64;
        Self { at, id, superseded, before: NoteNumber::NONE, deletion, size_bytes }
    }

    fn memory_bytes(&self) -> u64 {
        self.size_bytes + OVERHEAD_BYTES
    }
}
