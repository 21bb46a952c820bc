//! The proposals of this node whose fate is open.
//!
//! An entry that was removed from this log, in favour of a newer leader's, is not dead yet:
//! another node that has it may be elected next and commit it, as in figure 8 of the paper. It is
//! displaced, and waits like every other until its fate is sealed.
//!
//! That is when the last committed position is not before its own, in the order of positions. If
//! its index is committed, it is in the committed log or never will be. If its term is over among
//! the committed entries, it cannot follow them, because terms never go down along a log.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::api::Outcome;
use crate::invariants::rule;
use crate::log::Log;
use crate::types::{Index, Position, Ticket};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Proposals {
    /// In the log, in its order.
    open: VecDeque<(Position, Ticket)>,
    /// Removed from the log, and perhaps back in it.
    displaced: Vec<(Position, Ticket)>,
}

impl Proposals {
    pub(crate) fn len(&self) -> usize {
        self.open.len() + self.displaced.len()
    }

    /// A proposal was appended to the log.
    pub(crate) fn push(&mut self, at: Position, ticket: Ticket) {
        self.open.push_back((at, ticket));
    }

    /// The log lost its entries from index `from` on.
    pub(crate) fn displace(&mut self, from: Index) {
        while let Some(proposal) = self.open.pop_back_if(|(at, _)| at.index >= from) {
            self.displaced.push(proposal);
        }
    }

    /// A proposal whose fate is sealed, now that `log` is committed up to `committed`.
    pub(crate) fn pop_settled(
        &mut self,
        committed: Position,
        log: &Log,
    ) -> Option<(Ticket, Outcome)> {
        let settled = self.open.pop_front_if(|(at, _)| *at <= committed);
        let (at, ticket) = settled.or_else(|| {
            let place = self.displaced.iter().position(|(at, _)| *at <= committed)?;
            Some(self.displaced.swap_remove(place))
        })?;
        let outcome = if log.holds(at) { Outcome::Committed(at) } else { Outcome::Overwritten };
        Some((ticket, outcome))
    }

    /// Checks that every proposal is where it should be, in a log committed up to `committed`.
    pub(crate) fn check(&self, committed: Position, log: &Log) -> Result<(), &'static str> {
        let mut latest = committed.index;
        for (at, _) in &self.open {
            rule(at.index > latest && log.holds(*at), "open proposals are open, and in order")?;
            latest = at.index;
        }
        let is_open = self.displaced.iter().all(|(at, _)| *at > committed);
        rule(is_open, "a displaced proposal waits until its fate is sealed")
    }
}
