//! What the cache of the log consists of.

use crate::entry::Entries;
use crate::types::Index;

/// Entries that came into the log together. Their first and last index stand beside them, so that
/// whoever searches need not look into them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Chunk {
    first: Index,
    last: Index,
    entries: Entries,
}

impl Chunk {
    /// `None` if there are no entries.
    pub(crate) fn new(entries: Entries) -> Option<Self> {
        let run = &entries[..];
        let (first, last) = (run.first()?.at.index, run.last()?.at.index);
        Some(Self { first, last, entries })
    }

    pub(crate) fn first(&self) -> Index {
        self.first
    }

    pub(crate) fn last(&self) -> Index {
        self.last
    }

    pub(crate) fn entries(&self) -> &Entries {
        &self.entries
    }

    pub(crate) fn bytes(&self) -> usize {
        self.entries.size_bytes()
    }

    /// Its entries from `first` on: mostly all of them.
    pub(crate) fn starting_at(&self, first: Index) -> Entries {
        if first <= self.first { self.entries.clone() } else { self.entries.starting_at(first) }
    }
}
