//! Changes of the members and of the leader, and nodes that come later.

use std::collections::BTreeSet;

use raft_core::{
    ClusterConfig, Config, ConfigChange, Entry, Index, Input, NodeId, Outcome, Payload, Position,
    Rejection, RoleKind, Term, Ticket,
};

use super::{Cluster, Disk, Node, hard_state, n, show};

/// Several nodes by their numbers.
pub(crate) fn ids(numbers: &[u64]) -> BTreeSet<NodeId> {
    numbers.iter().copied().map(n).collect()
}

/// These voters, on the way from the others.
pub(crate) fn joint(voters: &[u64], outgoing: &[u64]) -> ClusterConfig {
    let (voters, outgoing) = (ids(voters), Some(ids(outgoing)));
    ClusterConfig { voters, outgoing, learners: BTreeSet::new() }
}

pub(crate) fn voters(numbers: &[u64]) -> ClusterConfig {
    ClusterConfig::of_voters(ids(numbers))
}

/// The change to these voters and no learners.
pub(crate) fn replace(numbers: &[u64]) -> ConfigChange {
    ConfigChange::Replace { voters: ids(numbers), learners: BTreeSet::new() }
}

/// A disk whose log is a first entry of term 1 and this configuration, then `more` of term 1.
pub(crate) fn disk_with(config: &ClusterConfig, more: u64) -> Disk {
    let payload = |index| match index {
        2 => Payload::Config(config.clone().into()),
        _ => Payload::Noop,
    };
    let entries = (1..=2 + more).map(|index| Entry {
        at: Position::new(Term::new(1), Index::new(index)),
        payload: payload(index),
    });
    Disk::with(hard_state(1, None), entries.collect())
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

    /// Makes this node win an election, and nothing more: its first entry is still on its way.
    pub(crate) fn win(&mut self, id: NodeId) {
        self.time_out(id);
        for kind in ["PreVote", "PreVoteReply", "Vote", "VoteReply"] {
            self.deliver_kind(kind);
            if self.status(id).role != RoleKind::Leader {
                self.persist_everywhere();
            }
        }
        assert_eq!(self.status(id).role, RoleKind::Leader, "{id} is not elected");
    }

    /// Makes a node that is no member a voter, by way of a learner.
    pub(crate) fn join(&mut self, leader: NodeId, id: NodeId) {
        for change in [ConfigChange::AddLearner(id), ConfigChange::Promote(id)] {
            let ticket = self.change(leader, change);
            self.settle();
            assert!(self.is_committed(ticket), "{id} joins");
        }
    }

    pub(crate) fn is_committed(&self, ticket: Ticket) -> bool {
        matches!(self.outcome(ticket), Some(Outcome::Committed(_)))
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
