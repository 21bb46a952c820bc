//! [`Node`]: one server: its process, its clock, its disk and its state machine.

use std::collections::VecDeque;
use std::sync::Arc;

use raft_core::{ClusterConfig, Config, Index, Input, NodeId, Position, Raft, Term, Time};

use crate::clock::Clock;
use crate::dice::Dice;
use crate::echoes::Echoes;
use crate::machine::Machine;
use crate::nemesis::{Moment, Stop};
use crate::scenario::Scenario;
use crate::storage::Storage;

/// Every clock begins so late that it can go back for days.
const CLOCK_ORIGIN: Time = Time::from_millis(365 * 24 * 3600 * 1000);

/// One server.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    /// None while the process is down.
    pub(crate) raft: Option<Raft>,
    /// The process is stopped: it does nothing, and everything waits in the inbox.
    pub(crate) is_paused: bool,
    pub(crate) inbox: VecDeque<Input>,
    pub(crate) clock: Clock,
    pub(crate) storage: Storage,
    pub(crate) machine: Machine,
    /// The state as it was last saved: what a restart begins with.
    pub(crate) saved: Machine,
    /// Snapshots that have arrived.
    pub(crate) received: Vec<Machine>,
    /// The snapshot that is being put in the place of the state.
    pub(crate) installing: Option<Machine>,
    /// Its log is found damaged when it starts the next time.
    pub(crate) is_damaged: bool,
    /// How often the process has started.
    pub(crate) start: u64,
    pub(crate) seen: Seen,
    /// What it may hear again when it starts the next time.
    pub(crate) echoes: Echoes,
    /// How its process ends with its next write.
    pub(crate) ambush: Option<(Stop, Moment)>,
}

/// What the oracle has looked at since the process started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) commit: Index,
    /// The last term that it was seen to lead.
    pub(crate) led: Term,
    /// Whether it leads that term still.
    pub(crate) leads: bool,
    /// The configuration that was in force after its latest step.
    pub(crate) cluster: Arc<ClusterConfig>,
}

impl Node {
    /// The node at this place, which was never started.
    pub(crate) fn new(scenario: &Scenario, at: usize) -> Self {
        Self {
            id: id(at),
            raft: None,
            is_paused: false,
            inbox: VecDeque::new(),
            clock: Clock::showing(CLOCK_ORIGIN, scenario.clock_speed(at)),
            storage: Storage::new(scenario, at),
            machine: Machine::new(first_known(scenario, at)),
            saved: Machine::new(first_known(scenario, at)),
            received: Vec::new(),
            installing: None,
            is_damaged: false,
            start: 0,
            seen: Seen::default(),
            echoes: Echoes::default(),
            ambush: None,
        }
    }

    /// The configuration in force as of `index`, and where it is, unless the state has it: the
    /// latest in the log, or the last that was applied.
    pub(crate) fn cluster_at(&self, index: Index) -> (Index, &Arc<ClusterConfig>) {
        let in_log = self.storage.newest.config_at(index);
        let in_log = in_log.filter(|(at, _)| *at > self.machine.applied.index);
        in_log.unwrap_or((Index::ZERO, &self.machine.cluster))
    }

    /// The configuration in force.
    pub(crate) fn cluster(&self) -> &Arc<ClusterConfig> {
        self.cluster_at(self.storage.newest.last().index).1
    }

    /// Whether a loss of power would leave what is at this position: in the log, or in the state.
    pub(crate) fn has_durably(&self, at: Position) -> bool {
        self.storage.durable.holds(at) || at.index <= self.saved.applied.index
    }

    /// Whether its log has lost entries, and does not have them back yet, or will be found so.
    pub(crate) fn is_recovering(&self) -> bool {
        let is_damaged = self.is_damaged || self.storage.is_harmed();
        // A process that ended may have been whole without having written that.
        let is_up = self.raft.is_some();
        let log = if is_up { &self.storage.newest } else { &self.storage.durable };
        is_damaged || log.hard_state.recovering
    }

    /// Whether its process runs.
    pub(crate) fn runs(&self) -> bool {
        self.raft.is_some() && !self.is_paused
    }
}

/// The name of the node at this place.
pub(crate) fn id(at: usize) -> NodeId {
    NodeId::new(at as u64 + 1)
}

/// The place of the node of this name.
pub(crate) fn seat(id: NodeId) -> usize {
    usize::try_from(id.get().saturating_sub(1)).unwrap_or(usize::MAX)
}

/// The members that every cluster begins with.
pub(crate) fn founders(scenario: &Scenario) -> ClusterConfig {
    ClusterConfig::of_voters((0..scenario.nodes).map(id))
}

/// The members that the node at this place knows when it starts for the first time: nobody, if it
/// joins later.
pub(crate) fn first_known(scenario: &Scenario, at: usize) -> ClusterConfig {
    if at < scenario.nodes { founders(scenario) } else { ClusterConfig::default() }
}

/// How the node at this place behaves. Each start has a seed of its own.
pub(crate) fn config(scenario: &Scenario, at: usize) -> Config {
    let timing = scenario.timing_of(at);
    Config {
        heartbeat_interval: timing.heartbeat,
        election_timeout_min: timing.election_min,
        election_timeout_max: timing.election_max,
        seed: Dice::new(scenario.seed, &format!("timeouts {at}")).next(),
        campaign_delay: scenario.campaign_delay(at),
        lease_drift: scenario.lease_drift,
        limits: scenario.limits.clone(),
        ..Config::new(id(at))
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Entries, HardState, PersistId, Write};

    use super::*;
    use crate::coverage::Coverage;
    use crate::scenario::{MediumKind, Overrides};
    use crate::storage::End;

    /// A recovery healed two nodes of three, one of which had just got its damaged log whole, and
    /// had lost its power before that was written: it was down, and its log was taken for what
    /// the process had known. So it came back without a vote, nobody could be elected, and the run
    /// failed though the cluster was right.
    #[test]
    fn a_node_that_is_down_is_as_whole_as_its_disk_says() {
        let medium = Some(MediumKind::Memory);
        let scenario = Scenario::draw(1, &Overrides { medium, ..Overrides::default() });
        let mut node = Node::new(&scenario, 0);
        let coverage = &mut Coverage::default();
        assert!(node.storage.damage(coverage));
        let saved = node.saved.clone();
        let boot = node.storage.restart(&saved, false, coverage).unwrap().expect("it starts");
        let hard_state = HardState { recovering: false, ..boot.hard_state };
        let raft = Raft::restore(config(&scenario, 0), boot, Time::ZERO).unwrap();
        node.raft = Some(raft);
        assert!(node.is_recovering());
        let id = PersistId::new(1);
        let (commit, entries) = (Index::ZERO, Entries::empty());
        node.storage.write(Write { id, hard_state, commit, reset: None, entries }).unwrap();
        assert!(!node.is_recovering(), "it has its log back, and is about to write that");
        node.storage.stop(End::PowerLoss).unwrap();
        node.raft = None;
        assert!(node.is_recovering(), "that was never written");
    }
}
