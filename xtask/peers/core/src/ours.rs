//! Drives `raft-core`.

use std::mem;

use raft_core::{
    Action, Boot, ClusterConfig, Command, Config, Input, NodeId, Outcome, Raft, RoleKind, Ticket,
    Time, Write,
};

use crate::Cluster;

/// A cluster of `raft-core`, with its default limits.
pub type RaftCore = Driven<Raft>;

/// What takes inputs and wants actions: a [`Raft`], or what stands in for one.
pub trait Core {
    /// The node `id` of a new cluster of these nodes.
    fn start(id: NodeId, nodes: &[NodeId]) -> Self;

    /// As [`Raft::step`], at a time that stands still.
    fn step(&mut self, input: Input, out: &mut Vec<Action>);

    /// Whether it leads.
    fn leads(&self) -> bool;
}

impl Core for Raft {
    fn start(id: NodeId, nodes: &[NodeId]) -> Self {
        let boot = Boot::new(ClusterConfig::of_voters(nodes.iter().copied()));
        Self::restore(Config::new(id), boot, Time::ZERO).expect("the configuration fits")
    }

    fn step(&mut self, input: Input, out: &mut Vec<Action>) {
        Self::step(self, Time::ZERO, input, out);
    }

    fn leads(&self) -> bool {
        self.status().role == RoleKind::Leader
    }
}

/// A cluster of such nodes, and what they need of a driver.
#[derive(Debug)]
pub struct Driven<C> {
    nodes: Vec<Node<C>>,
    /// What is being carried out.
    actions: Vec<Action>,
    command: Command,
    /// Tickets that were answered with a commit.
    committed: usize,
    /// What the leader applied.
    applied: usize,
}

#[derive(Debug)]
struct Node<C> {
    core: C,
    /// What it wants done and has not been done.
    actions: Vec<Action>,
}

impl<C: Core> Node<C> {
    fn step(&mut self, input: Input) {
        self.core.step(input, &mut self.actions);
    }
}

impl<C: Core> Cluster for Driven<C> {
    fn start(nodes: u64, command_bytes: usize) -> Self {
        let ids: Vec<_> = (1..=nodes).map(NodeId::new).collect();
        let node = |id: &NodeId| Node { core: C::start(*id, &ids), actions: Vec::new() };
        let command = vec![7_u8; command_bytes].into();
        let nodes = ids.iter().map(node).collect();
        let mut cluster = Self { nodes, actions: Vec::new(), command, committed: 0, applied: 0 };
        cluster.nodes.iter_mut().for_each(|node| node.step(Input::Wake));
        cluster.settle();
        cluster.nodes[0].step(Input::Campaign);
        cluster.settle();
        assert!(cluster.nodes[0].core.leads());
        cluster
    }

    fn commit(&mut self, depth: usize) {
        (self.committed, self.applied) = (0, 0);
        let (ticket, command) = (Ticket::new(7), self.command.clone());
        self.nodes[0].step(match depth {
            1 => Input::ProposeOne(ticket, command),
            _ => Input::Propose(vec![(ticket, command); depth]),
        });
        self.settle();
        assert_eq!((self.committed, self.applied), (depth, depth));
    }
}

impl<C: Core> Driven<C> {
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
            Action::Persist(Write { id, .. }) => self.nodes[node].step(Input::Persisted(id)),
            Action::Apply(entries) if node == 0 => self.applied += entries.len(),
            Action::Resolved(_, Outcome::Committed(_)) => self.committed += 1,
            Action::Resolved(_, outcome) => panic!("a proposal ended as {outcome:?}"),
            Action::ReadLog(read) => panic!("{read:?} should be in memory"),
            _ => {}
        }
    }
}
