//! [`Operator`]: changes the members, hands leadership over and calls elections, at random and
//! without waiting to see what comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use raft_core::{ClusterConfig, ConfigChange, Input, NodeId, Position, Ticket};

use crate::asked::{Asker, What};
use crate::dice::Dice;
use crate::faults::Fault;
use crate::node;
use crate::scenario::Scenario;
use crate::violation::{Checked, check};
use crate::world::World;

/// How often the leader is asked, if there is one, in a thousand times; else anybody is.
const LEADER_PER_MILLE: u64 = 850;

/// How many voters there are to be: drawn anew for every change.
const WANTED_VOTERS: [usize; 6] = [1, 2, 3, 3, 4, 5];

/// Somebody who is in charge of the cluster, and sure of what they do.
#[derive(Debug)]
pub(crate) struct Operator {
    dice: Dice,
    /// For elections that are called in the place of a leader that is cut off.
    summons: Dice,
    seats: usize,
    /// What was asked for under each ticket.
    changes: BTreeMap<Ticket, ConfigChange>,
    /// The latest hand-over that each node was asked for.
    transfers: BTreeMap<NodeId, Ticket>,
    /// Where the entries are that leaders made of it.
    entries: BTreeMap<Position, Ticket>,
}

impl Operator {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            dice: Dice::new(scenario.seed, "operator"),
            summons: Dice::new(scenario.seed, "summons"),
            seats: scenario.seats(),
            changes: BTreeMap::new(),
            transfers: BTreeMap::new(),
            entries: BTreeMap::new(),
        }
    }

    fn anybody(&mut self) -> NodeId {
        node::id(self.dice.place(self.seats))
    }

    /// One of these, or anybody.
    fn one_of(&mut self, nodes: impl Iterator<Item = NodeId>) -> NodeId {
        let nodes: Vec<_> = nodes.collect();
        if nodes.is_empty() { self.anybody() } else { self.dice.pick(&nodes) }
    }

    /// A change for a cluster with these members, led by this node if the operator is right.
    fn plan(&mut self, cluster: &ClusterConfig, leader: NodeId) -> ConfigChange {
        let is_small = cluster.voters.len() < self.dice.pick(&WANTED_VOTERS);
        match self.dice.below(10) {
            0 => self.blunder(),
            1 | 2 => self.replacement(cluster),
            _ if is_small && self.dice.coin() => {
                ConfigChange::Promote(self.one_of(cluster.learners.iter().copied()))
            }
            _ if is_small => {
                let outsiders = (0..self.seats).map(node::id);
                let outsiders = outsiders.filter(|id| !cluster.is_member(*id));
                ConfigChange::AddLearner(self.one_of(outsiders))
            }
            _ => {
                let is_leader = self.dice.chance(300);
                let member = self.one_of(cluster.members());
                let whom = if is_leader { leader } else { member };
                let demote = self.dice.chance(300);
                if demote { ConfigChange::Demote(whom) } else { ConfigChange::Remove(whom) }
            }
        }
    }

    /// Whatever comes to mind.
    fn blunder(&mut self) -> ConfigChange {
        let whom = self.anybody();
        match self.dice.below(5) {
            0 => ConfigChange::AddLearner(whom),
            1 => ConfigChange::Promote(whom),
            2 => ConfigChange::Demote(whom),
            3 => ConfigChange::Remove(whom),
            _ => {
                let learners = BTreeSet::from([whom]);
                ConfigChange::Replace { voters: BTreeSet::new(), learners }
            }
        }
    }

    fn replacement(&mut self, cluster: &ClusterConfig) -> ConfigChange {
        let voters: BTreeSet<_> = cluster.members().filter(|_| self.dice.coin()).collect();
        let learners = (0..self.seats).map(node::id).filter(|_| self.dice.chance(200)).collect();
        if voters.is_empty() {
            return ConfigChange::Replace { voters: cluster.voters.clone(), learners };
        }
        ConfigChange::Replace { voters, learners }
    }

    /// Who is to campaign in the place of the leader here, and how soon.
    pub(crate) fn summon(&mut self, leader: usize, election: Duration) -> (usize, Duration) {
        let others = self.seats.saturating_sub(1).max(1);
        let whom = (leader + 1 + self.summons.place(others)) % self.seats;
        (whom, self.summons.around(election / 20))
    }

    /// A leader made this entry of what was asked under this ticket.
    pub(crate) fn placed(&mut self, ticket: Ticket, at: Position) {
        self.entries.insert(at, ticket);
    }

    /// A node is asked for a hand-over.
    pub(crate) fn begun(&mut self, node: NodeId, ticket: Ticket) {
        self.transfers.insert(node, ticket);
    }

    /// The latest hand-over that this node was asked for.
    pub(crate) fn transfer_at(&self, node: NodeId) -> Option<Ticket> {
        self.transfers.get(&node).copied()
    }

    /// The ticket of the change whose entry is here, if it is one.
    pub(crate) fn ticket_at(&self, at: Position) -> Option<Ticket> {
        self.entries.get(&at).copied()
    }

    /// A change is told to be done by the entry at `at`, which holds this configuration.
    pub(crate) fn check_done(
        &self,
        ticket: Ticket,
        at: Position,
        made: Option<&ClusterConfig>,
    ) -> Checked {
        let rule = "a change is done as it was asked for";
        let asked = self.changes.get(&ticket);
        let is_so = match (asked, made) {
            (Some(change), Some(made)) => self.ticket_at(at) == Some(ticket) && is_in(change, made),
            _ => false,
        };
        check(is_so, rule, || format!("{asked:?} is said to be done at {at}, which has {made:?}"))
    }
}

