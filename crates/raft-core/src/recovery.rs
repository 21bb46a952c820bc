//! Recovering from a damaged log (DESIGN: "recovering boot").
//!
//! A log in which acknowledged entries are damaged is cut where the damage begins. Such a node has
//! forgotten what others rely on: if it voted, it could help to elect a leader that lacks a
//! committed entry. So it starts as *recovering*:
//!
//! 1. It neither votes nor campaigns, and remembers that on disk.
//! 2. It follows leaders, and acknowledges what it durably holds, as every node does. That is as
//!    safe as before, because whoever is elected meanwhile is elected without it.
//! 3. It asks the leader how far the leader's log goes, under a name never used before, so that the
//!    answer was given after this node started.
//! 4. When its own log durably holds that position, it votes again.
//! 5. Until then it takes nothing for committed on the word of a heartbeat, but only what an append
//!    has proven. What is left may be an *older* log, with entries that had been replaced; and a
//!    heartbeat goes by what the node held before the damage.
//!
//! Why 4 is enough: take an entry that this node acknowledged before the damage, and that is
//! committed or still may be. It is in the log of every leader of a later term: the majority that
//! elected that leader shares a node with the majority that stored the entry, and that node had it
//! when it voted. (If it is this one, it voted before the damage.) What it acknowledged to the
//! leader of the same term lies in that leader's log, before its end. And of no leader of an
//! earlier term does it take an answer, because its term is not lost: to keep term and vote safe
//! from the damage is up to the storage.
//!
//! A leader that believed this node to hold more than it does now takes that back, or it would
//! never send it again. What it committed on the strength of that stays committed: see 2.

use alloc::vec::Vec;

use crate::api::{Action, DropReason, Event};
use crate::message::Body;
use crate::node::Raft;
use crate::planted::Bug;
use crate::role::Role;
use crate::types::{NodeId, Position, Term, Time};

/// What a recovering node knows of the leader's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Recovery {
    /// The latest question, and in which term and when it was asked.
    asked: Option<(u64, Term, Time)>,
    /// The answer: this position must be reached, in this term.
    target: Option<(Term, Position)>,
}

impl Recovery {
    /// Takes the latest question to have been asked at the origin of time.
    pub(crate) fn forget_times(&mut self) {
        self.asked = self.asked.map(|(id, term, _)| (id, term, Time::ZERO));
    }
}

/// At the recovering node.
impl Raft {
    /// The end of a step: asks the leader, or finds that everything is back.
    pub(crate) fn settle_recovery(&mut self, out: &mut Vec<Action>) {
        if !self.hard_state.recovering {
            return;
        }
        if self.planted.has(Bug::RecoveredAtOnce) {
            return self.end_recovery();
        }
        let term = self.term();
        match self.recovery.target.filter(|(asked_in, _)| *asked_in == term) {
            Some((_, last)) if self.has_recovered(last) => {
                self.recovery = Recovery::default();
                self.end_recovery();
                out.push(Action::Trace(Event::Recovered { last }));
            }
            // A word from before the damage may reach the leader after the first question, and make
            // it believe that everything is here. So the question is repeated to the end.
            Some(_) | None => self.ask_to_recover(out),
        }
    }

    fn has_recovered(&self, target: Position) -> bool {
        self.holds_durably(target) || self.planted.has(Bug::RecoveredByAnswer)
    }

    fn holds_durably(&self, at: Position) -> bool {
        let is_covered = at.index < self.log.start().index || self.log.holds(at);
        is_covered && at.index <= self.log.durable()
    }

    fn ask_to_recover(&mut self, out: &mut Vec<Action>) {
        let (now, term) = (self.now, self.term());
        let patience = self.read_patience();
        let is_asked = |(_, asked_in, at)| asked_in == term && now.since(at) < patience;
        let Some(leader) = self.role.leader(self.config.id) else { return };
        if self.recovery.asked.is_some_and(is_asked) {
            return;
        }
        let (id, last) = (self.name_question(), self.log.last());
        self.recovery.asked = Some((id, term, now));
        self.send(leader, Body::Recover { id, last }, out);
    }

    /// The leader's log ends at `last`. (An answer to an earlier question of this term will do as
    /// well, but those are no longer known by name.)
    pub(crate) fn on_recover_reply(&mut self, from: NodeId, id: u64, last: Position) {
        let is_from_leader = self.role.leader(self.config.id) == Some(from);
        let is_answer = self.recovery.asked.is_some_and(|(asked, ..)| asked == id)
            || self.planted.has(Bug::RecoveredByOldAnswer);
        if is_from_leader
            && is_answer
            && self.recovery.target.is_none_or(|(term, _)| term < self.term())
        {
            self.recovery.target = Some((self.term(), last));
        }
    }
}

/// At the leader.
impl Raft {
    /// A follower says that its log lost everything after `last`.
    pub(crate) fn on_recover(
        &mut self,
        from: NodeId,
        id: u64,
        last: Position,
        out: &mut Vec<Action>,
    ) {
        if !self.log.cluster().is_member(from) {
            return self.drop_message(from, DropReason::UnknownSender, out);
        }
        let Some(at) = self.answering_peer(from, out) else { return };
        // What was cut off is no help to a node that has less.
        let agreed = self.log.last_at_or_before(last).index.min(last.index);
        let own_last = self.log.last();
        let Role::Leader(leader) = &mut self.role else { return };
        let peer = &mut leader.peers[at];
        peer.whole_from = Some(own_last.index);
        if peer.matched > agreed && !self.planted.has(Bug::LossForgotten) {
            peer.lost_its_log(agreed);
        }
        self.send(from, Body::RecoverReply { id, last: own_last }, out);
        self.replicate_to(at, out);
    }
}
