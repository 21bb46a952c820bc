//! The proposals of this node whose fate is open.
//!
//! An entry's fate is sealed only when its index is committed. Until then even an entry that was
//! removed from this log, in favour of a newer leader's, may still be committed: another node that
//! has it may be elected next, as in figure 8 of the paper. So a removed proposal is not dead yet;
//! it is displaced, and waits for the commit index like every other.

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

    /// A proposal whose fate is sealed, now that everything up to `commit` is committed in `log`.
    pub(crate) fn pop_settled(&mut self, commit: Index, log: &Log) -> Option<(Ticket, Outcome)> {
        let (at, ticket) = match self.open.pop_front_if(|(at, _)| at.index <= commit) {
            Some(open) => open,
            None => {
                let place = self.displaced.iter().position(|(at, _)| at.index <= commit)?;
                self.displaced.swap_remove(place)
            }
        };
        let outcome = if log.holds(at) { Outcome::Committed(at) } else { Outcome::Overwritten };
        Some((ticket, outcome))
    }

    /// Checks that every proposal is where it should be.
    pub(crate) fn check(&self, commit: Index, log: &Log) -> Result<(), &'static str> {
        let mut latest = commit;
        for (at, _) in &self.open {
            rule(at.index > latest && log.holds(*at), "open proposals are open, and in order")?;
            latest = at.index;
        }
        let is_open = self.displaced.iter().all(|(at, _)| at.index > commit);
        rule(is_open, "a displaced proposal waits for its index to be committed")
    }
}
