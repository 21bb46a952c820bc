//! Log replication (paper §5.3) and the commit rule (§5.4.2), from both ends.

use alloc::vec::Vec;

use crate::api::{Action, DropReason, Event, ReadLog, ReadPurpose};
use crate::entry::Entries;
use crate::message::Body;
use crate::node::Raft;
use crate::planted::Bug;
use crate::role::Role;
use crate::types::{Index, NodeId, Position, Term};

/// At the leader.
impl Raft {
    /// Sends every peer what its window has room for.
    pub(crate) fn replicate(&mut self, out: &mut Vec<Action>) {
        for at in 0..self.peer_count() {
            self.replicate_to(at, out);
        }
    }

    fn peer_count(&self) -> usize {
        match &self.role {
            Role::Leader(leader) => leader.peers.len(),
            Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => 0,
        }
    }

    /// Sends the peer with this number all that its window has room for.
    #[inline]
    pub(crate) fn replicate_to(&mut self, at: usize, out: &mut Vec<Action>) {
        while let Some((id, first)) = self.next_to_send(at) {
            self.send_next(at, id, first, out);
        }
    }

    /// The name of the peer with this number and what it is to be sent next, if there is anything
    /// and its window has room for it.
    #[inline]
    fn next_to_send(&self, at: usize) -> Option<(NodeId, Index)> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        let peer = &leader.peers[at];
        if peer.next > self.log.last().index || !peer.may_send(&self.config.limits) {
            return None;
        }
        let is_reading = !self.reading_for.is_empty() && self.reading_for.contains(&peer.id);
        (!is_reading).then_some((peer.id, peer.next))
    }

    /// Sends the peer with this number the entries from `first` on, or sees to it that it gets
    /// them in another way; it may be sent nothing more then.
    fn send_next(&mut self, at: usize, id: NodeId, first: Index, out: &mut Vec<Action>) {
        if first <= self.log.start().index {
            return self.need_snapshot(at, out);
        }
        let max_bytes = self.config.limits.max_append_bytes;
        if let Some(entries) = self.log.cached(first, max_bytes) {
            return self.send_append(at, entries, out);
        }
        self.reading_for.insert(id);
        let (purpose, last) = (ReadPurpose::Replicate(id), self.log.first_cached().prev());
        out.push(Action::ReadLog(ReadLog { purpose, first, last, max_bytes }));
    }

    /// Sends entries that begin at the peer's next index.
    #[expect(clippy::inline_always, reason = "every entry comes this way; the other two are rare")]
    #[inline(always)]
    fn send_append(&mut self, at: usize, entries: Entries, out: &mut Vec<Action>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let (round, peer) = (leader.round, &mut leader.peers[at]);
        let prev = peer.next.prev();
        let Some(term) = self.log.term_at(prev) else {
            return self.need_snapshot(at, out);
        };
        if let Some(last) = entries.last_position() {
            peer.sent(last.index, entries.size_bytes(), round, self.now);
        }
        let (to, prev, commit) = (peer.id, Position::new(term, prev), self.commit);
        self.send(to, Body::Append { prev, entries, commit }, out);
    }

    /// Asks a peer whether its log agrees right before what it would be sent next: an append
    /// without entries.
    #[cold]
    pub(crate) fn probe(&mut self, at: usize, out: &mut Vec<Action>) {
        self.send_append(at, Entries::empty(), out);
    }

    /// Entries for a peer were read back from the log; none if that failed.
    pub(crate) fn on_read_for_peer(
        &mut self,
        id: NodeId,
        first: Index,
        entries: Entries,
        out: &mut Vec<Action>,
    ) {
        let Some(at) = self.peer_number(id) else {
            return;
        };
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let peer = &mut leader.peers[at];
        let Some(entry) = entries.first() else {
            // To ask again at once could go round in circles: the next heartbeat reply does.
            return;
        };
        let is_wanted = entry.at.index == first && peer.next == first;
        if is_wanted && peer.may_send(&self.config.limits) {
            self.send_append(at, entries, out);
        }
        self.replicate_to(at, out);
    }

    pub(crate) fn peer_number(&self, id: NodeId) -> Option<usize> {
        let Role::Leader(leader) = &self.role else {
            return None;
        };
        leader.peers.iter().position(|peer| peer.id == id)
    }

    /// The number of the peer that answers, noted as alive; drops what strangers say.
    pub(crate) fn answering_peer(&mut self, from: NodeId, out: &mut Vec<Action>) -> Option<usize> {
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else {
            return None;
        };
        let Some(at) = leader.peers.iter().position(|peer| peer.id == from) else {
            self.drop_message(from, DropReason::UnknownSender, out);
            return None;
        };
        leader.peers[at].heard_at = now;
        if self.planted.has(Bug::LeaseFromAnything) {
            leader.peers[at].bound_since = now;
        }
        Some(at)
    }

    pub(crate) fn on_appended(&mut self, from: NodeId, matched: Index, out: &mut Vec<Action>) {
        let Some(at) = self.answering_peer(from, out) else {
            return;
        };
        if matched > self.log.last().index {
            return self.drop_message(from, DropReason::ImpossibleMatch, out);
        }
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.peers[at].acknowledged(matched) && matched > self.commit {
            self.try_commit(out);
        }
        self.replicate_to(at, out);
        if self.is_transfer_to(from) {
            self.urge_target(out);
        }
    }

    pub(crate) fn on_append_rejected(
        &mut self,
        from: NodeId,
        prev: Index,
        hint: Position,
        out: &mut Vec<Action>,
    ) {
        let Some(at) = self.answering_peer(from, out) else {
            return;
        };
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let peer = &mut leader.peers[at];
        if !peer.is_rejection_current(prev) {
            return;
        }
        let agreed = self.log.last_at_or_before(hint).index;
        let is_bounded = !self.planted.has(Bug::HintBeyondPrev);
        let agreed = if is_bounded { agreed.min(prev.prev()) } else { agreed };
        if self.planted.has(Bug::MatchedByRejection) {
            peer.acknowledged(prev);
        }
        peer.probe_at(agreed.next());
        let event = Event::Backtracked { peer: from, next: peer.next };
        out.push(Action::Trace(event));
        self.replicate_to(at, out);
    }

    pub(crate) fn on_heartbeat_reply(&mut self, from: NodeId, round: u64, out: &mut Vec<Action>) {
        let Some(at) = self.answering_peer(from, out) else {
            return;
        };
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if round > leader.round {
            return self.drop_message(from, DropReason::ImpossibleMatch, out);
        }
        let peer = &mut leader.peers[at];
        peer.round = peer.round.max(round);
        self.note_promise(at, round);
        let Role::Leader(leader) = &self.role else { return };
        let peer = &leader.peers[at];
        let is_silent = peer.needs_probe() && peer.next > self.log.last().index;
        if is_silent || peer.may_have_lost_an_append(self.now, self.config.heartbeat_interval) {
            self.probe(at, out);
        }
        self.replicate_to(at, out);
        self.prove_reads(out);
    }

    /// The connection to a follower broke.
    pub(crate) fn on_unreachable(&mut self, id: NodeId) {
        let Some(at) = self.peer_number(id) else {
            return;
        };
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.peers[at].unreachable();
    }

    /// Commits what a quorum has durably, if that is an entry of this term (§5.4.2, Figure 8). The
    /// leader's own disk counts like any other.
    pub(crate) fn try_commit(&mut self, out: &mut Vec<Action>) {
        let Role::Leader(leader) = &self.role else {
            return;
        };
        let counts_unsaved = self.planted.has(Bug::LeaderCountsUnsaved);
        let durable = if counts_unsaved { self.log.last().index } else { self.log.durable() };
        let own = self.config.id;
        let reached_by_peer = |id| match leader.peer(id) {
            Some(peer) if self.planted.has(Bug::CommitBySent) => peer.next.prev(),
            Some(peer) if self.skips_outgoing(peer.id) => self.log.last().index,
            Some(peer) => peer.matched,
            None => Index::ZERO,
        };
        let reached = |id| if id == own { durable } else { reached_by_peer(id) };
        let reached = self.log.voters().reached(reached);
        if reached <= self.commit {
            return;
        }
        let is_own_term = self.log.term_at(reached) == Some(self.term());
        if is_own_term || self.planted.has(Bug::OldTermCommit) {
            self.advance_commit(reached, out);
            self.admit_early_reads(out);
        }
    }

    /// Whether a voter that is only outgoing is not waited for: a mistake.
    fn skips_outgoing(&self, id: NodeId) -> bool {
        self.planted.has(Bug::JointNewOnly) && !self.log.cluster().voters.contains(&id)
    }

    /// Heartbeats to everyone, as a new round.
    pub(crate) fn broadcast_heartbeat(&mut self, out: &mut Vec<Action>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        leader.round += 1;
        leader.heartbeat_at = self.now + self.config.heartbeat_interval;
        let (round, commit) = (leader.round, self.commit);
        self.note_round();
        let Role::Leader(leader) = &self.role else { return };
        let targets: Vec<_> = leader.peers.iter().map(|peer| (peer.id, peer.matched)).collect();
        for (to, matched) in targets {
            // Beyond what matched, the follower's log may hold something else.
            let is_capped = !self.planted.has(Bug::HeartbeatUncapped);
            let commit = if is_capped { commit.min(matched) } else { commit };
            self.send(to, Body::Heartbeat { commit, round }, out);
        }
    }
}

