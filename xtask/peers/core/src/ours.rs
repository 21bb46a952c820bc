//! Drives `raft-core`.

use std::mem;
use std::sync::Arc;

use raft_core::{
    Action, Boot, ClusterConfig, Config, Input, NodeId, Outcome, Raft, RoleKind, Ticket, Time,
};

use crate::Cluster;

/// A cluster of `raft-core`, with its default limits.
#[derive(Debug)]
pub struct RaftCore {
    nodes: Vec<Node>,
    /// What is being carried out.
    actions: Vec<Action>,
    command: Arc<[u8]>,
    /// Tickets that were answered with a commit.
    committed: usize,
    /// What the leader applied.
    applied: usize,
}

#[derive(Debug)]
struct Node {
    raft: Raft,
    /// What it wants done and has not been done.
    actions: Vec<Action>,
}

impl Node {
    fn step(&mut self, input: Input) {
        self.raft.step(Time::ZERO, input, &mut self.actions);
    }
}

impl Cluster for RaftCore {
    fn start(nodes: u64, command_bytes: usize) -> Self {
        let ids: Vec<_> = (1..=nodes).map(NodeId::new).collect();
        let node = |id: &NodeId| {
            let boot = Boot::new(ClusterConfig::of_voters(ids.iter().copied()));
            let raft = Raft::restore(Config::new(*id), boot, Time::ZERO);
            Node { raft: raft.expect("the configuration fits"), actions: Vec::new() }
        };
        let command = vec![7_u8; command_bytes].into();
        let nodes = ids.iter().map(node).collect();
        let mut cluster = Self { nodes, actions: Vec::new(), command, committed: 0, applied: 0 };
        cluster.nodes.iter_mut().for_each(|node| node.step(Input::Wake));
        cluster.settle();
        cluster.nodes[0].step(Input::Campaign);
        cluster.settle();
        assert_eq!(cluster.nodes[0].raft.status().role, RoleKind::Leader);
        cluster
    }

    fn commit(&mut self, depth: usize) {
        (self.committed, self.applied) = (0, 0);
        let proposal = (Ticket::new(7), Arc::clone(&self.command));
        self.nodes[0].step(Input::Propose(vec![proposal; depth]));
        self.settle();
        assert_eq!((self.committed, self.applied), (depth, depth));
    }
}

impl RaftCore {
    /// Carries out what the nodes want done, until none wants anything.
    fn settle(&mut self) {
        let mut actions = mem::take(&mut self.actions);
        while let Some(node) = self.nodes.iter().position(|node| !node.actions.is_empty()) {
            // The empty one takes its place: no queue is allocated twice.
            mem::swap(&mut self.nodes[node].actions, &mut actions);
            for action in actions.drain(..) {
                self.carry_out(node, action);
            }
        }
        self.actions = actions;
    }

    fn carry_out(&mut self, node: usize, action: Action) {
        match action {
            Action::Send(message) => {
                let to = usize::try_from(message.to.get() - 1).expect("nodes are few");
                self.nodes[to].step(Input::Message(message));
            }
            Action::Persist(write) => self.nodes[node].step(Input::Persisted(write.id)),
            Action::Apply(entries) if node == 0 => self.applied += entries.len(),
            Action::Resolved(_, Outcome::Committed(_)) => self.committed += 1,
            Action::Resolved(_, outcome) => panic!("a proposal ended as {outcome:?}"),
            Action::ReadLog(read) => panic!("{read:?} should be in memory"),
            _ => {}
        }
    }
}
