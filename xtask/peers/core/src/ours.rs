//! Drives `raft-core`.

use std::collections::VecDeque;
use std::sync::Arc;

use raft_core::{
    Action, Boot, ClusterConfig, Config, Input, Message, NodeId, Outcome, PersistId, Raft,
    RoleKind, Ticket, Time,
};

use crate::Cluster;

/// A cluster of `raft-core`, with its default limits.
///
/// A write is answered by an input of its own, after the messages of the same step were delivered:
/// the way it goes with a log thread, and the most steps there can be.
#[derive(Debug)]
pub struct RaftCore {
    nodes: Vec<Raft>,
    messages: VecDeque<Message>,
    /// The writes that are not durable yet, by the number of their node.
    writes: VecDeque<(usize, PersistId)>,
    actions: Vec<Action>,
    command: Arc<[u8]>,
    /// Tickets that were answered with a commit.
    committed: usize,
    /// What the leader applied.
    applied: usize,
}

impl Cluster for RaftCore {
    fn start(nodes: u64, command_bytes: usize) -> Self {
        let ids: Vec<_> = (1..=nodes).map(NodeId::new).collect();
        let restore = |id: &NodeId| {
            let boot = Boot::new(ClusterConfig::of_voters(ids.iter().copied()));
            Raft::restore(Config::new(*id), boot, Time::ZERO).expect("the configuration fits")
        };
        let mut cluster = Self {
            nodes: ids.iter().map(restore).collect(),
            messages: VecDeque::new(),
            writes: VecDeque::new(),
            actions: Vec::new(),
            command: vec![7_u8; command_bytes].into(),
            committed: 0,
            applied: 0,
        };
        (0..ids.len()).for_each(|node| cluster.step(node, Input::Wake));
        cluster.step(0, Input::Campaign);
        cluster.settle();
        assert_eq!(cluster.nodes[0].status().role, RoleKind::Leader);
        cluster
    }

    fn commit(&mut self, depth: usize) {
        (self.committed, self.applied) = (0, 0);
        let proposal = (Ticket::new(7), Arc::clone(&self.command));
        self.step(0, Input::Propose(vec![proposal; depth]));
        self.settle();
        assert_eq!((self.committed, self.applied), (depth, depth));
    }
}

impl RaftCore {
    /// Lets everything arrive and become durable.
    fn settle(&mut self) {
        loop {
            if let Some(message) = self.messages.pop_front() {
                let node = usize::try_from(message.to.get() - 1).expect("nodes are few");
                self.step(node, Input::Message(message));
            } else if let Some((node, write)) = self.writes.pop_front() {
                self.step(node, Input::Persisted(write));
            } else {
                return;
            }
        }
    }

    fn step(&mut self, node: usize, input: Input) {
        self.nodes[node].step(Time::ZERO, input, &mut self.actions);
        for action in self.actions.drain(..) {
            match action {
                Action::Send(message) => self.messages.push_back(message),
                Action::Persist(write) => self.writes.push_back((node, write.id)),
                Action::Apply(entries) if node == 0 => self.applied += entries.len(),
                Action::Resolved(_, Outcome::Committed(_)) => self.committed += 1,
                Action::Resolved(_, outcome) => panic!("a proposal ended as {outcome:?}"),
                Action::ReadLog(read) => panic!("{read:?} should be in memory"),
                _ => {}
            }
        }
    }
}
