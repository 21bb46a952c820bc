//! When a node that has just started asks for votes: `FirstElection`.
//!
//! Where all nodes of a cluster start together there is no leader to wait for, and yet each of them
//! would wait for an election timeout before it asks. So one of them asks as soon as there are
//! enough to elect it.
//!
//! 1. A node asks in this way once for each start, and only before anything else has happened: it
//!    has heard of no leader, has voted for nobody, and its election timeout is not over.
//! 2. It asks when it can send to so many others that with it they are a majority. If a leader
//!    works, a majority has heard of it, and refuses its pre-votes: nothing is disturbed.
//! 3. Nodes ask one after the other, by their ids, a heartbeat apart, because those who ask at the
//!    same time can split the votes. Whoever comes first leads by then, unless others have entries
//!    that it lacks, or it is not there.
//! 4. A node whose disk is full leaves it to the others.
//!
//! If nothing comes of it, election timeouts decide, as always.

use std::collections::BTreeSet;
use std::time::Duration;

use raft_core::{ClusterConfig, NodeId, Time};

/// The wait for the moment to ask.
#[derive(Debug)]
pub(crate) struct FirstElection {
    own: NodeId,
    heartbeat_interval: Duration,
    /// The other nodes that this one can send to.
    reached: BTreeSet<NodeId>,
    asks_at: Option<Time>,
}

impl FirstElection {
    /// Node `own` has just started, and can send to nobody yet.
    pub(crate) fn new(own: NodeId, heartbeat_interval: Duration) -> Self {
        Self { own, heartbeat_interval, reached: BTreeSet::new(), asks_at: None }
    }

    /// From now on this node can send to `peer`.
    pub(crate) fn reach(&mut self, now: Time, peer: NodeId, cluster: &ClusterConfig) {
        self.reached.insert(peer);
        if self.asks_at.is_none() && self.reaches_majority(cluster) {
            let before = cluster.voters.iter().take_while(|id| **id < self.own).count();
            let turns = u32::try_from(before).unwrap_or(u32::MAX);
            self.asks_at = Some(now + self.heartbeat_interval.saturating_mul(turns));
        }
    }

    /// From now on it cannot.
    pub(crate) fn lose(&mut self, peer: NodeId, cluster: &ClusterConfig) {
        self.reached.remove(&peer);
        if !self.reaches_majority(cluster) {
            self.asks_at = None;
        }
    }

    fn reaches_majority(&self, cluster: &ClusterConfig) -> bool {
        let voters = &cluster.voters;
        let reached = voters.iter().filter(|id| **id == self.own || self.reached.contains(id));
        2 * reached.count() > voters.len()
    }

    /// When it asks, as far as is known.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.asks_at
    }

    /// Whether it asks now.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.asks_at.is_some_and(|at| at <= now)
    }
}
