//! Every rule that ties the fields of a node to each other, and each state to the one before.
//!
//! Tests and simulations run [`check`] after every step. The rules are those of paper figure 3
//! that one node can see by itself, and the bookkeeping that they rest on:
//!
//! 1. Term, commit index, handed-out index and the number of writes never go down.
//! 2. A vote is not changed within its term (Election Safety).
//! 3. A leader only appends to its log (Leader Append-Only).
//! 4. What is committed stays as it is (State Machine Safety).
//! 5. Nothing is handed out that is not committed and durable here.
//! 6. A leader voted for itself, and its log ends in its own term.
//! 7. No message waits in the name of a term that is over, or vouches for what the log lacks.
//! 8. Open proposals are uncommitted, and lie in the log in its order unless they were displaced.
//! 9. The invariants of the log and of each follower's progress hold.
//! 10. A leader follows the logs of exactly the other members. It changes the members one step at
//!     a time, and only when the step before is committed.
//! 11. No leader rests in a committed configuration that is joint, or in which it has no vote.
//! 12. Only a node with a vote campaigns; one whose vote may end goes on until it does.
//! 13. A node that installs a snapshot, or recovers from a damaged log, neither leads nor
//!     campaigns. While it installs, its log stays as it is, and nothing is handed out.
//! 14. What is cut off the log was handed out.
//! 15. A hand-over is to a voter other than this node, within its term; no proposal is taken in
//!     while it is under way, or by a leader that has no vote.

use alloc::sync::Arc;
use core::fmt;

use crate::config::ClusterConfig;
use crate::log::Log;
use crate::membership::is_one_step;
use crate::node::Raft;
use crate::role::{Leader, Role};
use crate::types::{Index, NodeId, PersistId, Position, Term};

/// A broken rule: a mistake in this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule, as a sentence that does not hold.
    pub rule: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this does not hold: {}", self.rule)
    }
}

impl core::error::Error for Violation {}

/// Checks all rules for a node that took one step, from `before` to `after`.
///
/// # Errors
///
/// The first rule that does not hold.
pub fn check(before: &Raft, after: &Raft) -> Result<(), Violation> {
    let log = after.log.check();
    let followed = || match &after.role {
        Role::Leader(leader) => check_followed(after, leader),
        Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => Ok(()),
    };
    log.and_then(|()| followed()).map_err(|rule| Violation { rule })?;
    Before::of(before).check(after)
}

/// What there is to remember of a node before a step, for the rules about steps: much less than a
/// copy of it.
#[derive(Clone, Debug)]
pub struct Before {
    term: Term,
    vote: Option<NodeId>,
    recovering: bool,
    /// How many peers it follows, if it leads.
    peers: Option<usize>,
    commit: Index,
    commit_term: Option<Term>,
    handed_out: Index,
    upcoming: PersistId,
    installing: Option<Position>,
    takes_in: bool,
    open_proposals: usize,
    config_index: Index,
    cluster: Arc<ClusterConfig>,
    log: Outline,
}

/// What changes of a log with whatever changes in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Outline {
    start: Position,
    last: Position,
    durable: Index,
    written: Index,
    first_cached: Index,
    cached_bytes: usize,
}

impl Outline {
    fn of(log: &Log) -> Self {
        Self {
            start: log.start(),
            last: log.last(),
            durable: log.durable(),
            written: log.written(),
            first_cached: log.first_cached(),
            cached_bytes: log.cached_bytes(),
        }
    }
}

impl Before {
    /// Remembers this node, which is going to take a step.
    pub fn of(raft: &Raft) -> Self {
        let peers = match &raft.role {
            Role::Leader(leader) => Some(leader.peers.len()),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => None,
        };
        let has_vote = || raft.cluster().is_voter(raft.config.id);
        Self {
            term: raft.term(),
            vote: raft.hard_state.vote,
            recovering: raft.hard_state.recovering,
            peers,
            commit: raft.commit,
            commit_term: raft.log.term_at(raft.commit),
            handed_out: raft.handed_out,
            upcoming: raft.writes.upcoming(),
            installing: raft.installing.as_ref().map(|snapshot| snapshot.at),
            takes_in: peers.is_some() && raft.transfer.is_none() && has_vote(),
            open_proposals: raft.proposals.len(),
            config_index: raft.log.config_index(),
            cluster: Arc::clone(raft.log.cluster()),
            log: Outline::of(&raft.log),
        }
    }

    /// Checks all rules for this node after the step. What was checked after the step before and
    /// has not changed in this one is not looked at again: the log, and whom a leader follows.
    ///
    /// # Errors
    ///
    /// The first rule that does not hold.
    pub fn check(&self, after: &Raft) -> Result<(), Violation> {
        let is_same_log = self.log == Outline::of(&after.log);
        let log = if is_same_log { Ok(()) } else { after.log.check() };
        log.and_then(|()| check_state(after))
            .and_then(|()| self.check_followed(after))
            .and_then(|()| self.check_step(after))
            .map_err(|rule| Violation { rule })
    }

