//! Handing over leadership (thesis §3.10).
//!
//! The leader takes in nothing more, waits until the target has everything, and tells it to
//! campaign at once. The target asks for votes in a way that a node which hears from its leader
//! accepts, because that leader agreed. If nothing has come of it after an election timeout, the
//! leader goes on as before.

use alloc::vec::Vec;

use crate::api::{Action, Event, Outcome, Rejection};
use crate::message::Body;
use crate::node::Raft;
use crate::role::Role;
use crate::types::{NodeId, Ticket, Time};

/// A hand-over under way. It outlives the leadership, until the outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transfer {
    ticket: Ticket,
    to: NodeId,
    give_up_at: Time,
}

impl Raft {
    pub(crate) fn on_transfer(&mut self, ticket: Ticket, to: NodeId, out: &mut Vec<Action>) {
        let refused = match &self.role {
            Role::Leader(_) if to == self.config.id => Some(Outcome::Transferred),
            Role::Leader(_) => match self.check_no_transfer() {
                Err(why) => Some(Outcome::Rejected(why)),
                Ok(()) if self.log.cluster().is_voter(to) => None,
                Ok(()) => Some(Outcome::Rejected(Rejection::UnknownMember { node: to })),
            },
            role => {
                let leader = role.leader(self.config.id);
                Some(Outcome::Rejected(Rejection::NotLeader { leader }))
            }
        };
        if let Some(outcome) = refused {
            return out.push(Action::Resolved(ticket, outcome));
        }
        let give_up_at = self.now + self.config.election_timeout_max;
        self.transfer = Some(Transfer { ticket, to, give_up_at });
        self.urge_target(out);
    }

    /// Whether proposals and changes are taken in.
    pub(crate) fn check_no_transfer(&self) -> Result<(), Rejection> {
        match &self.transfer {
            Some(transfer) => Err(Rejection::TransferUnderWay { to: transfer.to }),
            None => Ok(()),
        }
    }

    /// Tells the target to campaign, once it has the whole log. Said again at every heartbeat, in
    /// case it is lost.
    pub(crate) fn urge_target(&mut self, out: &mut Vec<Action>) {
        let (Role::Leader(leader), Some(transfer)) = (&self.role, &self.transfer) else { return };
        let to = transfer.to;
        if leader.peer(to).is_some_and(|peer| peer.matched == self.log.last().index) {
            self.send(to, Body::TimeoutNow, out);
        }
    }

    /// The leader wants this node to take over.
    pub(crate) fn on_timeout_now(&mut self, from: NodeId, out: &mut Vec<Action>) {
        let is_asked_by_leader = self.role.leader(self.config.id) == Some(from);
        if is_asked_by_leader && self.log.cluster().is_voter(self.config.id) {
            out.push(Action::Trace(Event::AskedToLead { by: from }));
            self.campaign_for_leader(out);
        }
    }

    /// The end of a step: whether a hand-over has come to its end.
    pub(crate) fn settle_transfer(&mut self, out: &mut Vec<Action>) {
        let Some(Transfer { ticket, to, give_up_at }) = self.transfer else { return };
        let leader = self.role.leader(self.config.id);
        let outcome = match leader {
            Some(leader) if leader == to => Outcome::Transferred,
            Some(leader) if leader != self.config.id => {
                Outcome::Rejected(Rejection::TransferFailed { leader: Some(leader) })
            }
            _ if self.now >= give_up_at => Outcome::Rejected(Rejection::TransferFailed { leader }),
            _ => return,
        };
        self.transfer = None;
        out.push(Action::Resolved(ticket, outcome));
    }

    /// When a hand-over is given up.
    pub(crate) fn transfer_deadline(&self) -> Option<Time> {
        self.transfer.map(|transfer| transfer.give_up_at)
    }
}
