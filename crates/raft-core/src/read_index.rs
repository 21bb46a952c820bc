//! How a node carries out the steps that [`reads`](crate::reads) describes.

use alloc::vec::Vec;

use crate::api::{Action, DropReason, Outcome, ReadMode, Rejection};
use crate::message::Body;
use crate::node::Raft;
use crate::planted::Bug;
use crate::reads::Reader;
use crate::role::Role;
use crate::types::{Index, NodeId, Ticket};

impl Raft {
    pub(crate) fn on_read(&mut self, ticket: Ticket, mode: ReadMode, out: &mut Vec<Action>) {
        let has_room = self.pending_reads() < self.config.limits.max_pending_reads;
        let why = match self.role.leader(self.config.id) {
            None => Rejection::NotLeader { leader: None },
            Some(_) if !has_room => Rejection::Busy,
            Some(_) => return self.admit_read(ticket, mode, out),
        };
        out.push(Action::Resolved(ticket, Outcome::Rejected(why)));
    }

    /// How many reads wait here, for whatever it is.
    pub(crate) fn pending_reads(&self) -> usize {
        let asking = match &self.role {
            Role::Leader(leader) => leader.reads.len(),
            Role::Follower(follower) => follower.reads.len(),
            Role::PreCandidate(_) | Role::Candidate(_) => 0,
        };
        asking + self.ready_reads.len()
    }

    fn admit_read(&mut self, ticket: Ticket, mode: ReadMode, out: &mut Vec<Action>) {
        match &mut self.role {
            Role::Leader(_) => self.read_as_leader(Reader::Local(ticket), mode, out),
            Role::Follower(follower) => {
                follower.reads.push(ticket, mode);
                if follower.reads.should_ask() {
                    self.ask_leader(out);
                }
            }
            Role::PreCandidate(_) | Role::Candidate(_) => {}
        }
    }

    fn read_as_leader(&mut self, reader: Reader, mode: ReadMode, out: &mut Vec<Action>) {
        let has_committed = self.log.term_at(self.commit) == Some(self.term())
            || self.planted.has(Bug::ReadBeforeCommit);
        let is_proven = mode == ReadMode::Lease && self.has_lease();
        if has_committed && (is_proven || self.planted.has(Bug::ReadUnproven)) {
            return self.answer_reader(reader, self.commit, out);
        }
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if !has_committed {
            return leader.reads.push_early(reader);
        }
        let is_old = self.planted.has(Bug::ReadByOldRound);
        let round = if is_old { leader.round } else { leader.round + 1 };
        leader.reads.push(reader, self.commit, round);
        self.start_round_unless_one_is_open(out);
    }

    /// The first commit of the term lets in the reads that came before it.
    pub(crate) fn admit_early_reads(&mut self, out: &mut Vec<Action>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if !leader.reads.has_early() {
            return;
        }
        for reader in leader.reads.take_early() {
            leader.reads.push(reader, self.commit, leader.round + 1);
        }
        self.start_round_unless_one_is_open(out);
    }

    fn start_round_unless_one_is_open(&mut self, out: &mut Vec<Action>) {
        if let Role::Leader(leader) = &self.role
            && leader.proven_round == leader.round
            && leader.reads.needs_round_after(leader.round)
        {
            self.start_round(out);
        }
    }

    /// Asks everyone whether this node still leads. A leader without followers has its answer at
    /// once.
    pub(crate) fn start_round(&mut self, out: &mut Vec<Action>) {
        self.broadcast_heartbeat(out);
        self.prove_reads(out);
    }

    /// Answers the reads whose round a quorum has answered by now.
    pub(crate) fn prove_reads(&mut self, out: &mut Vec<Action>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let proven = self.log.voters().reached(|id| match leader.peer(id) {
            Some(peer) => peer.round,
            None if id == self.config.id => leader.round,
            None => 0,
        });
        leader.proven_round = leader.proven_round.max(proven);
        let needs_round = proven >= leader.round && leader.reads.needs_round_after(leader.round);
        while let Role::Leader(leader) = &mut self.role
            && let Some((reader, index)) = leader.reads.pop_proven(proven)
        {
            self.answer_reader(reader, index, out);
        }
        if needs_round {
            self.start_round(out);
        }
    }

    /// This reader may be shown the state as of `index`.
    fn answer_reader(&mut self, reader: Reader, index: Index, out: &mut Vec<Action>) {
        match reader {
            Reader::Local(ticket) => self.answer_when_handed_out(index, ticket),
            Reader::Remote(peer, id) => self.send(peer, Body::ReadIndexReply { id, index }, out),
        }
    }

    /// A follower wants to read. When too many wait, it is not answered, and asks again.
    pub(crate) fn on_read_index(
        &mut self,
        from: NodeId,
        id: u64,
        mode: ReadMode,
        out: &mut Vec<Action>,
    ) {
        let is_member = self.log.cluster().is_member(from);
        if !is_member {
            return self.drop_message(from, DropReason::UnknownSender, out);
        }
        if self.pending_reads() < self.config.limits.max_pending_reads {
            self.read_as_leader(Reader::Remote(from, id), mode, out);
        }
    }

    pub(crate) fn on_read_index_reply(
        &mut self,
        from: NodeId,
        id: u64,
        index: Index,
        out: &mut Vec<Action>,
    ) {
        while let Some(ticket) = self.pop_answered_read(from, id) {
            self.answer_when_handed_out(index, ticket);
        }
        // The reads that came after the question are next.
        self.ask_for_read_again(out);
    }

    fn pop_answered_read(&mut self, from: NodeId, id: u64) -> Option<Ticket> {
        match &mut self.role {
            Role::Follower(follower) if follower.leader == Some(from) => {
                follower.reads.pop_answered(id)
            }
            _ => None,
        }
    }

    /// The last step of every read: the end of the step answers those that are due.
    fn answer_when_handed_out(&mut self, index: Index, ticket: Ticket) {
        let at = self.ready_reads.partition_point(|(other, _)| *other <= index);
        self.ready_reads.insert(at, (index, ticket));
    }

    /// Asks the leader on behalf of every read that waits, under a name never used before.
    fn ask_leader(&mut self, out: &mut Vec<Action>) {
        let id = self.name_question();
        let Role::Follower(follower) = &mut self.role else { return };
        let Some(leader) = follower.leader else { return };
        let mode = follower.reads.ask(id, self.now);
        self.send(leader, Body::ReadIndex { id, mode }, out);
    }

    /// The question or its answer may be lost; later reads also wait for the next question.
    pub(crate) fn ask_for_read_again(&mut self, out: &mut Vec<Action>) {
        let Role::Follower(follower) = &self.role else {
            return;
        };
        let is_late = follower
            .reads
            .asked_at()
            .is_some_and(|asked_at| self.now >= asked_at + self.read_patience());
        if is_late || follower.reads.should_ask() {
            self.ask_leader(out);
        }
    }
}
