//! [`Doors`]: how events come in, and who handles them.
//!
//! Three queues lead in. What comes from this process's own threads (the log above all) has a
//! queue without a bound, because it answers what the loop asked for: those threads never wait for
//! the loop, so the two cannot wait for each other. What comes from outside, from clients and from
//! peers, has bounded ones: when the loop falls behind, their threads wait, and TCP makes the
//! senders wait.
//!
//! To wake a sleeping thread takes longer than most turns do. So there is a thread for the loop,
//! but whoever brings an event while nothing else waits and nobody is at it takes a turn itself,
//! and goes on with its own work after that. Where much waits, the thread of the loop does it, and
//! those who bring more are not held up.
//!
//! Invariants:
//! 1. Turns are taken by one thread at a time.
//! 2. While the thread of the loop sleeps, no event waits for which nobody is about to take a turn;
//!    and it does not sleep beyond the replica's deadline.

use std::sync::atomic::{AtomicIsize, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendError, Sender, bounded, unbounded};
use handoff::{Bell, Ringer};

use super::Turn;
use crate::clients::{Replies, Reply};
use crate::replica::Event;
use crate::timing::Timing;

/// The most events that wait from clients or from peers; a batch of requests counts as one.
const MAX_WAITING: usize = 1024;

/// The most events of each queue that are handled in one turn.
const EVENTS_PER_TURN: usize = 256;

/// Whoever brings an event leaves it to the thread of the loop if more than this many wait.
const MOST_TO_HELP_WITH: isize = 1;

/// The ways in, one for each kind of caller.
#[derive(Clone, Debug)]
pub struct Doors {
    /// For the threads of this process; never blocks.
    pub inside: Door,
    /// For what clients ask; blocks while the loop is behind.
    pub clients: Door,
    /// For what peers send; blocks while the loop is behind.
    pub peers: Door,
}

/// A way in.
#[derive(Clone, Debug)]
pub struct Door {
    queue: Sender<Event>,
    turns: Arc<Turns>,
}

impl Door {
    /// Brings an event. It may be handled before this returns.
    ///
    /// # Errors
    ///
    /// If the loop is over, and nobody looks into this queue any more: the event comes back.
    pub fn send(&self, event: Event) -> Result<(), SendError<Event>> {
        self.queue.send(event)?;
        self.turns.waiting.fetch_add(1, Ordering::SeqCst);
        self.turns.help();
        Ok(())
    }

    /// As [`send`](Self::send), but the event is left to the thread of the loop: for a caller who
    /// must not wait for what a turn may wait for.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn leave(&self, event: Event) -> Result<(), SendError<Event>> {
        self.queue.send(event)?;
        self.turns.waiting.fetch_add(1, Ordering::SeqCst);
        self.turns.ringer.ring();
        Ok(())
    }
}

/// What the threads share that take turns.
#[derive(Debug)]
pub(super) struct Turns {
    phase: Mutex<Phase>,
    /// Events that were brought and not taken. Less than nothing where one was taken before it was
    /// counted.
    waiting: AtomicIsize,
    /// Until when the thread of the loop sleeps, in nanoseconds of `started`.
    asleep_until: AtomicU64,
    started: Instant,
    /// In presets made for people, turns are paced: by the thread of the loop.
    is_paced: bool,
    ringer: Ringer,
}

/// How far the loop has come.
#[derive(Debug, Default)]
enum Phase {
    #[default]
    NotBegun,
    Running(Box<Turn>),
    Over(Inbox),
}

impl Turns {
    /// Takes a turn for the event that was just brought, unless that is for others to do.
    fn help(&self) {
        if self.is_paced || self.waiting.load(Ordering::SeqCst) > MOST_TO_HELP_WITH {
            return self.ringer.ring();
        }
        match self.phase.try_lock() {
            Ok(phase) => self.help_with(phase),
            // Who is at it looks again afterwards: it sees what was counted before this look.
            Err(TryLockError::WouldBlock) => {}
            // A turn has panicked: the thread of the loop tells.
            Err(TryLockError::Poisoned(_)) => self.ringer.ring(),
        }
    }

    fn help_with(&self, mut phase: MutexGuard<'_, Phase>) {
        let sleeps_until = self.turn(&mut phase);
        drop(phase);
        fence(Ordering::SeqCst);
        let is_early = sleeps_until
            .is_none_or(|until| self.nanos(until) < self.asleep_until.load(Ordering::SeqCst));
        if is_early || self.waiting.load(Ordering::SeqCst) > 0 {
            self.ringer.ring();
        }
    }

