//! Log entries, and [`Entries`]: a run of them that is shared, never copied.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, Range};

use crate::command::Command;
use crate::config::ClusterConfig;
use crate::types::{Index, Position};

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Entry {
    /// Where it is in the log, and the term of the leader that put it there.
    pub at: Position,
    /// What it carries.
    pub payload: Payload,
}

/// What an entry carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Payload {
    /// Nothing: a new leader appends one to commit the entries of earlier terms (paper §8).
    Noop,
    /// A command of the state machine.
    Command(Command),
    /// The members of the cluster from here on (paper §6).
    Config(Arc<ClusterConfig>),
}

/// What an entry counts beyond its command, in bytes: about what its frame costs on the wire.
const ENTRY_OVERHEAD_BYTES: usize = 32;

impl Entry {
    /// What a command of this length will count as an entry.
    pub(crate) const fn size_of_command(length: usize) -> usize {
        ENTRY_OVERHEAD_BYTES + length
    }

    /// What this entry counts against every budget given in bytes: the length of its command, or
    /// 8 for each member it names, and a fixed overhead.
    #[inline]
    pub fn size_bytes(&self) -> usize {
        let payload = match &self.payload {
            Payload::Noop => 0,
            Payload::Command(bytes) => bytes.len(),
            Payload::Config(config) => config.size_bytes(),
        };
        ENTRY_OVERHEAD_BYTES + payload
    }
}

/// A run of consecutive entries, shared by reference count.
///
/// The entries of one proposal are put into one allocation, and the log, the write to disk, the
/// message to every follower and the state machine all look at that one. Cloning or slicing
/// copies no command. No entry and a single one need no allocation at all.
///
/// Guarantees, checked where runs come from outside ([`Entries::follows`]):
/// 1. Indexes grow by exactly one from entry to entry.
/// 2. Terms never go down from entry to entry.
///
/// For serde (feature `serde`) it is the sequence of its entries; reading one that breaks these
/// guarantees is an error.
#[derive(Clone)]
pub struct Entries(Run);

/// However a run came about, one of at most one entry is never a `Part`: it shares the command, and
/// keeps no batch alive.
#[derive(Clone)]
enum Run {
    Empty,
    One(Entry),
    Part(Part),
}

/// The entries `range` of a batch that others look at, too.
#[derive(Clone)]
struct Part {
    batch: Arc<[Entry]>,
    range: Range<usize>,
    /// What they count together. Everyone who gets the run wants to know; it is added up once.
    bytes: usize,
}

impl Entries {
    /// No entries.
    pub const fn empty() -> Self {
        Self(Run::Empty)
    }

    /// The entries of `range`, counted from 0 at the first of this run.
    ///
    /// # Panics
    ///
    /// If `range` reaches beyond this run.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len(), "slice within the run");
        match (&self.0, &self[range.clone()]) {
            (_, slice) if slice.len() == self.len() => self.clone(),
            (_, []) => Self::empty(),
            (_, [entry]) => Self(Run::One(entry.clone())),
            (Run::Part(part), slice) => {
                let (start, bytes) = (part.range.start + range.start, size_bytes(slice));
                let (batch, range) = (Arc::clone(&part.batch), start..start + slice.len());
                Self(Run::Part(Part { batch, range, bytes }))
            }
            (Run::Empty | Run::One(_), _) => unreachable!("only a batch has two entries"),
        }
    }

    /// Where the last entry is; `None` if there is none.
    #[inline]
    pub fn last_position(&self) -> Option<Position> {
        self.last().map(|entry| entry.at)
    }

    /// What these entries count against budgets in bytes: see [`Entry::size_bytes`].
    #[inline]
    pub fn size_bytes(&self) -> usize {
        match &self.0 {
            Run::Empty => 0,
            Run::One(entry) => entry.size_bytes(),
            Run::Part(part) => part.bytes,
        }
    }

    /// Whether these entries may stand right after `prev` in a log: guarantees 1 and 2 hold
    /// across the seam and within.
    pub fn follows(&self, prev: Position) -> bool {
        let mut prev = prev;
        self.iter().all(|entry| {
            let fits = entry.at.index == prev.index.next()
                && entry.at.index > prev.index
                && entry.at.term >= prev.term;
            prev = entry.at;
            fits
        })
    }

    /// The entries from index `from` on; all of them if they begin later.
    #[must_use]
    pub(crate) fn starting_at(&self, from: Index) -> Self {
        match self.count_before(from) {
            0 => self.clone(),
            skip => self.slice(skip..self.len()),
        }
    }

    /// The entries before index `end`.
    #[must_use]
    pub(crate) fn ending_before(&self, end: Index) -> Self {
        match self.count_before(end) {
            keep if keep == self.len() => self.clone(),
            keep => self.slice(0..keep),
        }
    }

    /// How many of these entries lie before `index`.
    fn count_before(&self, index: Index) -> usize {
        let count = self.first().map_or(0, |first| index.since(first.at.index));
        usize::try_from(count).map_or(self.len(), |count| count.min(self.len()))
    }
}

