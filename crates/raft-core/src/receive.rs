//! What every message goes through before its meaning is looked at: the filter, then the rule of
//! terms (paper §5.1).
//!
//! Filter, then assert: whatever a peer may send is tolerated here, counted and dropped if it
//! makes no sense. Assertions elsewhere guard our own mistakes only.

use alloc::vec::Vec;

use crate::api::{Action, DropReason, Event, VoteAnswer};
use crate::message::{Body, Message};
use crate::node::Raft;
use crate::planted::Bug;
use crate::role::Role;
use crate::types::Term;

/// How far a term may be ahead of ours: more than any node misses elections. Without a bound, one
/// forged message could bring a cluster to the last term there is, where it can elect nobody.
const MAX_TERM_LEAP: u64 = 1 << 32;

impl Raft {
    pub(crate) fn on_message(&mut self, message: Message, out: &mut Vec<Action>) {
        let from = message.from;
        if message.to != self.config.id || from == self.config.id {
            return self.drop_message(from, DropReason::WrongAddress, out);
        }
        if message.term.get() > self.term().get().saturating_add(MAX_TERM_LEAP) {
            return self.drop_message(from, DropReason::ImpossibleTerm, out);
        }
        match message.body {
            // These two speak of a term that nobody has entered.
            Body::PreVote { last } => self.on_pre_vote(from, message.term, last, out),
            Body::PreVoteReply { granted: true } => {
                self.on_pre_vote_granted(from, message.term, out);
            }
            _ => {
                if self.enter_term_of(&message, out) {
                    self.on_message_of_this_term(message, out);
                }
            }
        }
    }

    /// Applies the rule of terms; returns whether the message is of the current term then.
    fn enter_term_of(&mut self, message: &Message, out: &mut Vec<Action>) -> bool {
        let (from, term) = (message.from, message.term);
        if term < self.term() {
            self.answer_from_later_term(message, out);
            return false;
        }
        if term > self.term() {
            let is_loyal = self.hears_from_leader() && !self.planted.has(Bug::DisloyalVoter);
            if self.would_depose(message) && is_loyal {
                trace_vote(message, VoteAnswer::LeaderAlive, out);
                return false;
            }
            let is_leader = message.body.is_of_leader();
            self.become_follower(term, is_leader.then_some(from), out);
        }
        true
    }

    /// Whether this asks for a vote against the will of the leader there may be. A voter asks with
    /// its consent if it says so; nobody else can have it.
    fn would_depose(&self, message: &Message) -> bool {
        match message.body {
            Body::Vote { .. } => true,
            Body::TransferVote { .. } => !self.log.cluster().is_voter(message.from),
            _ => false,
        }
    }

    /// Tells a node whose term is over about this one, if it may be waiting: a leader must step
    /// down, a candidate must try in a higher term. Otherwise a node that once campaigned alone
    /// could never be led again.
    fn answer_from_later_term(&mut self, message: &Message, out: &mut Vec<Action>) {
        match message.body {
            Body::Append { .. } | Body::Heartbeat { .. } | Body::Snapshot(_) => {
                self.send(message.from, Body::HeartbeatReply { round: 0 }, out);
            }
            Body::Vote { .. } | Body::TransferVote { .. } => {
                trace_vote(message, VoteAnswer::OldTerm, out);
                self.send(message.from, Body::VoteReply { granted: false }, out);
            }
            // A refusal needs no higher term to count.
            Body::PreVoteReply { granted: false } => self.on_pre_vote_refused(message.from, out),
            _ => {}
        }
    }

    fn on_message_of_this_term(&mut self, message: Message, out: &mut Vec<Action>) {
        let from = message.from;
        match message.body {
            Body::PreVote { .. } | Body::PreVoteReply { granted: true } => {}
            Body::PreVoteReply { granted: false } => self.on_pre_vote_refused(from, out),
            Body::Vote { last } => self.on_vote(from, last, self.hears_from_leader(), out),
            Body::TransferVote { last } => self.on_vote(from, last, false, out),
            Body::TimeoutNow { last } => self.on_timeout_now(from, last, out),
            Body::VoteReply { granted } => self.on_vote_reply(from, granted, out),
            Body::Append { prev, entries, commit } => {
                self.on_append(from, prev, entries, commit, out);
            }
            Body::Appended { matched } => self.on_appended(from, matched, out),
            Body::AppendRejected { prev, hint } => self.on_append_rejected(from, prev, hint, out),
            Body::Heartbeat { commit, round } => self.on_heartbeat(from, commit, round, out),
            Body::HeartbeatReply { round } => self.on_heartbeat_reply(from, round, out),
            Body::ReadIndex { id, mode } => self.on_read_index(from, id, mode, out),
            Body::ReadIndexReply { id, index } => {
                self.on_read_index_reply(from, id, index, out);
            }
            Body::Snapshot(snapshot) => self.on_snapshot(from, snapshot, out),
            Body::Recover { id, last } => self.on_recover(from, id, last, out),
            Body::RecoverReply { id, last } => self.on_recover_reply(from, id, last),
        }
    }

    /// Whether this node leads, or heard from a leader within the shortest election timeout. Such
    /// a node votes for nobody else, so that a node that was cut off or removed cannot depose a
    /// leader that works (thesis §4.2.3).
    pub(crate) fn hears_from_leader(&self) -> bool {
        let is_recent = |at| self.now.since(at) < self.config.election_timeout_min;
        matches!(self.role, Role::Leader(_)) || self.leader_heard_at.is_some_and(is_recent)
    }

    /// Whether `term` is the one in which a campaign of this node would be.
    pub(crate) fn is_next_term(&self, term: Term) -> bool {
        term == self.term().next()
    }
}

fn trace_vote(message: &Message, answer: VoteAnswer, out: &mut Vec<Action>) {
    let (candidate, term) = (message.from, message.term);
    out.push(Action::Trace(Event::VoteAsked { candidate, term, pre: false, answer }));
}
