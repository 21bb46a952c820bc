//! Changes of membership (paper §6, thesis chapter 4).
//!
//! A change is an entry of the log. Three rules carry the whole safety argument:
//! 1. A configuration is in force from the moment it is in the log, committed or not, and out of
//!    force the moment it is removed again.
//! 2. One step changes at most one voter; anything more goes through a joint configuration, in
//!    which both the old and the new majority must agree. So the majorities of two configurations
//!    that follow each other always overlap.
//! 3. A leader begins a change only when the one before is committed, and an entry of its own term
//!    too. (Without the latter, two leaders of different terms could each make a one-voter change
//!    to the same configuration, and their majorities would not overlap.)
//!
//! A joint configuration is left by whoever leads when it is committed, and exactly once: the
//! entry that leaves it is appended in the same step in which it is found committed, and from then
//! on the latest configuration is no longer joint.
//!
//! Nobody gets a vote before its log has caught up: it joins as a learner first. And nobody leaves
//! if too many of those who stay are recovering from damage, and do not vote yet.
//!
//! A leader that is no voter in the latest configuration goes on until that is committed, without
//! counting itself, and then steps down (thesis §4.2.2). For the same time a follower in that
//! position goes on to campaign: of two nodes of which one leaves, the one that leaves may be the
//! only one to have the entry that says so. Either takes in no proposals, so that when it stops,
//! everything in its log is committed, and every ticket resolved.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::api::{Action, Event, Outcome, Rejection};
use crate::config::{ClusterConfig, ConfigChange};
use crate::entry::{Entry, Payload};
use crate::node::Raft;
use crate::planted::Bug;
use crate::progress::Progress;
use crate::role::Role;
use crate::types::{NodeId, Position, Ticket};

impl Raft {
    pub(crate) fn on_change_config(
        &mut self,
        ticket: Ticket,
        change: &ConfigChange,
        out: &mut Vec<Action>,
    ) {
        match self.plan_change(change) {
            Ok(entry) => {
                self.proposals.push(entry.at, ticket);
                self.append_config(entry, out);
            }
            Err(why) => out.push(Action::Resolved(ticket, Outcome::Rejected(why))),
        }
    }

    /// The entry to append next for this change, or why there is none.
    fn plan_change(&self, change: &ConfigChange) -> Result<Entry, Rejection> {
        self.check_leads()?;
        self.check_no_transfer()?;
        let current = self.log.cluster();
        let is_open = current.outgoing.is_some() || self.log.config_index() > self.commit;
        if is_open && !self.planted.has(Bug::ChangeWhileOpen) {
            return Err(Rejection::ChangeUnderWay);
        }
        let has_committed = self.log.term_at(self.commit) == Some(self.term());
        if !has_committed && !self.planted.has(Bug::ChangeTooEarly) {
            return Err(Rejection::NotReady);
        }
        let target = change.target(current)?;
        for id in target.voters.difference(&current.voters) {
            if !self.planted.has(Bug::PromotedTooEarly) {
                self.check_caught_up(*id)?;
            }
        }
        self.check_whole_quorum(&target)?;
        let mut step = step_towards(current, target);
        if self.planted.has(Bug::NeverJoint) {
            step.outgoing = None;
        }
        let entry = self.config_entry(step);
        let (size_bytes, limit_bytes) = (entry.size_bytes(), self.config.limits.max_proposal_bytes);
        let fits = size_bytes <= limit_bytes;
        if fits { Ok(entry) } else { Err(Rejection::TooLarge { size_bytes, limit_bytes }) }
    }

    /// A node that is to vote must already have everything but what is in flight: else the
    /// cluster would wait for it, or be one failure away from standing still.
    fn check_caught_up(&self, node: NodeId) -> Result<(), Rejection> {
        let last = self.log.last().index;
        let peer = match &self.role {
            Role::Leader(leader) if node != self.config.id => leader.peer(node),
            _ => return Ok(()),
        };
        let patience = self.config.election_timeout_max;
        match peer {
            Some(peer) if !peer.is_probing() && peer.next > last && peer.matched >= self.commit => {
                let is_alive = self.now.since(peer.heard_at) <= patience;
                if is_alive { Ok(()) } else { Err(Rejection::NotCaughtUp { node, behind: 0 }) }
            }
            Some(peer) => Err(Rejection::NotCaughtUp { node, behind: last.since(peer.matched) }),
            None => Err(Rejection::NotCaughtUp { node, behind: last.get() }),
        }
    }

