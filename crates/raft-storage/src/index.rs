//! [`LogIndex`]: where every entry is, and of which term, without the entries.
//!
//! One slot of 16 bytes a record that has entries, 16 bytes a term. A million entries written one
//! by one take 16 MB; in records of sixteen, 1 MB.

use raft_core::{Index, Position, Term};

use crate::sector::Place;

/// The shape of the log.
///
/// Invariants:
/// 1. Slots grow in first index; each reaches to the one before the next slot's first index, the
///    last one to `last`. The first one begins right after `start`, or there is none.
/// 2. Term starts grow in index and in term, beginning right after `start` unless there is no
///    entry.
/// 3. Bases grow in segment. No slot lies in a segment before the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogIndex {
    start: Position,
    last: Position,
    slots: Vec<Slot>,
    term_starts: Vec<Position>,
    bases: Vec<Base>,
}

/// A segment that was begun, and the position of the last entry as of then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Base {
    segment: u32,
    last: Position,
}

/// Where a run of entries is: in the record at `place`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) first: Index,
    pub(crate) place: Place,
}

impl LogIndex {
    /// A log without entries that begins after `start`.
    pub(crate) fn starting_after(start: Position) -> Self {
        Self { start, last: start, ..Self::default() }
    }

    /// The position before the first entry.
    pub(crate) fn start(&self) -> Position {
        self.start
    }

    /// The position of the last entry; `start` if there is none.
    pub(crate) fn last(&self) -> Position {
        self.last
    }

    /// The first position of every term, in order.
    pub(crate) fn term_starts(&self) -> &[Position] {
        &self.term_starts
    }

