//! [`Ledger`]: every entry that was ever written anywhere, and which of them are committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use raft_core::{ClusterConfig, Entry, Index, Payload, Position, Term};

use crate::violation::{Checked, check};

/// Every entry, by term: one leader made all entries of a term, one after the other.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    terms: BTreeMap<Term, Reign>,
    /// The position of every committed entry, from index 1 on.
    committed: Vec<Position>,
    /// In which term each of them was committed; it never goes down.
    committed_in: Vec<Term>,
    /// Every configuration, by its entry.
    configs: BTreeMap<Position, Arc<ClusterConfig>>,
}

/// The entries of one term.
#[derive(Debug)]
struct Reign {
    /// The position before the first of them.
    prev: Position,
    payloads: Vec<Payload>,
}

impl Ledger {
    pub(super) fn committed(&self) -> &[Position] {
        &self.committed
    }

    /// Takes note that the next entry was committed in this term.
    pub(super) fn commit(&mut self, at: Position, term: Term) {
        self.committed.push(at);
        self.committed_in.push(term);
    }

    /// Whether an entry that was made in this term is committed.
    pub(super) fn has_committed_in(&self, term: Term) -> bool {
        let first = self.committed.partition_point(|committed| committed.term < term);
        self.committed.get(first).is_some_and(|committed| committed.term == term)
    }

    /// Whether the entry at this position was committed in `term` or before.
    pub(super) fn is_committed_by(&self, term: Term, at: Position) -> bool {
        let upto = self.committed_in.partition_point(|committed_in| *committed_in <= term);
        super::place(at.index).is_some_and(|place| self.committed[..upto].get(place) == Some(&at))
    }

    /// The last entry that a leader of this term must hold: what was committed in terms before.
    pub(super) fn last_before(&self, term: Term) -> Position {
        let count = self.committed_in.partition_point(|committed_in| *committed_in < term);
        count.checked_sub(1).map_or(Position::ORIGIN, |last| self.committed[last])
    }

    /// The configuration in the entry at this position, if it is one.
    pub(super) fn config(&self, at: Position) -> Option<&Arc<ClusterConfig>> {
        self.configs.get(&at)
    }

    /// Every configuration, in the order of positions.
    pub(super) fn configs(&self) -> impl Iterator<Item = (Position, &ClusterConfig)> {
        self.configs.iter().map(|(at, config)| (*at, &**config))
    }

    /// Whether nobody has written the entry at this position before.
    pub(super) fn is_new(&self, at: Position) -> bool {
        self.terms.get(&at.term).is_none_or(|reign| reign.last() < at.index)
    }

    /// Takes note of entries that some node writes after `prev`; they follow each other.
    pub(super) fn written(&mut self, prev: Position, entries: &[Entry]) -> Checked {
        let rule = "logs that hold the same position are the same up to it";
        let mut before = prev;
        for entry in entries {
            let reign = self.terms.entry(entry.at.term).or_insert_with(|| Reign::after(before));
            let prev = reign.before(entry.at);
            check(prev == before, rule, || {
                format!("{} follows {before} here, and {prev} elsewhere", entry.at)
            })?;
            let is_same = reign.holds(entry);
            check(is_same, rule, || format!("there are two entries at {}", entry.at))?;
            before = entry.at;
            if let Payload::Config(config) = &entry.payload {
                self.configs.entry(entry.at).or_insert_with(|| Arc::clone(config));
            }
        }
        Ok(())
    }
}

impl Reign {
    fn after(prev: Position) -> Self {
        Self { prev, payloads: Vec::new() }
    }

    /// The index of the last of them.
    fn last(&self) -> Index {
        self.prev.index.plus(self.payloads.len() as u64)
    }

    /// The position before the entry of this term at `at`.
    fn before(&self, at: Position) -> Position {
        if at.index == self.prev.index.next() {
            self.prev
        } else {
            Position::new(at.term, at.index.prev())
        }
    }

    /// Whether this is the entry at its place, known or new.
    fn holds(&mut self, entry: &Entry) -> bool {
        let place = usize::try_from(entry.at.index.since(self.prev.index.next()));
        let place = place.unwrap_or(usize::MAX);
        if place == self.payloads.len() {
            self.payloads.push(entry.payload.clone());
        }
        self.payloads.get(place) == Some(&entry.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64, payload: &[u8]) -> Entry {
        let at = Position::new(Term::new(term), Index::new(index));
        Entry { at, payload: Payload::Command(payload.into()) }
    }

    #[test]
    fn logs_that_match_are_accepted_in_any_pieces() {
        let run = [entry(1, 1, b"a"), entry(1, 2, b"b"), entry(3, 3, b"c"), entry(3, 4, b"d")];
        let mut ledger = Ledger::default();
        assert_eq!(ledger.written(Position::ORIGIN, &run), Ok(()));
        assert_eq!(ledger.written(run[0].at, &run[1..3]), Ok(()));
        let fork = [entry(2, 2, b"x")];
        assert_eq!(ledger.written(run[0].at, &fork), Ok(()), "another term may fork off");
    }

    #[test]
    fn two_entries_or_two_pasts_of_one_position_are_found() {
        let mut ledger = Ledger::default();
        let run = [entry(1, 1, b"a"), entry(3, 2, b"b"), entry(3, 3, b"c")];
        assert_eq!(ledger.written(Position::ORIGIN, &run), Ok(()));
        assert!(ledger.written(run[0].at, &[entry(3, 2, b"other")]).is_err());
        let other_past = Position::new(Term::new(2), Index::new(1));
        assert!(ledger.written(other_past, &run[1..2]).is_err());
        assert!(ledger.written(run[0].at, &run[2..]).is_err(), "an entry is left out");
    }
}