    /// Those whose logs are whole must be able to elect a leader without the others, who do not
    /// vote: of two voters of which one recovers, the other must not leave.
    fn check_whole_quorum(&self, target: &ClusterConfig) -> Result<(), Rejection> {
        let Role::Leader(leader) = &self.role else { return Ok(()) };
        let voters = target.voters.iter().filter_map(|id| leader.peer(*id));
        let mut recovering = voters.filter(|peer| peer.is_recovering());
        let Some(first) = recovering.next() else { return Ok(()) };
        let whole = target.voters.len() - 1 - recovering.count();
        let behind = self.log.last().index.since(first.matched);
        let is_enough = 2 * whole > target.voters.len();
        if is_enough { Ok(()) } else { Err(Rejection::NotCaughtUp { node: first.id, behind }) }
    }

    /// This configuration as the next entry of the log.
    fn config_entry(&self, config: ClusterConfig) -> Entry {
        let at = Position::new(self.term(), self.log.last().index.next());
        Entry { at, payload: Payload::Config(Arc::new(config)) }
    }

    /// Appends a configuration, which is in force from here on.
    fn append_config(&mut self, entry: Entry, out: &mut Vec<Action>) {
        if let Payload::Config(config) = &entry.payload {
            self.set_peers(config);
        }
        self.append_as_leader(entry, out);
    }

    /// Follows the logs of exactly the other members.
    fn set_peers(&mut self, cluster: &ClusterConfig) {
        let (own, last, now) = (self.config.id, self.log.last().index, self.now);
        let Role::Leader(leader) = &mut self.role else { return };
        leader.peers.retain(|peer| cluster.is_member(peer.id));
        for id in cluster.members().filter(|id| *id != own) {
            if leader.peer(id).is_none() {
                leader.peers.push(Progress::new(id, last, now));
            }
        }
    }

    /// Whether this node may be needed as a leader: it votes in the latest configuration, or in
    /// one that comes back in force if those after it turn out not to be committed.
    pub(crate) fn may_campaign(&self) -> bool {
        self.log.configs_from(self.commit).any(|cluster| cluster.is_voter(self.config.id))
    }

    /// What follows from the latest configuration being committed, if it is: a joint one is left,
    /// and a leader that is no voter any more steps down.
    pub(crate) fn settle_config(&mut self, out: &mut Vec<Action>) {
        if !matches!(self.role, Role::Leader(_)) || self.log.config_index() > self.commit {
            return;
        }
        let cluster = self.log.cluster();
        if cluster.outgoing.is_some() {
            if self.planted.has(Bug::JointKept) {
                return;
            }
            let left = ClusterConfig { outgoing: None, ..ClusterConfig::clone(cluster) };
            self.append_config(self.config_entry(left), out);
        } else if !self.log.voters().contains(self.config.id) {
            // The others learn that it is committed, so that none of them waits for this node.
            self.broadcast_heartbeat(out);
            self.step_down(Event::LeftOut { term: self.term() }, out);
        }
    }
}

/// The next configuration on the way from `current`, which is not joint, to `target`.
fn step_towards(current: &ClusterConfig, target: ClusterConfig) -> ClusterConfig {
    let changed = current.voters.symmetric_difference(&target.voters).count();
    let outgoing = (changed > 1).then(|| current.voters.clone());
    ClusterConfig { outgoing, ..target }
}

/// Whether the one configuration may follow the other: their majorities overlap (rule 2).
pub(crate) fn is_one_step(from: &ClusterConfig, to: &ClusterConfig) -> bool {
    match (&from.outgoing, &to.outgoing) {
        (None, None) => from.voters.symmetric_difference(&to.voters).count() <= 1,
        (None, Some(outgoing)) => *outgoing == from.voters,
        (Some(_), None) => to.voters == from.voters && to.learners == from.learners,
        (Some(_), Some(_)) => false,
    }
}

impl ConfigChange {
    /// The configuration that this change leads to.
    fn target(&self, current: &ClusterConfig) -> Result<ClusterConfig, Rejection> {
        let mut target = current.clone();
        let is_known = |id: &NodeId| {
            let unknown = Rejection::UnknownMember { node: *id };
            current.is_member(*id).then_some(()).ok_or(unknown)
        };
        match self {
            Self::AddLearner(id) => {
                if !current.is_voter(*id) {
                    target.learners.insert(*id);
                }
            }
            Self::Promote(id) => {
                is_known(id)?;
                target.learners.remove(id);
                target.voters.insert(*id);
            }
            Self::Demote(id) => {
                is_known(id)?;
                target.voters.remove(id);
                target.learners.insert(*id);
            }
            Self::Remove(id) => {
                is_known(id)?;
                target.voters.remove(id);
                target.learners.remove(id);
            }
            Self::Replace { voters, learners } => {
                let learners: BTreeSet<_> = learners.difference(voters).copied().collect();
                target = ClusterConfig { voters: voters.clone(), outgoing: None, learners };
            }
        }
        match &target {
            target if target.voters.is_empty() => Err(Rejection::NoVoters),
            target if target == current => Err(Rejection::NoChange),
            _ => Ok(target),
        }
    }
}
