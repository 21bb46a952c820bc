//! What a leader knows of one follower's log, and what is in flight to it.
//!
//! Invariants, checked by [`Progress::check`]:
//! 1. `matched < next`: what is known to be there is not sent again.
//! 2. Everything in flight lies before `next`; its sizes add up.
//! 3. `matched` never goes down within a term, unless the follower says that it lost its log.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::config::Limits;
use crate::invariants::rule;
use crate::types::{Index, NodeId, Time};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Progress {
    pub(crate) id: NodeId,
    /// The last index known to be equal to ours and durable there.
    pub(crate) matched: Index,
    /// The next index to send.
    pub(crate) next: Index,
    pub(crate) mode: Mode,
    /// When a message of this term last came from there.
    pub(crate) heard_at: Time,
    /// The latest heartbeat round it answered.
    pub(crate) round: u64,
    /// When the latest round left that it answered, if leases are in use: see
    /// [`lease`](crate::lease).
    pub(crate) bound_since: Time,
    /// The round that was current when the latest append left, and when that was.
    pub(crate) sent_in_round: u64,
    pub(crate) sent_at: Time,
    /// Its log lost entries, as it said, and is whole again once it has everything up to here.
    pub(crate) whole_from: Option<Index>,
}

/// How entries are sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    /// It is not known where the logs agree: one append at a time, until one matches.
    Probe {
        /// One is on its way.
        is_waiting: bool,
    },
    /// The logs agree up to `next`: appends follow each other without waiting.
    Replicate(Inflight),
    /// It needs what the log no longer holds: nothing is sent until a snapshot has arrived.
    Snapshot,
}

/// The appends that a follower has not answered, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Inflight {
    appends: VecDeque<(Index, usize)>,
    bytes: usize,
}

impl Inflight {
    fn has_room(&self, limits: &Limits) -> bool {
        self.appends.len() < limits.max_inflight_messages
            && (self.bytes < limits.max_inflight_bytes || self.appends.is_empty())
    }

    fn sent(&mut self, last: Index, bytes: usize) {
        self.appends.push_back((last, bytes));
        self.bytes += bytes;
    }

    fn acknowledged(&mut self, matched: Index) {
        while let Some((_, bytes)) = self.appends.pop_front_if(|(last, _)| *last <= matched) {
            self.bytes -= bytes;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.appends.len()
    }
}

impl Progress {
    /// A follower of which nothing is known yet: the first probe is right after `last`, where an
    /// up-to-date follower agrees at once.
    pub(crate) fn new(id: NodeId, last: Index, now: Time) -> Self {
        Self {
            id,
            matched: Index::ZERO,
            next: last.next(),
            mode: Mode::Probe { is_waiting: false },
            heard_at: now,
            round: 0,
            bound_since: Time::ZERO,
            sent_in_round: 0,
            sent_at: now,
            whole_from: None,
        }
    }

    /// Whether entries may be sent now.
    pub(crate) fn may_send(&self, limits: &Limits) -> bool {
        match &self.mode {
            Mode::Probe { is_waiting } => !is_waiting,
            Mode::Replicate(inflight) => inflight.has_room(limits),
            Mode::Snapshot => false,
        }
    }

    /// Entries up to `last` were sent. While probing, `next` waits for the answer.
    pub(crate) fn sent(&mut self, last: Index, bytes: usize, round: u64, now: Time) {
        (self.sent_in_round, self.sent_at) = (round, now);
        match &mut self.mode {
            Mode::Probe { is_waiting } => *is_waiting = true,
            Mode::Replicate(inflight) => {
                inflight.sent(last, bytes);
                self.next = last.next();
            }
            Mode::Snapshot => {}
        }
    }

    /// The follower has everything up to `matched`. Returns whether that is news.
    pub(crate) fn acknowledged(&mut self, matched: Index) -> bool {
        let is_news = matched > self.matched;
        self.matched = self.matched.max(matched);
        match &mut self.mode {
            Mode::Probe { .. } | Mode::Snapshot if matched.next() >= self.next => {
                self.next = matched.next();
                self.mode = Mode::Replicate(Inflight::default());
            }
            Mode::Probe { .. } | Mode::Snapshot => {}
            Mode::Replicate(inflight) => {
                inflight.acknowledged(matched);
                self.next = self.next.max(matched.next());
            }
        }
        is_news
    }

    /// Whether a rejection of an append after `prev` says something new. A late one does not; nor
    /// does one of what has matched, which only a follower sends that lost its disk: to probe there
    /// again would go round in circles.
    pub(crate) fn is_rejection_current(&self, prev: Index) -> bool {
        let is_current = match self.mode {
            Mode::Probe { .. } => prev == self.next.prev(),
            Mode::Replicate(_) => prev < self.next,
            Mode::Snapshot => false,
        };
        is_current && prev > self.matched
    }

    /// Goes back to probing, with `next` as the guess; what was in flight counts as lost.
    pub(crate) fn probe_at(&mut self, next: Index) {
        self.next = next.max(self.matched.next());
        self.mode = Mode::Probe { is_waiting: false };
    }

    /// Sends nothing more until a snapshot has arrived, or the follower has caught up by itself.
    pub(crate) fn await_snapshot(&mut self) {
        self.mode = Mode::Snapshot;
    }

    pub(crate) fn awaits_snapshot(&self) -> bool {
        matches!(self.mode, Mode::Snapshot)
    }

