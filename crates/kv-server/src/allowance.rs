//! [`Allowance`]: which commands of a leader a node still takes that has hardly any room.
//!
//! What is no command is always taken: there is little of it, and it is what it takes to lead.
//! Commands of earlier terms are taken up to a bound, because a new leader that has such can
//! confirm reads only once a majority has them as well.
//!
//! 1. A command counts when it is written, and once. Entries that are sent again while the disk is
//!    slow, or that do not fit the log, use up nothing.
//! 2. The first entry that is not taken ends what is taken of a message: a log has no gaps.

use raft_core::{Entries, Entry, Payload, Term};

/// How much is taken of the commands of earlier terms: 2 MiB.
const EARLIER_BYTES: usize = 2 << 20;

/// What a node takes of commands until it has room again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// How much it still takes of the commands of earlier terms.
    earlier_bytes: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { earlier_bytes: EARLIER_BYTES }
    }
}

impl Allowance {
    /// How many of the entries that the leader of this term sends are taken.
    pub(crate) fn count(mut self, entries: &Entries, term: Term) -> usize {
        let takes = |entry: &&Entry| {
            let Payload::Command(_) = entry.payload else { return true };
            let Some(left_bytes) = self.left_bytes(entry, term) else { return false };
            let rest_bytes = left_bytes.checked_sub(entry.size_bytes());
            *left_bytes = rest_bytes.unwrap_or(*left_bytes);
            rest_bytes.is_some()
        };
        entries.iter().take_while(takes).count()
    }

    /// These entries were written in this term.
    pub(crate) fn written(&mut self, entries: &Entries, term: Term) {
        for entry in entries.iter().filter(|entry| matches!(entry.payload, Payload::Command(_))) {
            if let Some(left_bytes) = self.left_bytes(entry, term) {
                *left_bytes = left_bytes.saturating_sub(entry.size_bytes());
            }
        }
    }

    /// What a command counts against in this term; `None` if it is not taken at all.
    fn left_bytes(&mut self, command: &Entry, term: Term) -> Option<&mut usize> {
        (command.at.term < term).then_some(&mut self.earlier_bytes)
    }
}
