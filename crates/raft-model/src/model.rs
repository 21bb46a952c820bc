//! The cluster as a state machine for stateright: which actions there are, and what they lead to.

use std::sync::Arc;
use std::time::Instant;

use raft_core::{Input, Message, NodeId, Payload, RoleKind, Ticket, Time};
use stateright::{Model, Property};

use crate::drive::Drive;
use crate::mischief::Mischief;
use crate::node::{LATE, SOON};
use crate::rules::Rule;
use crate::scenario::{Budget, Scenario};
use crate::start::first_state;
use crate::state::State;

/// Tickets of proposals count from 0, those of changes from here.
const FIRST_CHANGE_TICKET: u64 = 1000;

/// A scenario to be explored.
#[derive(Clone, Debug)]
pub struct ClusterModel {
    pub(crate) scenario: Scenario,
    pub(crate) mischief: Option<Mischief>,
    pub(crate) watched: Vec<Rule>,
    /// A mistake in the core of every node.
    #[cfg(feature = "planted-bugs")]
    pub(crate) bug: Option<raft_core::planted::Bug>,
    /// From this moment on, no more states are within the bounds.
    pub(crate) deadline: Option<Instant>,
    /// The fingerprints of the nodes at the start.
    origin: Vec<u64>,
}

/// One thing that can happen next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The node has heard of no leader for long.
    Campaign(NodeId),
    /// The message arrives.
    Deliver(Arc<Message>),
    /// The message arrives, and a copy of it is still under way.
    Repeat(Arc<Message>),
    /// The disk of the node completes its oldest write.
    Persist(NodeId),
    /// The node loses what is not durable, and starts again.
    Crash(NodeId),
    /// The same, and of its log only so many entries are whole.
    Damage(NodeId, usize),
    /// A heartbeat of this leader is due.
    Heartbeat(NodeId),
    /// This leader has not heard of a quorum for long.
    StepDown(NodeId),
    /// This leader is asked to append the next command.
    Propose(NodeId),
    /// This leader is asked for the next change of the members.
    Change(NodeId),
}

impl ClusterModel {
    /// The scenario as it should be, with an eye on all rules.
    pub fn new(scenario: Scenario) -> Self {
        Self::with(scenario, None, Rule::ALL.to_vec())
    }

    /// The scenario with a mistake that every driver makes, and an eye on these rules alone: so
    /// that what is found may be what a mistake leads to, and not just the mistake.
    pub fn with(scenario: Scenario, mischief: Option<Mischief>, watched: Vec<Rule>) -> Self {
        let model = Self {
            scenario,
            mischief,
            watched,
            #[cfg(feature = "planted-bugs")]
            bug: None,
            deadline: None,
            origin: Vec::new(),
        };
        model.with_origin()
    }

    /// The same, with a mistake in the core of every node.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub fn with_bug(self, bug: raft_core::planted::Bug) -> Self {
        Self { bug: Some(bug), ..self }.with_origin()
    }

    /// The same, knowing what its nodes are at the start.
    fn with_origin(mut self) -> Self {
        let nodes = first_state(&self).into_iter().flat_map(|state| state.nodes);
        self.origin = nodes.map(|node| node.fingerprint).collect();
        self
    }

    /// What may happen to this node but for the messages.
    fn own_actions(&self, state: &State, id: NodeId, actions: &mut Vec<Action>) {
        let (node, left) = (state.node(id), &state.left);
        if node.disk.is_busy() {
            actions.push(Action::Persist(id));
        }
        if left.crashes > 0 {
            actions.push(Action::Crash(id));
        }
        if left.damages > 0 {
            let entries = node.disk.durable.log().len();
            actions.extend((0..entries).map(|keep| Action::Damage(id, keep)));
        }
        if node.status.role == RoleKind::Leader {
            let has_changes = state.changes_begun < self.scenario.changes.len();
            let asked = [
                (left.heartbeats > 0, Action::Heartbeat(id)),
                (left.step_downs > 0, Action::StepDown(id)),
                (left.proposals > 0, Action::Propose(id)),
                (has_changes, Action::Change(id)),
            ];
            actions.extend(asked.into_iter().filter_map(|(may, action)| may.then_some(action)));
        } else if node.status.term.get() < self.scenario.max_term {
            actions.push(Action::Campaign(id));
        }
    }

    /// Where the action leads; nowhere if the node refuses.
    fn after(&self, before: &State, action: &Action) -> Option<State> {
        let drive = Drive::new(self, before);
        match action {
            Action::Campaign(id) => drive.input(*id, Time::ZERO, Input::Campaign),
            Action::Deliver(message) => drive.deliver(message, false),
            Action::Repeat(message) => drive.deliver(message, true),
            Action::Persist(id) => drive.persist(*id),
            Action::Crash(id) => drive.crash(*id, None),
            Action::Damage(id, keep) => drive.crash(*id, Some(*keep)),
            Action::Heartbeat(id) => drive.input(*id, SOON, Input::Wake),
            Action::StepDown(id) => drive.input(*id, LATE, Input::Wake),
            Action::Propose(id) => {
                let number = self.scenario.budget.proposals - before.left.proposals;
                let (ticket, command) = (Ticket::new(number.into()), [number].into());
                drive.input(*id, Time::ZERO, Input::ProposeOne(ticket, command))
            }
            Action::Change(id) => {
                let number = before.changes_begun;
                let change = self.scenario.changes.get(number)?.clone();
                let ticket = Ticket::new(FIRST_CHANGE_TICKET + number as u64);
                drive.input(*id, Time::ZERO, Input::ChangeConfig(ticket, change))
            }
        }
    }

    /// Whether the nodes that are told apart by their numbers alone come to differ from what they
    /// were at the start in the order of those. Any other course of events is one of these, with
    /// the numbers exchanged.
    fn is_in_order(&self, state: &State) -> bool {
        let is_touched = |at: usize| state.nodes[at].fingerprint != self.origin[at];
        self.scenario.alike.clone().is_sorted_by_key(|at| !is_touched(at))
    }
}

