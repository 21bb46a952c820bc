//! Handing committed entries to the state machine (paper §5.3, "applied"), each once and in order.
//!
//! Mostly they are in memory. After a start, or a long wait for the disk, they are read back first.

use alloc::vec::Vec;

use crate::api::{Action, ReadLog, ReadPurpose};
use crate::entry::Entries;
use crate::node::Raft;
use crate::planted::Bug;
use crate::types::{Index, Time};

/// Whether entries to be applied are being read back, or are to be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ApplyRead {
    Idle,
    UnderWay,
    RetryAt(Time),
}

impl ApplyRead {
    /// There is nothing to ask for again.
    fn forget_retry(&mut self) {
        if matches!(self, Self::RetryAt(_)) {
            *self = Self::Idle;
        }
    }
}

impl Raft {
    /// The last index that may be applied here: committed, and durable on this node, so that the
    /// state machine never runs ahead of its own log.
    pub(crate) fn appliable(&self) -> Index {
        if self.planted.has(Bug::AppliedUncommitted) {
            return self.log.durable();
        }
        if self.planted.has(Bug::AppliedUnsaved) {
            return self.commit;
        }
        self.commit.min(self.log.durable())
    }

    pub(crate) fn hand_out_committed(&mut self, out: &mut Vec<Action>) {
        if self.installing.is_some() && !self.planted.has(Bug::AppliedWhileInstalling) {
            // What has to be read back after that, is seen then.
            return self.apply_read.forget_retry();
        }
        let last = self.appliable();
        while self.handed_out < last {
            let next = self.handed_out.next();
            if let Some(chunk) = self.log.recent_chunk(next, last) {
                self.handed_out = chunk.last();
                out.push(Action::Apply(chunk.entries().clone()));
                continue;
            }
            match self.log.cached_run(next, last) {
                Some(entries) => self.hand_out(entries, out),
                None => return self.read_back_for_apply(last, out),
            }
        }
        self.apply_read.forget_retry();
    }

    pub(crate) fn hand_out(&mut self, entries: Entries, out: &mut Vec<Action>) {
        if let Some(last) = entries.last_position() {
            self.handed_out = last.index;
            out.push(Action::Apply(entries));
        }
    }

    fn read_back_for_apply(&mut self, last: Index, out: &mut Vec<Action>) {
        match self.apply_read {
            ApplyRead::UnderWay => return,
            ApplyRead::RetryAt(at) if self.now < at => return,
            ApplyRead::RetryAt(_) | ApplyRead::Idle => {}
        }
        self.apply_read = ApplyRead::UnderWay;
        out.push(Action::ReadLog(ReadLog {
            purpose: ReadPurpose::Apply,
            first: self.handed_out.next(),
            last: last.min(self.log.first_cached().prev()),
            max_bytes: self.config.limits.max_append_bytes,
        }));
    }
}
