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

use core::fmt;

use crate::membership::is_one_step;
use crate::node::Raft;
use crate::role::{Leader, Role};

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
    let state = check_state(after);
    state.and_then(|()| check_step(before, after)).map_err(|rule| Violation { rule })
}

pub(crate) fn rule(holds: bool, rule: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(rule) }
}

fn check_step(before: &Raft, after: &Raft) -> Result<(), &'static str> {
    rule(after.term() >= before.term(), "the term never goes down")?;
    rule(after.commit >= before.commit, "the commit index never goes down")?;
    rule(after.handed_out >= before.handed_out, "nothing is handed out twice")?;
    rule(after.writes.upcoming() >= before.writes.upcoming(), "writes are numbered upwards")?;
    let is_same_term = after.term() == before.term();
    let vote_stays =
        before.hard_state.vote.is_none() || after.hard_state.vote == before.hard_state.vote;
    rule(!is_same_term || vote_stays, "a vote is not changed within its term")?;
    let led_through = matches!((&before.role, &after.role), (Role::Leader(_), Role::Leader(_)));
    let appends = after.log.holds(before.log.last());
    rule(!led_through || !is_same_term || appends, "a leader only appends to its log")?;
    if led_through && is_same_term {
        check_leader_step(before, after)?;
    }
    let installs_on = before.installing.is_some() && before.installing == after.installing;
    let is_untouched =
        before.log.last() == after.log.last() && before.handed_out == after.handed_out;
    rule(!installs_on || is_untouched, "nothing moves while a snapshot is being installed")?;
    let recovers = !before.hard_state.recovering && after.hard_state.recovering;
    rule(!recovers, "a log is not damaged by a step")?;
    // Of what a snapshot covers, only the end can be looked at.
    let is_retained = before.commit >= after.log.start().index;
    let stays = before.log.term_at(before.commit) == after.log.term_at(before.commit);
    rule(!is_retained || stays, "what is committed stays as it is")
}

fn check_leader_step(before: &Raft, after: &Raft) -> Result<(), &'static str> {
    let (old, new) = (before.log.config_index(), after.log.config_index());
    if new > old {
        rule(is_one_step(before.cluster(), after.cluster()), "members change step by step")?;
        rule(old <= after.commit, "a change begins when the one before is committed")?;
    }
    let takes_in = before.transfer.is_none() && before.cluster().is_voter(before.config.id);
    let has_new = after.proposals.len() > before.proposals.len();
    rule(takes_in || !has_new, "nothing is taken in by a leader that goes")
}

fn check_state(raft: &Raft) -> Result<(), &'static str> {
    raft.log.check()?;
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
    let others = || cluster.members().filter(|id| *id != raft.config.id);
    let is_followed = others().all(|id| leader.peer(id).is_some());
    rule(
        is_followed && others().count() == leader.peers.len(),
        "a leader follows the logs of exactly the other members",
    )?;
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
