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
                let is_durable = newest.holds(*last) && node.has_durably(*last);
                check(is_durable, "a candidate does not speak of what it could lose", shown)?;
                self.vote(node, message.term, message.from, message)
            }
            Body::VoteReply { granted: true } => self.vote(node, message.term, message.to, message),
            Body::Append { prev, entries, commit } => {
                let holds = |at| newest.holds(at) || at.index < newest.start().index;
                let is_own = holds(*prev) && entries.iter().all(|entry| holds(entry.at));
                check(is_own, "a leader sends its own log", shown)?;
                check(*commit <= self.commit(), "nothing uncommitted is told as committed", shown)
            }
            Body::Appended { matched } => self.acknowledged(nodes, node, message, *matched),
            Body::Snapshot(_) => check(false, "the driver sends the snapshots", shown),
            Body::Heartbeat { commit, .. } => {
                let receiver = &nodes[seat(message.to)];
                let log = &receiver.storage.durable;
                let held = log.last().index.max(receiver.saved.applied.index);
                // One that lost its log has promised to take back what it said of it.
                let is_excused = receiver.is_recovering() || log.hard_state.recovering;
                let is_held = is_excused || held >= *commit;
                check(is_held, "a heartbeat commits what its receiver holds", shown)
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

    /// Acknowledged means durable, and equal to the leader's log.
    fn acknowledged(
        &self,
        nodes: &[Node],
        node: &Node,
        message: &Message,
        matched: Index,
    ) -> Checked {
        let shown = || show::message(message);
        let newest = &node.storage.newest;
        if matched < newest.start().index {
            return check(matched <= self.commit(), "what is acknowledged is durable", shown);
        }
        let promised = newest.position(matched).filter(|at| node.has_durably(*at));
        let Some(promised) = promised else {
            return check(false, "what is acknowledged is durable", shown);
        };
        let leader = &nodes[seat(message.to)];
        let leads = leader.seen.leads && leader.seen.led == message.term;
        let log = &leader.storage.newest;
        let is_equal = log.holds(promised) || matched < log.start().index;
        check(!leads || is_equal, "what is acknowledged is the leader's", shown)
    }
}
