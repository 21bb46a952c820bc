//! A disk that keeps what it was told to keep, from the moment it says so and no sooner.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use raft_core::{
    Boot, ClusterConfig, Entries, Entry, HardState, Index, Payload, Position, ReadLog, Write,
};

use crate::mischief::Mischief;

/// The disk of one node. The writes under way have the numbers 1, 2, and so on, as in the normal
/// form of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    /// What would survive a loss of power.
    pub(crate) durable: Stored,
    /// The same with every write under way: what the node believes it has.
    pub(crate) newest: Stored,
    pending: VecDeque<Write>,
    /// What was durable before the log was damaged. Others may rely on it, and still can as long as
    /// this node gives no vote, which is until it has recovered.
    lost: Vec<Position>,
}

impl Hash for Disk {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // `newest` follows from the two, and so do the numbers of the writes.
        (&self.durable, &self.lost).hash(state);
        for write in &self.pending {
            (&write.hard_state, &write.commit, &write.entries).hash(state);
        }
    }
}

/// What a log and the few words beside it hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Stored {
    pub(crate) hard_state: HardState,
    commit: Index,
    log: Vec<Entry>,
}

impl Stored {
    pub(crate) fn log(&self) -> &[Entry] {
        &self.log
    }

    /// Whether the log has an entry at exactly this position. Every log has the origin.
    pub(crate) fn holds(&self, at: Position) -> bool {
        at == Position::ORIGIN || self.entry(at.index).is_some_and(|entry| entry.at == at)
    }

    pub(crate) fn entry(&self, index: Index) -> Option<&Entry> {
        let at = index.get().checked_sub(1)?;
        self.log.get(usize::try_from(at).ok()?)
    }

    pub(crate) fn last(&self) -> Position {
        self.log.last().map_or(Position::ORIGIN, |entry| entry.at)
    }

    fn apply(&mut self, write: &Write, mischief: Option<Mischief>) {
        self.hard_state = write.hard_state;
        self.commit = write.commit;
        let Some(first) = write.entries.first() else { return };
        let keep = usize::try_from(first.at.index.get() - 1).unwrap_or(usize::MAX);
        let after = self.log.get(keep + write.entries.len()..).unwrap_or_default().to_vec();
        self.log.truncate(keep);
        self.log.extend(write.entries.iter().cloned());
        if mischief == Some(Mischief::KeepsReplacedEntries) {
            self.log.extend(after);
        }
    }
}

impl Disk {
    /// Nothing was ever written to it.
    pub(crate) fn empty() -> Self {
        let stored = Stored::default();
        Self { durable: stored.clone(), newest: stored, pending: VecDeque::new(), lost: Vec::new() }
    }

    /// Takes in a write, which is under way from now on.
    pub(crate) fn accept(&mut self, write: Write) {
        self.newest.apply(&write, None);
        self.pending.push_back(write);
    }

    /// Whether others may rely on this node for the entry at this position.
    pub(crate) fn vouches_for(&self, at: Position) -> bool {
        self.durable.holds(at) || self.lost.contains(&at)
    }

    /// Whether writes are under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Makes the oldest write under way durable, if there is one.
    pub(crate) fn sync_one(&mut self, mischief: Option<Mischief>) {
        let Some(write) = self.pending.pop_front() else { return };
        self.durable.apply(&write, mischief);
        if !write.hard_state.recovering {
            self.lost.clear();
        }
    }

    /// A loss of power: what is under way is gone.
    pub(crate) fn crash(&mut self, mischief: Option<Mischief>) {
        self.pending.clear();
        match mischief {
            Some(Mischief::ForgetsTheVote) => self.durable.hard_state.vote = None,
            Some(Mischief::CutsTheTail) => {
                self.durable.log.pop();
                self.durable.commit = self.durable.commit.min(self.durable.last().index);
            }
            _ => {}
        }
        self.newest = self.durable.clone();
    }

    /// Everything after the first `keep` entries turns out to be damaged.
    pub(crate) fn damage(&mut self, keep: usize) {
        self.lost.extend(self.durable.log.drain(keep..).map(|entry| entry.at));
        self.durable.commit = self.durable.commit.min(self.durable.last().index);
        self.durable.hard_state.recovering = true;
        self.newest = self.durable.clone();
    }

    /// How often the node has started is no longer known.
    pub(crate) fn forget_starts(&mut self) {
        self.durable.hard_state.boots = 0;
        self.newest.hard_state.boots = 0;
    }

    /// What a node that was founded with `cluster` starts with.
    pub(crate) fn boot(&self, cluster: ClusterConfig) -> Boot {
        let Stored { hard_state, commit, log } = &self.durable;
        let mut term_starts: Vec<Position> = Vec::new();
        for entry in log {
            if term_starts.last().is_none_or(|latest| latest.term < entry.at.term) {
                term_starts.push(entry.at);
            }
        }
        let configs = log.iter().filter_map(|entry| match &entry.payload {
            Payload::Config(config) => Some((entry.at.index, Arc::clone(config))),
            Payload::Noop | Payload::Command(_) => None,
        });
        Boot {
            hard_state: *hard_state,
            term_starts,
            configs: configs.collect(),
            last: self.durable.last(),
            commit: *commit,
            ..Boot::new(cluster)
        }
    }

    /// Reads entries back. A file shows what was written to it, durable or not.
    pub(crate) fn read(&self, request: &ReadLog) -> Entries {
        let wanted = request.first..=request.last;
        self.newest.log.iter().filter(|entry| wanted.contains(&entry.at.index)).cloned().collect()
    }
}