    /// Takes one turn; returns until when no other is due unless something happens, or `None` if
    /// that is for the thread of the loop to see to.
    fn turn(&self, phase: &mut Phase) -> Option<Instant> {
        let Phase::Running(turn) = phase else { return None };
        let taken = turn.inbox.take(&mut turn.events);
        self.waiting.fetch_sub(taken, Ordering::SeqCst);
        if turn.carry_out() {
            return Some(turn.inbox.sleeps_until(turn.deadline()));
        }
        if let Phase::Running(turn) = std::mem::take(phase) {
            *phase = Phase::Over(turn.inbox);
        }
        None
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The thread of the loop: what it waits for.
#[derive(Debug)]
pub struct Waiting {
    bell: Bell,
    turns: Arc<Turns>,
    inbox: Inbox,
}

/// The receiving ends of the queues.
#[derive(Debug)]
pub struct Inbox {
    inside: Receiver<Event>,
    clients: Receiver<Event>,
    peers: Receiver<Event>,
    /// The longest wait without an event.
    idle_wait: Duration,
    /// In presets made for people: how far apart the turns are in which peers are listened to.
    pace: Option<Duration>,
    next_peers: Instant,
}

/// Makes the loop's queues.
pub fn queues(timing: &Timing) -> (Doors, Waiting) {
    let (inside_in, inside) = unbounded();
    let (clients_in, clients) = bounded(MAX_WAITING);
    let (peers_in, peers) = bounded(MAX_WAITING);
    let inbox = Inbox {
        inside,
        clients,
        peers,
        idle_wait: timing.event_loop_delay,
        pace: timing.is_paced.then_some(timing.event_loop_delay),
        next_peers: Instant::now(),
    };
    let bell = Bell::new();
    let turns = Arc::new(Turns {
        phase: Mutex::default(),
        waiting: AtomicIsize::new(0),
        asleep_until: AtomicU64::new(0),
        started: Instant::now(),
        is_paced: timing.is_paced,
        ringer: bell.ringer(),
    });
    let door = |queue| Door { queue, turns: Arc::clone(&turns) };
    let doors = Doors { inside: door(inside_in), clients: door(clients_in), peers: door(peers_in) };
    (doors, Waiting { bell, turns: Arc::clone(&turns), inbox })
}

impl Inbox {
    /// Adds the events that are there to `events`; returns how many those are.
    fn take(&mut self, events: &mut Vec<Event>) -> isize {
        events.extend(self.inside.try_iter().take(EVENTS_PER_TURN));
        events.extend(self.clients.try_iter().take(EVENTS_PER_TURN));
        if self.pace.is_none() || Instant::now() >= self.next_peers {
            let others = events.len();
            events.extend(self.peers.try_iter().take(EVENTS_PER_TURN));
            if let (Some(pace), true) = (self.pace, events.len() > others) {
                self.next_peers = Instant::now() + pace;
            }
        }
        events.len().cast_signed()
    }

    /// How long nothing needs to be done unless an event comes, if at `deadline` something does.
    fn sleeps_until(&self, deadline: Instant) -> Instant {
        let now = Instant::now();
        let mut until = deadline.min(now + self.idle_wait);
        if !self.inside.is_empty() || !self.clients.is_empty() {
            until = now;
        } else if !self.peers.is_empty() {
            until = until.min(self.next_peers);
        }
        until
    }

    /// Answers what clients still ask when the loop has ended, until they can ask no more: until
    /// every [`Doors::clients`] is gone.
    pub fn refuse_all(self, replies: &Replies) {
        for event in self.clients {
            if let Event::Requests(requests) = event {
                replies.send(requests.iter().map(Reply::shutting_down).collect());
            }
        }
    }
}

impl Waiting {
    /// Runs the loop until its replica has stopped, on this thread and on those that help.
    /// `begin` makes of the inbox what a turn needs. Returns the inbox, where clients may still
    /// knock: see [`Inbox::refuse_all`].
    pub(super) fn run(self, begin: impl FnOnce(Inbox) -> Turn) -> Inbox {
        let Self { bell, turns, inbox } = self;
        *lock(&turns.phase) = Phase::Running(Box::new(begin(inbox)));
        loop {
            let mut phase = lock(&turns.phase);
            let sleeps_until = turns.turn(&mut phase);
            if let Phase::Over(_) = *phase
                && let Phase::Over(inbox) = std::mem::take(&mut *phase)
            {
                return inbox;
            }
            // Known before others can take turns, after which the deadline may be an earlier one.
            let Some(until) = sleeps_until else { continue };
            turns.asleep_until.store(turns.nanos(until), Ordering::SeqCst);
            drop(phase);
            fence(Ordering::SeqCst);
            // Those who came while this thread was at it have left it to this look. Where turns are
            // paced they ring instead, since peers may have to wait.
            if turns.is_paced || turns.waiting.load(Ordering::SeqCst) <= 0 {
                bell.wait_until(until);
            }
        }
    }
}

/// Locks the phase. A turn that panicked has left a replica in the middle of something: that must
/// not go on.
fn lock(phase: &Mutex<Phase>) -> MutexGuard<'_, Phase> {
    phase.lock().unwrap_or_else(|error: PoisonError<_>| {
        drop(error);
        panic!("a turn of the event loop had panicked, on the thread that took it")
    })
}
