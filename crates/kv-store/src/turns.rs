//! How many keys there are, without looking at each.
//!
//! A range tells how many keys it has in all, and not only how many fit its answer. Going through a
//! million of them for every page would hold up everything else for a tenth of a second. But the
//! keys of the index are counted leaf by leaf, and what makes the difference between those and
//! the keys that existed at some revision is known: it came or went since.
//!
//! Invariants:
//! 1. The keys that are gone are those of the index that do not exist now.
//! 2. Whenever a key came into being or ceased to exist at a revision after the compacted one,
//!    there is a turn of it. They stand in the order of their revisions.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;

use kv_proto::Revision;
use kv_proto::span::Span;

use crate::key::Key;

/// What came and went.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    gone: BTreeSet<Key>,
    turns: VecDeque<Turn>,
}

/// A key came into being, or ceased to exist.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) at: Revision,
    pub(crate) key: Key,
    pub(crate) came: bool,
}

impl Turns {
    /// These keys of the index are gone, and these are the turns so far.
    pub(crate) fn new(gone: BTreeSet<Key>, turns: VecDeque<Turn>) -> Self {
        Self { gone, turns }
    }

    /// Adds a turn at a revision not before any other.
    pub(crate) fn push(&mut self, turn: Turn) {
        if turn.came {
            self.gone.remove(&turn.key);
        } else {
            self.gone.insert(turn.key.clone());
        }
        self.turns.push_back(turn);
    }

    /// A key that is gone is not in the index any more.
    pub(crate) fn forget_key(&mut self, key: &Key) {
        self.gone.remove(key);
    }

    /// Drops up to `steps` turns that nobody can ask for, because nothing before `compacted` can
    /// be read.
    pub(crate) fn forget(&mut self, compacted: Revision, steps: u64) {
        for _ in 0..steps {
            if self.turns.pop_front_if(|turn| turn.at <= compacted).is_none() {
                return;
            }
        }
    }

    /// How many keys of `span` existed at `revision`, where the index has `indexed` of them, and
    /// `revision` is not compacted.
    ///
    /// Takes as long as there are turns since `revision`, and keys of `span` that are gone.
    pub(crate) fn count(&self, indexed: usize, span: Span<'_>, revision: Revision) -> u64 {
        let (start, end) = span.bounds();
        let bounds = (owned(start), owned(end));
        let now = indexed as u64 - self.gone.range(bounds).count() as u64;
        let since = self.turns.iter().rev().take_while(|turn| turn.at > revision);
        since
            .filter(|turn| span.contains(turn.key.as_slice()))
            .fold(now, |count, turn| if turn.came { count - 1 } else { count + 1 })
    }
}

fn owned(bound: Bound<&[u8]>) -> Bound<Key> {
    bound.map(Key::from)
}
