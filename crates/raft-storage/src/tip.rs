//! [`Tip`]: what is true after the last record, and so what the next record has to continue.

use raft_core::{HardState, Index, Position};

use crate::record::Header;

/// The state of a log after its last record.
///
/// The rules for the next record are written once, in [`Tip::check`]. They are applied before a
/// record is written and again when one is read back, so that a record that breaks one when read
/// cannot be one of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The number of the last record; 0 if there is none.
    pub(crate) sequence: u64,
    /// The seal of that record's first sector; 0 if there is none.
    pub(crate) seal: u32,
    /// The position of the last entry.
    pub(crate) last: Position,
    /// The latest term, vote and count of starts.
    pub(crate) hard_state: HardState,
    /// The highest index known to be committed; never beyond `last`.
    pub(crate) commit: Index,
}

impl Tip {
    /// Whether a record with this header may come next.
    ///
    /// 1. Its number is the next one, and it names the seal of the record before: a record that
    ///    is missing, stale or from another history breaks the chain.
    /// 2. Only what came before it can have been durable when it was written.
    /// 3. Its entries begin at or before the end of the log, and after everything committed.
    ///    Without entries it says where the log ends. One that lets the log begin anew may begin
    ///    anywhere after what is committed.
    /// 4. Terms, votes and starts are never taken back; no entry is of a later term than the node.
    /// 5. It commits nothing beyond the entries there are.
    pub(crate) fn check(&self, header: &Header) -> Result<(), &'static str> {
        let rules = [
            (header.sequence == self.sequence.wrapping_add(1), "it is not the next record"),
            (header.previous == self.seal, "it does not continue the record before it"),
            (header.durable < header.sequence, "it claims that later records were durable"),
            (
                header.is_reset || header.prev.index <= self.last.index,
                "entries are missing before its first one",
            ),
            (header.prev.index >= self.commit, "it replaces committed entries"),
            (
                header.is_reset || header.entries > 0 || header.prev == self.last,
                "it names another last entry",
            ),
            (header.last().term >= header.prev.term, "its terms go down"),
            (vote_continues(self.hard_state, header.hard_state), "it takes back a term or a vote"),
            (header.last().term <= header.hard_state.term, "its entries are of a later term"),
            (header.hard_state.boots >= self.hard_state.boots, "it takes back a start of the node"),
            (header.commit <= header.last().index, "it commits entries that do not exist"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(broken),
            None => Ok(()),
        }
    }

    /// The tip after a record that passed [`Tip::check`], sealed with `seal`.
    pub(crate) fn after(&self, header: &Header, seal: u32) -> Self {
        Self {
            sequence: header.sequence,
            seal,
            last: header.last(),
            hard_state: header.hard_state,
            commit: self.commit.max(header.commit),
        }
    }
}

/// A vote is given once a term (paper §5.2): it may appear, it may not change.
fn vote_continues(before: HardState, after: HardState) -> bool {
    let same_vote = before.vote.is_none() || after.vote == before.vote;
    after.term > before.term || (after.term == before.term && same_vote)
}

#[cfg(test)]
mod tests {
    use raft_core::{NodeId, Term};

    use super::*;

    fn hard_state(term: u64, vote: Option<u64>) -> HardState {
        HardState {
            term: Term::new(term),
            vote: vote.map(NodeId::new),
            boots: 0,
            recovering: false,
        }
    }

    #[test]
    fn a_vote_may_appear_but_not_change_within_a_term() {
        assert!(vote_continues(hard_state(3, None), hard_state(3, Some(1))));
        assert!(vote_continues(hard_state(3, Some(1)), hard_state(4, Some(2))));
        assert!(vote_continues(hard_state(3, Some(1)), hard_state(4, None)));
        assert!(!vote_continues(hard_state(3, Some(1)), hard_state(3, Some(2))));
        assert!(!vote_continues(hard_state(3, Some(1)), hard_state(3, None)));
        assert!(!vote_continues(hard_state(3, Some(1)), hard_state(2, None)));
    }
}