/// Takes what the action costs from what may still come from outside.
fn spend(state: &mut State, action: &Action) {
    let Budget { proposals, crashes, damages, repeats, heartbeats, step_downs } = &mut state.left;
    let left = match action {
        Action::Propose(_) => proposals,
        Action::Crash(_) => crashes,
        Action::Damage(..) => damages,
        Action::Repeat(_) => repeats,
        Action::Heartbeat(_) => heartbeats,
        Action::StepDown(_) => step_downs,
        Action::Change(_) => {
            state.changes_begun += 1;
            return;
        }
        Action::Campaign(_) | Action::Deliver(_) | Action::Persist(_) => return,
    };
    *left -= 1;
}

impl Model for ClusterModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        first_state(self).into_iter().collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        for id in self.scenario.ids() {
            self.own_actions(state, id, actions);
        }
        let messages = || state.network.iter().map(Arc::clone);
        actions.extend(messages().map(Action::Deliver));
        if state.left.repeats > 0 {
            actions.extend(messages().map(Action::Repeat));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut after = self.after(before, &action)?;
        spend(&mut after, &action);
        self.is_in_order(&after).then_some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = rules();
        let led_again = |_: &Self, state: &State| state.past.led_terms() > 1;
        properties.extend([
            Property::sometimes("a leader is followed by another", led_again),
            Property::sometimes("all commands are committed", is_all_committed),
        ]);
        if self.scenario.budget.crashes > 0 {
            properties.push(Property::sometimes(
                "all commands are committed, and all crashes have happened",
                |model, state: &State| state.left.crashes == 0 && is_all_committed(model, state),
            ));
        }
        if self.scenario.budget.damages > 0 {
            properties.push(Property::sometimes("all damaged logs are whole again", is_whole));
        }
        if !self.scenario.changes.is_empty() {
            properties.push(Property::sometimes("the members have changed", has_changed));
        }
        properties
    }

    fn within_boundary(&self, state: &State) -> bool {
        let is_over = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let mut terms = state.nodes.iter().map(|node| node.status.term.get());
        !is_over && terms.all(|term| term <= self.scenario.max_term)
    }
}

/// Every rule, as something that always holds.
fn rules() -> Vec<Property<ClusterModel>> {
    fn always<const RULE: usize>() -> Property<ClusterModel> {
        Property::always(Rule::ALL[RULE].name(), |_, state: &State| {
            state.broken != Some(Rule::ALL[RULE])
        })
    }
    const { assert!(Rule::ALL.len() == 11, "each rule is listed below") };
    vec![
        always::<0>(),
        always::<1>(),
        always::<2>(),
        always::<3>(),
        always::<4>(),
        always::<5>(),
        always::<6>(),
        always::<7>(),
        always::<8>(),
        always::<9>(),
        always::<10>(),
    ]
}

fn is_all_committed(model: &ClusterModel, state: &State) -> bool {
    let is_command = |payload: &&Payload| matches!(payload, Payload::Command(_));
    let commands = state.past.committed().map(|entry| &entry.payload).filter(is_command);
    commands.count() == usize::from(model.scenario.budget.proposals)
}

fn is_whole(_: &ClusterModel, state: &State) -> bool {
    let mut nodes = state.nodes.iter();
    state.left.damages == 0 && nodes.all(|node| !node.disk.durable.hard_state.recovering)
}

fn has_changed(model: &ClusterModel, state: &State) -> bool {
    let configs = state.past.committed().filter_map(|entry| match &entry.payload {
        Payload::Config(config) => Some(config),
        Payload::Noop | Payload::Command(_) => None,
    });
    let settled = configs.filter(|config| config.outgoing.is_none());
    settled.count() >= model.scenario.changes.len()
}
