//! One transition of the cluster: an input for one node, and what follows from it at once.

use std::collections::VecDeque;
use std::sync::Arc;

use raft_core::{
    Action, Body, Input, LogRead, Message, NodeId, Outcome, PersistId, Time, invariants,
};

use crate::disk::Disk;
use crate::mischief::Mischief;
use crate::model::ClusterModel;
use crate::network::is_spent;
use crate::node::{LATE, Node};
use crate::past;
use crate::rules::{Judge, Rule};
use crate::state::State;

/// The oldest write under way, in the normal form of a node.
const OLDEST_WRITE: PersistId = PersistId::new(1);

/// A transition under way.
pub(crate) struct Drive<'a> {
    model: &'a ClusterModel,
    state: State,
    judge: Judge<'a>,
    inputs: VecDeque<(NodeId, Time, Input)>,
    is_refused: bool,
}

impl<'a> Drive<'a> {
    pub(crate) fn new(model: &'a ClusterModel, state: &State) -> Self {
        Self {
            model,
            state: state.clone(),
            judge: Judge::new(&model.watched),
            inputs: VecDeque::new(),
            is_refused: false,
        }
    }

    /// The state after `input`; none if the node refused what it was asked for.
    pub(crate) fn input(mut self, id: NodeId, at: Time, input: Input) -> Option<State> {
        self.inputs.push_back((id, at, input));
        self.finish()
    }

    /// The message arrives; a copy of it may stay under way.
    pub(crate) fn deliver(mut self, message: &Message, is_repeated: bool) -> Option<State> {
        if !is_repeated {
            self.state.network.remove(message);
        }
        if self.does(Mischief::AcknowledgesOnReceipt)
            && let Body::Append { entries, .. } = &message.body
            && let Some(last) = entries.last_position()
        {
            let body = Body::Appended { matched: last.index };
            let (from, to, term) = (message.to, message.from, message.term);
            self.state.network.insert(Message { from, to, term, body });
        }
        self.arrive(message.clone());
        self.finish()
    }

    /// The disk completes its oldest write.
    pub(crate) fn persist(mut self, id: NodeId) -> Option<State> {
        let mut node = Node::clone(self.state.node(id));
        node.disk.sync_one(self.model.mischief);
        node.settle();
        self.state.put(id, node);
        if !self.does(Mischief::AnswersBeforeTheSync) {
            self.inputs.push_back((id, Time::ZERO, Input::Persisted(OLDEST_WRITE)));
        }
        self.finish()
    }

    /// The power fails, and the node starts again; if there is damage, with so many entries.
    pub(crate) fn crash(mut self, id: NodeId, keep: Option<usize>) -> Option<State> {
        let node = self.state.node(id);
        let (promised, mut disk) = (node.disk.durable.clone(), node.disk.clone());
        disk.crash(self.model.mischief);
        match keep {
            Some(keep) => disk.damage(keep),
            // It names the questions of nodes that recover, and has no other use here.
            None if self.model.scenario.budget.damages == 0 => disk.forget_starts(),
            None => {}
        }
        match self.start_node(id, disk) {
            Some(node) => {
                past::observe_start(&mut self.judge, &node, &promised);
                self.state.put(id, node);
                self.inputs.push_back((id, Time::ZERO, Input::Wake));
            }
            None => self.judge.require(false, Rule::NodesStartAgain),
        }
        self.finish()
    }

    /// Nodes with empty disks, each as it is when it has just started.
    pub(crate) fn start(mut self) -> Option<State> {
        for id in self.model.scenario.ids() {
            let node = self.start_node(id, Disk::empty())?;
            self.state.nodes.push(Arc::new(node));
            self.inputs.push_back((id, Time::ZERO, Input::Wake));
        }
        self.finish()
    }

    /// A node that starts with what is on `disk`; none if the core refuses.
    fn start_node(&self, id: NodeId, disk: Disk) -> Option<Node> {
        let node = Node::start(id, disk, &self.model.scenario);
        #[cfg(feature = "planted-bugs")]
        let node = node.map(|node| match self.model.bug {
            Some(bug) => node.with(bug),
            None => node,
        });
        node
    }

