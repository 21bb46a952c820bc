//! The node: its state, its one entry point [`Raft::step`], and the ends of each step.
//!
//! A step looks at one input and lets the modules named after the paper's sections work on it
//! (`election`, `replication`, `reads`). Whatever the input was, the step ends the same way
//! ([`Raft::finish_step`]): what became ready is handed out, and everything that must become
//! durable leaves in one write.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::api::{
    Action, DropReason, Event, HardState, Input, LogRead, Outcome, ReadPurpose, Rejection,
    RoleChange, Write,
};
use crate::apply::ApplyRead;
use crate::config::{Boot, BootError, ClusterConfig, Config};
use crate::entry::Entries;
use crate::held::Held;
use crate::log::Log;
use crate::message::{Body, Message};
use crate::planted::{Bug, Planted};
use crate::proposals::Proposals;
use crate::reads::FollowerReads;
use crate::recovery::Recovery;
use crate::role::{Follower, Role};
use crate::snapshot::Snapshot;
use crate::timer::ElectionTimer;
use crate::transfer::Transfer;
use crate::types::{Index, NodeId, PersistId, Position, Term, Ticket, Time};

/// One member of a Raft cluster, as a state machine without I/O.
///
/// See the crate's documentation for how to drive it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Raft {
    pub(crate) config: Config,
    pub(crate) now: Time,
    pub(crate) hard_state: HardState,
    pub(crate) log: Log,
    pub(crate) role: Role,
    pub(crate) commit: Index,
    /// Everything up to here has come out in an [`Action::Apply`].
    pub(crate) handed_out: Index,
    pub(crate) election_timer: ElectionTimer,
    pub(crate) proposals: Proposals,
    /// Reads that may be answered once everything up to their index has been handed out.
    pub(crate) ready_reads: VecDeque<(Index, Ticket)>,
    /// How many questions this node has asked since it started.
    questions: u64,
    pub(crate) held: Held,
    pub(crate) writes: Writes,
    /// Entries to be applied are being read back, or are to be asked for again at that time.
    pub(crate) apply_read: ApplyRead,
    /// The followers for which entries are being read back. It outlives the role, because a read
    /// does.
    pub(crate) reading_for: BTreeSet<NodeId>,
    announced: RoleChange,
    /// Whether the role, the term or the leader may be another than was announced.
    pub(crate) is_role_news: bool,
    announced_cluster: Arc<ClusterConfig>,
    pub(crate) transfer: Option<Transfer>,
    /// When a leader was last heard of: votes are withheld for a while after that, whatever
    /// happens to terms and roles meanwhile.
    pub(crate) leader_heard_at: Option<Time>,
    /// The snapshot that the driver was told to install.
    pub(crate) installing: Option<Snapshot>,
    /// The followers to which a snapshot is on its way. It outlives the role.
    pub(crate) sending_snapshots: BTreeSet<NodeId>,
    pub(crate) recovery: Recovery,
    pub(crate) dropped_messages: u64,
    pub(crate) planted: Planted,
}

/// The low bits of a question's name count the questions of one run, the bits above the runs.
const QUESTION_BITS: u32 = 44;

/// How many bytes of the log stay in memory that this node needs no more. If it is elected next,
/// its followers may be a little behind; and to keep much more would push out of the processor's
/// caches what is used all the time.
const SPARE_BYTES: usize = 64 << 10;

/// The numbers of writes, and which of them matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Writes {
    /// The latest one given out.
    last: PersistId,
    /// The latest one that is durable.
    durable: PersistId,
    /// The latest one that changed term, vote or boots.
    hard_state: PersistId,
    /// Whether one of those changed since.
    is_hard_state_new: bool,
}

impl Writes {
    /// The number of the write that the current step gives out if it changes anything.
    pub(crate) fn upcoming(&self) -> PersistId {
        self.last.next()
    }

    /// The write after which the current term and vote are durable; `None` if they are.
    pub(crate) fn hard_state_pending(&self) -> Option<PersistId> {
        if self.is_hard_state_new {
            Some(self.upcoming())
        } else {
            Some(self.hard_state).filter(|id| *id > self.durable)
        }
    }

    /// Counts the writes from the latest durable one on, and returns what that one's number was.
    pub(crate) fn count_from_durable(&mut self) -> PersistId {
        let durable = self.durable;
        for id in [&mut self.last, &mut self.durable, &mut self.hard_state] {
            *id = id.counted_from(durable);
        }
        durable
    }
}

