//! The proposals of this node whose fate is open.
//!
//! An entry that was removed from this log, in favour of a newer leader's, is not dead yet:
//! another node that has it may be elected next and commit it, as in figure 8 of the paper. It is
//! displaced, and waits like every other until its fate is sealed.
//!
//! That is when the last committed position is not before its own, in the order of positions. If
//! its index is committed, it is in the committed log or never will be. If its term is over among
//! the committed entries, it cannot follow them, because terms never go down along a log. Only
//! where a snapshot took the place of that part of the log, nobody here can tell which it was.

use alloc::collections::{BTreeMap, VecDeque};

use crate::api::Outcome;
use crate::invariants::rule;
use crate::log::Log;
use crate::planted::Bug;
use crate::types::{Index, Position, Ticket};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Proposals {
    /// In the log, in its order.
    open: VecDeque<(Position, Ticket)>,
    /// Removed from the log, and perhaps back in it; in the order of their positions.
    displaced: BTreeMap<Position, Ticket>,
}

impl Proposals {
    pub(crate) fn len(&self) -> usize {
        self.open.len() + self.displaced.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.displaced.is_empty()
    }

    /// A proposal was appended to the log.
    pub(crate) fn push(&mut self, at: Position, ticket: Ticket) {
        self.open.push_back((at, ticket));
    }

    /// The log lost its entries from index `from` on.
    pub(crate) fn displace(&mut self, from: Index) {
        while let Some(proposal) = self.open.pop_back_if(|(at, _)| at.index >= from) {
            self.displaced.extend([proposal]);
        }
    }

    /// A proposal whose fate is sealed, now that `log` is committed up to `committed`: the one
    /// with the lowest position, so that proposals are settled in the order of the log.
    #[inline]
    pub(crate) fn pop_settled(
        &mut self,
        committed: Position,
        log: &Log,
    ) -> Option<(Ticket, Outcome)> {
        if !self.displaced.is_empty()
            && let Some(settled) = self.pop_displaced(committed, log)
        {
            return Some(settled);
        }
        // What is open is in the log.
        let (at, ticket) = self.open.pop_front_if(|(at, _)| at.index <= committed.index)?;
        Some((ticket, Outcome::Committed(at)))
    }

    /// The first of the displaced proposals, if it is settled, and before every open one.
    #[cold]
    fn pop_displaced(&mut self, committed: Position, log: &Log) -> Option<(Ticket, Outcome)> {
        let first = self.displaced.first_entry()?;
        let is_next = self.open.front().is_none_or(|(open, _)| first.key() < open);
        if !is_next || *first.key() > committed {
            return None;
        }
        let (at, ticket) = first.remove_entry();
        Some((ticket, fate_of_displaced(at, log)))
    }

    /// Checks that every proposal is where it should be, in a log committed up to `committed`.
    pub(crate) fn check(&self, committed: Position, log: &Log) -> Result<(), &'static str> {
        let mut latest = committed.index;
        for (at, _) in &self.open {
            rule(at.index > latest && log.holds(*at), "open proposals are open, and in order")?;
            latest = at.index;
        }
        let is_open = self.displaced.keys().all(|at| *at > committed);
        rule(is_open, "a displaced proposal waits until its fate is sealed")
    }
}

/// What became of a proposal that was removed, now that `log` is committed beyond its position.
fn fate_of_displaced(at: Position, log: &Log) -> Outcome {
    let start = log.start();
    if log.holds(at) || log.planted.has(Bug::OverwrittenCommitted) {
        Outcome::Committed(at)
    } else if log.planted.has(Bug::UnknownOverwritten) {
        Outcome::Overwritten
    } else if at.index < start.index && at.term <= start.term {
        Outcome::Unknown
    } else {
        Outcome::Overwritten
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::config::{Boot, ClusterConfig};
    use crate::types::Term;

    fn at(term: u64, index: u64) -> Position {
        Position::new(Term::new(term), Index::new(index))
    }

    /// A log that begins with entries of term 1, and goes on with `later` if that is not one.
    fn log(last: Position, later: Option<Position>) -> Log {
        let term_starts = [vec![at(1, 1)], later.into_iter().collect()].concat();
        Log::restore(Boot { term_starts, last, ..Boot::new(ClusterConfig::default()) })
    }

    fn displaced() -> Proposals {
        let mut proposals = Proposals::default();
        proposals.push(at(1, 2), Ticket::new(2));
        proposals.push(at(1, 3), Ticket::new(3));
        proposals.displace(Index::new(3));
        proposals
    }

    #[test]
    fn a_displaced_proposal_is_open_while_only_its_own_term_is_committed() {
        let (mut proposals, log) = (displaced(), log(at(1, 2), None));
        let committed = Some((Ticket::new(2), Outcome::Committed(at(1, 2))));
        assert_eq!(proposals.pop_settled(at(1, 2), &log), committed);
        assert_eq!(proposals.pop_settled(at(1, 2), &log), None);
        assert_eq!(proposals.len(), 1);
        assert_eq!(proposals.check(at(1, 2), &log), Ok(()));
    }

    #[test]
    fn it_is_dead_once_a_later_term_is_committed_even_at_an_earlier_index() {
        let (mut proposals, log) = (displaced(), log(at(2, 2), Some(at(2, 2))));
        proposals.displace(Index::new(2));
        for _ in 0..2 {
            let settled = proposals.pop_settled(at(2, 2), &log);
            assert!(matches!(settled, Some((_, Outcome::Overwritten))), "{settled:?}");
        }
    }

    /// They were settled in any order, and a driver that pairs them with entries by rising index
    /// never answered some of them.
    #[test]
    fn they_are_settled_in_the_order_of_the_log() {
        let mut proposals = Proposals::default();
        (2..=5).for_each(|index| proposals.push(at(1, index), Ticket::new(index)));
        proposals.displace(Index::new(3));
        let log = log(at(1, 5), None);
        let settled: Vec<_> =
            core::iter::from_fn(|| proposals.pop_settled(at(1, 5), &log)).collect();
        let tickets: Vec<_> = settled.iter().map(|(ticket, _)| ticket.get()).collect();
        assert_eq!(tickets, [2, 3, 4, 5]);
    }

    #[test]
    fn it_is_committed_if_another_leader_brings_it_back() {
        let (mut proposals, log) = (displaced(), log(at(1, 3), None));
        let outcomes: Vec<_> =
            core::iter::from_fn(|| proposals.pop_settled(at(1, 3), &log)).collect();
        assert_eq!(outcomes[1], (Ticket::new(3), Outcome::Committed(at(1, 3))));
    }
}
