//! The log of one node, seen from outside, and what the node promises with it.
//!
//! A node may be told lies by its peers and by its disk. What it may not do, whatever it is told:
//!
//! 1. Its writes are numbered one by one, go on from what it wrote before, and never go back in
//!    term, vote or commit index.
//! 2. It says nothing in a term, and vouches for no vote and no entry, of which it was not told
//!    that it is durable.
//! 3. It hands out entries to be applied in order, each once, and those that it wrote, or wants the
//!    state machine replaced by one that is ahead. It cuts and empties its log only behind that.
//! 4. It answers every ticket at most once, and none that it was not given.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use raft_core::{
    Action, Body, Boot, ClusterConfig, Entries, Entry, HardState, Index, LogRead, Message, NodeId,
    Payload, PersistId, Position, ReadLog, Snapshot, Ticket, Write,
};

/// What is on a disk.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) hard_state: HardState,
    pub(crate) commit: Index,
    start: Position,
    log: Vec<Entry>,
}

impl Stored {
    pub(crate) fn last(&self) -> Position {
        self.log.last().map_or(self.start, |entry| entry.at)
    }

    fn entry(&self, index: Index) -> Option<&Entry> {
        let place = index.get().checked_sub(self.start.index.get())?.checked_sub(1)?;
        self.log.get(usize::try_from(place).ok()?)
    }

    /// The entry at this position, if it is there.
    pub(crate) fn entry_at(&self, at: Position) -> Option<&Entry> {
        self.entry(at.index).filter(|entry| entry.at == at)
    }

    fn holds(&self, at: Position) -> bool {
        at == self.start || self.entry_at(at).is_some()
    }

    fn apply(&mut self, write: &Write) {
        self.hard_state = write.hard_state;
        self.commit = write.commit;
        if let Some(at) = write.reset {
            (self.start, self.log) = (at, Vec::new());
        }
        if let Some(first) = write.entries.first() {
            self.log.retain(|entry| entry.at.index < first.at.index);
            self.log.extend(write.entries.iter().cloned());
        }
    }
}

/// Checks one run of a node, from a start to a crash, and is its disk meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    id: NodeId,
    newest: Stored,
    /// What the node was told to be durable.
    reported: Stored,
    pending: VecDeque<Write>,
    last_write: PersistId,
    /// Where the state machine is, and the members it was told of last.
    applied: Position,
    cluster: ClusterConfig,
    /// The snapshot that the node wants to be installed, until it is told what became of it.
    pub(crate) installing: Option<Snapshot>,
    /// To whom it wants to send one.
    pub(crate) sending: BTreeSet<NodeId>,
    /// How often each ticket was given out and not answered.
    open: BTreeMap<Ticket, u32>,
    pub(crate) log_reads: VecDeque<ReadLog>,
}

impl Model {
    pub(crate) fn new(id: NodeId, boot: &Boot, log: Vec<Entry>) -> Self {
        let stored =
            Stored { hard_state: boot.hard_state, commit: boot.commit, start: boot.start, log };
        Self {
            id,
            newest: stored.clone(),
            reported: stored,
            pending: VecDeque::new(),
            last_write: PersistId::ZERO,
            applied: boot.applied,
            cluster: boot.cluster.clone(),
            installing: None,
            sending: BTreeSet::new(),
            open: BTreeMap::new(),
            log_reads: VecDeque::new(),
        }
    }

    pub(crate) fn newest(&self) -> &Stored {
        &self.newest
    }

    pub(crate) fn last_write(&self) -> PersistId {
        self.last_write
    }

    /// Where the state machine is, and the members as of then.
    pub(crate) fn applied(&self) -> (Position, &ClusterConfig) {
        (self.applied, &self.cluster)
    }

    /// The node is told what became of the snapshot it wanted to be installed.
    pub(crate) fn installed(&mut self, is_done: bool) {
        if let Some(snapshot) = self.installing.take().filter(|_| is_done) {
            self.applied = snapshot.at;
            self.cluster = ClusterConfig::clone(&snapshot.cluster);
        }
    }