impl Raft {
    /// A node that starts, or starts again, with what its disk held.
    ///
    /// Call [`Raft::step`] with [`Input::Wake`] right after: it brings the first actions.
    ///
    /// # Errors
    ///
    /// If `config` is not valid, if this node is new and not a founder, or if the parts of `boot`
    /// contradict each other.
    pub fn restore(config: Config, boot: Boot, now: Time) -> Result<Self, BootError> {
        config.validate()?;
        boot.check(config.id)?;
        let hard_state = boot.hard_state.started_again();
        let role = Role::Follower(Follower::default());
        let announced =
            RoleChange { role: role.kind(), term: hard_state.term, leader: role.leader(config.id) };
        let handed_out = boot.applied.index;
        let hint = boot.commit;
        let log = Log::restore(boot);
        let commit = hint.min(log.last().index).max(handed_out);
        let mut raft = Self {
            now,
            hard_state,
            commit,
            handed_out,
            election_timer: ElectionTimer::due_at(now, config.seed),
            role,
            proposals: Proposals::default(),
            ready_reads: VecDeque::new(),
            questions: 0,
            held: Held::default(),
            writes: Writes { is_hard_state_new: true, ..Writes::default() },
            apply_read: ApplyRead::Idle,
            reading_for: BTreeSet::new(),
            announced,
            is_role_news: false,
            announced_cluster: Arc::clone(log.cluster()),
            log,
            transfer: None,
            leader_heard_at: None,
            installing: None,
            sending_snapshots: BTreeSet::new(),
            recovery: Recovery::default(),
            dropped_messages: 0,
            planted: Planted::default(),
            config,
        };
        raft.promise_at_start();
        if !raft.is_only_voter() {
            raft.reset_election_timer();
        }
        Ok(raft)
    }

    /// This node may have promised a leader its lease right before it stopped.
    fn promise_at_start(&mut self) {
        let is_bound = self.config.lease_drift.is_some();
        let is_forgotten = self.planted.has(Bug::PromiseForgotten);
        self.leader_heard_at = (is_bound && !is_forgotten).then_some(self.now);
    }

