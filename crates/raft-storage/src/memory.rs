//! [`MemoryLog`]: the same surface without a disk, for tests of what is built on a log.

use raft_core::{Entries, Entry, HardState, Index, Position, Write};

use crate::error::{ReadError, WriteError};
use crate::recovery::Recovered;

/// A log that is kept in memory, and gone when it is dropped.
///
/// To act out a restart, ask [`MemoryLog::recovered`] and go on with the same log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryLog {
    start: Position,
    entries: Vec<Entry>,
    hard_state: HardState,
    commit: Index,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a log on a disk would report if it were opened now.
    pub fn recovered(&self) -> Recovered {
        let mut recovered = Recovered {
            hard_state: self.hard_state,
            start: self.start,
            last: self.last(),
            commit: self.commit.max(self.start.index),
            ..Recovered::default()
        };
        for entry in &self.entries {
            if recovered.term_starts.last().is_none_or(|start| start.term != entry.at.term) {
                recovered.term_starts.push(entry.at);
            }
            if let raft_core::Payload::Config(config) = &entry.payload {
                recovered.configs.push((entry.at.index, config.clone()));
            }
        }
        recovered
    }

    /// Takes all of `writes`, in order.
    ///
    /// # Errors
    ///
    /// If a write does not fit the log. Those before it are taken.
    pub fn append(&mut self, writes: &[Write]) -> Result<(), WriteError> {
        for write in writes {
            if let Some(start) = write.reset {
                self.start = start;
                self.entries.clear();
            }
            if let Some(first) = write.entries.first() {
                self.replace_from(first.at.index, &write.entries)?;
            }
            self.hard_state = write.hard_state;
            self.commit = self.commit.max(write.commit);
        }
        Ok(())
    }

    fn replace_from(&mut self, first: Index, entries: &Entries) -> Result<(), WriteError> {
        let outside = WriteError::Malformed { rule: "its first entry is outside of the log" };
        let kept = first.prev().get().checked_sub(self.start.index.get());
        let kept = kept.and_then(|kept| usize::try_from(kept).ok()).ok_or(outside.clone())?;
        let prev = match kept.checked_sub(1) {
            None => self.start,
            Some(last) => self.entries.get(last).ok_or(outside)?.at,
        };
        if !entries.follows(prev) {
            return Err(WriteError::Malformed { rule: "its entries do not follow each other" });
        }
        self.entries.truncate(kept);
        self.entries.extend_from_slice(entries);
        Ok(())
    }

    /// As [`Log::read`](crate::Log::read).
    ///
    /// # Errors
    ///
    /// If the log does not hold the entry at `first`.
    pub fn read(
        &mut self,
        first: Index,
        last: Index,
        max_bytes: usize,
    ) -> Result<Entries, ReadError> {
        let wanted: Vec<Entry> = self
            .entries
            .iter()
            .filter(|entry| (first..=last).contains(&entry.at.index))
            .scan(0_usize, |before, entry| {
                let is_first = *before == 0;
                *before = before.saturating_add(entry.size_bytes());
                (is_first || *before <= max_bytes).then(|| entry.clone())
            })
            .collect();
        match wanted.first() {
            Some(entry) if entry.at.index == first => Ok(wanted.into()),
            _ => {
                let (start, last) = (self.start.index, self.last().index);
                Err(ReadError::NotInLog { first, start, last })
            }
        }
    }

    /// Removes the entries up to `upto`, as far as there are any.
    ///
    /// # Errors
    ///
    /// None; the result is that of [`Log::compact`](crate::Log::compact).
    pub fn compact(&mut self, upto: Index) -> Result<(), WriteError> {
        let gone = self.entries.partition_point(|entry| entry.at.index <= upto);
        if let Some(last) = self.entries.drain(..gone).next_back() {
            self.start = last.at;
        }
        Ok(())
    }

    /// The position before the first entry.
    pub fn start(&self) -> Position {
        self.start
    }

    /// The position of the last entry; [`MemoryLog::start`] if there is none.
    pub fn last(&self) -> Position {
        self.entries.last().map_or(self.start, |entry| entry.at)
    }
}
