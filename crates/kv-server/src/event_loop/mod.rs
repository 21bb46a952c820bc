//! The loop: events in, effects out, in turns that never wait for a disk or a socket.
//!
//! Who takes a turn is in `doors`; this is what a turn does.
//!
//! One thing ends the process at once: a leader whose log contradicts what is committed here. Then
//! something that was committed is lost somewhere, and every further answer could be wrong.
//!
//! The presets for people pace the loop: messages of peers wait for the next of its slow turns.

mod doors;

use std::fmt;
use std::time::{Duration, Instant};

use log::{Level, debug, info, log, warn};
use raft_core::{DropReason, Event as TraceEvent, Index, Message, NodeId, ReadLog, Time, Write};

pub use doors::{Door, Doors, Inbox, Waiting, queues};

use crate::clients::{Replies, Reply};
use crate::narrate;
use crate::replica::{ApplyWork, Effect, Event, Replica};
use crate::seldom::Seldom;
use crate::server::halt;

/// The clock that the core is told: nanoseconds since the server started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// What it shows.
    pub fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    fn instant(&self, time: Time) -> Instant {
        self.origin + time.since(Time::ZERO)
    }
}

/// Where effects go. Whichever thread takes a turn calls it.
pub trait Outside: fmt::Debug + Send {
    /// Hands a message to the network. Never blocks.
    fn send(&self, message: Message);
    /// Hands a write to the log. Never blocks.
    fn persist(&self, write: Write);
    /// Has entries read from the log. Never blocks.
    fn read_log(&self, read: ReadLog);
    /// Has the log forget what lies up to this index. Never blocks.
    fn compact(&self, upto: Index);
    /// Has the log give back to the disk what it only keeps to use it again. Never blocks.
    fn free_log_room(&self);
    /// Forgets the snapshot that has arrived. Never blocks.
    fn discard_snapshot(&self);
    /// Hands work to the apply thread. Never blocks.
    fn apply(&self, work: ApplyWork);
}

/// Runs `replica` until it has stopped. Returns the inbox, where clients may still knock: see
/// [`Inbox::refuse_all`].
pub fn run(
    replica: Replica,
    waiting: Waiting,
    clock: Clock,
    outside: impl Outside + 'static,
    replies: Replies,
) -> Inbox {
    waiting.run(|inbox| Turn {
        own: replica.raft().status().id,
        replica,
        inbox,
        clock,
        outside: Box::new(outside),
        replies,
        warnings: Seldom::new(WARNING_PAUSE),
        events: Vec::new(),
        effects: Vec::new(),
    })
}

/// What a turn needs.
#[derive(Debug)]
struct Turn {
    own: NodeId,
    replica: Replica,
    inbox: Inbox,
    clock: Clock,
    outside: Box<dyn Outside>,
    replies: Replies,
    warnings: Seldom,
    /// What was taken from the inbox; empty between two turns.
    events: Vec<Event>,
    /// Empty between two turns.
    effects: Vec<Effect>,
}

impl Turn {
    /// When the next turn is due at the latest.
    fn deadline(&self) -> Instant {
        self.clock.instant(self.replica.deadline())
    }

    /// Has the replica handle the events, and does what it says. False if it has stopped.
    fn carry_out(&mut self) -> bool {
        let now = self.clock.now();
        for event in self.events.drain(..) {
            self.replica.handle(now, event, &mut self.effects);
        }
        if now >= self.replica.deadline() {
            self.replica.handle(now, Event::Wake, &mut self.effects);
        }
        self.replica.end_turn(now, &mut self.effects);
        let (mut works, mut failures) = (Vec::new(), Vec::new());
        let mut goes_on = true;
        for effect in self.effects.drain(..) {
            show_progress(self.own, &effect);
            match effect {
                Effect::Send(message) => self.outside.send(message),
                Effect::Persist(write) => self.outside.persist(write),
                Effect::ReadLog(read) => self.outside.read_log(read),
                Effect::Compact(upto) => self.outside.compact(upto),
                Effect::FreeLogRoom => self.outside.free_log_room(),
                Effect::Apply(work) => works.push(work),
                Effect::DiscardSnapshot => self.outside.discard_snapshot(),
                Effect::Fail(client, error) => failures.push(Reply { client, result: Err(error) }),
                Effect::RoleChanged(change) => {
                    info!("{} {}", self.own, narrate::role(&change, self.own));
                }
                Effect::Trace(event) => trace(self.own, &event, &mut self.warnings),
                Effect::Disk(notice) => warn!("{} {notice}", self.own),
                Effect::Stop => goes_on = false,
            }
        }
        // What other nodes and the disk wait for goes first. That leaves this order as it is.
        for work in works {
            self.outside.apply(work);
        }
        self.replies.send(failures);
        goes_on
    }
}

/// Lets people follow each entry: into the log, and once it is committed, into the store.
fn show_progress(own: NodeId, effect: &Effect) {
    match effect {
        Effect::Persist(Write { entries, .. }) => {
            if let Some(last) = entries.last_position() {
                let count = narrate::entries(entries.len() as u64);
                debug!("{own} writes {count} to its log, up to {last}");
            }
        }
        Effect::Apply(ApplyWork::Entries { entries, .. }) => {
            if let Some(last) = entries.last_position() {
                let count =
                    narrate::counted(entries.len() as u64, "committed entry", "committed entries");
                debug!("{own} applies {count}, up to {last}");
            }
        }
        _ => {}
    }
}

/// How far apart warnings are that a confused peer can cause.
const WARNING_PAUSE: Duration = Duration::from_secs(1);

/// Tells people what happens inside, and what a peer sends that makes no sense only so often.
fn trace(own: NodeId, event: &TraceEvent, warnings: &mut Seldom) {
    if let TraceEvent::MessageDropped { from, reason: DropReason::ConflictsWithCommitted } = event {
        halt(&narrate::contradiction(own, *from));
    }
    let level = match event {
        TraceEvent::QuorumLost { .. } | TraceEvent::Recovered { .. } => Level::Warn,
        TraceEvent::MessageDropped { .. } if warnings.is_due(Instant::now()) => Level::Warn,
        _ => Level::Debug,
    };
    log!(level, "{own} {}", narrate::event(event));
}
