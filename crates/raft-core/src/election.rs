//! Leader election (paper §5.2, §5.4.1), with pre-votes (thesis §9.6) and check-quorum (§6.2).
//!
//! A node that hears of no leader first asks whether it *could* win. Only a majority of yes makes
//! it campaign: a node that is cut off keeps its term, and disturbs nobody when it comes back.
//!
//! The candidate's own vote counts like any other: when it is durable. Its requests wait for the
//! same write, because they speak of a log whose end must not vanish in a crash after others
//! voted for it.

use alloc::vec::Vec;

use crate::api::{Action, DropReason, Event, VoteAnswer};
use crate::entry::{Entry, Payload};
use crate::lease::Lease;
use crate::message::Body;
use crate::node::Raft;
use crate::planted::Bug;
use crate::progress::Progress;
use crate::quorum::Tally;
use crate::reads::LeaderReads;
use crate::role::{Candidate, Leader, OwnDisk, Role, Uncommitted, Votes};
use crate::types::{NodeId, Position, Term};

/// For how many election timeouts a leader's disk may be behind what others commit.
const BEHIND_TIMEOUTS: u32 = 4;

impl Raft {
    /// Time has passed.
    pub(crate) fn on_wake(&mut self, out: &mut Vec<Action>) {
        match &self.role {
            Role::Leader(leader) if self.now >= leader.heartbeat_at => self.on_heartbeat_due(out),
            Role::Leader(_) => {}
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => {
                if self.now >= self.election_at() {
                    self.on_election_timeout(out);
                } else {
                    self.ask_for_read_again(out);
                }
            }
        }
    }

    fn on_heartbeat_due(&mut self, out: &mut Vec<Action>) {
        if self.has_lost_quorum() {
            let term = self.term();
            out.push(Action::Trace(Event::QuorumLost { term }));
            return self.become_follower(term, None, out);
        }
        if (self.is_disk_stalled() || self.is_disk_behind()) && !self.is_only_voter() {
            let term = self.term();
            return self.step_down(Event::DiskStalled { term }, out);
        }
        self.start_round(out);
        self.urge_target(out);
    }

    /// Whether nothing has become durable for an election timeout although something is to. Others
    /// may commit without this node, but nothing is applied here, and nobody is answered. Such a
    /// node does not lead, unless nobody else could, and does not campaign.
    ///
    /// It is not the age of a write that counts: much that waits for its turn at a disk that works
    /// is no reason to elect another, whose disk would have as much to do.
    pub(crate) fn is_disk_stalled(&self) -> bool {
        let stands_since = self.log.disk_stands_since();
        stands_since.is_some_and(|at| self.now.since(at) > self.config.election_timeout_max)
    }

    /// Whether a leader's disk makes progress, but too little: what others have committed has not
    /// become durable here for several election timeouts. They can do without it, and its clients
    /// cannot. A disk that has as much to do as theirs may be behind for a while all the same.
    fn is_disk_behind(&mut self) -> bool {
        let patience = self.config.election_timeout_max.saturating_mul(BEHIND_TIMEOUTS);
        let (durable, commit) = (self.log.durable(), self.commit);
        match &mut self.role {
            Role::Leader(leader) => leader.own_disk.lag(self.now, durable, commit) > patience,
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => false,
        }
    }

    /// Check-quorum: whether no majority was heard of for a whole election timeout. The others may
    /// have elected another leader by then.
    fn has_lost_quorum(&self) -> bool {
        let Role::Leader(leader) = &self.role else {
            return false;
        };
        if self.planted.has(Bug::NoCheckQuorum) {
            return false;
        }
        let heard_at = self.log.voters().reached(|id| match leader.peer(id) {
            Some(peer) => peer.heard_at,
            None if id == self.config.id => self.now,
            None => crate::types::Time::ZERO,
        });
        self.now.since(heard_at) > self.config.election_timeout_max
    }

    /// No leader was heard of for a whole election timeout. A node that cannot win an election has
    /// none to wait for either; but a vote for itself that is on its way to the disk still counts.
    fn on_election_timeout(&mut self, out: &mut Vec<Action>) {
        self.reset_election_timer();
        if self.is_fit_to_campaign() {
            self.ask_for_pre_votes(out);
        } else if !matches!(self.role, Role::Candidate(_)) {
            self.become_follower(self.term(), None, out);
        }
    }