    /// The term of the entry at `index`, or of `start`; `None` outside of the log.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        if index < self.start.index || index > self.last.index {
            return None;
        }
        let later = self.term_starts.partition_point(|start| start.index <= index);
        let term_start = later.checked_sub(1).map(|before| self.term_starts[before]);
        Some(term_start.unwrap_or(self.start).term)
    }

    /// Whether entries may be put right after `prev`: the log holds that position. Where its
    /// beginning was removed, the position before `start` cannot be compared and is believed.
    pub(crate) fn continues(&self, prev: Position) -> bool {
        prev.index < self.start.index || self.term_at(prev.index) == Some(prev.term)
    }

    /// Forgets every entry: the log begins anew after `start`.
    pub(crate) fn reset(&mut self, start: Position) {
        let bases = std::mem::take(&mut self.bases);
        *self = Self { bases, ..Self::starting_after(start) };
    }

    /// Puts entries of these terms after `prev`, in place of all that was there.
    ///
    /// If `prev` lies before the start, the log begins there from now on: the segments that held
    /// what was between are gone, and this record replaced their entries long before that.
    pub(crate) fn extend(
        &mut self,
        prev: Position,
        terms: impl Iterator<Item = Term>,
        place: Place,
    ) {
        self.cut_after(prev);
        let mut last = prev;
        for term in terms {
            let at = Position::new(term, last.index.next());
            if self.term_starts.last().is_none_or(|start| start.term != term) {
                self.term_starts.push(at);
            }
            last = at;
        }
        if last != prev {
            self.slots.push(Slot { first: prev.index.next(), place });
        }
        self.last = last;
    }

    fn cut_after(&mut self, prev: Position) {
        if prev.index < self.start.index {
            return self.reset(prev);
        }
        let kept = self.slots.partition_point(|slot| slot.first <= prev.index);
        self.slots.truncate(kept);
        let kept = self.term_starts.partition_point(|start| start.index <= prev.index);
        self.term_starts.truncate(kept);
        self.last = prev;
    }

    /// The slot that holds `index`, and the last index it reaches to.
    pub(crate) fn locate(&self, index: Index) -> Option<(Slot, Index)> {
        if index <= self.start.index || index > self.last.index {
            return None;
        }
        let after = self.slots.partition_point(|slot| slot.first <= index);
        let slot = self.slots[after.checked_sub(1)?];
        let end = self.slots.get(after).map_or(self.last.index, |next| next.first.prev());
        Some((slot, end))
    }

    /// Takes note that a segment begins here.
    pub(crate) fn begin_segment(&mut self, segment: u32) {
        self.bases.push(Base { segment, last: self.last });
    }

    /// The first segment that has to be kept if no entry up to `upto` is needed: every entry
    /// that was ever written before it lies at or before `upto`.
    pub(crate) fn first_needed(&self, upto: Index) -> Option<u32> {
        self.bases.iter().rfind(|base| base.last.index <= upto).map(|base| base.segment)
    }

    /// Forgets what lies in segments before `segment`, as [`LogIndex::first_needed`] named it.
    pub(crate) fn forget_before(&mut self, segment: u32) {
        self.bases.retain(|base| base.segment >= segment);
        let Some(base) = self.bases.first() else { return };
        let gone = self.slots.partition_point(|slot| slot.place.segment < segment);
        let first_kept = self.slots.get(gone).map(|slot| slot.first.prev());
        let index = first_kept.unwrap_or(base.last.index).min(base.last.index);
        let Some(term) = self.term_at(index) else { return };
        self.slots.drain(..gone);
        self.start = Position::new(term, index);
        self.term_starts = self.term_starts_after(self.start);
    }

    /// The term starts of the entries after `start`: the first of them begins its term there, as
    /// far as the log still knows.
    fn term_starts_after(&self, start: Position) -> Vec<Position> {
        let first = start.index.next();
        let Some(term) = self.term_at(first) else { return Vec::new() };
        let later = self.term_starts.iter().filter(|kept| kept.index > first).copied();
        std::iter::once(Position::new(term, first)).chain(later).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(term: u64, index: u64) -> Position {
        Position::new(Term::new(term), Index::new(index))
    }

    fn terms(terms: &[u64]) -> impl Iterator<Item = Term> {
        terms.iter().copied().map(Term::new)
    }

    fn place(segment: u32, sector: u32) -> Place {
        Place::new(segment, sector)
    }

    /// Entries 1-3 of term 1, 4 of term 2 and 5-6 of term 4, in three records of two segments.
    fn index() -> LogIndex {
        let mut index = LogIndex::default();
        index.begin_segment(1);
        index.extend(at(0, 0), terms(&[1, 1]), place(1, 1));
        index.extend(at(1, 2), terms(&[1, 2]), place(1, 2));
        index.begin_segment(2);
        index.extend(at(2, 4), terms(&[4, 4]), place(2, 1));
        index
    }

    #[test]
    fn the_term_and_the_place_of_every_entry_are_known() {
        let index = index();
        assert_eq!(index.last(), at(4, 6));
        assert_eq!(index.term_starts(), [at(1, 1), at(2, 4), at(4, 5)]);
        let found: Vec<_> = (0..8).map(|n| index.term_at(Index::new(n)).map(Term::get)).collect();
        let expected = [0, 1, 1, 1, 2, 4, 4].map(Some).into_iter().chain([None]);
        assert_eq!(found, expected.collect::<Vec<_>>());
        let (slot, end) = index.locate(Index::new(4)).expect("in the log");
        assert_eq!((slot.first, slot.place, end), (Index::new(3), place(1, 2), Index::new(4)));
        assert!(index.locate(Index::new(0)).is_none() && index.locate(Index::new(7)).is_none());
    }

    #[test]
    fn entries_put_within_replace_the_rest() {
        let mut index = index();
        index.extend(at(1, 3), terms(&[5]), place(2, 2));
        assert_eq!(index.last(), at(5, 4));
        assert_eq!(index.term_starts(), [at(1, 1), at(5, 4)]);
        let (slot, end) = index.locate(Index::new(3)).expect("kept");
        assert_eq!((slot.place, end), (place(1, 2), Index::new(3)));
        assert_eq!(index.locate(Index::new(4)).map(|found| found.0.place), Some(place(2, 2)));
    }

    #[test]
    fn a_log_whose_beginning_was_removed_still_knows_its_terms() {
        let mut index = index();
        assert_eq!(index.first_needed(Index::new(3)), Some(1));
        assert_eq!(index.first_needed(Index::new(4)), Some(2));
        index.forget_before(2);
        assert_eq!((index.start(), index.last()), (at(2, 4), at(4, 6)));
        assert_eq!(index.term_starts(), [at(4, 5)]);
        assert!(index.locate(Index::new(4)).is_none());
        assert!(index.locate(Index::new(5)).is_some());
    }

    #[test]
    fn entries_that_reached_back_into_a_removed_segment_move_the_start_back() {
        let mut live = index();
        live.extend(at(1, 3), terms(&[5, 5]), place(2, 2));
        let mut recovered = LogIndex::starting_after(at(2, 4));
        recovered.begin_segment(2);
        recovered.extend(at(2, 4), terms(&[4, 4]), place(2, 1));
        recovered.extend(at(1, 3), terms(&[5, 5]), place(2, 2));
        live.forget_before(2);
        assert_eq!(recovered, live);
        assert_eq!(live.start(), at(1, 3));
    }
}
