//! The normal form of a node, for model checkers: how one recognises a state that it has seen.
//!
//! Two nodes may be equal in all that can come of them, and still differ in when things happened,
//! in how many random numbers they drew, or in how many writes they have behind them. Then there is
//! no end to the states of the smallest cluster. [`Raft::normalise`] gives each of these a fixed
//! value:
//! 1. Everything happened just now, at [`Time::ZERO`], and every timer was set then. Whoever wants
//!    it to be longer ago passes a later time to the next step, and normalises again.
//! 2. The election timer has been set once, whatever random numbers were drawn before.
//! 3. The writes under way are numbered from 1, in their order, and nothing waits for one that is
//!    durable already. What was said twice while it had to wait is said once: a network may lose
//!    the copy.
//! 4. What is cached of the log is one run, however it came in. Counters for people are zero.
//!
//! A field that nobody thought of here stays as it is: then states are told apart that need not
//! be, and never the other way round.

use crate::apply::ApplyRead;
use crate::node::Raft;
use crate::role::{OwnDisk, Role};
use crate::types::Time;

impl Raft {
    /// For model checkers: makes nodes equal that differ in nothing but when things happened, or
    /// in how they were counted. The clock is at [`Time::ZERO`] again, everything that is
    /// remembered happened just then, and writes that are under way have the numbers 1, 2, and so
    /// on.
    ///
    /// Whoever keeps to a real clock must not call this: the node would take what it heard long
    /// ago for news.
    pub fn normalise(&mut self) {
        self.forget_times();
        let durable = self.writes.count_from_durable();
        if let Role::Candidate(candidate) = &mut self.role {
            candidate.vote_write = candidate.vote_write.counted_from(durable);
        }
        self.held.normalise(durable);
        self.log.normalise(durable);
        self.dropped_messages = 0;
    }

    fn forget_times(&mut self) {
        let origin = Time::ZERO;
        let (heartbeat, patience) =
            (self.config.heartbeat_interval, self.config.election_timeout_max);
        self.now = origin;
        self.election_timer.normalise();
        self.leader_heard_at = self.leader_heard_at.map(|_| origin);
        self.recovery.forget_times();
        self.transfer = self.transfer.map(|transfer| transfer.begun_at_origin(patience));
        if let ApplyRead::RetryAt(at) = &mut self.apply_read {
            *at = origin + heartbeat;
        }
        match &mut self.role {
            Role::Follower(follower) => follower.reads.forget_times(),
            Role::PreCandidate(_) | Role::Candidate(_) => {}
            Role::Leader(leader) => {
                leader.heartbeat_at = origin + heartbeat;
                leader.own_disk = OwnDisk::new(origin);
                for peer in &mut leader.peers {
                    (peer.heard_at, peer.sent_at) = (origin, origin);
                }
            }
        }
    }
}
