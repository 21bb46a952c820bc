//! What the disk of this node lets it do: `DiskHealth`.
//!
//! A node whose disk is full or slow is still a good follower: it votes, answers reads, and takes
//! part in whatever goes on without its disk. So it does not stop, nor does it stand in the way:
//!
//! 1. Without room it takes no writes of clients. It says so, and nothing was changed.
//! 2. Without room it does not lead if another can: it hands over, and if that fails, to the next,
//!    with pauses that grow. It does not take over when it is asked to. So leadership goes where
//!    there is room, and stays where it is if there is none anywhere.
//! 3. If hardly any room is left in the log, or none for the state file, it treats commands that a
//!    leader sends, and whatever comes after one, as lost on their way, but for what it can afford
//!    (`Allowance`): that room is for votes, and for what it takes to lead.
//! 4. A leader whose disk stands still for an election timeout, or is behind those of the others
//!    for four, gives up its leadership (that is raft-core's doing). For a while afterwards it does
//!    not take over when it is asked to. That much waits for a disk that works is no reason.
//!
//! Everything ends by itself when there is room, or the disk is quick again.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use kv_proto::DiskState;
use raft_core::{Body, Message, NodeId, PersistId, Status, Term, Time, Write};
use raft_storage::Room;

use crate::allowance::{Allowance, Shortage};
use crate::planted::{Bug, Planted};

/// The first pause between two attempts to hand over, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// How many election timeouts a node whose disk kept it waiting does not want to lead.
const SHY_TIMEOUTS: u32 = 20;

/// How far apart complaints of a slow disk are.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(10);

/// What is known of the disk, and what follows from it.
#[derive(Debug)]
pub(crate) struct DiskHealth {
    log_room: Room,
    /// Whether there is no room for the state file.
    state_waits: bool,
    /// Writes that the log has not reported yet, and since when each is under way.
    under_way: VecDeque<(PersistId, Time)>,
    /// When the log reported one last.
    reported_at: Time,
    election_timeout: Duration,
    /// Until when this node does not want to lead, because its disk is slow.
    shy_until: Time,
    next_complaint: Time,
    hand_over: HandOver,
    /// What it takes of commands without room, and what is left of that.
    full_allowance: Allowance,
    allowance: Allowance,
    pub(crate) planted: Planted,
}

/// The attempts of a leader without room to hand over.
#[derive(Debug)]
struct HandOver {
    /// Who was asked in this round.
    asked: Vec<NodeId>,
    next: Time,
    pause: Duration,
}

impl Default for HandOver {
    fn default() -> Self {
        Self { asked: Vec::new(), next: Time::ZERO, pause: PAUSES.0 }
    }
}

/// Something about the disk that people should know, as a sentence without its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskNotice {
    /// There is no room any more.
    Full,
    /// There is room again.
    HasRoom,
    /// It has asked another node to lead.
    HandsOver(NodeId),
    /// It leads no more, because a write has waited for so long.
    Stalled(Duration),
    /// It has written nothing for so long.
    Slow(Duration),
}

impl fmt::Display for DiskNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(
                f,
                "has no room left on its disk: it takes no writes until somebody makes some; reads \
                 go on"
            ),
            Self::HasRoom => write!(f, "has room on its disk again, and takes writes"),
            Self::HandsOver(heir) => {
                write!(f, "asks {heir} to lead, because its own disk is full")
            }
            Self::Stalled(waited) => write!(
                f,
                "has waited {waited:.0?} for its disk, and leaves the leadership to another"
            ),
            Self::Slow(took) => {
                write!(f, "had to wait {took:.0?} for its disk: check it, or allow elections more")
            }
        }
    }
}

impl DiskHealth {
    /// A disk of which nothing bad is known, of a node that elects with this timeout at most, and
    /// takes so much of commands without room.
    pub(crate) fn new(election_timeout: Duration, allowance: Allowance) -> Self {
        Self {
            log_room: Room::Ample,
            state_waits: false,
            under_way: VecDeque::new(),
            reported_at: Time::ZERO,
            election_timeout,
            shy_until: Time::ZERO,
            next_complaint: Time::ZERO,
            hand_over: HandOver::default(),
            full_allowance: allowance,
            allowance,
            planted: Planted::default(),
        }
    }

    /// Whether there is no room for anything new.
    pub(crate) fn is_full(&self) -> bool {
        self.state_waits || self.log_room != Room::Ample
    }

    /// What to tell whoever asks.
    pub(crate) fn state(&self, now: Time) -> DiskState {
        if self.is_full() {
            DiskState::Full
        } else if self.stands(now) > self.election_timeout {
            DiskState::Slow
        } else {
            DiskState::Fine
        }
    }