/// At a follower.
impl Raft {
    /// Follows the node that speaks as the leader of this term; returns whether it may be that.
    #[inline]
    pub(crate) fn follow(&mut self, from: NodeId, out: &mut Vec<Action>) -> bool {
        match &self.role {
            Role::Follower(follower) if follower.leader == Some(from) => {
                self.leader_heard_at = Some(self.now);
                self.reset_election_timer();
                true
            }
            _ => self.follow_newcomer(from, out),
        }
    }

    /// [`Raft::follow`], where this node did not follow `from` before.
    #[cold]
    fn follow_newcomer(&mut self, from: NodeId, out: &mut Vec<Action>) -> bool {
        match &mut self.role {
            Role::Follower(follower) if follower.leader.is_none() => {
                follower.leader = Some(from);
                self.leader_heard_at = Some(self.now);
                self.is_role_news = true;
            }
            Role::Leader(_) | Role::Follower(_) => {
                self.drop_message(from, DropReason::SecondLeader, out);
                return false;
            }
            Role::PreCandidate(_) | Role::Candidate(_) => {
                self.become_follower(self.term(), Some(from), out);
            }
        }
        self.reset_election_timer();
        true
    }

    pub(crate) fn on_append(
        &mut self,
        from: NodeId,
        mut prev: Position,
        mut entries: Entries,
        commit: Index,
        out: &mut Vec<Action>,
    ) {
        if !self.follow(from, out) {
            return;
        }
        let run = &entries[..];
        let end = run.last().map_or(prev, |last| last.at);
        let has_terms = run.first().is_none_or(|first| first.at.term > Term::ZERO);
        let is_possible = end.term <= self.term() && end.index.leaves_room();
        if !entries.follows(prev) || !has_terms || !is_possible {
            return self.drop_message(from, DropReason::MalformedEntries, out);
        }
        if self.installing.is_some() {
            // The log is about to be replaced. The leader will ask again.
            return;
        }
        let proven = end.index;
        if prev.index <= self.commit && !self.skip_committed(&mut prev, &mut entries) {
            return self.drop_message(from, DropReason::ConflictsWithCommitted, out);
        }
        if !self.log.holds(prev) {
            let hint = self.log.last_at_or_before(prev);
            return self.send(from, Body::AppendRejected { prev: prev.index, hint }, out);
        }
        let end = if entries.is_empty() { prev } else { end };
        self.store(entries, out);
        // Only what this message proved equal may be committed, not what may lie behind it.
        let last = self.log.last().index;
        let is_unproven = self.planted.has(Bug::CommitUnproven);
        self.advance_commit(commit.min(if is_unproven { last } else { end.index }), out);
        let is_unproven = self.planted.has(Bug::AcknowledgedUnproven);
        self.acknowledge(from, if is_unproven { last } else { proven.min(end.index) }, out);
    }

