//! What has happened, and whether what happens now contradicts it: the view of one who sees the
//! whole cluster.

use std::sync::Arc;

use raft_core::{
    Action, Body, ClusterConfig, Entry, Index, Message, NodeId, Outcome, Payload, RoleKind, Status,
    Term, Ticket,
};

use crate::disk::Stored;
use crate::node::Node;
use crate::rules::{Judge, Rule};
use crate::state::State;

/// What must not be contradicted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Past {
    /// Who led each term, from term 0 on.
    leaders: Vec<Option<NodeId>>,
    /// Every entry that any node ever took for committed, and the term in which the first did.
    committed: Arc<Vec<(Entry, Term)>>,
    /// The numbers of the commands that were said to be dead, as bits.
    refused: u64,
}

impl Past {
    pub(crate) fn committed(&self) -> impl Iterator<Item = &Entry> {
        self.committed.iter().map(|(entry, _)| entry)
    }

    /// In how many terms there was a leader.
    pub(crate) fn led_terms(&self) -> usize {
        self.leaders.iter().flatten().count()
    }
}

/// Looks at the node `id`, which has taken a step from `before` and did `actions`, and notes what
/// happened.
pub(crate) fn observe(
    state: &mut State,
    judge: &mut Judge<'_>,
    before: &Node,
    id: NodeId,
    actions: &[Action],
) {
    let node = Arc::clone(state.node(id));
    if node.status.role == RoleKind::Leader {
        observe_leader(&mut state.past, judge, &node);
    }
    if before.disk.newest.log() != node.disk.newest.log() {
        let others = state.nodes.iter().filter(|other| !Arc::ptr_eq(other, &node));
        let mut logs = others.flat_map(|other| [&other.disk.newest, &other.disk.durable]);
        judge.require(logs.all(|log| is_matching(&node.disk.newest, log)), Rule::LogsMatch);
    }
    observe_commit(state, judge, before.raft.cluster(), &node);
    for action in actions {
        match action {
            Action::Send(message) => {
                judge.require(is_kept(&node.disk.durable, message), Rule::PromisedIsDurable);
            }
            Action::Apply(entries) => {
                let known = |entry: &Entry| state.past.committed().nth(place(entry.at.index));
                let agree = entries.iter().all(|entry| known(entry) == Some(entry));
                judge.require(agree, Rule::OneHistory);
            }
            Action::Resolved(ticket, outcome) => {
                observe_outcome(&mut state.past, judge, *ticket, *outcome);
            }
            _ => {}
        }
    }
}

/// Looks at a node that has just started again, with what was on its disk before the crash.
pub(crate) fn observe_start(judge: &mut Judge<'_>, node: &Node, before: &Stored) {
    let (now, promised) = (&node.status, before.hard_state);
    let is_same = (now.term, now.vote) == (promised.term, promised.vote);
    judge.require(is_same, Rule::VotesOutliveCrashes);
}

fn observe_leader(past: &mut Past, judge: &mut Judge<'_>, node: &Node) {
    let (id, term) = (node.status.id, node.status.term);
    let at = usize::try_from(term.get()).unwrap_or(usize::MAX);
    if past.leaders.len() <= at {
        past.leaders.resize(at + 1, None);
    }
    let leader = past.leaders[at].replace(id);
    judge.require(leader.is_none_or(|leader| leader == id), Rule::OneLeaderATerm);
    if leader.is_none() {
        // What was committed in this term, or later, it need not have.
        let mut earlier = past.committed.iter().filter(|(_, committed_in)| *committed_in < term);
        let has_all = earlier.all(|(entry, _)| node.disk.newest.holds(entry.at));
        judge.require(has_all, Rule::LeadersAreComplete);
    }
}

/// Log Matching, for two logs that both begin at the origin.
fn is_matching(one: &Stored, other: &Stored) -> bool {
    let pairs = || one.log().iter().zip(other.log());
    let last_shared = pairs().rposition(|(a, b)| a.at == b.at);
    last_shared.is_none_or(|last| pairs().take(last + 1).all(|(a, b)| a == b))
}

