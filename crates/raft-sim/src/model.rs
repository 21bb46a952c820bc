//! [`Model`]: what a log holds, as simply as it can be said. The truth that disks are measured by,
//! and the log itself where a run does without a disk.

use std::sync::Arc;

use raft_core::{
    Boot, ClusterConfig, Entries, Entry, HardState, Index, Payload, Position, ReadLog, Write,
};

use crate::machine::Machine;
use crate::violation::{Checked, check};

/// What a log holds after some writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) hard_state: HardState,
    pub(crate) commit: Index,
    /// The position before the first entry.
    start: Position,
    entries: Vec<Entry>,
    /// Every configuration among the entries.
    configs: Vec<(Index, Arc<ClusterConfig>)>,
}

impl Model {
    pub(crate) fn start(&self) -> Position {
        self.start
    }

    pub(crate) fn last(&self) -> Position {
        self.entries.last().map_or(self.start, |entry| entry.at)
    }

    /// Where the entry of this index lies among the entries, if it is not before all of them.
    fn place(&self, index: Index) -> Option<usize> {
        let before = index.get().checked_sub(self.start.index.get() + 1)?;
        usize::try_from(before).ok()
    }

    pub(crate) fn entry(&self, index: Index) -> Option<&Entry> {
        self.entries.get(self.place(index)?)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries after `index`.
    pub(crate) fn entries_after(&self, index: Index) -> &[Entry] {
        let place = self.place(index.next()).unwrap_or(0);
        self.entries.get(place..).unwrap_or_default()
    }

    /// The position at `index`, where the log begins included.
    pub(crate) fn position(&self, index: Index) -> Option<Position> {
        if index == self.start.index {
            return Some(self.start);
        }
        self.entry(index).map(|entry| entry.at)
    }

    pub(crate) fn holds(&self, at: Position) -> bool {
        self.position(at.index) == Some(at)
    }

    /// The latest configuration in the log up to `index`, and where it is.
    pub(crate) fn config_at(&self, index: Index) -> Option<(Index, &Arc<ClusterConfig>)> {
        let after = self.configs.partition_point(|(at, _)| *at <= index);
        let latest = self.configs[..after].last();
        latest.map(|(at, cluster)| (*at, cluster))
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
        if let Some(start) = write.reset {
            check(start.index >= self.commit, "what is committed stays as it is", || {
                format!("{} is committed, and the log begins anew at {start}", self.commit)
            })?;
            self.reset(start);
        }
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
        self.entries.truncate(self.place(last.next()).unwrap_or(0));
        self.configs.retain(|(at, _)| *at <= last);
    }

    fn append(&mut self, entries: &[Entry]) {
        self.entries.extend_from_slice(entries);
        self.configs.extend(entries.iter().filter_map(|entry| match &entry.payload {
            Payload::Config(config) => Some((entry.at.index, Arc::clone(config))),
            Payload::Noop | Payload::Command(_) => None,
        }));
    }

    fn reset(&mut self, start: Position) {
        self.start = start;
        self.entries.clear();
        self.configs.clear();
    }

    /// Forgets the entries up to `upto`, which are committed.
    pub(crate) fn compact(&mut self, upto: Index) {
        let Some(start) = self.position(upto) else { return };
        let count = self.place(upto.next()).unwrap_or(0);
        self.entries.drain(..count);
        self.start = start;
        self.commit = self.commit.max(upto);
        self.configs.retain(|(at, _)| *at > upto);
    }

    /// The log lost what comes after `last`, as far as anybody can tell: the node has to be told
    /// that it may have forgotten what others rely on.
    pub(crate) fn damage(&mut self, last: Index) {
        self.truncate(last.max(self.start.index));
        self.commit = self.commit.min(self.last().index);
        self.hard_state.recovering = true;
    }

    /// The log keeps the next entry, of which something is another: a mistake to be noticed.
    pub(crate) fn keep_damaged(&mut self, entry: &Entry) {
        if let Payload::Command(bytes) = &entry.payload {
            let changed = bytes.iter().map(|byte| byte ^ 1).collect();
            self.append(&[Entry { at: entry.at, payload: Payload::Command(changed) }]);
        }
    }

    /// What a log would answer to this.
    pub(crate) fn read(&self, request: &ReadLog) -> Entries {
        let Some(first) = self.place(request.first) else { return Entries::empty() };
        let end = self.place(request.last.next()).unwrap_or(0).min(self.entries.len());
        let wanted = self.entries.get(first..end).unwrap_or_default();
        let mut bytes = 0_usize;
        let fits = wanted.iter().take_while(|entry| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(entry.size_bytes());
            is_first || bytes <= request.max_bytes
        });
        fits.cloned().collect()
    }

    /// What a node is told that starts with this, and with this state.
    pub(crate) fn boot(&self, state: &Machine) -> Boot {
        let mut term_starts: Vec<Position> = Vec::new();
        let mut term = self.start.term;
        for entry in &self.entries {
            if entry.at.term > term {
                term = entry.at.term;
                term_starts.push(entry.at);
            }
        }
        Boot {
            hard_state: self.hard_state,
            start: self.start,
            term_starts,
            last: self.last(),
            configs: self.configs.clone(),
            commit: self.commit,
            applied: state.applied,
            ..Boot::new(ClusterConfig::clone(&state.cluster))
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