    /// The number of the write with which so many of those under way are done; the last one if
    /// there are fewer.
    pub(crate) fn nth_pending(&self, count: usize) -> Option<PersistId> {
        let at = count.min(self.pending.len()).checked_sub(1)?;
        Some(self.pending[at].id)
    }

    /// The node is told that everything up to this write is durable.
    pub(crate) fn report(&mut self, id: PersistId) {
        if id > self.last_write {
            return;
        }
        while let Some(write) = self.pending.pop_front_if(|write| write.id <= id) {
            self.reported.apply(&write);
        }
    }

    /// What is on the disk after a crash, when so many more of the writes under way had reached it.
    pub(crate) fn crash(&self, kept: usize) -> Stored {
        let mut stored = self.reported.clone();
        self.pending.iter().take(kept).for_each(|write| stored.apply(write));
        stored
    }

    pub(crate) fn gives_out(&mut self, ticket: Ticket) {
        *self.open.entry(ticket).or_default() += 1;
    }

    /// Entries as the log has them, from this index on.
    pub(crate) fn read(&self, request: &ReadLog, most: usize) -> LogRead {
        let wanted = |entry: &&Entry| (request.first..=request.last).contains(&entry.at.index);
        let entries: Entries = self.newest.log.iter().filter(wanted).take(most).cloned().collect();
        LogRead { purpose: request.purpose, first: request.first, entries }
    }

    /// Looks at what the node wants.
    ///
    /// # Errors
    ///
    /// The promise that it breaks.
    pub(crate) fn observe(&mut self, actions: &[Action]) -> Result<(), String> {
        for action in actions {
            if let Action::Persist(write) = action {
                self.observe_write(write)?;
            }
        }
        for action in actions {
            match action {
                Action::Send(message) => self.observe_message(message)?,
                Action::Apply(entries) => self.observe_applied(entries)?,
                Action::ReadLog(request) => self.log_reads.push_back(*request),
                Action::Resolved(ticket, _) => {
                    let open = self.open.get_mut(ticket).filter(|open| **open > 0);
                    *open.ok_or_else(|| format!("{ticket:?} was answered already"))? -= 1;
                }
                Action::InstallSnapshot(snapshot) => {
                    let is_news = snapshot.at.index > self.applied.index;
                    promise(is_news, "installs only what is ahead", snapshot)?;
                    promise(self.installing.is_none(), "installs one at a time", snapshot)?;
                    self.installing = Some(snapshot.clone());
                }
                Action::SendSnapshot(request) => {
                    let is_first = self.sending.insert(request.to);
                    promise(is_first, "sends one snapshot to each at a time", request)?;
                }
                Action::Compact(upto) => self.cut(*upto)?,
                Action::Persist(_)
                | Action::RoleChanged(_)
                | Action::ConfigChanged(_)
                | Action::Trace(_) => {}
            }
        }
        Ok(())
    }

    /// The log may forget what the state machine has.
    fn cut(&mut self, upto: Index) -> Result<(), String> {
        promise(upto <= self.applied.index, "cuts what it has applied", &upto)?;
        promise(upto > self.newest.start.index, "cuts something", &upto)?;
        for stored in [&mut self.newest, &mut self.reported] {
            if let Some(at) = stored.entry(upto).map(|entry| entry.at) {
                stored.log.retain(|entry| entry.at.index > upto);
                stored.start = at;
            }
        }
        Ok(())
    }

    fn observe_write(&mut self, write: &Write) -> Result<(), String> {
        let (old, new) = (self.newest.hard_state, write.hard_state);
        let vote_stays = old.vote.is_none() || old.vote == new.vote;
        promise(write.id.get() == self.last_write.get() + 1, "numbers its writes", write)?;
        promise(new.term >= old.term, "never goes back in term", write)?;
        promise(new.term > old.term || vote_stays, "votes once a term", write)?;
        promise(write.commit >= self.newest.commit, "never goes back in commit", write)?;
        let is_installed = write.reset.is_none_or(|at| at.index <= self.applied.index);
        promise(is_installed, "empties its log for an installed snapshot", write)?;
        let start = write.reset.unwrap_or(self.newest.start);
        if let Some(first) = write.entries.first() {
            let prev = first.at.index.prev();
            let entry = self.newest.entry(prev).filter(|_| write.reset.is_none());
            let before = entry.map(|entry| entry.at).or((start.index == prev).then_some(start));
            let follows = before.is_some_and(|before| write.entries.follows(before));
            promise(follows, "goes on where its log ends", write)?;
            promise(first.at.index > self.newest.commit, "keeps what is committed", write)?;
        }
        self.last_write = write.id;
        self.newest.apply(write);
        promise(write.commit <= self.newest.last().index, "commits what it has", write)?;
        self.pending.push_back(write.clone());
        Ok(())
    }