    /// The connection broke: what was in flight counts as lost. (Whether a snapshot was, its sender
    /// knows.)
    pub(crate) fn unreachable(&mut self) {
        if matches!(self.mode, Mode::Replicate(_)) {
            self.probe_at(self.matched.next());
        }
    }

    /// The follower's log lost what came after `last`: what it acknowledged is not there any more.
    pub(crate) fn lost_its_log(&mut self, last: Index) {
        self.matched = self.matched.min(last);
        self.probe_at(last.next());
    }

    /// Whether its log lost entries, and does not have them back, as far as one can tell here.
    pub(crate) fn is_recovering(&self) -> bool {
        self.whole_from.is_some_and(|index| self.matched < index)
    }

    /// Whether it is not known where the logs agree, and no question about it is on its way.
    pub(crate) fn needs_probe(&self) -> bool {
        matches!(self.mode, Mode::Probe { is_waiting: false })
    }

    /// Whether the follower answered a heartbeat that left after the latest append, but not the
    /// append, for as long as `patience`: it was lost, or waits for the follower's disk. (Reads
    /// make many rounds in the time of one sync: rounds alone would raise suspicion all the time.)
    pub(crate) fn may_have_lost_an_append(&self, now: Time, patience: Duration) -> bool {
        let is_waiting = match &self.mode {
            Mode::Probe { is_waiting } => *is_waiting,
            Mode::Replicate(inflight) => inflight.len() > 0,
            Mode::Snapshot => false,
        };
        is_waiting && self.round > self.sent_in_round && now.since(self.sent_at) >= patience
    }

    pub(crate) fn inflight_messages(&self) -> usize {
        match &self.mode {
            Mode::Probe { is_waiting } => usize::from(*is_waiting),
            Mode::Replicate(inflight) => inflight.len(),
            Mode::Snapshot => 0,
        }
    }

    /// The size of the entries in flight; of a probe, which is one message, nothing is known.
    pub(crate) fn inflight_bytes(&self) -> usize {
        match &self.mode {
            Mode::Probe { .. } | Mode::Snapshot => 0,
            Mode::Replicate(inflight) => inflight.bytes,
        }
    }

    pub(crate) fn is_probing(&self) -> bool {
        matches!(self.mode, Mode::Probe { .. })
    }

    /// Checks the invariants at the head of this file.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        rule(self.matched < self.next, "what matched is not sent again")?;
        let Mode::Replicate(inflight) = &self.mode else {
            return Ok(());
        };
        let bytes: usize = inflight.appends.iter().map(|(_, bytes)| bytes).sum();
        rule(bytes == inflight.bytes, "the bytes in flight add up")?;
        let is_ahead = inflight.appends.back().is_some_and(|(last, _)| *last >= self.next);
        rule(!is_ahead, "what is in flight lies before next")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(index: u64) -> Index {
        Index::new(index)
    }

    fn replicating(limits: &Limits) -> Progress {
        let mut progress = Progress::new(NodeId::new(2), index(10), Time::ZERO);
        assert!(progress.may_send(limits));
        assert!(progress.acknowledged(index(10)));
        assert!(!progress.is_probing());
        progress
    }

    #[test]
    fn the_window_is_bounded_by_messages_and_by_bytes_and_never_leaks() {
        let limits =
            Limits { max_inflight_messages: 2, max_inflight_bytes: 100, ..Limits::default() };
        let mut progress = replicating(&limits);
        progress.sent(index(11), 500, 0, Time::ZERO);
        assert!(
            !progress.may_send(&limits),
            "one message above the byte bound is all there may be"
        );
        progress.acknowledged(index(11));
        progress.sent(index(12), 10, 0, Time::ZERO);
        progress.sent(index(13), 10, 0, Time::ZERO);
        assert!(!progress.may_send(&limits), "two messages are the bound");
        progress.acknowledged(index(13));
        assert_eq!(progress.inflight_messages(), 0, "one acknowledgement covers both");
        assert!(progress.may_send(&limits));
        progress.check().unwrap();
    }

    #[test]
    fn a_late_rejection_is_ignored_and_a_current_one_probes() {
        let mut progress = replicating(&Limits::default());
        progress.sent(index(12), 1, 0, Time::ZERO);
        assert!(!progress.is_rejection_current(index(10)), "already matched");
        assert!(progress.is_rejection_current(index(11)));
        progress.probe_at(index(12));
        assert!(!progress.is_rejection_current(index(12)), "another probe than the one under way");
        assert!(progress.is_rejection_current(index(11)));
        progress.probe_at(index(3));
        assert_eq!(progress.next, index(11), "never at or below what matched");
        assert!(!progress.is_rejection_current(index(10)), "it would go round in circles");
        progress.check().unwrap();
    }

    #[test]
    fn a_lost_append_is_suspected_only_after_a_later_heartbeat_was_answered() {
        let mut progress = replicating(&Limits::default());
        progress.sent(index(11), 1, 4, Time::ZERO);
        let patience = Duration::from_millis(50);
        let suspects = |progress: &Progress, millis| {
            progress.may_have_lost_an_append(Time::from_millis(millis), patience)
        };
        progress.round = 4;
        assert!(!suspects(&progress, 60));
        progress.round = 5;
        assert!(!suspects(&progress, 40), "rounds may be quicker than disks");
        assert!(suspects(&progress, 60));
        progress.acknowledged(index(11));
        assert!(!suspects(&progress, 60));
    }
}
