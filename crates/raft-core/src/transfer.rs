//! Handing over leadership (thesis §3.10).
//!
//! The leader takes in nothing more, waits until the target has everything, and tells it to
//! campaign at once. The target asks for votes in a way that a node which hears from its leader
//! accepts, because that leader agreed. If nothing has come of it after an election timeout, the
//! leader goes on as before.
//!
//! 1. One hand-over at a time, and it belongs to the term in which it was asked for. Its ticket is
//!    resolved at the end of the first step in which its fate can be seen, at the latest when its
//!    time is up.
//! 2. Nothing is proposed meanwhile; only a joint configuration may still be left.
//! 3. The target obeys only a leader whose log ends where its own does. So it has the entry that
//!    made it a voter, and a message that arrives when the leader has gone on does nothing.
//!
//! A leader that steps down of its own accord, with nobody to choose its successor, asks one to
//! take over in the same way, and does not wait to see what comes of it.

use alloc::vec::Vec;
use core::time::Duration;

use crate::api::{Action, Event, Outcome, Rejection};
use crate::message::Body;
use crate::node::Raft;
use crate::planted::Bug;
use crate::progress::Progress;
use crate::role::{Leader, Role};
use crate::types::{NodeId, Position, Term, Ticket, Time};

/// A hand-over under way. It outlives the leadership, until the outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transfer {
    ticket: Ticket,
    pub(crate) to: NodeId,
    /// The term of the leader that hands over.
    pub(crate) term: Term,
    give_up_at: Time,
}

impl Transfer {
    /// The same, but begun at the origin of time.
    pub(crate) fn begun_at_origin(self, patience: Duration) -> Self {
        Self { give_up_at: Time::ZERO + patience, ..self }
    }
}

/// At the leader.
impl Raft {
    pub(crate) fn on_transfer(&mut self, ticket: Ticket, to: NodeId, out: &mut Vec<Action>) {
        let outcome = match self.check_transfer(to) {
            Err(why) => Outcome::Rejected(why),
            Ok(()) if to == self.config.id => Outcome::Transferred,
            Ok(()) => {
                let (term, give_up_at) = (self.term(), self.now + self.config.election_timeout_max);
                self.transfer = Some(Transfer { ticket, to, term, give_up_at });
                return self.urge_target(out);
            }
        };
        out.push(Action::Resolved(ticket, outcome));
    }

    fn check_transfer(&self, to: NodeId) -> Result<(), Rejection> {
        self.check_takes_proposals()?;
        let is_voter = self.log.cluster().is_voter(to);
        if is_voter { Ok(()) } else { Err(Rejection::UnknownMember { node: to }) }
    }

    /// What this node has as the leader, or who leads instead.
    pub(crate) fn check_leads(&self) -> Result<&Leader, Rejection> {
        match &self.role {
            Role::Leader(leader) => Ok(leader),
            role => Err(Rejection::NotLeader { leader: role.leader(self.config.id) }),
        }
    }

    pub(crate) fn check_no_transfer(&self) -> Result<(), Rejection> {
        match &self.transfer {
            Some(transfer) => Err(Rejection::TransferUnderWay { to: transfer.to }),
            None => Ok(()),
        }
    }

    /// What this node has as the leader, if it takes in proposals. One that is about to leave does
    /// not: it could not tell what became of them.
    pub(crate) fn check_takes_proposals(&self) -> Result<&Leader, Rejection> {
        let leader = self.check_leads()?;
        if !self.planted.has(Bug::ProposedInTransfer) {
            self.check_no_transfer()?;
        }
        let stays = self.log.voters().contains(self.config.id);
        if stays { Ok(leader) } else { Err(Rejection::Leaving) }
    }

    pub(crate) fn is_transfer_to(&self, id: NodeId) -> bool {
        self.transfer.is_some_and(|transfer| transfer.to == id)
    }

    /// Tells the target to campaign, once it has the whole log. Said again at every heartbeat, in
    /// case it is lost.
    pub(crate) fn urge_target(&mut self, out: &mut Vec<Action>) {
        let (Role::Leader(leader), Some(transfer)) = (&self.role, &self.transfer) else { return };
        let (to, last) = (transfer.to, self.log.last());
        if leader.peer(to).is_some_and(|peer| peer.matched == last.index) {
            self.forfeit_lease();
            self.send(to, Body::TimeoutNow { last }, out);
        }
    }

    /// Gives up the leadership for a reason of its own. A voter that has the whole log is asked to
    /// take over, so that nobody waits for an election timeout.
    pub(crate) fn step_down(&mut self, why: Event, out: &mut Vec<Action>) {
        out.push(Action::Trace(why));
        let last = self.log.last();
        if let Some(heir) = self.heir() {
            self.send(heir, Body::TimeoutNow { last }, out);
        }
        self.become_follower(self.term(), None, out);
    }

    /// Of the voters that have everything, the one that leadership was to go to anyway, or else the
    /// one that was heard of last.
    fn heir(&self) -> Option<NodeId> {
        let Role::Leader(leader) = &self.role else { return None };
        let (voters, last) = (&self.log.cluster().voters, self.log.last().index);
        let may_lead = |peer: &&Progress| peer.matched == last && voters.contains(&peer.id);
        let rank = |peer: &&Progress| (self.is_transfer_to(peer.id), peer.heard_at);
        leader.peers.iter().filter(may_lead).max_by_key(rank).map(|peer| peer.id)
    }

    /// The end of a step: whether a hand-over has come to its end.
    pub(crate) fn settle_transfer(&mut self, out: &mut Vec<Action>) {
        let Some(Transfer { ticket, to, term, give_up_at }) = self.transfer else { return };
        let leader = self.role.leader(self.config.id);
        let is_possible = match leader {
            // To lead again in a later term is to have been replaced, and elected anew.
            Some(id) if id == self.config.id => {
                self.term() == term && self.log.cluster().is_voter(to)
            }
            Some(_) => false,
            None => true,
        };
        let outcome = if leader == Some(to) {
            Outcome::Transferred
        } else if is_possible && self.now < give_up_at {
            return;
        } else {
            Outcome::Rejected(Rejection::TransferFailed { leader })
        };
        self.transfer = None;
        out.push(Action::Resolved(ticket, outcome));
    }

    /// When a hand-over is given up.
    pub(crate) fn transfer_deadline(&self) -> Option<Time> {
        self.transfer.map(|transfer| transfer.give_up_at)
    }
}

/// At the target.
impl Raft {
    /// The leader, whose log ends at `last`, wants this node to take over.
    pub(crate) fn on_timeout_now(&mut self, from: NodeId, last: Position, out: &mut Vec<Action>) {
        let is_from_leader = self.follow(from, out);
        let is_equal = last == self.log.last() || self.planted.has(Bug::StaleTakeover);
        let is_able = is_equal && self.is_fit_to_campaign();
        if is_from_leader && is_able && self.log.cluster().is_voter(self.config.id) {
            out.push(Action::Trace(Event::AskedToLead { by: from }));
            self.campaign_for_leader(out);
        }
    }
}
