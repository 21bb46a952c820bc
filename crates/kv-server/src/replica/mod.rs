//! One replica: consensus and the requests that wait for it, without any I/O.
//!
//! Everything that happens to a server is an [`Event`]; everything it does is an [`Effect`]. The
//! event loop carries effects out on real threads and sockets, a simulator on simulated ones: the
//! code between is this, and the same.
//!
//! Events are handled in turns. Within a turn, writes are only collected; the end of the turn
//! ([`Replica::end_turn`]) proposes all of them at once, so that a busy server pays for a log
//! write and a message per turn, not per request.
//!
//! What is promised to clients:
//! 1. A write is answered when it is applied, by the apply thread, with its result.
//! 2. A write that is refused, overwritten or never proposed is answered as *not applied*.
//! 3. A write whose fate is open when its time is up, an election timeout after leadership was
//!    lost, or when a stopping server waits no longer, is answered as *unknown*. Nothing else is.
//! 4. A linearizable read is handed to the apply thread behind every entry it must see. A read
//!    whose time is up before its turn comes is answered so, and not carried out.
//! 5. Every request is answered exactly once, also by a server that stops: nothing waits any more
//!    when [`Effect::Stop`] is there.
//! 6. A leader that stops hands over before it goes, if there is somebody to hand over to.
//!
//! What a full or a slow disk changes is in [`disk_health`](crate::disk_health).
//!
//! Reading order: `event` is what goes in and comes out, this is the turn, `requests` what becomes
//! of a request, `answers` what a client is told where there is no result.

mod answers;
mod event;
mod requests;

use std::collections::VecDeque;
use std::time::Duration;

use kv_proto::{Error, Outcome};
use raft_core::{
    Action, Command, Entries, Event as TraceEvent, Index, Input, Message, NodeId, Raft,
    ReadPurpose, RoleChange, RoleKind, Ticket, Time,
};

pub(crate) use answers::timed_out;
pub use event::{ApplyWork, Call, ClientTag, Effect, Event, Patience, Request};

use crate::allowance::Allowance;
use crate::directory::Directory;
use crate::disk_health::{DiskHealth, DiskNotice};
use crate::first_election::FirstElection;
use crate::log_keep::{LogKeep, LogSize};
use crate::pending::Pending;
use crate::standing::Standing;

/// How long a stopping server waits for what is under way.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// The ticket of the hand-over of a server that stops. Those of requests count up from 0.
const HAND_OVER: Ticket = Ticket::new(u64::MAX);

/// The ticket of a hand-over because the disk is full. What becomes of it shows.
const HAND_OVER_OF_FULL: Ticket = Ticket::new(u64::MAX - 1);

/// The ticket of a leader that asks to be relieved. It asks again, so nobody waits for the outcome.
const YIELD: Ticket = Ticket::new(u64::MAX - 2);

/// Whether a server that stops has given up its leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandOver {
    NotAsked,
    UnderWay,
    Over,
}

/// One replica. See the module's documentation.
#[derive(Debug)]
pub struct Replica {
    raft: Raft,
    directory: Directory,
    pending: Pending,
    /// Writes of this turn.
    proposals: Vec<(Ticket, Command)>,
    /// Committed writes of our clients, until they are handed out to be applied.
    committed: VecDeque<(Index, ClientTag)>,
    /// How long after losing leadership a write may still find its fate.
    fate_patience: Duration,
    was_leader: bool,
    standing: Standing,
    keep: LogKeep,
    log_size: LogSize,
    /// The core has ordered to install the snapshot that arrived.
    installs: bool,
    stop_by: Option<Time>,
    hand_over: HandOver,
    pub(crate) disk: DiskHealth,
    /// Until the first thing happens that has to do with elections.
    first_election: Option<FirstElection>,
    actions: Vec<Action>,
}

impl Replica {
    /// A replica around `raft`, whose election timeout is at most `election_timeout_max`.
    /// Of its log it keeps as much as `keep` says.
    pub fn new(
        raft: Raft,
        directory: Directory,
        election_timeout_max: Duration,
        keep: LogKeep,
    ) -> Self {
        let standing = Standing::new(raft.status().id.get());
        Self {
            raft,
            directory,
            pending: Pending::default(),
            proposals: Vec::new(),
            committed: VecDeque::new(),
            fate_patience: election_timeout_max,
            was_leader: false,
            standing,
            keep,
            log_size: LogSize::default(),
            installs: false,
            stop_by: None,
            hand_over: HandOver::NotAsked,
            disk: DiskHealth::new(election_timeout_max, Allowance::default()),
            first_election: None,
            actions: Vec::new(),
        }
    }

    /// Has it ask for votes before its election timeout when the whole cluster starts, in turns
    /// that are a heartbeat apart.
    #[must_use]
    pub fn electing_at_start(mut self, heartbeat_interval: Duration) -> Self {
        let own = self.raft.status().id;
        self.first_election = Some(FirstElection::new(own, heartbeat_interval));
        self
    }

