//! [`Model`]: what a log holds, as simply as it can be said. The truth that disks are measured by,
//! and the log itself where a run does without a disk.

use std::sync::Arc;

use raft_core::{
    Boot, ClusterConfig, Entries, Entry, HardState, Index, Payload, Position, ReadLog, Write,
};

use crate::violation::{Checked, check};

/// What a log holds after some writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) hard_state: HardState,
    pub(crate) commit: Index,
    /// From index 1 on.
    entries: Vec<Entry>,
    /// The members that the log began with, and every configuration in it. Never empty.
    configs: Vec<(Index, Arc<ClusterConfig>)>,
}

/// Where the entry of this index lies in a list that begins with index 1.
pub(crate) fn place(index: Index) -> Option<usize> {
    index.get().checked_sub(1).and_then(|place| usize::try_from(place).ok())
}

impl Model {
    /// An empty log of a node that knows these members: the founders, or nobody.
    pub(crate) fn new(cluster: ClusterConfig) -> Self {
        Self {
            hard_state: HardState::default(),
            commit: Index::ZERO,
            entries: Vec::new(),
            configs: vec![(Index::ZERO, Arc::new(cluster))],
        }
    }

    /// The latest configuration in the log up to `index`, and where it is.
    pub(crate) fn cluster_at(&self, index: Index) -> (Index, &Arc<ClusterConfig>) {
        let after = self.configs.partition_point(|(at, _)| *at <= index);
        let (at, cluster) = &self.configs[after.saturating_sub(1)];
        (*at, cluster)
    }

    /// The configuration in force: the latest in the log, committed or not.
    pub(crate) fn cluster(&self) -> &Arc<ClusterConfig> {
        self.cluster_at(self.last().index).1
    }

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
            self.truncate(prev);
            self.append(&write.entries);
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

    fn truncate(&mut self, last: Index) {
        self.entries.truncate(usize::try_from(last.get()).unwrap_or(usize::MAX));
        self.configs.retain(|(at, _)| *at <= last);
    }

    fn append(&mut self, entries: &[Entry]) {
        self.entries.extend_from_slice(entries);
        self.configs.extend(entries.iter().filter_map(|entry| match &entry.payload {
            Payload::Config(config) => Some((entry.at.index, Arc::clone(config))),
            Payload::Noop | Payload::Command(_) => None,
        }));
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

    /// What a node is told that starts with this, with a state machine that holds everything up to
    /// `applied`.
    pub(crate) fn boot(&self, applied: Index) -> Boot {
        let mut term_starts: Vec<Position> = Vec::new();
        for entry in &self.entries {
            if term_starts.last().is_none_or(|start| start.term < entry.at.term) {
                term_starts.push(entry.at);
            }
        }
        Boot {
            hard_state: self.hard_state,
            term_starts,
            last: self.last(),
            configs: self.configs[1..].to_vec(),
            commit: self.commit,
            applied: self.position(applied).unwrap_or_default(),
            ..Boot::new(ClusterConfig::clone(&self.configs[0].1))
        }
    }

    /// Takes in only the entries of a write: a mistake to be noticed.
    pub(crate) fn apply_half(&mut self, write: &Write) {
        if let Some(first) = write.entries.first() {
            self.truncate(first.at.index.prev());
            self.append(&write.entries);
        }
    }

    /// Forgets its last entry, if that is not known to be committed: a mistake to be noticed.
    pub(crate) fn forget_last_entry(&mut self, applied: Index) {
        let last = self.last().index;
        if last > applied.max(self.commit) {
            self.truncate(last.prev());
        }
    }
}