    /// Makes this mistake from the start on. For tests that have to find it.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, bug: crate::planted::Bug) {
        self.planted = Planted::new(bug);
        self.log.planted = self.planted;
        self.promise_at_start();
    }

    /// Takes in one event and adds to `out` what is to be done about it. It cannot fail: what it
    /// cannot use, it drops.
    ///
    /// A `now` before the latest one seen counts as that.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Action>) {
        self.now = self.now.max(now);
        match input {
            Input::Wake => self.on_wake(out),
            Input::Message(message) => self.on_message(message, out),
            Input::Propose(proposals) => self.on_propose(proposals, out),
            Input::ProposeOne(ticket, command) => self.on_propose_one(ticket, command, out),
            Input::ChangeConfig(ticket, change) => self.on_change_config(ticket, &change, out),
            Input::TransferLeadership(ticket, to) => self.on_transfer(ticket, to, out),
            Input::Campaign => self.on_campaign(out),
            Input::Read(ticket, mode) => self.on_read(ticket, mode, out),
            Input::Persisted(id) => self.on_persisted(id, out),
            Input::LogRead(read) => self.on_log_read(read, out),
            Input::Unreachable(peer) => self.on_unreachable(peer),
            Input::Compact { upto, keep } => self.on_compact(upto, keep, out),
            Input::SnapshotSent { to, arrived } => self.on_snapshot_sent(to, arrived, out),
            Input::SnapshotInstalled(is_done) => self.on_snapshot_installed(is_done, out),
        }
        self.finish_step(out);
    }

    /// When [`Input::Wake`] is due at the latest.
    pub fn deadline(&self) -> Time {
        if self.writes.is_hard_state_new || self.log.has_unwritten() {
            return self.now;
        }
        let role = match &self.role {
            Role::Leader(leader) => leader.heartbeat_at,
            Role::Follower(follower) => match follower.reads.asked_at() {
                Some(asked_at) => self.election_at().min(asked_at + self.read_patience()),
                None => self.election_at(),
            },
            Role::PreCandidate(_) | Role::Candidate(_) => self.election_at(),
        };
        let retry = match self.apply_read {
            ApplyRead::RetryAt(at) => Some(at),
            ApplyRead::Idle | ApplyRead::UnderWay => None,
        };
        [retry, self.transfer_deadline()].into_iter().flatten().fold(role, Time::min)
    }

    /// The members of the cluster, by the latest configuration in the log.
    pub fn cluster(&self) -> &ClusterConfig {
        self.log.cluster()
    }

    /// The term this node is in.
    pub fn term(&self) -> Term {
        self.hard_state.term
    }

    /// The position of the last entry known to be committed.
    pub(crate) fn committed(&self) -> Position {
        let term = self.log.term_at(self.commit);
        Position::new(term.unwrap_or(self.log.start().term), self.commit)
    }

    pub(crate) fn is_only_voter(&self) -> bool {
        let cluster = self.log.cluster();
        let mut voters = cluster.voters.iter().chain(cluster.outgoing.iter().flatten());
        cluster.is_voter(self.config.id) && voters.all(|id| *id == self.config.id)
    }

    /// When a node that does not lead starts an election, if it hears of no leader until then.
    pub(crate) fn election_at(&self) -> Time {
        self.election_timer.due(&self.config)
    }

    pub(crate) fn reset_election_timer(&mut self) {
        self.election_timer.set(self.now);
    }

    /// How long a question about reads waits for its answer.
    pub(crate) fn read_patience(&self) -> Duration {
        2 * self.config.heartbeat_interval
    }

    /// The node has its log back.
    pub(crate) fn end_recovery(&mut self) {
        self.hard_state.recovering = false;
        self.writes.is_hard_state_new = true;
    }

    /// A name for a question that this node never gave to another.
    pub(crate) fn name_question(&mut self) -> u64 {
        if !self.planted.has(Bug::QuestionReused) || self.questions == 0 {
            self.questions += 1;
        }
        (self.hard_state.boots << QUESTION_BITS) | self.questions
    }

    /// Changes the term or the vote: the one place where either does.
    pub(crate) fn set_hard_state(&mut self, term: Term, vote: Option<NodeId>) {
        if term != self.hard_state.term {
            self.held.forget_ended_term();
        }
        self.hard_state = HardState { term, vote, ..self.hard_state };
        self.is_role_news = true;
        self.writes.is_hard_state_new |= !self.planted.has(Bug::TermUnsaved);
    }

    /// A higher term, or a leader of this one, makes a follower: the one place where that happens
    /// (paper §5.1, "Rules for Servers").
    pub(crate) fn become_follower(
        &mut self,
        term: Term,
        leader: Option<NodeId>,
        out: &mut Vec<Action>,
    ) {
        if term > self.term() {
            self.set_hard_state(term, None);
        }
        if leader.is_some() {
            self.leader_heard_at = Some(self.now);
        }
        let follower = Follower { leader, reads: FollowerReads::default() };
        let was_follower = matches!(self.role, Role::Follower(_));
        self.change_role(Role::Follower(follower), leader, out);
        if !was_follower {
            self.reset_election_timer();
        }
    }

    /// Takes on `role`; reads and campaigns that relied on the old one end.
    pub(crate) fn change_role(
        &mut self,
        role: Role,
        leader: Option<NodeId>,
        out: &mut Vec<Action>,
    ) {
        self.held.forget_campaign();
        self.is_role_news = true;
        let why = Rejection::NotLeader { leader };
        for ticket in core::mem::replace(&mut self.role, role).into_local_reads() {
            out.push(Action::Resolved(ticket, Outcome::Rejected(why)));
        }
    }

    /// Sends what promises nothing but the term: it waits until that is durable.
    pub(crate) fn send(&mut self, to: NodeId, body: Body, out: &mut Vec<Action>) {
        self.send_in_term(self.term(), to, body, out);
    }

    /// [`Raft::send`] in the name of a term that was not entered: pre-votes.
    pub(crate) fn send_in_term(
        &mut self,
        term: Term,
        to: NodeId,
        body: Body,
        out: &mut Vec<Action>,
    ) {
        let message = Message { from: self.config.id, to, term, body };
        match self.writes.hard_state_pending() {
            Some(until) if !self.planted.has(Bug::SentUnsaved) => {
                self.held.hold_back(until, message);
            }
            _ => out.push(Action::Send(message)),
        }
    }

    /// Tells the leader that everything up to `matched` is here, once it is durable.
    pub(crate) fn acknowledge(&mut self, leader: NodeId, matched: Index, out: &mut Vec<Action>) {
        let entries = if self.log.is_written(matched) {
            self.log.write_covering(matched)
        } else {
            // They came in one message, so they are in one batch, and the next write has them all.
            Some(self.writes.upcoming())
        };
        let body = Body::Appended { matched };
        let message = Message { from: self.config.id, to: leader, term: self.term(), body };
        match entries.max(self.writes.hard_state_pending()) {
            Some(until) if !self.planted.has(Bug::AcknowledgedUnsaved) => {
                self.held.hold(until, message);
            }
            _ => out.push(Action::Send(message)),
        }
    }

    pub(crate) fn drop_message(&mut self, from: NodeId, why: DropReason, out: &mut Vec<Action>) {
        self.dropped_messages += 1;
        out.push(Action::Trace(Event::MessageDropped { from, reason: why }));
    }

    fn on_persisted(&mut self, id: PersistId, out: &mut Vec<Action>) {
        if id <= self.writes.durable || id > self.writes.last {
            return;
        }
        self.writes.durable = id;
        self.log.persisted(id, self.now);
        while let Some(message) = self.held.release(id) {
            out.push(Action::Send(message));
        }
        match &self.role {
            Role::Leader(_) => self.try_commit(out),
            Role::Candidate(candidate) if candidate.vote_write <= id => self.count_own_vote(out),
            Role::Candidate(_) | Role::PreCandidate(_) | Role::Follower(_) => {}
        }
    }

    fn on_log_read(&mut self, read: LogRead, out: &mut Vec<Action>) {
        let is_usable = self.log.agrees_with(&read.entries);
        match read.purpose {
            ReadPurpose::Apply => {
                self.apply_read = ApplyRead::Idle;
                let is_next = is_usable && read.entries[0].at.index == self.handed_out.next();
                if is_next && self.installing.is_none() {
                    self.hand_out(read.entries.ending_before(self.appliable().next()), out);
                } else if self.log.first_cached() > self.handed_out.next() {
                    let retry_at = self.now + self.config.heartbeat_interval;
                    self.apply_read = ApplyRead::RetryAt(retry_at);
                }
            }
            ReadPurpose::Replicate(peer) => {
                self.reading_for.remove(&peer);
                let entries = if is_usable { read.entries } else { Entries::default() };
                self.on_read_for_peer(peer, read.first, entries, out);
            }
        }
    }

    fn finish_step(&mut self, out: &mut Vec<Action>) {
        self.settle_config(out);
        self.settle_transfer(out);
        self.settle_recovery(out);
        self.hand_out_committed(out);
        while let Some((index, ticket)) =
            self.ready_reads.pop_front_if(|(index, _)| *index <= self.handed_out)
        {
            out.push(Action::Resolved(ticket, Outcome::ReadAt(index)));
        }
        self.persist(out);
        self.announce(out);
        self.trim_cache();
    }

    /// Forgets the entries that nobody here needs any more, but for a few; and beyond the limit,
    /// also those that a follower lacks.
    fn trim_cache(&mut self) {
        let limit_bytes = self.config.limits.max_cached_bytes;
        let spare_bytes = SPARE_BYTES.min(limit_bytes);
        if self.log.cached_bytes() > spare_bytes {
            // Some at a time: it is seldom worth looking for one.
            let target_bytes = spare_bytes - spare_bytes / 16;
            let needed_after = match &self.role {
                Role::Leader(leader) => leader.matched_by_all().min(self.handed_out),
                Role::Follower(_) | Role::PreCandidate(_) | Role::Candidate(_) => self.handed_out,
            };
            self.log.evict(target_bytes, needed_after);
        }
        if self.log.cached_bytes() > limit_bytes {
            self.log.evict(limit_bytes, self.handed_out);
        }
    }

    /// Gives out everything that has changed: one write, unless more entries were proposed at once
    /// than belong into one.
    fn persist(&mut self, out: &mut Vec<Action>) {
        while self.writes.is_hard_state_new || self.log.has_unwritten() {
            self.give_out_write(out);
        }
    }

    fn give_out_write(&mut self, out: &mut Vec<Action>) {
        let id = self.writes.upcoming();
        self.writes.last = id;
        if self.writes.is_hard_state_new {
            self.writes.hard_state = id;
            self.writes.is_hard_state_new = false;
        }
        let reset = self.log.take_reset();
        let entries = self.log.take_unwritten(id, self.now);
        let (hard_state, commit) = (self.hard_state, self.commit.min(self.log.written()));
        out.push(Action::Persist(Write { id, hard_state, commit, reset, entries }));
    }

    fn announce(&mut self, out: &mut Vec<Action>) {
        if core::mem::take(&mut self.is_role_news) && self.announced != self.role_and_leader() {
            self.announced = self.role_and_leader();
            out.push(Action::RoleChanged(self.announced));
        }
        if self.announced_cluster != *self.log.cluster() {
            self.announced_cluster = Arc::clone(self.log.cluster());
            out.push(Action::ConfigChanged(Arc::clone(&self.announced_cluster)));
        }
    }

    fn role_and_leader(&self) -> RoleChange {
        let leader = self.role.leader(self.config.id);
        RoleChange { role: self.role.kind(), term: self.term(), leader }
    }

    /// Whether nothing has changed without being announced.
    pub(crate) fn has_announced_all(&self) -> bool {
        self.announced == self.role_and_leader() && self.announced_cluster == *self.log.cluster()
    }
}