    /// Has it take so much of commands without room: for a simulator, whose disks are small.
    pub fn set_allowance(&mut self, allowance: Allowance) {
        self.disk = DiskHealth::new(self.fate_patience, allowance);
    }

    /// When [`Event::Wake`] is due at the latest.
    pub fn deadline(&self) -> Time {
        let hand_over = self.disk.deadline(self.leads_on());
        let election = self.first_election.as_ref().and_then(FirstElection::deadline);
        let own = [self.pending.next_check(), self.stop_by, hand_over, election];
        own.into_iter().flatten().fold(self.raft.deadline(), Time::min)
    }

    /// The consensus inside, to look at.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Takes in one event.
    pub fn handle(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Wake => self.on_wake(now, effects),
            Event::Message(message) => {
                if let Some(message) = self.disk.admit(now, message) {
                    self.step(now, Input::Message(message), effects);
                }
            }
            Event::Connected { peer, client_address } => {
                self.on_connected(now, peer, client_address);
            }
            Event::Unreachable(peer) => {
                if let Some(election) = &mut self.first_election {
                    election.lose(peer, self.raft.cluster());
                }
                self.step(now, Input::Unreachable(peer), effects);
            }
            Event::Persisted(id) => {
                effects.extend(self.disk.on_persisted(now, id).map(Effect::Disk));
                self.step(now, Input::Persisted(id), effects);
            }
            Event::LogRoom(room) => effects.extend(self.disk.on_log_room(room).map(Effect::Disk)),
            Event::SnapshotHasNoRoom => effects.push(Effect::FreeLogRoom),
            Event::StateRoom(waits) => {
                effects.extend(waits.then_some(Effect::FreeLogRoom));
                effects.extend(self.disk.on_state_room(waits).map(Effect::Disk));
            }
            Event::LogRead(read) => self.step(now, Input::LogRead(read), effects),
            Event::Stored(upto) => self.on_stored(now, upto, effects),
            Event::SnapshotSent { to, arrived } => {
                self.step(now, Input::SnapshotSent { to, arrived }, effects);
            }
            Event::Differs(difference) => self.standing.learn(difference),
            Event::SnapshotArrived(message) => self.on_snapshot_arrived(now, message, effects),
            Event::SnapshotInstalled(upto) => self.on_snapshot_installed(now, upto, effects),
            Event::Requests(requests) => {
                for request in requests {
                    self.on_request(now, request, effects);
                }
            }
            Event::Stop => self.stop_by = self.stop_by.or(Some(now + STOP_PATIENCE)),
        }
    }

    /// Ends a turn: proposes the writes that came in, and looks whether a stopping server is done.
    pub fn end_turn(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.propose(now, effects);
        if self.stop_by.is_some() && self.hand_over == HandOver::NotAsked {
            let is_asked = self.ask_heir(now, HAND_OVER, effects);
            self.hand_over = if is_asked { HandOver::UnderWay } else { HandOver::Over };
        } else if self.was_leader && self.standing.must_yield(now) {
            self.ask_heir(now, YIELD, effects);
        }
        if let Some(heir) = self.disk.heir(now, self.leads_on(), || self.raft.status()) {
            effects.push(Effect::Disk(DiskNotice::HandsOver(heir)));
            self.step(now, Input::TransferLeadership(HAND_OVER_OF_FULL, heir), effects);
        }
        let is_idle = self.pending.is_empty()
            && self.committed.is_empty()
            && self.hand_over != HandOver::UnderWay;
        if self.stop_by.is_some_and(|by| is_idle || now >= by) {
            self.give_up_all(now, effects);
            effects.push(Effect::Stop);
        }
    }

    fn propose(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let input = match self.proposals.pop() {
            None => return,
            // The list stays here for the next one.
            Some((ticket, command)) if self.proposals.is_empty() => {
                Input::ProposeOne(ticket, command)
            }
            Some(last) => {
                self.proposals.push(last);
                Input::Propose(std::mem::take(&mut self.proposals))
            }
        };
        self.step(now, input, effects);
    }

    /// Whether it leads, and is not about to stop.
    fn leads_on(&self) -> bool {
        self.was_leader && self.stop_by.is_none()
    }

    /// A leader that stops, or must not lead, asks the voter that has most of its log to take over,
    /// so that nobody has to wait for an election timeout. False if there is none.
    fn ask_heir(&mut self, now: Time, ticket: Ticket, effects: &mut Vec<Effect>) -> bool {
        let status = self.raft.status();
        let voters = &status.cluster.voters;
        let others = status.peers.iter().filter(|peer| voters.contains(&peer.id));
        let heir = others.max_by_key(|peer| (peer.matched, peer.heard_at)).map(|peer| peer.id);
        if let Some(heir) = heir {
            self.step(now, Input::TransferLeadership(ticket, heir), effects);
        }
        heir.is_some()
    }

    /// Answers everybody who still waits with what is known of the request: nothing.
    fn give_up_all(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for (client, error) in self.pending.take_all(now) {
            effects.push(Effect::Fail(client, error));
        }
        for (_, client) in self.committed.drain(..) {
            // It will take effect, but this node will not see with which result.
            effects.push(Effect::Fail(client, timed_out(STOP_PATIENCE, Outcome::Unknown)));
        }
    }

    fn on_connected(&mut self, now: Time, peer: NodeId, client_address: Option<String>) {
        if let Some(address) = client_address {
            self.directory.learn(peer.get(), address);
        }
        if let Some(election) = &mut self.first_election {
            election.reach(now, peer, self.raft.cluster());
        }
    }

    fn on_wake(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let elsewhere = || {
            let leader = self.raft.status().leader.filter(|_| !self.was_leader)?;
            Some(answers::not_leader(&self.directory, leader))
        };
        for (client, error) in self.pending.take_expired(now, elsewhere) {
            effects.push(Effect::Fail(client, error));
        }
        self.step(now, Input::Wake, effects);
        if self.first_election.take_if(|election| election.is_due(now)).is_some()
            && !self.disk.is_full()
        {
            self.step(now, Input::Campaign, effects);
        }
    }

    /// Steps the core and turns its actions into effects.
    fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        let mut actions = std::mem::take(&mut self.actions);
        self.raft.step(now, input, &mut actions);
        for action in actions.drain(..) {
            match action {
                Action::Send(message) => effects.push(Effect::Send(message)),
                Action::Persist(write) => {
                    self.disk.on_persist(now, &write, self.raft.term());
                    self.log_size.add(&write.entries);
                    effects.push(Effect::Persist(write));
                }
                Action::Apply(entries) => {
                    let waiters = self.take_waiters(&entries);
                    effects.push(Effect::Apply(ApplyWork::Entries { entries, waiters }));
                }
                Action::ReadLog(read) => effects.push(match read.purpose {
                    ReadPurpose::Apply => Effect::Apply(ApplyWork::ReadLog(read)),
                    ReadPurpose::Replicate(_) => Effect::ReadLog(read),
                }),
                Action::Resolved(HAND_OVER, _) => self.hand_over = HandOver::Over,
                Action::Resolved(ticket, outcome) => {
                    self.on_resolved(now, ticket, outcome, effects);
                }
                Action::RoleChanged(change) => self.on_role_changed(now, change, effects),
                // The members are those that this server was started with: nobody changes them.
                Action::ConfigChanged(_) => {}
                Action::Compact(upto) => effects.push(Effect::Compact(upto)),
                Action::SendSnapshot(request) => {
                    effects.push(Effect::Apply(ApplyWork::SendSnapshot(request)));
                }
                Action::InstallSnapshot(snapshot) => {
                    self.installs = true;
                    effects.push(Effect::Apply(ApplyWork::InstallSnapshot(snapshot)));
                }
                Action::Trace(event) => {
                    if let TraceEvent::DiskStalled { .. } = event {
                        effects.push(Effect::Disk(self.disk.on_stalled(now)));
                    }
                    effects.push(Effect::Trace(event));
                }
            }
        }
        self.actions = actions;
    }

    /// The log may be cut, but for what others may still need.
    fn on_stored(&mut self, now: Time, upto: Index, effects: &mut Vec<Effect>) {
        let recently = Time::ZERO + now.since(Time::ZERO + self.fate_patience);
        let input = self.keep.compact(upto, &self.log_size, &self.raft.status(), recently);
        self.step(now, input, effects);
    }

    /// A snapshot has arrived. If the core has no use for it, nobody installs it.
    fn on_snapshot_arrived(&mut self, now: Time, message: Message, effects: &mut Vec<Effect>) {
        self.installs = false;
        self.step(now, Input::Message(message), effects);
        if !self.installs {
            effects.push(Effect::DiscardSnapshot);
        }
    }

    /// The state is another one. What clients of this node wrote while it still led is in it, but
    /// with which result, nobody here knows.
    fn on_snapshot_installed(&mut self, now: Time, upto: Option<Index>, effects: &mut Vec<Effect>) {
        self.step(now, Input::SnapshotInstalled(upto.is_some()), effects);
        let upto = upto.unwrap_or(Index::ZERO);
        let count = self.committed.partition_point(|(index, _)| *index <= upto);
        for (_, client) in self.committed.drain(..count) {
            effects.push(Effect::Fail(client, Error::LeadershipLost));
        }
    }

    fn take_waiters(&mut self, entries: &Entries) -> Vec<(Index, ClientTag)> {
        let Some(last) = entries.last_position() else { return Vec::new() };
        let count = self.committed.partition_point(|(index, _)| *index <= last.index);
        self.committed.drain(..count).collect()
    }

    fn on_role_changed(&mut self, now: Time, change: RoleChange, effects: &mut Vec<Effect>) {
        let leads = change.role == RoleKind::Leader;
        if self.was_leader && !leads {
            self.pending.leadership_lost(now + self.fate_patience);
            effects.push(Effect::Apply(ApplyWork::CancelSnapshots));
        }
        self.was_leader = leads;
        self.first_election = None;
        effects.push(Effect::RoleChanged(change));
    }
}
