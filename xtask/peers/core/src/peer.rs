//! Drives `raft-rs`, the `raft` crate, as fairly as we know how.
//!
//! Wherever there was a choice, it is the one that makes `raft-rs` faster:
//! * A batch of commands goes in as one `MsgPropose` with many entries, not as a call for each.
//! * The bytes of a command are a shared `Bytes`: nothing copies them.
//! * The followers' answers are all delivered before the leader is asked for a `Ready`, so that one
//!   serves for them all.
//! * `advance_append` reports a write as durable at once. The asynchronous way
//!   (`advance_append_async` and `on_persist_ready`) makes no difference where a write takes no
//!   time: it took 0.9 to 1.05 of the time when it was tried.
//! * `skip_bcast_commit`: followers learn of a commit with the next append. (`raft-core` does the
//!   same.) Without it, each commit costs a further message to every follower and its answer.
//! * There is no limit on the size of a message, so that sizes need not be computed.
//! * The log is a deque behind an `Rc`: no lock, and only a short tail of it is kept.
//! * Nobody waits for tickets: the committed entries are counted. A user has to find out whose they
//!   are; `raft-core` says so.
//!
//! Pre-vote and check-quorum are on, as they always are in `raft-core`; no tick ever comes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, RawNode, StateRole, Storage, StorageError};

use crate::Cluster;
use crate::raft_rs;

/// A cluster of `raft-rs`.
pub struct RaftRs {
    nodes: Vec<RawNode<Tail>>,
    command: Bytes,
    /// What the leader applied, the empty entry of its term left out.
    applied: usize,
}

impl fmt::Debug for RaftRs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftRs").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl Cluster for RaftRs {
    fn start(nodes: u64, command_bytes: usize) -> Self {
        let voters: Vec<_> = (1..=nodes).collect();
        let node = |id: &u64| raft_rs::node(*id, u64::MAX, Tail::founded_by(&voters));
        let nodes = voters.iter().map(node).collect();
        let mut cluster = Self { nodes, command: vec![7_u8; command_bytes].into(), applied: 0 };
        cluster.nodes[0].campaign().expect("a voter may campaign");
        cluster.settle();
        assert_eq!(cluster.nodes[0].raft.state, StateRole::Leader);
        cluster
    }

    fn commit(&mut self, depth: usize) {
        self.applied = 0;
        let entry = Entry { data: self.command.clone(), ..Entry::default() };
        let mut proposal = Message { from: 1, to: 1, ..Message::default() };
        proposal.set_msg_type(MessageType::MsgPropose);
        proposal.entries = vec![entry; depth].into();
        self.nodes[0].step(proposal).expect("the leader takes proposals");
        self.settle();
        assert_eq!(self.applied, depth);
    }
}

impl RaftRs {
    /// Carries out what the nodes want done, until none wants anything: all of one at its turn.
    fn settle(&mut self) {
        raft_rs::go_round(self.nodes.len(), |node| {
            let mut had_some = false;
            while self.nodes[node].has_ready() {
                self.carry_out(node);
                had_some = true;
            }
            had_some
        });
    }

    /// The loop of a user, for one `Ready`: send, apply, store, send what waited for that.
    fn carry_out(&mut self, node: usize) {
        let mut ready = self.nodes[node].ready();
        raft_rs::deliver(&mut self.nodes, ready.take_messages());
        self.apply(node, &ready.take_committed_entries());
        let mut log = self.nodes[node].store().0.borrow_mut();
        log.append(ready.take_entries());
        if let Some(hard_state) = ready.hs() {
            log.hard_state = hard_state.clone();
        }
        drop(log);
        raft_rs::deliver(&mut self.nodes, ready.take_persisted_messages());
        let mut light = self.nodes[node].advance_append(ready);
        raft_rs::deliver(&mut self.nodes, light.take_messages());
        self.apply(node, &light.take_committed_entries());
        self.nodes[node].advance_apply();
    }

    fn apply(&mut self, node: usize, entries: &[Entry]) {
        if node == 0 {
            self.applied += entries.iter().filter(|entry| !entry.data.is_empty()).count();
        }
    }
}

/// How many entries stay: more than are ever in flight here, and few enough for a cache.
const KEPT_ENTRIES: usize = 4096;

/// The end of a log in memory.
struct Tail(Rc<RefCell<TailOfLog>>);

#[derive(Default)]
struct TailOfLog {
    hard_state: HardState,
    conf_state: ConfState,
    entries: VecDeque<Entry>,
    /// Index and term of the entry before the first.
    before: (u64, u64),
}

impl Tail {
    fn founded_by(voters: &[u64]) -> Self {
        let conf_state = ConfState { voters: voters.to_vec(), ..ConfState::default() };
        Self(Rc::new(RefCell::new(TailOfLog { conf_state, ..TailOfLog::default() })))
    }
}

impl TailOfLog {
    fn last_index(&self) -> u64 {
        self.before.0 + self.entries.len() as u64
    }

    /// Where the entry at `index` is, if it is kept.
    fn place(&self, index: u64) -> Option<usize> {
        let place = index.checked_sub(self.before.0 + 1)?;
        usize::try_from(place).ok().filter(|place| *place < self.entries.len())
    }

    /// Nothing is ever overwritten here: the leader stays.
    fn append(&mut self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        assert_eq!(entries[0].index, self.last_index() + 1, "entries follow each other");
        self.entries.extend(entries);
        let surplus = self.entries.len().saturating_sub(KEPT_ENTRIES);
        if let Some(last) = self.entries.drain(..surplus).next_back() {
            self.before = (last.index, last.term);
        }
    }
}

impl Storage for Tail {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let log = self.0.borrow();
        Ok(RaftState::new(log.hard_state.clone(), log.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        _max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let log = self.0.borrow();
        let first = log.place(low).ok_or(Error::Store(StorageError::Compacted))?;
        let count = usize::try_from(high - low).expect("batches are small");
        Ok(log.entries.range(first..first + count).cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let log = self.0.borrow();
        if index == log.before.0 {
            return Ok(log.before.1);
        }
        let place = log.place(index).ok_or(Error::Store(StorageError::Unavailable))?;
        Ok(log.entries[place].term)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.0.borrow().before.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.0.borrow().last_index())
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        unreachable!("nobody is behind the kept entries")
    }
}
