//! Changes of the members and of the leader, and nodes that come later.

use std::collections::BTreeSet;

use raft_core::{ClusterConfig, Config, ConfigChange, Input, NodeId, Outcome, Rejection, Ticket};

use super::{Cluster, Disk, Node, n, show};

/// Several nodes by their numbers.
pub(crate) fn ids(numbers: &[u64]) -> BTreeSet<NodeId> {
    numbers.iter().copied().map(n).collect()
}

impl Cluster {
    /// Founders 1 to `size`, and so many nodes after them that may join; all started.
    pub(crate) fn with_joining(size: u64, joining: u64) -> Self {
        let mut cluster = Self::new(size);
        for id in (size + 1..=size + joining).map(n) {
            cluster.add_joining(Config::new(id));
            cluster.restart(id);
        }
        cluster
    }

    /// Adds a node that is no member, with an empty disk, not started.
    pub(crate) fn add_joining(&mut self, config: Config) {
        self.add(Node::stopped(config.id, config, Disk::default()));
    }

    pub(crate) fn change(&mut self, id: NodeId, change: ConfigChange) -> Ticket {
        let ticket = self.ticket();
        self.witness.changes(id, ticket, change.clone());
        self.note(|| format!("change {id} {}", show::change(&change)));
        self.step(id, Input::ChangeConfig(ticket, change));
        ticket
    }

    pub(crate) fn transfer(&mut self, id: NodeId, to: NodeId) -> Ticket {
        let ticket = self.ticket();
        self.witness.transfers(id, ticket, to);
        self.note(|| format!("transfer {id} to {to}"));
        self.step(id, Input::TransferLeadership(ticket, to));
        ticket
    }

    pub(crate) fn campaign(&mut self, id: NodeId) {
        self.note(|| format!("campaign {id}"));
        self.step(id, Input::Campaign);
    }

    /// Makes a node that is no member a voter, by way of a learner.
    pub(crate) fn join(&mut self, leader: NodeId, id: NodeId) {
        for change in [ConfigChange::AddLearner(id), ConfigChange::Promote(id)] {
            let ticket = self.change(leader, change);
            self.settle();
            assert!(matches!(self.outcome(ticket), Some(Outcome::Committed(_))), "{id} joins");
        }
    }

    /// Why a request was rejected.
    pub(crate) fn rejection(&self, ticket: Ticket) -> Option<Rejection> {
        match self.outcome(ticket) {
            Some(Outcome::Rejected(why)) => Some(why),
            _ => None,
        }
    }

    /// The members as a node that is up sees them.
    pub(crate) fn members(&self, id: NodeId) -> &ClusterConfig {
        self.nodes[&id].raft.as_ref().expect("a node that is up").cluster()
    }
}
