//! [`Agenda`]: what will happen, and when. The only thing that makes time pass.

use std::collections::BTreeMap;

use raft_core::{Message, Time};

use super::trouble::Cure;

/// Something that is going to happen.
#[derive(Debug)]
pub(super) enum Happening {
    /// A message arrives that was sent then.
    Arrival { message: Message, sent: Time },
    /// The process of a node does its next step, if it is still this start of it.
    Step { at: usize, start: u64, step: Step },
    /// A client asks the next thing.
    Ask(usize),
    /// The client of this request waits no longer.
    Impatience(usize),
    /// The next piece of a snapshot arrives.
    Piece(u64),
    /// Some trouble begins.
    Strike,
    /// Some trouble ends.
    Cure(Cure),
    /// It is looked whether the cluster has recovered.
    Probe,
}

/// What the real server has threads and clocks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The timer of the loop goes off, unless it was set again.
    Wake(Time),
    /// The log is done with what was handed to it.
    Log,
    /// The log looks whether a full disk has room.
    LookForRoom,
    /// The apply thread comes to its queue.
    Apply,
    /// Values are read for clients.
    ReadValues,
    /// The state is written behind, or looks for room.
    Save,
}

/// In the order of time, and of those of one time in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BTreeMap<(Time, u64), Happening>,
    added: u64,
}

impl Agenda {
    pub(super) fn push(&mut self, at: Time, happening: Happening) {
        self.added += 1;
        self.due.insert((at, self.added), happening);
    }

    pub(super) fn pop(&mut self) -> Option<(Time, Happening)> {
        self.due.pop_first().map(|((at, _), happening)| (at, happening))
    }
}