    fn does(&self, mischief: Mischief) -> bool {
        self.model.mischief == Some(mischief)
    }

    fn finish(mut self) -> Option<State> {
        while let Some((id, at, input)) = self.inputs.pop_front() {
            self.step(id, at, input);
        }
        let Self { mut state, judge, is_refused, .. } = self;
        state.broken = judge.broken();
        let mut network = std::mem::take(&mut state.network);
        network.forget_spent(|message| {
            is_spent(message, state.node(message.from), state.node(message.to))
        });
        state.network = network;
        (!is_refused).then_some(state)
    }

    /// Lets the node `id` take one step, and does what it asks for.
    fn step(&mut self, id: NodeId, at: Time, input: Input) {
        let before = Arc::clone(self.state.node(id));
        let mut node = Node::clone(&before);
        let mut actions = Vec::new();
        node.raft.step(at, input, &mut actions);
        let keeps_own = invariants::check(&before.raft, &node.raft).is_ok();
        self.judge.require(keeps_own, Rule::OwnInvariants);
        let may_be_strangers = !self.model.scenario.changes.is_empty();
        let is_sense = may_be_strangers || node.raft.status().dropped_messages == 0;
        self.judge.require(is_sense, Rule::NothingIsDropped);
        for action in &actions {
            match action {
                Action::Persist(write) => node.disk.accept(write.clone()),
                Action::ReadLog(request) => {
                    let entries = node.disk.read(request);
                    let read = LogRead { purpose: request.purpose, first: request.first, entries };
                    self.inputs.push_back((id, Time::ZERO, Input::LogRead(read)));
                }
                Action::Resolved(_, Outcome::Rejected(_)) => self.is_refused = true,
                Action::SendSnapshot(_) | Action::InstallSnapshot(_) | Action::Compact(_) => {
                    unreachable!("nobody lets a log be cut")
                }
                Action::Send(_)
                | Action::Apply(_)
                | Action::Resolved(..)
                | Action::RoleChanged(_)
                | Action::ConfigChanged(_)
                | Action::Trace(_) => {}
            }
        }
        self.sync_at_once(id, &mut node, &actions);
        node.settle();
        self.state.put(id, node);
        past::observe(&mut self.state, &mut self.judge, &before, id, &actions);
        for action in actions {
            if let Action::Send(message) = action {
                self.send(message);
            }
        }
    }

    /// If disks do not take their time, what was just given to them is durable now.
    fn sync_at_once(&mut self, id: NodeId, node: &mut Node, actions: &[Action]) {
        let is_writing = actions.iter().any(|action| matches!(action, Action::Persist(_)));
        let is_lying = self.does(Mischief::AnswersBeforeTheSync);
        if is_writing && (is_lying || !self.model.scenario.has_slow_disks) {
            if !is_lying {
                node.disk.sync_one(self.model.mischief);
            }
            self.inputs.push_front((id, Time::ZERO, Input::Persisted(OLDEST_WRITE)));
        }
    }

    fn send(&mut self, message: Message) {
        let is_pre_vote = matches!(message.body, Body::PreVote { .. } | Body::PreVoteReply { .. });
        if is_pre_vote && !self.model.scenario.has_slow_pre_votes {
            self.arrive(message);
        } else {
            self.state.network.insert(message);
        }
    }

    /// The message reaches its node. One that asks for a vote does so when that node has not heard
    /// of a leader for long; if it had, the message might as well be lost. And the answer to a
    /// heartbeat arrives so late that the leader takes what it sent before for lost. A node that
    /// recovers gives no vote in any case, and would ask its questions again with each.
    fn arrive(&mut self, message: Message) {
        let is_recovering = self.state.node(message.to).disk.newest.hard_state.recovering;
        let at = match message.body {
            _ if is_recovering => Time::ZERO,
            Body::PreVote { .. } | Body::Vote { .. } | Body::HeartbeatReply { .. } => LATE,
            _ => Time::ZERO,
        };
        self.inputs.push_back((message.to, at, Input::Message(message)));
    }
}