impl Deref for Entries {
    type Target = [Entry];

    #[inline]
    fn deref(&self) -> &[Entry] {
        match &self.0 {
            Run::Empty => &[],
            Run::One(entry) => core::slice::from_ref(entry),
            Run::Part(part) => &part.batch[part.range.clone()],
        }
    }
}

fn size_bytes(entries: &[Entry]) -> usize {
    entries.iter().map(Entry::size_bytes).sum()
}

impl From<Entry> for Entries {
    fn from(entry: Entry) -> Self {
        Self(Run::One(entry))
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(mut entries: Vec<Entry>) -> Self {
        match entries.len() {
            0 | 1 => entries.pop().map_or(Self::empty(), Self::from),
            _ => Self::from(Arc::from(entries)),
        }
    }
}

impl From<Arc<[Entry]>> for Entries {
    fn from(batch: Arc<[Entry]>) -> Self {
        match &*batch {
            [] => Self::empty(),
            [entry] => Self::from(entry.clone()),
            entries => {
                let (range, bytes) = (0..entries.len(), size_bytes(entries));
                Self(Run::Part(Part { batch, range, bytes }))
            }
        }
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut entries = entries.into_iter();
        match (entries.next(), entries.next()) {
            (None, _) => Self::empty(),
            (Some(entry), None) => Self::from(entry),
            (Some(first), Some(second)) => {
                Self::from([first, second].into_iter().chain(entries).collect::<Arc<[Entry]>>())
            }
        }
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self::empty()
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Entries {}

impl core::hash::Hash for Entries {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::types::Term;

    fn entry(term: u64, index: u64) -> Entry {
        Entry { at: Position::new(Term::new(term), Index::new(index)), payload: Payload::Noop }
    }

    #[test]
    fn slices_share_the_batch() {
        let run = Entries::from(vec![entry(1, 5), entry(1, 6), entry(2, 7)]);
        assert_eq!(&run.slice(1..3)[..], &run[1..3]);
        assert_eq!(run.slice(1..3).slice(1..2)[0], entry(2, 7));
        assert_eq!(run.starting_at(Index::new(6)), run.slice(1..3));
        assert_eq!(run.starting_at(Index::new(1)), run);
        assert!(run.starting_at(Index::new(8)).is_empty());
        assert_eq!(run.ending_before(Index::new(7)), run.slice(0..2));
        assert!(run.ending_before(Index::new(2)).is_empty());
    }

    #[test]
    fn a_run_counts_its_bytes_however_it_came_about() {
        let command = |index, length| {
            let payload = Payload::Command(vec![0; length].into());
            Entry { payload, ..entry(1, index) }
        };
        let run: Entries = (1..=4).map(|index| command(index, 10)).collect();
        assert_eq!(run.size_bytes(), 4 * 42);
        for (from, to) in (0..=4).flat_map(|from| (from..=4).map(move |to| (from, to))) {
            let part = run.slice(from..to);
            assert_eq!(part.size_bytes(), (to - from) * 42);
            assert_eq!(part, Entries::from(run[from..to].to_vec()));
            assert_eq!(part.slice(0..part.len()).size_bytes(), part.size_bytes());
        }
    }

    #[test]
    fn a_single_entry_keeps_no_batch_alive() {
        let batch: Arc<[Entry]> = [entry(1, 5), entry(1, 6)].into();
        let run = Entries::from(Arc::clone(&batch));
        let one = run.slice(1..2);
        drop(run);
        assert_eq!((one[0].clone(), Arc::strong_count(&batch)), (entry(1, 6), 1));
    }

    #[test]
    fn a_run_follows_only_what_it_continues() {
        let run = Entries::from(vec![entry(2, 5), entry(3, 6)]);
        let at = |term, index| Position::new(Term::new(term), Index::new(index));
        assert!(run.follows(at(1, 4)) && run.follows(at(2, 4)));
        assert!(!run.follows(at(3, 4)), "a term went down");
        assert!(!run.follows(at(1, 3)), "an index is missing");
        assert!(!Entries::from(vec![entry(1, 5), entry(1, 7)]).follows(at(1, 4)));
        assert!(Entries::empty().follows(at(9, 9)));
    }
}
