//! How much of the log is kept for nodes that are slow, or away for a moment: a snapshot costs them
//! and the leader more.

use std::collections::VecDeque;

use raft_core::{Entries, Index, Input, Status, Time};

/// How much of the log is kept behind what the state durably holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogKeep {
    /// So many committed entries for anybody.
    pub entries: u64,
    /// No more than so many bytes of entries: neither for those, nor for a follower that is heard
    /// of and further behind. Such a one is catching up, perhaps from behind a snapshot; if the log
    /// went away before it again, it would never be done.
    pub bytes: u64,
}

impl Default for LogKeep {
    fn default() -> Self {
        Self { entries: 10_000, bytes: 1 << 30 }
    }
}

impl LogKeep {
    /// What the core is told when the state durably holds everything up to `stored`. A follower
    /// that was heard of since `heard_since` counts as there.
    pub(crate) fn compact(
        &self,
        stored: Index,
        size: &LogSize,
        status: &Status,
        heard_since: Time,
    ) -> Input {
        let within_bytes = size.start_of_last(self.bytes);
        let there = status.peers.iter().filter(|peer| peer.heard_at >= heard_since);
        let slowest = there.map(|peer| peer.matched).min().unwrap_or(stored);
        let upto = stored.min(slowest.max(within_bytes));
        let keep = self.entries.min(status.commit.get().saturating_sub(within_bytes.get()));
        Input::Compact { upto, keep }
    }
}

/// How often the size of the log is noted: every so many bytes.
const STEP_BYTES: u64 = 1 << 20;

/// The most notes: of 64 GiB of entries.
const MAX_NOTES: usize = 1 << 16;

/// About how large the end of the log is. What was written before this process started counts as
/// nothing: more is kept then, not less.
#[derive(Debug, Default)]
pub(crate) struct LogSize {
    written_bytes: u64,
    /// The last index, and what was written up to there, every [`STEP_BYTES`].
    notes: VecDeque<(Index, u64)>,
}

impl LogSize {
    /// These entries are written.
    pub(crate) fn add(&mut self, entries: &Entries) {
        let Some(last) = entries.last_position() else { return };
        // Entries that replace others are counted again: the log has both.
        self.written_bytes += entries.size_bytes() as u64;
        while self.notes.back().is_some_and(|(index, _)| *index >= last.index) {
            self.notes.pop_back();
        }
        let noted = self.notes.back().map_or(0, |(_, bytes)| *bytes);
        if self.written_bytes - noted >= STEP_BYTES {
            self.notes.push_back((last.index, self.written_bytes));
        }
        if self.notes.len() > MAX_NOTES {
            self.notes.pop_front();
        }
    }

    /// The last so many bytes of the log begin behind this index, or a step further on.
    fn start_of_last(&self, bytes: u64) -> Index {
        let before = self.written_bytes.saturating_sub(bytes);
        let at = self.notes.partition_point(|(_, written)| *written <= before);
        match at.checked_sub(1) {
            Some(last) => self.notes[last].0,
            None => Index::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {

    use raft_core::{Entry, Payload, Position, Term};

    use super::*;

    /// Writes entries up to `last`, of a quarter of a step each.
    fn written(size: &mut LogSize, first: u64, last: u64) {
        for index in first..=last {
            let at = Position::new(Term::new(1), Index::new(index));
            let command = vec![0; usize::try_from(STEP_BYTES / 4).unwrap()].into();
            size.add(&Entries::from(vec![Entry { at, payload: Payload::Command(command) }]));
        }
    }

    #[test]
    fn bytes_are_found_again_as_indexes() {
        let mut size = LogSize::default();
        assert_eq!(size.start_of_last(0), Index::ZERO);
        written(&mut size, 1, 100);
        assert_eq!(size.start_of_last(u64::MAX), Index::ZERO);
        let start = size.start_of_last(10 * STEP_BYTES).get();
        assert!((56..=60).contains(&start), "{start}");
        // The end is replaced: what was noted of it is gone.
        written(&mut size, 50, 60);
        assert!(size.start_of_last(0) <= Index::new(60));
    }

    #[test]
    fn memory_is_bounded() {
        let mut size = LogSize::default();
        size.notes.extend((1..=MAX_NOTES as u64).map(|index| (Index::new(index), index)));
        size.written_bytes = MAX_NOTES as u64;
        written(&mut size, MAX_NOTES as u64 + 1, MAX_NOTES as u64 + 4);
        assert_eq!(size.notes.len(), MAX_NOTES);
        assert!(size.start_of_last(u64::MAX) == Index::ZERO);
    }
}
