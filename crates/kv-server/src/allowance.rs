//! [`Allowance`]: which commands of a leader a node still takes that has no room.
//!
//! What is no command is always taken: there is little of it, and it is what it takes to lead. Of
//! commands, a node takes what it can afford, so that it is of use to the next leader:
//!
//! 1. Where only the state file has no room, the log has some. What comes in meanwhile is held in
//!    memory, so it has a bound: half of what a store may have unwritten before applying waits, and
//!    with it whoever reads.
//! 2. Commands of earlier terms are taken up to another bound, however little is left: a new leader
//!    that has such can confirm reads only once a majority has them as well.
//! 3. A command counts when it is written, and once. Entries that are sent again while the disk is
//!    slow, or that do not fit the log, use up nothing.
//! 4. The first entry that is not taken ends what is taken of a message: a log has no gaps.

use raft_core::{Entries, Entry, Payload, Term};

/// How much is taken while only the state file has no room: 8 MiB.
const HELD_BYTES: usize = 8 << 20;

/// How much more is taken of the commands of earlier terms: 2 MiB.
const EARLIER_BYTES: usize = 2 << 20;

/// What there is no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// The state file. The log has what it needs for now.
    StateFile,
    /// The log: hardly any is left.
    Log,
}

/// What a node takes of commands until it has room again.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// How much it still takes while only the state file has no room, in bytes. The default is
    /// 8 MiB.
    pub held_bytes: usize,
    /// How much it still takes of the commands of earlier terms, in bytes. The default is 2 MiB.
    pub earlier_bytes: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { held_bytes: HELD_BYTES, earlier_bytes: EARLIER_BYTES }
    }
}

impl Allowance {
    /// How many of the entries that the leader of this term sends are taken.
    pub(crate) fn count(mut self, entries: &Entries, term: Term, shortage: Shortage) -> usize {
        entries.iter().take_while(|entry| self.take(entry, term, shortage)).count()
    }

    /// These entries were written in this term.
    pub(crate) fn written(&mut self, entries: &Entries, term: Term, shortage: Shortage) {
        for entry in entries.iter() {
            // What is beyond it was under way before there was no room.
            self.take(entry, term, shortage);
        }
    }

    /// Counts an entry; `false`, and counts nothing, if it is not taken.
    fn take(&mut self, entry: &Entry, term: Term, shortage: Shortage) -> bool {
        let Payload::Command(_) = entry.payload else { return true };
        let takes = |left_bytes: &mut usize| {
            let rest_bytes = left_bytes.checked_sub(entry.size_bytes());
            *left_bytes = rest_bytes.unwrap_or(*left_bytes);
            rest_bytes.is_some()
        };
        shortage == Shortage::StateFile && takes(&mut self.held_bytes)
            || entry.at.term < term && takes(&mut self.earlier_bytes)
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Index, Position};

    use super::*;

    /// Commands of this term, of a MiB each.
    fn commands(term: u64, count: u64) -> Entries {
        let command = |index| {
            let at = Position::new(Term::new(term), Index::new(index));
            Entry { at, payload: Payload::Command(vec![0; (1 << 20) - 1024].into()) }
        };
        (1..=count).map(command).collect::<Vec<_>>().into()
    }

    #[test]
    fn what_is_taken_leaves_a_store_half_of_the_memory_before_applying_waits() {
        let store = kv_store::Options::default();
        assert!(2 * HELD_BYTES <= store.max_unwritten_bytes);
    }

    #[test]
    fn it_is_used_up_by_what_is_written_and_not_by_what_is_looked_at() {
        let (mut allowance, term) = (Allowance::default(), Term::new(3));
        for _ in 0..2 {
            assert_eq!(allowance.count(&commands(3, 20), term, Shortage::StateFile), 8);
            assert_eq!(allowance.count(&commands(2, 20), term, Shortage::StateFile), 10);
            assert_eq!(allowance.count(&commands(3, 20), term, Shortage::Log), 0);
            assert_eq!(allowance.count(&commands(2, 20), term, Shortage::Log), 2);
        }
        allowance.written(&commands(3, 20), term, Shortage::StateFile);
        assert_eq!(allowance.count(&commands(3, 20), term, Shortage::StateFile), 0);
        assert_eq!(allowance.count(&commands(2, 20), term, Shortage::StateFile), 2);
        allowance.written(&commands(2, 1), term, Shortage::Log);
        assert_eq!(allowance.count(&commands(2, 20), term, Shortage::StateFile), 1);
    }

    #[test]
    fn what_is_no_command_is_taken_up_to_the_first_command_that_is_not() {
        let mut entries = commands(3, 2).to_vec();
        entries[0].payload = Payload::Noop;
        let entries = Entries::from(entries);
        let taken = Allowance::default().count(&entries, Term::new(3), Shortage::Log);
        assert_eq!(taken, 1);
    }
}
