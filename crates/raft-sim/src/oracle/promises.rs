//! What a message promises must be on its sender's disk before it leaves.

use raft_core::{Body, Index, Message, NodeId, Term};

use super::Oracle;
use crate::node::{Node, seat};
use crate::show;
use crate::violation::{Checked, check};

impl Oracle {
    /// Looks at a message that the node at `at` sends.
    pub(crate) fn sent(&mut self, nodes: &[Node], at: usize, message: &Message) -> Checked {
        let node = &nodes[at];
        let shown = || show::message(message);
        let is_addressed = message.from == node.id && message.to != node.id;
        check(is_addressed, "a message names its sender, and another node", shown)?;
        let (newest, durable) = (&node.storage.newest, &node.storage.durable);
        let spoken = match message.body {
            // These two speak of a term that nobody has entered.
            Body::PreVote { .. } | Body::PreVoteReply { granted: true } => newest.hard_state.term,
            _ => message.term,
        };
        check(spoken == newest.hard_state.term, "nothing is said in a term that is over", shown)?;
        check(spoken == durable.hard_state.term, "no term is told before it is durable", shown)?;
        match &message.body {
            Body::Vote { last } | Body::TransferVote { last } => {
                let is_durable = durable.holds(*last);
                check(is_durable, "a candidate does not speak of what it could lose", shown)?;
                self.vote(node, message.term, message.from, message)
            }
            Body::VoteReply { granted: true } => self.vote(node, message.term, message.to, message),
            Body::Append { prev, entries, commit } => {
                let is_own =
                    newest.holds(*prev) && entries.iter().all(|entry| newest.holds(entry.at));
                check(is_own, "a leader sends its own log", shown)?;
                check(*commit <= self.commit(), "nothing uncommitted is told as committed", shown)
            }
            Body::Appended { matched } => check_acknowledgement(nodes, node, message, *matched),
            Body::Heartbeat { commit, .. } => {
                let held = nodes[seat(message.to)].storage.durable.last().index;
                check(held >= *commit, "a heartbeat commits what its receiver holds", shown)
            }
            _ => Ok(()),
        }
    }

    /// A vote is told: it must be durable, and the only one of that node in that term, ever.
    fn vote(&mut self, node: &Node, term: Term, candidate: NodeId, message: &Message) -> Checked {
        let shown = || show::message(message);
        let is_durable = node.storage.durable.hard_state.vote == Some(candidate);
        check(is_durable, "no vote is told before it is durable", shown)?;
        let first = *self.votes.entry((node.id, term)).or_insert(candidate);
        check(first == candidate, "one vote a node and term", || {
            format!("{} voted for {first}, and now {}", node.id, shown())
        })
    }
}

/// Acknowledged means durable, and equal to the leader's log.
fn check_acknowledgement(
    nodes: &[Node],
    node: &Node,
    message: &Message,
    matched: Index,
) -> Checked {
    let shown = || show::message(message);
    let (newest, durable) = (&node.storage.newest, &node.storage.durable);
    let rule = "what is acknowledged is durable";
    let Some(promised) = durable.position(matched) else {
        return check(false, rule, shown);
    };
    check(newest.holds(promised), "what is acknowledged is not being replaced", shown)?;
    let leader = &nodes[seat(message.to)];
    let leads = leader.seen.leads && leader.seen.led == message.term;
    let is_equal = leader.storage.newest.holds(promised);
    check(!leads || is_equal, "what is acknowledged is the leader's", shown)
}
