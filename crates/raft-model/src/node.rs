//! One node: the real state machine, and its disk.

use std::fmt;
use std::time::Duration;

use raft_core::{ClusterConfig, Config, NodeId, Raft, Status, Time};

use crate::disk::Disk;
use crate::fingerprint::fingerprint;

/// A heartbeat is due, and nobody has been silent for long.
pub(crate) const SOON: Time = Time::from_millis(50);

/// Everything heard of before was long ago.
pub(crate) const LATE: Time = Time::from_millis(10_000);

/// A node in its normal form, with what is asked of it again and again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Of everything below it. It comes first, so that different nodes are soon told apart.
    pub(crate) fingerprint: u64,
    pub(crate) raft: Raft,
    pub(crate) disk: Disk,
    /// What `raft` says of itself.
    pub(crate) status: Status,
}

impl Node {
    /// A node that starts with what `disk` holds, in a cluster founded as `founding`, or as one
    /// that joins. Nothing has happened to it yet. None if the core refuses.
    pub(crate) fn start(id: NodeId, disk: Disk, founding: Option<ClusterConfig>) -> Option<Self> {
        let boot = disk.boot(founding.unwrap_or_default());
        let raft = Raft::restore(config(id), boot, Time::ZERO).ok()?;
        let mut node = Self { fingerprint: 0, status: raft.status(), raft, disk };
        node.settle();
        Some(node)
    }

    /// To be called whenever it has changed.
    pub(crate) fn settle(&mut self) {
        self.raft.normalise();
        self.status = self.raft.status();
        self.fingerprint = fingerprint(&(&self.raft, &self.disk));
    }
}

/// Elections come when the model wants them, so the timing means nothing beyond its order.
fn config(id: NodeId) -> Config {
    let mut config = Config::new(id);
    config.election_timeout_max = config.election_timeout_min + Duration::from_nanos(1);
    config
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { id, role, term, last, durable, commit, .. } = &self.status;
        write!(f, "{id} {role:?} of {term}, log {last}, durable {durable}, commit {commit}")
    }
}
