//! The loop: events in, effects out, on one thread that never waits for a disk or a socket.
//!
//! Three queues lead in. What comes from this process's own threads (the log above all) has a
//! queue without a bound, because it answers what the loop asked for: those threads never wait for
//! the loop, so the two cannot wait for each other. What comes from outside, from clients and from
//! peers, has bounded ones: when the loop falls behind, their threads wait, and TCP makes the
//! senders wait.
//!
//! One thing ends the process at once: a leader whose log contradicts what is committed here. Then
//! something that was committed is lost somewhere, and every further answer could be wrong.
//!
//! The presets for people pace the loop: messages of peers wait for the next of its slow turns.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, bounded, unbounded};
use log::{Level, debug, info, log, warn};
use raft_core::{DropReason, Event as TraceEvent, Index, Message, NodeId, ReadLog, Time, Write};

use crate::clients::{Replies, Reply};
use crate::narrate;
use crate::replica::{ApplyWork, Effect, Event, Replica};
use crate::seldom::Seldom;
use crate::server::halt;
use crate::timing::Timing;

/// The most events that wait from clients or from peers; a batch of requests counts as one.
const MAX_WAITING: usize = 1024;

/// The most events of each queue that are handled in one turn.
const EVENTS_PER_TURN: usize = 256;

/// The sending ends of the loop's queues.
#[derive(Clone, Debug)]
pub struct Doors {
    /// For the threads of this process; never blocks.
    pub inside: Sender<Event>,
    /// For what clients ask; blocks while the loop is behind.
    pub clients: Sender<Event>,
    /// For what peers send; blocks while the loop is behind.
    pub peers: Sender<Event>,
}

/// The receiving ends.
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
pub fn queues(timing: &Timing) -> (Doors, Inbox) {
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
    (Doors { inside: inside_in, clients: clients_in, peers: peers_in }, inbox)
}

impl Inbox {
    /// Waits for events, at most until `deadline`, and adds those that are there to `events`.
    fn next_turn(&mut self, deadline: Instant, events: &mut Vec<Event>) {
        let now = Instant::now();
        let deadline = deadline.min(now + self.idle_wait);
        let is_open = self.pace.is_none() || now >= self.next_peers;
        self.wait(is_open, if is_open { deadline } else { deadline.min(self.next_peers) });
        events.extend(self.inside.try_iter().take(EVENTS_PER_TURN));
        events.extend(self.clients.try_iter().take(EVENTS_PER_TURN));
        if is_open {
            let others = events.len();
            events.extend(self.peers.try_iter().take(EVENTS_PER_TURN));
            if let (Some(pace), true) = (self.pace, events.len() > others) {
                self.next_peers = Instant::now() + pace;
            }
        }
    }

    /// Waits until a queue that is listened to has something.
    fn wait(&self, is_open: bool, deadline: Instant) {
        let others = [&self.inside, &self.clients];
        let queues = others.into_iter().chain(is_open.then_some(&self.peers));
        if queues.clone().any(|queue| !queue.is_empty()) {
            return;
        }
        let mut select = Select::new();
        for queue in queues {
            select.recv(queue);
        }
        // What became ready, or that nothing did, is found out by looking.
        let _ = select.ready_deadline(deadline);
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

/// Where effects go.
pub trait Outside {
    /// Hands a message to the network. Never blocks.
    fn send(&self, message: Message);
    /// Hands a write to the log. Blocks only if the log is hopelessly behind.
    fn persist(&self, write: Write);
    /// Has entries read from the log. Blocks as a write does.
    fn read_log(&self, read: ReadLog);
    /// Has the log forget what lies up to this index. Blocks as a write does.
    fn compact(&self, upto: Index);
    /// Forgets the snapshot that has arrived. Never blocks.
    fn discard_snapshot(&self);
    /// Hands work to the apply thread. Never blocks.
    fn apply(&self, work: ApplyWork);
}

/// Runs `replica` until it has stopped. Returns the inbox, where clients may still knock: see
/// [`Inbox::refuse_all`].
pub fn run(
    mut replica: Replica,
    mut inbox: Inbox,
    clock: Clock,
    outside: &impl Outside,
    replies: &Replies,
) -> Inbox {
    let own = replica.raft().status().id;
    let mut warnings = Seldom::new(WARNING_PAUSE);
    let (mut events, mut effects, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        inbox.next_turn(clock.instant(replica.deadline()), &mut events);
        let now = clock.now();
        for event in events.drain(..) {
            replica.handle(now, event, &mut effects);
        }
        if now >= replica.deadline() {
            replica.handle(now, Event::Wake, &mut effects);
        }
        replica.end_turn(now, &mut effects);
        for effect in effects.drain(..) {
            show_progress(own, &effect);
            match effect {
                Effect::Send(message) => outside.send(message),
                Effect::Persist(write) => outside.persist(write),
                Effect::ReadLog(read) => outside.read_log(read),
                Effect::Compact(upto) => outside.compact(upto),
                Effect::Apply(work) => outside.apply(work),
                Effect::DiscardSnapshot => outside.discard_snapshot(),
                Effect::Fail(client, error) => failures.push(Reply { client, result: Err(error) }),
                Effect::RoleChanged(change) => info!("{own} {}", narrate::role(&change, own)),
                Effect::Trace(event) => trace(own, &event, &mut warnings),
                Effect::Disk(notice) => warn!("{own} {notice}"),
                Effect::Stop => {
                    replies.send(failures);
                    return inbox;
                }
            }
        }
        replies.send(std::mem::take(&mut failures));
    }
}

/// Lets people follow each entry: into the log, and once it is committed, into the store.
fn show_progress(own: NodeId, effect: &Effect) {
    match effect {
        Effect::Persist(Write { entries, .. }) => {
            if let Some(last) = entries.last_position() {
                debug!("{own} writes {} entries to its log, up to {last}", entries.len());
            }
        }
        Effect::Apply(ApplyWork::Entries { entries, .. }) => {
            if let Some(last) = entries.last_position() {
                debug!("{own} applies {} committed entries, up to {last}", entries.len());
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