    fn check_followed(&self, after: &Raft) -> Result<(), &'static str> {
        let Role::Leader(leader) = &after.role else { return Ok(()) };
        let is_same_cluster = Arc::ptr_eq(&self.cluster, after.log.cluster());
        if is_same_cluster && self.peers == Some(leader.peers.len()) {
            return Ok(());
        }
        check_followed(after, leader)
    }

    fn check_step(&self, after: &Raft) -> Result<(), &'static str> {
        rule(after.term() >= self.term, "the term never goes down")?;
        rule(after.commit >= self.commit, "the commit index never goes down")?;
        rule(after.handed_out >= self.handed_out, "nothing is handed out twice")?;
        rule(after.writes.upcoming() >= self.upcoming, "writes are numbered upwards")?;
        let is_same_term = after.term() == self.term;
        let vote_stays = self.vote.is_none() || after.hard_state.vote == self.vote;
        rule(!is_same_term || vote_stays, "a vote is not changed within its term")?;
        let led_through = self.peers.is_some() && matches!(after.role, Role::Leader(_));
        let appends = after.log.holds(self.log.last);
        rule(!led_through || !is_same_term || appends, "a leader only appends to its log")?;
        if led_through && is_same_term {
            self.check_leader_step(after)?;
        }
        let installing = after.installing.as_ref().map(|snapshot| snapshot.at);
        let installs_on = self.installing.is_some() && self.installing == installing;
        let is_untouched = self.log.last == after.log.last() && self.handed_out == after.handed_out;
        rule(!installs_on || is_untouched, "nothing moves while a snapshot is being installed")?;
        let recovers = !self.recovering && after.hard_state.recovering;
        rule(!recovers, "a log is not damaged by a step")?;
        // Of what a snapshot covers, only the end can be looked at.
        let is_retained = self.commit >= after.log.start().index;
        let stays = self.commit_term == after.log.term_at(self.commit);
        rule(!is_retained || stays, "what is committed stays as it is")
    }

    fn check_leader_step(&self, after: &Raft) -> Result<(), &'static str> {
        let (old, new) = (self.config_index, after.log.config_index());
        if new > old {
            rule(is_one_step(&self.cluster, after.cluster()), "members change step by step")?;
            rule(old <= after.commit, "a change begins when the one before is committed")?;
        }
        let has_new = after.proposals.len() > self.open_proposals;
        rule(self.takes_in || !has_new, "nothing is taken in by a leader that goes")
    }
}

pub(crate) fn rule(holds: bool, rule: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(rule) }
}

fn check_state(raft: &Raft) -> Result<(), &'static str> {
    let last = raft.log.last();
    rule(raft.commit <= last.index, "what is committed is in the log")?;
    rule(raft.handed_out <= raft.commit, "what is handed out is committed")?;
    rule(raft.handed_out <= raft.log.durable(), "what is handed out is durable here")?;
    rule(last.term <= raft.term(), "no entry is of a later term than the node")?;
    rule(raft.log.start().index <= raft.handed_out, "what is cut off was handed out")?;
    let is_whole = raft.installing.is_none() && !raft.hard_state.recovering;
    let is_follower = matches!(raft.role, Role::Follower(_));
    rule(is_whole || is_follower, "a node without a whole log only follows")?;
    rule(raft.held.is_all_of(raft.term()), "no held message is of another term")?;
    rule(raft.held.vouches_up_to(last.index), "no held message vouches for what the log lacks")?;
    raft.proposals.check(raft.committed(), &raft.log)?;
    rule(raft.ready_reads.iter().is_sorted_by_key(|(index, _)| *index), "reads are in order")?;
    rule(raft.has_announced_all(), "every change of role, leader and members is announced")?;
    let transfer_fits = raft
        .transfer
        .is_none_or(|transfer| transfer.to != raft.config.id && transfer.term <= raft.term());
    rule(transfer_fits, "leadership is handed to another, in this term or one that is over")?;
    match &raft.role {
        Role::Leader(leader) => check_leader(raft, leader),
        Role::PreCandidate(_) | Role::Candidate(_) => {
            rule(raft.may_campaign(), "only a node with a vote campaigns")
        }
        Role::Follower(_) => Ok(()),
    }
}

fn check_leader(raft: &Raft, leader: &Leader) -> Result<(), &'static str> {
    let last = raft.log.last();
    rule(raft.hard_state.vote == Some(raft.config.id), "a leader voted for itself")?;
    rule(last.term == raft.term(), "a leader's log ends in its own term")?;
    rule(leader.proven_round <= leader.round, "no round is answered before it was sent")?;
    let cluster = raft.cluster();
    let is_settled = cluster.outgoing.is_none() && cluster.is_voter(raft.config.id);
    let is_open = raft.log.config_index() > raft.commit;
    rule(is_settled || is_open, "a committed configuration is not joint, and has its leader")?;
    let is_own_term = raft
        .transfer
        .is_none_or(|transfer| transfer.term == raft.term() && cluster.is_voter(transfer.to));
    rule(is_own_term, "a leader hands over in its own term, to a voter")?;
    for peer in &leader.peers {
        peer.check()?;
        rule(peer.matched <= last.index, "nobody holds what the leader does not")?;
        rule(peer.next <= last.index.next(), "nothing beyond the log is sent")?;
    }
    Ok(())
}

fn check_followed(raft: &Raft, leader: &Leader) -> Result<(), &'static str> {
    let others = || raft.cluster().members().filter(|id| *id != raft.config.id);
    let is_followed = others().all(|id| leader.peer(id).is_some());
    rule(
        is_followed && others().count() == leader.peers.len(),
        "a leader follows the logs of exactly the other members",
    )
}
