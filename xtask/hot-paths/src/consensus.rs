//! raft-core: three nodes on one thread, whose disks and network take no time.

use std::mem;

use raft_core::{
    Action, Boot, ClusterConfig, Command, Config, Input, NodeId, Raft, RoleKind, Ticket, Time,
    Write,
};

use crate::samples;

/// Proposes so many puts at once; all nodes have committed and applied them after the step.
pub(crate) fn commit(depth: usize) -> Box<dyn FnMut()> {
    let mut cluster = Cluster::start();
    let command = Command::from(samples::put(1));
    Box::new(move || {
        let (ticket, command) = (Ticket::new(7), command.clone());
        cluster.nodes[0].step(match depth {
            1 => Input::ProposeOne(ticket, command),
            _ => Input::Propose(vec![(ticket, command); depth]),
        });
        cluster.settle();
        assert_eq!(mem::take(&mut cluster.applied), depth, "the leader has applied them");
    })
}

struct Cluster {
    nodes: [Node; 3],
    /// What is being carried out.
    actions: Vec<Action>,
    /// How many entries the leader has applied since this was last looked at.
    applied: usize,
}

struct Node {
    core: Raft,
    /// What it wants done.
    actions: Vec<Action>,
}

impl Node {
    fn step(&mut self, input: Input) {
        self.core.step(Time::ZERO, input, &mut self.actions);
    }
}

impl Cluster {
    /// One whose first node leads.
    fn start() -> Self {
        let ids = [1, 2, 3].map(NodeId::new);
        let nodes = ids.map(|id| {
            let boot = Boot::new(ClusterConfig::of_voters(ids));
            let core = Raft::restore(Config::new(id), boot, Time::ZERO);
            Node { core: core.expect("the configuration fits"), actions: Vec::new() }
        });
        let mut cluster = Self { nodes, actions: Vec::new(), applied: 0 };
        cluster.nodes.iter_mut().for_each(|node| node.step(Input::Wake));
        cluster.nodes[0].step(Input::Campaign);
        cluster.settle();
        assert_eq!(cluster.nodes[0].core.status().role, RoleKind::Leader);
        cluster.applied = 0;
        cluster
    }

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
            _ => {}
        }
    }
}