    /// Takes away from an append what is committed here. An append that begins before that is a
    /// repeated one, or the first probe of a leader that does not know how far this node is. What
    /// is committed is equal in every leader's log (Leader Completeness), so the two agree there,
    /// wherever the append began. Returns whether they do.
    #[cold]
    fn skip_committed(&self, prev: &mut Position, entries: &mut Entries) -> bool {
        let positions = entries.iter().map(|entry| entry.at);
        let mut committed =
            core::iter::once(*prev).chain(positions).take_while(|at| at.index <= self.commit);
        let agree =
            committed.all(|at| self.log.term_at(at.index).is_none_or(|term| term == at.term));
        (*prev, *entries) = (self.committed(), entries.starting_at(self.commit.next()));
        agree
    }

    /// Stores entries whose predecessor matched.
    #[inline]
    fn store(&mut self, entries: Entries, out: &mut Vec<Action>) {
        match entries.first() {
            Some(first) if first.at.index > self.log.last().index => self.log.append(entries),
            Some(_) => self.store_over(&entries, out),
            None => {}
        }
    }

    /// Stores entries where there are some. Those that are here already stay, and so does what
    /// follows them: a delayed append must not remove what a later one brought.
    #[cold]
    fn store_over(&mut self, entries: &Entries, out: &mut Vec<Action>) {
        let keeps = !self.planted.has(Bug::TruncatedWithoutConflict);
        let here = entries.iter().take_while(|entry| keeps && self.log.holds(entry.at)).count();
        let new = entries.slice(here..entries.len());
        let Some(first) = new.first() else { return };
        if first.at.index <= self.log.last().index {
            self.truncate(first.at.index, out);
        }
        self.log.append(new);
    }