    /// The caller wants an election.
    pub(crate) fn on_campaign(&mut self, out: &mut Vec<Action>) {
        // Its own vote counts as well, and a leader's lease may rest on its not giving it.
        let is_bound = self.config.lease_drift.is_some() && self.hears_from_leader();
        let is_bound = is_bound && !self.planted.has(Bug::CampaignWhileBound);
        if !matches!(self.role, Role::Leader(_)) && !is_bound && self.is_fit_to_campaign() {
            self.reset_election_timer();
            self.ask_for_pre_votes(out);
        }
    }

    /// Whether this node has a vote, and a log and a disk that it could lead with.
    pub(crate) fn is_fit_to_campaign(&self) -> bool {
        let is_recovering = self.hard_state.recovering && !self.planted.has(Bug::RecoveringVotes);
        let is_installing =
            self.installing.is_some() && !self.planted.has(Bug::CampaignWhileInstalling);
        let is_whole = !is_recovering && !is_installing;
        let is_last_term = self.term().next() == self.term();
        is_whole && self.may_campaign() && !self.is_disk_stalled() && !is_last_term
    }

    fn ask_for_pre_votes(&mut self, out: &mut Vec<Action>) {
        let next_term = self.term().next();
        out.push(Action::Trace(Event::ElectionTimeout { next_term }));
        let votes = Votes::from([(self.config.id, true)]);
        self.change_role(Role::PreCandidate(votes), None, out);
        let last = self.log.last();
        for peer in self.other_voters() {
            self.send_in_term(next_term, peer, Body::PreVote { last }, out);
        }
        self.count_pre_votes(out);
    }

    fn other_voters(&self) -> Vec<NodeId> {
        let cluster = self.log.cluster();
        let others = cluster.members().filter(|id| *id != self.config.id);
        others.filter(|id| cluster.is_voter(*id)).collect()
    }

    pub(crate) fn on_pre_vote(
        &mut self,
        from: NodeId,
        term: Term,
        last: Position,
        out: &mut Vec<Action>,
    ) {
        if term > self.term() && self.planted.has(Bug::PreVoteRaisesTerm) {
            self.become_follower(term, None, out);
        }
        let answer = if term <= self.term() {
            VoteAnswer::OldTerm
        } else if self.hears_from_leader() && !self.planted.has(Bug::DisloyalVoter) {
            VoteAnswer::LeaderAlive
        } else if self.hard_state.recovering && !self.planted.has(Bug::RecoveringVotes) {
            VoteAnswer::Recovering
        } else if self.is_behind(last) {
            VoteAnswer::LogBehind
        } else {
            VoteAnswer::Granted
        };
        out.push(Action::Trace(Event::VoteAsked { candidate: from, term, pre: true, answer }));
        let granted = answer == VoteAnswer::Granted;
        // A refusal carries our own term, so that a node that is behind learns of it.
        let term = if granted { term } else { self.term() };
        self.send_in_term(term, from, Body::PreVoteReply { granted }, out);
    }

    pub(crate) fn on_pre_vote_granted(&mut self, from: NodeId, term: Term, out: &mut Vec<Action>) {
        if self.is_next_term(term) {
            self.record_pre_vote(from, true, out);
        }
    }

    pub(crate) fn on_pre_vote_refused(&mut self, from: NodeId, out: &mut Vec<Action>) {
        self.record_pre_vote(from, false, out);
    }

    fn record_pre_vote(&mut self, from: NodeId, granted: bool, out: &mut Vec<Action>) {
        if !self.log.cluster().is_member(from) {
            return self.drop_message(from, DropReason::UnknownSender, out);
        }
        if let Role::PreCandidate(votes) = &mut self.role {
            votes.insert(from, granted);
            self.count_pre_votes(out);
        }
    }

    fn count_pre_votes(&mut self, out: &mut Vec<Action>) {
        let Role::PreCandidate(votes) = &self.role else {
            return;
        };
        match self.log.voters().tally(|id| votes.get(&id).copied()) {
            Tally::Won => self.campaign(|last| Body::Vote { last }, out),
            Tally::Lost => self.become_follower(self.term(), None, out),
            Tally::Open => {}
        }
    }

    /// Enters the next term as a candidate. The requests leave once term and vote are durable.
    fn campaign(&mut self, request: fn(Position) -> Body, out: &mut Vec<Action>) {
        let term = self.term().next();
        self.reset_election_timer();
        self.set_hard_state(term, Some(self.config.id));
        let candidate = Candidate { votes: Votes::new(), vote_write: self.writes.upcoming() };
        self.change_role(Role::Candidate(candidate), None, out);
        out.push(Action::Trace(Event::Campaign { term }));
        let last = self.log.last();
        for peer in self.other_voters() {
            self.send(peer, request(last), out);
        }
    }

