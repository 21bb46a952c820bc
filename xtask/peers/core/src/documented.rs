//! Drives `raft-rs` as its documentation does: its own storage in memory, a call for each command,
//! and the loop for a `Ready` of its crate documentation.
//!
//! This is what somebody gets who follows the manual; [`crate::ours`] is that of `raft-core`.
//! * `MemStorage` keeps the log. The manual never cuts it; here it is cut now and then, so that its
//!   memory does not grow.
//! * Each command is proposed by itself, in bytes of its own.
//! * As in its example of five nodes, a node takes in all that has arrived before it is asked for a
//!   `Ready`.
//!
//! What makes the two do the same work is set: pre-vote and check-quorum are on, as they always are
//! in `raft-core`, messages may be as large as in its example, and followers learn of a commit with
//! the next append (`skip_bcast_commit`). By its defaults it would send two messages more for each
//! commit, and get two answers: 1.4 times the time at depth 1. No tick ever comes.

use std::fmt;

use raft::eraftpb::Entry;
use raft::storage::MemStorage;
use raft::{RawNode, StateRole};

use crate::Cluster;
use crate::raft_rs;

/// A cluster of `raft-rs`, driven by the manual.
pub struct Documented {
    nodes: Vec<RawNode<MemStorage>>,
    command: Vec<u8>,
    /// What the leader applied, the empty entry of its term left out.
    applied: usize,
}

/// How many entries a log may have before it is cut.
const MAX_ENTRIES: u64 = 8192;

/// How large a message may be: as in the example of the manual.
const MAX_MESSAGE_BYTES: u64 = 1 << 30;

impl fmt::Debug for Documented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documented").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl Cluster for Documented {
    fn start(nodes: u64, command_bytes: usize) -> Self {
        let voters: Vec<_> = (1..=nodes).collect();
        let storage = || MemStorage::new_with_conf_state((voters.clone(), vec![]));
        let node = |id: &u64| raft_rs::node(*id, MAX_MESSAGE_BYTES, storage());
        let nodes = voters.iter().map(node).collect();
        let mut cluster = Self { nodes, command: vec![7; command_bytes], applied: 0 };
        cluster.nodes[0].campaign().expect("a voter may campaign");
        cluster.settle();
        assert_eq!(cluster.nodes[0].raft.state, StateRole::Leader);
        cluster
    }

    fn commit(&mut self, depth: usize) {
        self.applied = 0;
        for _ in 0..depth {
            let proposed = self.nodes[0].propose(vec![], self.command.clone());
            proposed.expect("the leader takes proposals");
        }
        self.settle();
        assert_eq!(self.applied, depth);
    }
}

impl Documented {
    /// Carries out what the nodes want done, until none wants anything: one `Ready` a turn.
    fn settle(&mut self) {
        raft_rs::go_round(self.nodes.len(), |node| {
            let is_ready = self.nodes[node].has_ready();
            if is_ready {
                self.carry_out(node);
            }
            is_ready
        });
    }

    /// The loop of the manual, for one `Ready`.
    fn carry_out(&mut self, node: usize) {
        let mut ready = self.nodes[node].ready();
        raft_rs::deliver(&mut self.nodes, ready.take_messages());
        self.apply(node, ready.take_committed_entries());
        let storage = self.nodes[node].store().clone();
        storage.wl().append(ready.entries()).expect("entries follow each other");
        if let Some(hard_state) = ready.hs() {
            storage.wl().set_hardstate(hard_state.clone());
        }
        raft_rs::deliver(&mut self.nodes, ready.take_persisted_messages());
        let mut light = self.nodes[node].advance(ready);
        if let Some(commit) = light.commit_index() {
            storage.wl().mut_hard_state().set_commit(commit);
        }
        raft_rs::deliver(&mut self.nodes, light.take_messages());
        self.apply(node, light.take_committed_entries());
        self.nodes[node].advance_apply();
    }

    fn apply(&mut self, node: usize, entries: Vec<Entry>) {
        for entry in entries {
            if node == 0 && !entry.data.is_empty() {
                self.applied += 1;
            }
            if entry.index % MAX_ENTRIES == 0 {
                let mut storage = self.nodes[node].store().wl();
                storage.compact(entry.index).expect("what is applied is in the log");
            }
        }
    }
}