    /// Removes entries that conflict with the leader's.
    fn truncate(&mut self, from: Index, out: &mut Vec<Action>) {
        debug_assert!(from > self.commit, "what is committed is never removed");
        out.push(Action::Trace(Event::Truncated { from }));
        self.log.truncate(from);
        self.held.forget_acknowledged(from);
        self.proposals.displace(from);
    }

    pub(crate) fn on_heartbeat(
        &mut self,
        from: NodeId,
        commit: Index,
        round: u64,
        out: &mut Vec<Action>,
    ) {
        if self.follow(from, out) {
            // The leader goes by what this node held before its log was damaged.
            let is_sure = !self.hard_state.recovering || self.planted.has(Bug::RecoveringCommits);
            if self.installing.is_none() && is_sure {
                self.advance_commit(commit.min(self.log.last().index), out);
            }
            self.send(from, Body::HeartbeatReply { round }, out);
        }
    }
}

impl Raft {
    /// Notes that everything up to `commit` is committed, and tells the proposers.
    #[inline]
    pub(crate) fn advance_commit(&mut self, commit: Index, out: &mut Vec<Action>) {
        if commit <= self.commit {
            return;
        }
        self.commit = commit;
        if let Role::Leader(leader) = &mut self.role {
            leader.uncommitted.committed(commit);
        }
        if !self.proposals.is_empty() {
            self.settle_proposals(out);
        }
    }

    fn settle_proposals(&mut self, out: &mut Vec<Action>) {
        let committed = self.committed();
        while let Some((ticket, outcome)) = self.proposals.pop_settled(committed, &self.log) {
            out.push(Action::Resolved(ticket, outcome));
        }
    }
}