    /// Campaigns because the leader wants it: nobody needs to be asked whether it would agree.
    pub(crate) fn campaign_for_leader(&mut self, out: &mut Vec<Action>) {
        self.campaign(|last| Body::TransferVote { last }, out);
    }

    /// The candidate's own vote became durable.
    pub(crate) fn count_own_vote(&mut self, out: &mut Vec<Action>) {
        self.on_vote_reply(self.config.id, true, out);
    }

    /// A vote is asked for. `is_loyal` says whether this node owes it to a leader, here or in an
    /// earlier term, to vote for nobody else now.
    pub(crate) fn on_vote(
        &mut self,
        from: NodeId,
        last: Position,
        is_loyal: bool,
        out: &mut Vec<Action>,
    ) {
        let has_voted = self.hard_state.vote.is_some_and(|vote| vote != from);
        let answer = if has_voted && !self.planted.has(Bug::DoubleVote) {
            VoteAnswer::AlreadyVoted
        } else if self.hard_state.recovering && !self.planted.has(Bug::RecoveringVotes) {
            VoteAnswer::Recovering
        } else if self.is_behind(last) {
            VoteAnswer::LogBehind
        } else if is_loyal && !self.planted.has(Bug::DisloyalVoter)
            || self.role.leader(self.config.id).is_some()
        {
            // Somebody won this term already: a vote would only delay the next election.
            VoteAnswer::LeaderAlive
        } else {
            VoteAnswer::Granted
        };
        let term = self.term();
        out.push(Action::Trace(Event::VoteAsked { candidate: from, term, pre: false, answer }));
        let granted = answer == VoteAnswer::Granted;
        if granted {
            self.vote_for(from, out);
        }
        self.send(from, Body::VoteReply { granted }, out);
    }

    /// Whether the log that ends at `last` lacks entries that this one has (paper §5.4.1).
    fn is_behind(&self, last: Position) -> bool {
        let own = self.log.last();
        if self.planted.has(Bug::VoteByIndex) {
            return last.index < own.index;
        }
        if self.planted.has(Bug::VoteByTerm) {
            return last.term < own.term;
        }
        last < own
    }

    /// Votes, and gives the candidate time to win: an own pre-vote under way is given up.
    fn vote_for(&mut self, candidate: NodeId, out: &mut Vec<Action>) {
        let term = self.term();
        if self.hard_state.vote.is_none() || self.planted.has(Bug::DoubleVote) {
            self.set_hard_state(term, Some(candidate));
        }
        if matches!(self.role, Role::PreCandidate(_)) {
            self.become_follower(term, None, out);
        }
        self.reset_election_timer();
    }

    pub(crate) fn on_vote_reply(&mut self, from: NodeId, granted: bool, out: &mut Vec<Action>) {
        if from != self.config.id && !self.log.cluster().is_member(from) {
            return self.drop_message(from, DropReason::UnknownSender, out);
        }
        let Role::Candidate(candidate) = &mut self.role else {
            return;
        };
        candidate.votes.insert(from, granted);
        let votes = &candidate.votes;
        let yes = votes.values().filter(|granted| **granted).count();
        if 2 * yes == self.log.cluster().voters.len() && self.planted.has(Bug::HalfQuorumElects) {
            return self.become_leader(out);
        }
        match self.log.voters().tally(|id| votes.get(&id).copied()) {
            Tally::Won => self.become_leader(out),
            Tally::Lost => self.become_follower(self.term(), None, out),
            Tally::Open => {}
        }
    }

    fn become_leader(&mut self, out: &mut Vec<Action>) {
        let (term, last) = (self.term(), self.log.last().index);
        out.push(Action::Trace(Event::Elected { term }));
        let mut uncommitted = Uncommitted::default();
        uncommitted.push(last, self.log.cached_bytes_after(self.commit));
        let others = self.log.cluster().members().filter(|id| *id != self.config.id);
        let leader = Leader {
            peers: others.map(|id| Progress::new(id, last, self.now)).collect(),
            heartbeat_at: self.now + self.config.heartbeat_interval,
            round: 0,
            proven_round: 0,
            lease: Lease::default(),
            reads: LeaderReads::default(),
            uncommitted,
            own_disk: OwnDisk::new(self.now),
        };
        self.change_role(Role::Leader(leader), Some(self.config.id), out);
        // Entries of earlier terms are committed only together with one of this term (§5.4.2).
        let at = Position::new(term, last.next());
        self.append_as_leader(Entry { at, payload: Payload::Noop }, out);
    }
}
