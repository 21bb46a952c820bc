//! Linearizable reads without writing to the log (thesis §6.4, ReadIndex).
//!
//! A leader may answer a read with its state as of commit index C if it was still the leader
//! *after* the read arrived, and C covers every write acknowledged before. So:
//! 1. The read waits until an entry of the leader's own term is committed: before that, C may lag.
//! 2. C is noted when the read arrives (or when 1 came true).
//! 3. A heartbeat round that *starts after* the read arrived is answered by a quorum. Rounds are
//!    numbered by the leader itself and no number is used twice, so a late reply proves nothing
//!    that its round did not.
//! 4. The answer goes out when everything up to C has been handed out to be applied here.
//!
//! All reads that arrive while a round is under way share the next one.
//!
//! A follower asks the leader for C and then does step 4 itself. Each attempt has a fresh id; a
//! reply to an attempt that was given up is ignored.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::types::{Index, NodeId, Ticket, Time};

/// Who wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
    /// The caller of this node.
    Local(Ticket),
    /// A follower, by the id of its attempt.
    Remote(NodeId, u64),
}

/// The reads that wait at a leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LeaderReads {
    /// They came before the first commit of the term (step 1).
    early: Vec<Reader>,
    /// They wait for their round (step 3), in the order of the rounds.
    unproven: VecDeque<Unproven>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Unproven {
    round: u64,
    index: Index,
    reader: Reader,
}

impl LeaderReads {
    pub(crate) fn len(&self) -> usize {
        self.early.len() + self.unproven.len()
    }

    /// A read that must wait for the first commit of the term.
    pub(crate) fn push_early(&mut self, reader: Reader) {
        self.early.push(reader);
    }

    /// The reads that waited for the first commit of the term.
    pub(crate) fn take_early(&mut self) -> Vec<Reader> {
        core::mem::take(&mut self.early)
    }

    /// A read of the state at `index`, proven once `round` is answered by a quorum.
    pub(crate) fn push(&mut self, reader: Reader, index: Index, round: u64) {
        self.unproven.push_back(Unproven { round, index, reader });
    }

    /// The next read that is proven by `round`.
    pub(crate) fn pop_proven(&mut self, round: u64) -> Option<(Reader, Index)> {
        let read = self.unproven.pop_front_if(|read| read.round <= round)?;
        Some((read.reader, read.index))
    }

    /// Whether some read needs a round that has not started at `round`.
    pub(crate) fn needs_round_after(&self, round: u64) -> bool {
        self.unproven.back().is_some_and(|read| read.round > round)
    }

    /// Every local read that is still unanswered.
    pub(crate) fn into_local_tickets(self) -> impl Iterator<Item = Ticket> {
        let unproven = self.unproven.into_iter().map(|read| read.reader);
        self.early.into_iter().chain(unproven).filter_map(|reader| match reader {
            Reader::Local(ticket) => Some(ticket),
            Reader::Remote(..) => None,
        })
    }
}

/// The reads that a follower has yet to ask, or has asked, its leader about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct FollowerReads {
    /// They came after the attempt under way was sent, and wait for the next.
    waiting: Vec<Ticket>,
    asked: Option<Attempt>,
}

/// One question to the leader, on behalf of many reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    id: u64,
    sent_at: Time,
    tickets: Vec<Ticket>,
}

impl FollowerReads {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.asked.as_ref().map_or(0, |attempt| attempt.tickets.len())
    }

    pub(crate) fn push(&mut self, ticket: Ticket) {
        self.waiting.push(ticket);
    }

    /// Whether a question should go out: some read waits and none was asked.
    pub(crate) fn should_ask(&self) -> bool {
        self.asked.is_none() && !self.waiting.is_empty()
    }

    /// When the question under way was sent.
    pub(crate) fn asked_at(&self) -> Option<Time> {
        self.asked.as_ref().map(|attempt| attempt.sent_at)
    }

    /// Notes that a question with this id goes out now, for all reads there are.
    pub(crate) fn ask(&mut self, id: u64, now: Time) {
        let mut tickets = self.asked.take().map(|attempt| attempt.tickets).unwrap_or_default();
        tickets.append(&mut self.waiting);
        self.asked = Some(Attempt { id, sent_at: now, tickets });
    }

    /// The reads that the answer to question `id` is for; none if it is not the one under way.
    pub(crate) fn answered(&mut self, id: u64) -> Vec<Ticket> {
        match self.asked.take_if(|attempt| attempt.id == id) {
            Some(attempt) => attempt.tickets,
            None => Vec::new(),
        }
    }

    /// Every read that is still unanswered; none of them is, from now on.
    pub(crate) fn take_all(&mut self) -> Vec<Ticket> {
        let mut tickets = self.asked.take().map(|attempt| attempt.tickets).unwrap_or_default();
        tickets.append(&mut self.waiting);
        tickets
    }
}
