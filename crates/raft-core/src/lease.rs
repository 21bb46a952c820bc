//! Leases: linearizable reads by the clock (thesis §6.4.1), for those who opt in.
//!
//! A node that hears from a leader votes for nobody else during the shortest election timeout
//! after that, across changes of term and role, and across restarts. So when a node has answered a
//! heartbeat that left at time T, it elects nobody else before T plus that timeout, if the clocks
//! agree on how long it is up to [`Config::lease_drift`](crate::Config).
//!
//! 1. A lease runs while a quorum *of the configuration in force* is bound by that promise. (One
//!    that was proven in an earlier configuration says nothing about the voters of a later one.)
//! 2. The promise counts from when the heartbeat *left*, less the drift.
//! 3. The one exception to the promise is a hand-over: the node that is asked to take over may be
//!    elected at once, and the request may arrive late. A leader that has sent one has no lease
//!    until its term ends.
//! 4. A leader that has no vote any more has no lease. (One that is left as the only voter elects
//!    itself when it starts, whatever it promised.)
//! 5. As for every read, an entry of the leader's own term must be committed.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::node::Raft;
use crate::planted::Bug;
use crate::role::Role;
use crate::types::{NodeId, Time};

/// How many of the latest rounds are remembered. An answer to an older one extends no lease.
const MAX_ROUNDS: usize = 64;

/// What a leader knows of its lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    /// When the latest rounds left.
    rounds: VecDeque<(u64, Time)>,
    /// Somebody was asked to take over.
    is_forfeited: bool,
}

impl Lease {
    /// A round of heartbeats leaves.
    fn round_left(&mut self, round: u64, now: Time) {
        if self.rounds.len() == MAX_ROUNDS {
            self.rounds.pop_front();
        }
        self.rounds.push_back((round, now));
    }

    /// When this round left.
    fn left_at(&self, round: u64) -> Option<Time> {
        let at = self.rounds.binary_search_by_key(&round, |(round, _)| *round);
        at.ok().map(|at| self.rounds[at].1)
    }
}

impl Raft {
    /// The leader's latest round of heartbeats leaves.
    pub(crate) fn note_round(&mut self) {
        if let (Role::Leader(leader), true) = (&mut self.role, self.config.lease_drift.is_some()) {
            leader.lease.round_left(leader.round, self.now);
        }
    }

    /// The peer with this number answered `round`: it is bound from when that left.
    pub(crate) fn note_promise(&mut self, at: usize, round: u64) {
        let is_early = self.planted.has(Bug::LeaseFromAnswer);
        let is_latest = self.planted.has(Bug::LeaseByLatestRound);
        let Role::Leader(leader) = &mut self.role else { return };
        let answered = if is_latest { leader.round } else { round };
        if let Some(left_at) = leader.lease.left_at(answered) {
            let bound_since = if is_early { self.now } else { left_at };
            let peer = &mut leader.peers[at];
            peer.bound_since = peer.bound_since.max(bound_since);
        }
    }

    /// No lease any more in this term.
    pub(crate) fn forfeit_lease(&mut self) {
        if let Role::Leader(leader) = &mut self.role {
            leader.lease.is_forfeited = true;
        }
    }

    /// Whether nobody else can have been elected by now.
    pub(crate) fn has_lease(&self) -> bool {
        let (Role::Leader(leader), Some(drift)) = (&self.role, self.config.lease_drift) else {
            return false;
        };
        let bound_since = self.log.voters().reached(|id: NodeId| match leader.peer(id) {
            Some(peer) => peer.bound_since,
            None if id == self.config.id => self.now,
            None => Time::ZERO,
        });
        let is_voter =
            self.log.cluster().is_voter(self.config.id) || self.planted.has(Bug::LeaseWithoutVote);
        let drift = if self.planted.has(Bug::LeaseWithoutDrift) { Duration::ZERO } else { drift };
        let is_longest = self.planted.has(Bug::LeaseByLongest);
        let (min, max) = (self.config.election_timeout_min, self.config.election_timeout_max);
        let lasts = if is_longest { max } else { min }.saturating_sub(drift);
        let is_running = bound_since > Time::ZERO && self.now.since(bound_since) < lasts;
        let is_forfeited = leader.lease.is_forfeited && !self.planted.has(Bug::LeaseAfterTransfer);
        let is_handed_over = is_forfeited || self.transfer.is_some();
        let is_lost = is_handed_over && !self.planted.has(Bug::LeaseInTransfer);
        is_running && is_voter && !is_lost
    }
}
