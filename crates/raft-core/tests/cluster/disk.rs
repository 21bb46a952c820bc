//! A disk that keeps every promise it makes and no other: what is durable survives a crash, what
//! is under way may or may not, but always as a prefix of the writes.

use std::collections::VecDeque;
use std::sync::Arc;

use raft_core::{
    Boot, ClusterConfig, Entries, Entry, HardState, Index, Payload, PersistId, Position, ReadLog,
    Term, Write,
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// What would survive a loss of power.
    pub(crate) durable: Stored,
    /// The same with every write under way: what the node believes it has.
    pub(crate) newest: Stored,
    pub(crate) pending: VecDeque<Write>,
    /// The number of the latest write of this run.
    last_write: PersistId,
    /// Up to here the log may be cut. That is done when the disk is next busy, so a loss of power
    /// may come before.
    cut: Index,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) hard_state: HardState,
    pub(crate) commit: Index,
    /// The position before the first entry of the log.
    start: Position,
    log: Vec<Entry>,
}

impl Stored {
    pub(crate) fn entry(&self, index: Index) -> Option<&Entry> {
        let at = index.get().checked_sub(self.start.index.get())?.checked_sub(1)?;
        self.log.get(usize::try_from(at).ok()?)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.log
    }

    pub(crate) fn start(&self) -> Position {
        self.start
    }

    pub(crate) fn last(&self) -> Position {
        self.log.last().map_or(self.start, |entry| entry.at)
    }

    /// The position at `index`, that before the first entry included.
    pub(crate) fn position(&self, index: Index) -> Option<Position> {
        if index == self.start.index {
            return Some(self.start);
        }
        self.entry(index).map(|entry| entry.at)
    }

    pub(crate) fn holds(&self, at: Position) -> bool {
        self.position(at.index) == Some(at)
    }

    fn apply(&mut self, write: &Write) {
        self.hard_state = write.hard_state;
        if let Some(at) = write.reset {
            (self.start, self.log) = (at, Vec::new());
        }
        if let Some(first) = write.entries.first() {
            assert!(first.at.index <= self.last().index.next(), "a write leaves a gap in the log");
            self.log.retain(|entry| entry.at.index < first.at.index);
            assert!(write.entries.follows(self.last()), "a write does not continue the log");
            self.log.extend(write.entries.iter().cloned());
        }
        assert!(write.commit <= self.last().index, "a commit index beyond the log was written");
        assert!(write.commit >= self.commit, "the written commit index went down");
        self.commit = write.commit;
    }

    /// Forgets the entries up to `upto`.
    fn cut(&mut self, upto: Index) {
        if let Some(at) = self.entry(upto).map(|entry| entry.at) {
            self.log.retain(|entry| entry.at.index > upto);
            self.start = at;
        }
    }
}

impl Disk {
    /// A disk on which earlier runs left this.
    pub(crate) fn with(hard_state: HardState, log: Vec<Entry>) -> Self {
        let stored = Stored { hard_state, log, ..Stored::default() };
        Self { durable: stored.clone(), newest: stored, ..Self::default() }
    }

    pub(crate) fn accept(&mut self, write: Write) {
        assert_eq!(write.id.get(), self.last_write.get() + 1, "writes are numbered one by one");
        self.last_write = write.id;
        self.newest.apply(&write);
        self.pending.push_back(write);
    }

    /// The log may be cut up to here.
    pub(crate) fn compact(&mut self, upto: Index) {
        self.newest.cut(upto);
        self.cut = upto;
    }

    /// Makes up to `count` writes durable, and returns the number of the last.
    pub(crate) fn sync(&mut self, count: usize) -> Option<PersistId> {
        let count = count.min(self.pending.len());
        self.durable.cut(self.cut);
        let mut last = None;
        for write in self.pending.drain(..count) {
            self.durable.apply(&write);
            last = Some(write.id);
        }
        last
    }

    /// A loss of power, just after the first `count` writes under way had reached the medium,
    /// though nobody was told.
    pub(crate) fn crash(&mut self, count: usize) {
        if count > 0 {
            self.sync(count);
        }
        self.pending.clear();
        self.newest = self.durable.clone();
        (self.last_write, self.cut) = (PersistId::ZERO, Index::ZERO);
    }

    /// Of a node that is down: the log is damaged from this index on, and what is left is what lies
    /// before. Returns what is lost.
    pub(crate) fn damage(&mut self, from: Index) -> Vec<Entry> {
        let is_lost = |entry: &Entry| entry.at.index >= from;
        let lost = self.durable.log.iter().filter(|entry| is_lost(entry)).cloned().collect();
        self.durable.log.retain(|entry| !is_lost(entry));
        self.durable.hard_state.recovering = true;
        self.durable.commit = self.durable.commit.min(self.durable.last().index);
        self.newest = self.durable.clone();
        lost
    }

    /// What a node finds, whose state machine is at `applied` and has heard of `cluster` there.
    pub(crate) fn boot(&self, applied: Position, cluster: ClusterConfig) -> Boot {
        let mut term_starts: Vec<Position> = Vec::new();
        for entry in &self.durable.log {
            if entry.at.term > term_starts.last().unwrap_or(&self.durable.start).term {
                term_starts.push(entry.at);
            }
        }
        let configs = self.durable.log.iter().filter_map(|entry| match &entry.payload {
            Payload::Config(config) => Some((entry.at.index, Arc::clone(config))),
            Payload::Noop | Payload::Command(_) => None,
        });
        Boot {
            cluster,
            hard_state: self.durable.hard_state,
            start: self.durable.start,
            term_starts,
            last: self.durable.last(),
            configs: configs.collect(),
            commit: self.durable.commit,
            applied,
        }
    }

    /// Reads entries back. Reading a file sees what was written to it, durable or not.
    pub(crate) fn read(&self, request: &ReadLog) -> Entries {
        let wanted = self
            .newest
            .log
            .iter()
            .filter(|entry| (request.first..=request.last).contains(&entry.at.index));
        let mut bytes = 0;
        let fits = wanted.take_while(|entry| {
            let is_first = bytes == 0;
            bytes += entry.size_bytes();
            is_first || bytes <= request.max_bytes
        });
        fits.cloned().collect()
    }
}

/// Entries of these terms, at the indexes from 1 on: the logs of the paper's figures.
pub(crate) fn log_of_terms(terms: &[u64]) -> Vec<Entry> {
    let entry = |(at, term): (usize, &u64)| {
        let index = Index::new(at as u64 + 1);
        let payload = Payload::Command(b"old".as_slice().into());
        Entry { at: Position::new(Term::new(*term), index), payload }
    };
    terms.iter().enumerate().map(entry).collect()
}
