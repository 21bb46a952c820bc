//! Linearizable reads without writing to the log (thesis §6.4, ReadIndex).
//!
//! A leader may answer a read with its state as of commit index C if it was still the leader
//! *after* the read arrived, and C covers every write acknowledged before. So:
//! 1. The read waits until an entry of the leader's own term is committed: before that, C may lag.
//! 2. C is noted when the read arrives (or when 1 came true).
//! 3. A heartbeat round that *starts after* the read arrived is answered by a quorum. Rounds are
//!    numbered by the leader itself, and no number is used twice in a term: a late reply proves
//!    nothing that its round did not.
//! 4. The answer goes out when everything up to C has been handed out to be applied here.
//!
//! All reads that arrive while a round is under way share the next one.
//!
//! A follower asks the leader for C and then does step 4 itself. Each question has a fresh id, and
//! its answer is good for exactly the reads that came before it was asked. A question that was
//! asked again may still be answered: a network slower than our patience delays reads, it does not
//! starve them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::api::ReadMode;
use crate::types::{Index, NodeId, Ticket, Time};

/// Who wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
    /// The caller of this node.
    Local(Ticket),
    /// A follower, by the id of its question.
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

    pub(crate) fn has_early(&self) -> bool {
        !self.early.is_empty()
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

/// The reads of a follower's caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct FollowerReads {
    /// They came after the latest question, and wait for the next.
    waiting: Vec<(ReadMode, Ticket)>,
    /// Each with the id of the first question that was asked after it came. Ids grow.
    asked: VecDeque<(u64, Ticket)>,
    /// Whether some read that was asked for must not rely on a lease.
    needs_proof: bool,
    latest: Question,
}

/// A question to the leader, on behalf of all reads there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Question {
    id: u64,
    sent_at: Time,
}

impl FollowerReads {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.asked.len()
    }

    pub(crate) fn push(&mut self, ticket: Ticket, mode: ReadMode) {
        self.waiting.push((mode, ticket));
    }

    /// Whether a question should go out: some read waits and no question is open.
    pub(crate) fn should_ask(&self) -> bool {
        self.asked.is_empty() && !self.waiting.is_empty()
    }

    /// When the latest question was sent, if one is open.
    pub(crate) fn asked_at(&self) -> Option<Time> {
        if self.asked.is_empty() { None } else { Some(self.latest.sent_at) }
    }

    /// Notes that a question with this id, above all before it, goes out now. Returns how it is to
    /// be answered: as the most demanding of its reads needs it.
    pub(crate) fn ask(&mut self, id: u64, now: Time) -> ReadMode {
        self.needs_proof &= !self.asked.is_empty();
        self.needs_proof |= self.waiting.iter().any(|(mode, _)| *mode == ReadMode::Confirmed);
        self.asked.extend(self.waiting.drain(..).map(|(_, ticket)| (id, ticket)));
        self.latest = Question { id, sent_at: now };
        if self.needs_proof { ReadMode::Confirmed } else { ReadMode::Lease }
    }

    /// The next read that the answer to question `id` is good for: one that came before that
    /// question was asked, even if it was asked again since. None if `id` was never asked.
    pub(crate) fn pop_answered(&mut self, id: u64) -> Option<Ticket> {
        if id > self.latest.id {
            return None;
        }
        self.asked.pop_front_if(|(first, _)| *first <= id).map(|(_, ticket)| ticket)
    }

    /// Takes the latest question to have been sent at the origin of time.
    pub(crate) fn forget_times(&mut self) {
        self.latest.sent_at = Time::ZERO;
    }

    /// Every read that is still unanswered.
    pub(crate) fn into_tickets(self) -> impl Iterator<Item = Ticket> {
        let waiting = self.waiting.into_iter().map(|(_, ticket)| ticket);
        self.asked.into_iter().map(|(_, ticket)| ticket).chain(waiting)
    }
}