/// Whether a cluster with these members shows what the change asked for.
fn is_in(change: &ConfigChange, made: &ClusterConfig) -> bool {
    match change {
        ConfigChange::AddLearner(id) => made.is_member(*id),
        ConfigChange::Promote(id) => made.voters.contains(id),
        ConfigChange::Demote(id) => !made.voters.contains(id) && made.learners.contains(id),
        ConfigChange::Remove(id) => !made.voters.contains(id) && !made.learners.contains(id),
        ConfigChange::Replace { voters, learners } => {
            made.voters == *voters && learners.difference(voters).eq(&made.learners)
        }
    }
}

impl World {
    /// The operator acts.
    pub(crate) fn intervene(&mut self, what: Fault) -> Checked {
        let leader = self.leader().filter(|_| self.operator.dice.chance(LEADER_PER_MILLE));
        let at = leader.unwrap_or(self.operator.dice.place(self.nodes.len()));
        if self.nodes[at].raft.is_none() {
            return Ok(());
        }
        match what {
            Fault::Changes => self.change_members(at),
            Fault::Transfers => self.hand_over(at),
            _ => {
                let whom = self.operator.dice.place(self.nodes.len());
                self.call_election(whom)
            }
        }
    }

    /// This node is told to campaign, unless the faults have ended.
    pub(crate) fn call_election(&mut self, at: usize) -> Checked {
        if self.recovery.is_some() { Ok(()) } else { self.input(at, Input::Campaign) }
    }

    fn change_members(&mut self, at: usize) -> Checked {
        let node = &self.nodes[at];
        let change = self.operator.plan(&node.seen.cluster, node.id);
        let ticket = self.clients.note(Asker::Operator, What::Change, self.occasion(at));
        self.operator.changes.insert(ticket, change.clone());
        self.input(at, Input::ChangeConfig(ticket, change))
    }

    fn hand_over(&mut self, at: usize) -> Checked {
        let cluster = &self.nodes[at].seen.cluster;
        let is_to_voter = self.operator.dice.chance(900);
        let voters = cluster.voters.iter().filter(|_| is_to_voter);
        let to = self.operator.one_of(voters.copied());
        self.hand_over_to(at, to)
    }

    /// Where leadership is handed over, a leader whose links begin to lag is often asked to hand
    /// it to the node which hears of that so late.
    pub(crate) fn hand_over_late(&mut self, at: usize, to: usize) -> Checked {
        let is_wanted = self.scenario.faults.has(Fault::Transfers) && self.operator.dice.coin();
        let leads = self.nodes[at].runs() && self.nodes[at].seen.leads;
        if is_wanted && leads { self.hand_over_to(at, node::id(to)) } else { Ok(()) }
    }

    fn hand_over_to(&mut self, at: usize, to: NodeId) -> Checked {
        let ticket = self.clients.note(Asker::Operator, What::Transfer(to), self.occasion(at));
        self.input(at, Input::TransferLeadership(ticket, to))
    }
}
