//! One node: the real state machine, and its disk.

use std::fmt;
use std::time::Duration;

use raft_core::{Config, NodeId, Raft, Status, Time};

use crate::disk::Disk;
use crate::fingerprint::fingerprint;
use crate::scenario::Scenario;

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
    /// A node of this scenario that starts with what `disk` holds. Nothing has happened to it yet.
    /// None if the core refuses.
    pub(crate) fn start(id: NodeId, disk: Disk, scenario: &Scenario) -> Option<Self> {
        let boot = disk.boot(scenario.founding_of(id).unwrap_or_default());
        let raft = Raft::restore(config(id, scenario), boot, Time::ZERO).ok()?;
        let mut node = Self { fingerprint: 0, status: raft.status(), raft, disk };
        node.settle();
        Some(node)
    }

    /// The same, with a mistake in its core.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn with(mut self, bug: raft_core::planted::Bug) -> Self {
        self.raft.plant(bug);
        self.settle();
        self
    }

    /// To be called whenever it has changed.
    pub(crate) fn settle(&mut self) {
        self.raft.normalise();
        self.status = self.raft.status();
        self.fingerprint = fingerprint(&(&self.raft, &self.disk));
    }
}

/// Elections come when the model wants them, so the timing means nothing beyond its order.
fn config(id: NodeId, scenario: &Scenario) -> Config {
    let mut config = Config::new(id);
    if scenario.has_small_appends {
        config.limits.max_append_bytes = 1;
    }
    config.election_timeout_max = config.election_timeout_min + Duration::from_nanos(1);
    config
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { id, role, term, last, durable, commit, .. } = &self.status;
        write!(f, "{id} {role:?} of {term}, log {last}, durable {durable}, commit {commit}")
    }
}