    fn observe_applied(&mut self, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            promise(entry.at.index == self.applied.index.next(), "applies in order", entry)?;
            promise(self.reported.entry(entry.at.index) == Some(entry), "applies its log", entry)?;
            promise(self.newest.holds(entry.at), "applies what stays", entry)?;
            self.applied = entry.at;
            if let Payload::Config(cluster) = &entry.payload {
                self.cluster = ClusterConfig::clone(cluster);
            }
        }
        Ok(())
    }

    fn observe_message(&self, message: &Message) -> Result<(), String> {
        let (own, durable) = (self.newest.hard_state, self.reported.hard_state);
        promise(message.from == self.id, "speaks for itself", message)?;
        promise(message.to != self.id, "does not talk to itself", message)?;
        let is_own_term = message.term == own.term;
        let has_entered = match message.body {
            Body::PreVote { .. } => message.term.get() == own.term.get() + 1,
            Body::PreVoteReply { granted: true } => message.term > own.term,
            _ => is_own_term,
        };
        promise(has_entered, "speaks in its term", message)?;
        promise(durable.term == own.term, "speaks in a term that is durable", message)?;
        match &message.body {
            Body::Vote { last } | Body::TransferVote { last } => {
                promise(durable.vote == Some(self.id), "votes for itself first", message)?;
                promise(self.reported.holds(*last), "campaigns with its log", message)
            }
            Body::VoteReply { granted: true } => {
                promise(durable.vote == Some(message.to), "votes durably", message)
            }
            Body::Appended { matched } => {
                let has = |log: &Stored| log.entry(*matched).map(|entry| entry.at);
                let is_durable = *matched <= self.applied.index
                    || has(&self.reported).is_some() && has(&self.reported) == has(&self.newest);
                promise(is_durable, "acknowledges what is durable", message)
            }
            Body::Append { prev, entries, .. } => {
                let is_own = entries.iter().all(|entry| self.newest.holds(entry.at));
                promise(is_own && self.newest.holds(*prev), "sends its log", message)
            }
            _ => Ok(()),
        }
    }
}

/// "A node ...", unless `holds`.
fn promise<T: std::fmt::Debug>(holds: bool, what: &str, shown: &T) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("it is broken that a node {what}: {shown:?}")) }
}

impl Model {
    /// What the node finds when it starts again with this on its disk, and the state machine as it
    /// is, or as it was at an earlier time.
    pub(crate) fn boot(&self, stored: &Stored, is_behind: bool) -> Boot {
        let mut term_starts: Vec<Position> = Vec::new();
        for entry in &stored.log {
            if entry.at.term > term_starts.last().unwrap_or(&stored.start).term {
                term_starts.push(entry.at);
            }
        }
        let configs = stored.log.iter().filter_map(|entry| match &entry.payload {
            Payload::Config(config) => Some((entry.at.index, Arc::clone(config))),
            Payload::Noop | Payload::Command(_) => None,
        });
        let configs: Vec<_> = configs.collect();
        let may_be_behind = is_behind && stored.holds(self.applied) && configs.is_empty();
        Boot {
            cluster: self.cluster.clone(),
            hard_state: stored.hard_state,
            start: stored.start,
            term_starts,
            last: stored.last(),
            configs,
            commit: stored.commit,
            applied: if may_be_behind { stored.start } else { self.applied },
        }
    }
}

impl Stored {
    pub(crate) fn into_log(self) -> Vec<Entry> {
        self.log
    }
}
