//! [`Model`]: what a log holds, as simply as it can be said. The truth that disks are measured by,
//! and the log itself where a run does without a disk.

use raft_core::{
    Boot, ClusterConfig, Entries, Entry, HardState, Index, Payload, Position, ReadLog, Write,
};

use crate::violation::{Checked, check};

/// What a log holds after some writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) hard_state: HardState,
    pub(crate) commit: Index,
    /// From index 1 on.
    entries: Vec<Entry>,
}

/// Where the entry of this index lies in a list that begins with index 1.
pub(crate) fn place(index: Index) -> Option<usize> {
    index.get().checked_sub(1).and_then(|place| usize::try_from(place).ok())
}

impl Model {
    pub(crate) fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.get(place(index)?)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn last(&self) -> Position {
        self.entries.last().map_or(Position::ORIGIN, |entry| entry.at)
    }

    /// The position at `index`, the origin included.
    pub(crate) fn position(&self, index: Index) -> Option<Position> {
        match index {
            Index::ZERO => Some(Position::ORIGIN),
            _ => self.entry(index).map(|entry| entry.at),
        }
    }

    pub(crate) fn holds(&self, at: Position) -> bool {
        self.position(at.index) == Some(at)
    }

    /// Takes in a write, if it fits what is here.
    pub(crate) fn apply(&mut self, write: &Write) -> Checked {
        let (old, new) = (self.hard_state, write.hard_state);
        check(new.term >= old.term, "terms never go back", || {
            format!("term {} is written over term {}", new.term, old.term)
        })?;
        let keeps_vote = new.term > old.term || old.vote.is_none() || old.vote == new.vote;
        check(keeps_vote, "a vote is not changed within its term", || {
            format!("term {}: {:?} is written over {:?}", new.term, new.vote, old.vote)
        })?;
        check(new.boots >= old.boots, "starts are counted upwards", || {
            format!("{} is written over {}", new.boots, old.boots)
        })?;
        self.hard_state = new;
        if let Some(first) = write.entries.first() {
            let prev = first.at.index.prev();
            let follows = self.position(prev).is_some_and(|prev| write.entries.follows(prev));
            check(follows, "a write continues the log", || {
                format!("entry {} is written to a log that ends at {}", first.at, self.last())
            })?;
            self.entries.truncate(usize::try_from(prev.get()).unwrap_or(usize::MAX));
            self.entries.extend_from_slice(&write.entries);
        }
        check(write.commit <= self.last().index, "what is committed is in the log", || {
            format!("commit {} is written to a log that ends at {}", write.commit, self.last())
        })?;
        check(write.commit >= self.commit, "the commit index never goes back", || {
            format!("commit {} is written over {}", write.commit, self.commit)
        })?;
        self.commit = write.commit;
        Ok(())
    }

    /// What a log would answer to this.
    pub(crate) fn read(&self, request: &ReadLog) -> Entries {
        let Some(start) = place(request.first) else { return Entries::empty() };
        let end = usize::try_from(request.last.get()).unwrap_or(usize::MAX);
        let wanted = self.entries.get(start..end.min(self.entries.len())).unwrap_or_default();
        let mut bytes = 0_usize;
        let fits = wanted.iter().take_while(|entry| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(entry.size_bytes());
            is_first || bytes <= request.max_bytes
        });
        fits.cloned().collect()
    }

    /// What a node is told that starts with this, in a cluster founded by these members, with a
    /// state machine that holds everything up to `applied`.
    pub(crate) fn boot(&self, cluster: ClusterConfig, applied: Index) -> Boot {
        let mut term_starts: Vec<Position> = Vec::new();
        let mut configs = Vec::new();
        for entry in &self.entries {
            if term_starts.last().is_none_or(|start| start.term < entry.at.term) {
                term_starts.push(entry.at);
            }
            if let Payload::Config(config) = &entry.payload {
                configs.push((entry.at.index, config.clone()));
            }
        }
        Boot {
            hard_state: self.hard_state,
            term_starts,
            last: self.last(),
            configs,
            commit: self.commit,
            applied,
            ..Boot::new(cluster)
        }
    }

    /// Makes it forget its vote: a mistake to be noticed.
    pub(crate) fn forget_vote(&mut self) {
        self.hard_state.vote = None;
    }

    /// Makes it forget its last entry: a mistake to be noticed.
    pub(crate) fn forget_last_entry(&mut self) {
        self.entries.pop();
        self.commit = self.commit.min(self.last().index);
    }
}