    /// How long the oldest write has been under way.
    fn waits(&self, now: Time) -> Duration {
        self.under_way.front().map_or(Duration::ZERO, |(_, since)| now.since(*since))
    }

    /// How long nothing was reported although something is under way.
    fn stands(&self, now: Time) -> Duration {
        self.waits(now).min(now.since(self.reported_at))
    }

    /// The room for the log has changed.
    pub(crate) fn on_log_room(&mut self, room: Room) -> Option<DiskNotice> {
        self.on_change(|health| health.log_room = room)
    }

    /// There is no room for the state file, or there is again.
    pub(crate) fn on_state_room(&mut self, state_waits: bool) -> Option<DiskNotice> {
        self.on_change(|health| health.state_waits = state_waits)
    }

    fn on_change(&mut self, change: impl FnOnce(&mut Self)) -> Option<DiskNotice> {
        let was_full = self.is_full();
        change(self);
        match (was_full, self.is_full()) {
            (false, true) => Some(DiskNotice::Full),
            (true, false) => {
                self.allowance = self.full_allowance;
                Some(DiskNotice::HasRoom)
            }
            _ => None,
        }
    }

    /// A write of this term is handed to the log.
    pub(crate) fn on_persist(&mut self, now: Time, write: &Write, term: Term) {
        self.under_way.push_back((write.id, now));
        let is_uncounted = self.planted.has(Bug::AllowanceUncounted);
        if let Some(shortage) = self.shortage().filter(|_| !is_uncounted) {
            self.allowance.written(&write.entries, term, shortage);
        }
    }

    /// Everything up to this write is durable.
    pub(crate) fn on_persisted(&mut self, now: Time, id: PersistId) -> Option<DiskNotice> {
        let took = self.stands(now);
        self.reported_at = now;
        while self.under_way.pop_front_if(|(write, _)| *write <= id).is_some() {}
        if took <= self.election_timeout || now < self.next_complaint {
            return None;
        }
        self.next_complaint = now + COMPLAINT_PAUSE;
        Some(DiskNotice::Slow(took))
    }

    /// The core gave up the leadership because of the disk.
    pub(crate) fn on_stalled(&mut self, now: Time) -> DiskNotice {
        self.shy_until = now + self.election_timeout * SHY_TIMEOUTS;
        DiskNotice::Stalled(self.waits(now))
    }

    /// What is to be taken in of a message; `None` if it is to be treated as lost on its way (rules
    /// 2, 3 and 4).
    pub(crate) fn admit(&self, now: Time, mut message: Message) -> Option<Message> {
        match (&mut message.body, self.shortage()) {
            (Body::TimeoutNow { .. }, _) if self.is_full() || now < self.shy_until => None,
            (Body::Append { entries, .. }, Some(shortage)) if !entries.is_empty() => {
                let count = self.allowance.count(entries, message.term, shortage);
                *entries = entries.slice(0..count);
                (count > 0).then_some(message)
            }
            _ => Some(message),
        }
    }

    /// What there is no room for, if that keeps this node from taking commands.
    fn shortage(&self) -> Option<Shortage> {
        match (self.log_room, self.state_waits) {
            (Room::Scarce, _) => Some(Shortage::Log),
            (Room::Ample | Room::Low, true) => Some(Shortage::StateFile),
            (Room::Ample | Room::Low, false) => None,
        }
    }

    /// When a leader without room tries to hand over again.
    pub(crate) fn deadline(&self, leads: bool) -> Option<Time> {
        (leads && self.is_full()).then_some(self.hand_over.next)
    }

    /// Whom a leader is to ask now to take over. To be asked at the end of every turn.
    pub(crate) fn heir(
        &mut self,
        now: Time,
        leads: bool,
        status: impl FnOnce() -> Status,
    ) -> Option<NodeId> {
        if !leads || !self.is_full() || self.planted.has(Bug::LeadsOn) {
            self.hand_over = HandOver { next: now, ..HandOver::default() };
            return None;
        }
        if now < self.hand_over.next {
            return None;
        }
        let status = status();
        let voters = &status.cluster.voters;
        let asked = &self.hand_over.asked;
        let others = status
            .peers
            .iter()
            .filter(|peer| voters.contains(&peer.id) && !asked.contains(&peer.id));
        let heir = others.max_by_key(|peer| (peer.matched, peer.heard_at)).map(|peer| peer.id);
        if let Some(heir) = heir {
            self.hand_over.asked.push(heir);
            // The core gives up on one within an election timeout.
            self.hand_over.next = now + PAUSES.0.max(self.election_timeout * 2);
        } else {
            let pause = self.hand_over.pause;
            let (next, pause) = (now + pause, (pause * 2).min(PAUSES.1));
            self.hand_over = HandOver { asked: Vec::new(), next, pause };
        }
        heir
    }
}
