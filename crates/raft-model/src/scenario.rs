//! Small clusters, each with bounds within which everything that can happen does.

use std::ops::Range;

use raft_core::{ClusterConfig, ConfigChange, NodeId};

/// How many times what comes from outside may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Commands proposed, at whoever leads.
    pub proposals: u8,
    /// Losses of power. The node starts again at once; how long it was away is a matter of which
    /// messages it missed.
    pub crashes: u8,
    /// Losses of power after which the end of the log, from anywhere on, is damaged. The node
    /// starts as one that recovers.
    pub damages: u8,
    /// Messages that arrive twice.
    pub repeats: u8,
    /// Heartbeats that fall due.
    pub heartbeats: u8,
    /// Leaders that have not heard of a quorum for long, and step down.
    pub step_downs: u8,
}

/// How a scenario begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With empty disks.
    Empty,
    /// `n1` leads term 1, and its first entry is committed on all founders, who know it.
    Led,
}

/// A cluster to be looked at in every state.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is about, in a few words.
    pub about: &'static str,
    /// Nodes `n1` to this one are there.
    pub nodes: u64,
    /// Nodes `n1` to this one found the cluster; the others wait to join it.
    pub founders: u64,
    /// How it begins.
    pub start: Start,
    /// No node enters a later term.
    pub max_term: u64,
    /// What comes from outside, but for the changes.
    pub budget: Budget,
    /// The changes of the members that are asked for, in this order, at whoever leads.
    pub changes: Vec<ConfigChange>,
    /// Whether a disk may take its time. If not, each write is durable before anything else
    /// happens.
    pub has_slow_disks: bool,
    /// Whether pre-votes and their answers are messages like all others. If not, they arrive as
    /// soon as they are sent: they change nothing at those who answer.
    pub has_slow_pre_votes: bool,
    /// Whether an append carries one entry at most. If not, it carries all that there are.
    pub has_small_appends: bool,
    /// The places of nodes, counted from 0, that are told apart by their numbers alone, so that it
    /// does not matter which of them is the first to do something.
    pub alike: Range<usize>,
}

impl Scenario {
    /// The scenario of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|scenario| scenario.name == name)
    }

    /// All there are, with bounds that let each of them end within seconds or a few minutes.
    pub fn all() -> Vec<Self> {
        let elections = Self::elections();
        let replication = Self {
            name: "replication",
            about: "three nodes, one of which leads already",
            start: Start::Led,
            alike: 1..3,
            ..elections.clone()
        };
        let disks = Self {
            name: "disks",
            about: "the same, with disks that take their time",
            has_slow_disks: true,
            ..replication.clone()
        };
        let pre_votes = Self {
            name: "pre-votes",
            about: "three nodes with empty disks, and a network as slow for pre-votes",
            has_slow_pre_votes: true,
            ..elections.clone()
        };
        let recovery = Self {
            name: "recovery",
            about: "the end of one log is damaged, and that node recovers",
            budget: Budget { damages: 1, crashes: 0, ..replication.budget },
            ..replication.clone()
        };
        let all = [elections, replication.clone(), disks, pre_votes, recovery];
        all.into_iter().chain(Self::changing(&replication)).collect()
    }

    /// Three nodes with empty disks.
    fn elections() -> Self {
        Self {
            name: "elections",
            about: "three nodes with empty disks",
            nodes: 3,
            founders: 3,
            start: Start::Empty,
            max_term: 2,
            budget: Budget {
                proposals: 1,
                crashes: 1,
                damages: 0,
                repeats: 0,
                heartbeats: 0,
                step_downs: 0,
            },
            changes: Vec::new(),
            has_slow_disks: false,
            has_slow_pre_votes: false,
            has_small_appends: false,
            alike: 0..3,
        }
    }

    /// Those whose members change.
    fn changing(basis: &Self) -> [Self; 4] {
        let [leader, other, third] = [1, 2, 3].map(NodeId::new);
        let of_two = Self { founders: 2, alike: 0..0, ..basis.clone() };
        let swap =
            ConfigChange::Replace { voters: [leader, third].into(), learners: [other].into() };
        [
            Self {
                name: "remove",
                about: "three nodes become two",
                changes: vec![ConfigChange::Remove(third)],
                alike: 0..0,
                ..basis.clone()
            },
            Self {
                name: "leave",
                about: "three nodes become two, without the one that leads at first",
                changes: vec![ConfigChange::Remove(leader)],
                ..basis.clone()
            },
            Self {
                name: "grow",
                about: "two nodes become three: one joins, and is promoted",
                changes: vec![ConfigChange::AddLearner(third), ConfigChange::Promote(third)],
                ..of_two.clone()
            },
            Self {
                name: "swap",
                about: "one of two nodes gives its vote to a third, in a joint configuration",
                changes: vec![ConfigChange::AddLearner(third), swap],
                ..of_two
            },
        ]
    }

    /// The ids of all nodes.
    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.nodes).map(NodeId::new)
    }

    /// The configuration this node was founded with; none if it joins later.
    pub(crate) fn founding_of(&self, id: NodeId) -> Option<ClusterConfig> {
        let founders = (1..=self.founders).map(NodeId::new);
        (id.get() <= self.founders).then(|| ClusterConfig::of_voters(founders))
    }
}