/// `cluster` is the configuration in which the decision was made: the one before the step.
fn observe_commit(state: &mut State, judge: &mut Judge<'_>, cluster: &ClusterConfig, node: &Node) {
    let (commit, term) = (node.status.commit, node.status.term);
    for index in 0..place(commit.next()) {
        let Some(entry) = node.disk.newest.log().get(index) else {
            return judge.require(false, Rule::OneHistory);
        };
        if let Some((known, _)) = state.past.committed.get(index) {
            judge.require(entry == known, Rule::OneHistory);
            continue;
        }
        let has = |id: NodeId| state.node(id).disk.vouches_for(entry.at);
        judge.require(is_quorum(cluster, has), Rule::CommittedIsDurable);
        let is_refused = number(&entry.payload).is_some_and(|at| state.past.refused >> at & 1 == 1);
        judge.require(!is_refused, Rule::OutcomesAreTrue);
        let mut later = state.nodes.iter().filter(|other| leads_after(&other.status, term));
        let all_have_it = later.all(|leader| leader.disk.newest.holds(entry.at));
        judge.require(all_have_it, Rule::LeadersAreComplete);
        Arc::make_mut(&mut state.past.committed).push((entry.clone(), term));
    }
}

fn leads_after(status: &Status, term: Term) -> bool {
    status.role == RoleKind::Leader && status.term > term
}

fn is_quorum(cluster: &ClusterConfig, has: impl Fn(NodeId) -> bool) -> bool {
    let mut sets = [Some(&cluster.voters), cluster.outgoing.as_ref()].into_iter().flatten();
    sets.all(|voters| 2 * voters.iter().filter(|id| has(**id)).count() > voters.len())
}

/// Whether what this message promises is on the disk of its sender.
fn is_kept(disk: &Stored, message: &Message) -> bool {
    let Stored { hard_state, .. } = disk;
    let is_of_this_term = hard_state.term == message.term;
    match &message.body {
        // These speak of a term that nobody has entered.
        Body::PreVote { .. } | Body::PreVoteReply { granted: true } => true,
        Body::Vote { last } | Body::TransferVote { last } => {
            is_of_this_term && hard_state.vote == Some(message.from) && disk.holds(*last)
        }
        Body::VoteReply { granted: true } => is_of_this_term && hard_state.vote == Some(message.to),
        Body::Appended { matched } => is_of_this_term && disk.last().index >= *matched,
        _ => is_of_this_term,
    }
}

fn observe_outcome(past: &mut Past, judge: &mut Judge<'_>, ticket: Ticket, outcome: Outcome) {
    let Some(number) = ticket_number(ticket) else { return };
    let is_proposal = |entry: &Entry| self::number(&entry.payload) == Some(number);
    let is_true = match outcome {
        Outcome::Committed(at) => {
            past.committed().any(|entry| entry.at == at && is_proposal(entry))
        }
        Outcome::Rejected(_) | Outcome::Overwritten => {
            past.refused |= 1 << number;
            !past.committed().any(is_proposal)
        }
        Outcome::Transferred | Outcome::ReadAt(_) | Outcome::Unknown => false,
    };
    judge.require(is_true, Rule::OutcomesAreTrue);
}

/// The number of the proposal whose ticket this is; none if it is one of a change.
fn ticket_number(ticket: Ticket) -> Option<u8> {
    u8::try_from(ticket.get()).ok()
}

/// The number of the proposal that a command is.
fn number(payload: &Payload) -> Option<u8> {
    match payload {
        Payload::Command(bytes) => bytes.first().copied(),
        Payload::Noop | Payload::Config(_) => None,
    }
}

/// Where the entry of this index lies in a log from 1 on.
fn place(index: Index) -> usize {
    usize::try_from(index.get().saturating_sub(1)).unwrap_or(usize::MAX)
}
