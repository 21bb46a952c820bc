//! The queue of messages to one peer: filled without ever blocking, emptied by its writer thread.
//!
//! Where nothing waits and the writer sleeps, a message does not pass through the queue: whoever
//! sends it writes it, if the system takes it at once ([`Line`]).
//!
//! # At the bound
//!
//! A message that does not fit is dropped, the *newest* one: those before it are still useful,
//! while an append that arrives without its predecessors is rejected anyway. Messages with entries
//! are the only large ones and stop at the bound; all others are small, do not fill the queue by
//! their size and matter for who leads, so there is room for [`CONTROL_RESERVE_MESSAGES`] more of
//! them. They keep their place: a heartbeat never overtakes the appends before it, since it carries
//! a commit index that speaks of them.
//!
//! Invariants:
//! 1. The queue holds at most the bound in messages, plus the reserve.
//! 2. A message with entries is taken only into an empty queue, or where the sum stays within the
//!    bound in bytes.
//! 3. What is written came in, in that order: a message goes past the queue only if the queue is
//!    empty and the writer waits for it to be filled, which it does with nothing left to write.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use raft_core::{Body, Message};

use crate::config::Limits;
use crate::format::FRAME_OVERHEAD_BYTES;
use crate::line::{Line, Written};
use crate::link::lock;

/// How many small messages are taken beyond the bound.
const CONTROL_RESERVE_MESSAGES: usize = 1024;

/// What is written at once, in bytes, unless one message alone is larger. So much in one write
/// leaves nothing to be gained, and its metadata fits the codec's limit by far.
const MAX_BATCH_BYTES: usize = 512 << 10;

/// The most messages in one batch: each has 24 bytes and more, so that they fit a frame.
const MAX_BATCH_MESSAGES: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    limits: Limits,
    delay: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Waiting>,
    bytes: usize,
    /// The open connection.
    line: Option<Line>,
    /// What is left of a message whose beginning was written past the queue.
    rest: Vec<u8>,
    /// A message with entries was dropped since the writer last looked.
    lost_entries: bool,
    /// The writer sleeps until there is something to write. Waking it costs a system call, which
    /// a busy writer does not need.
    is_writer_asleep: bool,
    call: Call,
}

/// What the writer is called to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Call {
    #[default]
    Nothing,
    /// To cut its pause short.
    Kick,
    /// To end: nothing comes after it.
    Stop,
}

#[derive(Debug)]
struct Waiting {
    message: Message,
    bytes: usize,
    /// When it may be written, if messages are held back.
    due: Option<Instant>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is written: so many bytes.
    Written(usize),
    /// It waits to be written.
    Queued,
    /// There was no room for it.
    Dropped,
}

/// Why the writer woke up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// To end.
    Stopped,
    /// To write what is in the batch, which may be nothing if its time was over.
    ToWrite {
        /// Entries were dropped since the last time.
        lost_entries: bool,
    },
}

impl Outbox {
    pub(crate) fn new(limits: Limits, delay: Duration) -> Self {
        Self { limits, delay, state: Mutex::default(), changed: Condvar::new() }
    }

    /// A connection is open: from now on, the writer takes messages to write them there.
    pub(crate) fn open(&self, stream: &Arc<TcpStream>) {
        lock(&self.state).line = Some(Line::new(Arc::clone(stream)));
    }

    /// Writes or queues a message that takes `bytes` on the wire, or drops it. Never waits for the
    /// network.
    pub(crate) fn push(&self, message: Message, bytes: usize) -> Pushed {
        let due = (!self.delay.is_zero()).then(|| Instant::now() + self.delay);
        let has_entries =
            matches!(&message.body, Body::Append { entries, .. } if !entries.is_empty());
        let mut state = lock(&self.state);
        if !self.admits(&state, has_entries, bytes) {
            state.lost_entries |= has_entries;
            return Pushed::Dropped;
        }
        let pushed = if due.is_none() { state.write(&message, bytes) } else { None };
        if let Some(pushed) = pushed
            && state.rest.is_empty()
        {
            return pushed;
        }
        if pushed.is_none() {
            state.bytes += bytes;
            state.queue.push_back(Waiting { message, bytes, due });
        }
        if state.is_writer_asleep {
            state.is_writer_asleep = false;
            drop(state);
            self.changed.notify_one();
        }
        pushed.unwrap_or(Pushed::Queued)
    }

    fn admits(&self, state: &State, has_entries: bool, bytes: usize) -> bool {
        let waiting = state.queue.len();
        if state.call == Call::Stop {
            false
        } else if has_entries {
            waiting == 0
                || waiting < self.limits.max_queued_messages
                    && state.bytes.saturating_add(bytes) <= self.limits.max_queued_bytes
        } else {
            waiting < self.limits.max_queued_messages.saturating_add(CONTROL_RESERVE_MESSAGES)
        }
    }

    /// Waits until there is something to write, or until `until`; moves what can be written at
    /// once into `batch`, in order. What has to be written before it is in `rest`.
    pub(crate) fn take(
        &self,
        until: Instant,
        rest: &mut Vec<u8>,
        batch: &mut Vec<Message>,
    ) -> Woken {
        let mut state = lock(&self.state);
        loop {
            if state.call == Call::Stop {
                return Woken::Stopped;
            }
            let now = Instant::now();
            let wake_at = match state.queue.front() {
                Some(first) => first.due.map_or(now, |due| due.min(until)),
                None => until,
            };
            if wake_at <= now || state.lost_entries || !state.rest.is_empty() {
                rest.append(&mut state.rest);
                state.move_batch(now, self.max_batch_bytes(), batch);
                let lost_entries = std::mem::take(&mut state.lost_entries);
                return Woken::ToWrite { lost_entries };
            }
            state.is_writer_asleep = state.queue.is_empty();
            state = self.wait(state, wake_at - now);
            state.is_writer_asleep = false;
        }
    }

    /// A batch becomes one frame, and must fit it.
    fn max_batch_bytes(&self) -> usize {
        let of_frame = self.limits.max_frame_bytes.saturating_sub(FRAME_OVERHEAD_BYTES);
        MAX_BATCH_BYTES.min(of_frame)
    }

    /// Waits for `longest`; a [`kick`](Self::kick) cuts it down to `shortest`,
    /// [`stop`](Self::stop) ends it at once. Returns whether to go on.
    pub(crate) fn pause(&self, shortest: Duration, longest: Duration) -> bool {
        let start = Instant::now();
        let mut state = lock(&self.state);
        loop {
            let wait = match state.call {
                Call::Nothing => longest,
                Call::Kick => shortest,
                Call::Stop => return false,
            };
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                state.call = Call::Nothing;
                return true;
            }
            state = self.wait(state, left);
        }
    }

    /// Cuts a pause short: the peer gave a sign of life.
    pub(crate) fn kick(&self) {
        lock(&self.state).change_call(Call::Kick);
        self.changed.notify_one();
    }

    /// A kick from before is out of date.
    pub(crate) fn forget_kick(&self) {
        lock(&self.state).change_call(Call::Nothing);
    }

    /// The connection is over, if there was one. Drops all that waits; returns how many messages
    /// that were.
    pub(crate) fn discard(&self) -> usize {
        let mut state = lock(&self.state);
        let dropped = std::mem::take(&mut state.queue);
        state.line = None;
        state.rest = Vec::new();
        state.bytes = 0;
        state.lost_entries = false;
        drop(state);
        dropped.len()
    }

    /// Takes nothing any more, and lets the writer end.
    pub(crate) fn stop(&self) {
        lock(&self.state).change_call(Call::Stop);
        self.changed.notify_one();
    }

    /// How many messages wait, and how many bytes they take.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.queue.len(), state.bytes)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, at_most: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl State {
    fn change_call(&mut self, call: Call) {
        if self.call != Call::Stop {
            self.call = call;
        }
    }

    /// Writes a message past the queue, if nobody else is writing, and as far as it can be done
    /// without waiting.
    fn write(&mut self, message: &Message, bytes: usize) -> Option<Pushed> {
        let line = self.line.as_mut().filter(|_| self.is_writer_asleep)?;
        match line.write(message, bytes) {
            Written::All(count) => Some(Pushed::Written(count)),
            Written::Part(count, rest) => {
                self.rest = rest;
                Some(Pushed::Written(count))
            }
            Written::Nothing => None,
        }
    }

    fn move_batch(&mut self, now: Instant, max_bytes: usize, batch: &mut Vec<Message>) {
        let mut batch_bytes = 0;
        while let Some(first) = self.queue.front() {
            let is_due = first.due.is_none_or(|due| due <= now);
            let fits = batch.is_empty() || batch_bytes + first.bytes <= max_bytes;
            if !is_due || !fits || batch.len() >= MAX_BATCH_MESSAGES {
                return;
            }
            if let Some(waiting) = self.queue.pop_front() {
                self.bytes -= waiting.bytes;
                batch_bytes += waiting.bytes;
                batch.push(waiting.message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use raft_core::{Entries, Entry, Index, NodeId, Payload, Position, Term};
    use wire::frame::FrameReader;

    use super::*;
    use crate::format::{self, Packet};

    fn message(body: Body) -> Message {
        Message { from: NodeId::new(1), to: NodeId::new(2), term: Term::new(1), body }
    }

    fn heartbeat(round: u64) -> Message {
        let commit = Index::ZERO;
        message(Body::Heartbeat { commit, round })
    }

    fn append() -> Message {
        let entry =
            Entry { at: Position::new(Term::new(1), Index::new(1)), payload: Payload::Noop };
        message(Body::Append {
            prev: Position::ORIGIN,
            entries: Entries::from(vec![entry]),
            commit: Index::ZERO,
        })
    }

    fn outbox(max_queued_messages: usize, max_queued_bytes: usize, delay: Duration) -> Outbox {
        let limits = Limits { max_queued_messages, max_queued_bytes, ..Limits::default() };
        Outbox::new(limits, delay)
    }

    const QUIET: Woken = Woken::ToWrite { lost_entries: false };

    fn take(outbox: &Outbox) -> (Woken, Vec<Message>) {
        let mut batch = Vec::new();
        let woken = outbox.take(Instant::now(), &mut Vec::new(), &mut batch);
        (woken, batch)
    }

    #[test]
    fn messages_come_out_together_and_in_order() {
        let outbox = outbox(10, 1000, Duration::ZERO);
        for round in 0..5 {
            assert_eq!(outbox.push(heartbeat(round), 60), Pushed::Queued);
        }
        assert_eq!(outbox.waiting(), (5, 300));
        let expected: Vec<Message> = (0..5).map(heartbeat).collect();
        assert_eq!(take(&outbox), (QUIET, expected));
        assert_eq!(outbox.waiting(), (0, 0));
        assert_eq!(take(&outbox), (QUIET, Vec::new()), "nothing twice");
    }

    #[test]
    fn at_the_bound_entries_are_dropped_and_the_writer_is_told() {
        let outbox = outbox(100, 1000, Duration::ZERO);
        assert_eq!(outbox.push(append(), 600), Pushed::Queued);
        assert_eq!(outbox.push(append(), 600), Pushed::Dropped);
        assert_eq!(outbox.push(append(), 400), Pushed::Queued);
        assert_eq!(outbox.waiting(), (2, 1000));
        let lost = Woken::ToWrite { lost_entries: true };
        assert_eq!(take(&outbox).0, lost);
        assert_eq!(take(&outbox).0, QUIET, "told once");
    }

    #[test]
    fn a_message_larger_than_the_bound_may_wait_alone() {
        let outbox = outbox(100, 1000, Duration::ZERO);
        assert_eq!(outbox.push(append(), 5000), Pushed::Queued);
        assert_eq!(outbox.push(append(), 1), Pushed::Dropped);
    }

    #[test]
    fn small_messages_have_room_where_entries_have_none_yet_not_without_end() {
        let outbox = outbox(2, 1000, Duration::ZERO);
        assert_eq!(outbox.push(append(), 500), Pushed::Queued);
        assert_eq!(outbox.push(append(), 500), Pushed::Queued);
        assert_eq!(outbox.push(append(), 1), Pushed::Dropped);
        let taken = (0..10_000)
            .filter(|round| outbox.push(heartbeat(*round), 60) == Pushed::Queued)
            .count();
        assert_eq!(taken, CONTROL_RESERVE_MESSAGES);
    }

    #[test]
    fn a_batch_ends_where_a_write_would_grow_too_large() {
        let outbox = outbox(100, 100 << 20, Duration::ZERO);
        for _ in 0..3 {
            outbox.push(append(), MAX_BATCH_BYTES / 2);
        }
        outbox.push(append(), 2 * MAX_BATCH_BYTES);
        let sizes: Vec<usize> = (0..4).map(|_| take(&outbox).1.len()).collect();
        assert_eq!(sizes, [2, 1, 1, 0]);
    }

    #[test]
    fn messages_are_held_back_and_keep_their_order() {
        let delay = Duration::from_hours(1);
        let held = outbox(10, 1000, delay);
        held.push(heartbeat(1), 60);
        assert_eq!(take(&held), (QUIET, Vec::new()), "not yet");

        let short = Duration::from_millis(20);
        let outbox = outbox(10, 1000, short);
        let sent = Instant::now();
        outbox.push(heartbeat(1), 60);
        outbox.push(heartbeat(2), 60);
        let mut batch = Vec::new();
        while batch.len() < 2 {
            outbox.take(Instant::now() + delay, &mut Vec::new(), &mut batch);
        }
        assert!(sent.elapsed() >= short);
        assert_eq!(batch, [heartbeat(1), heartbeat(2)]);
    }

    /// Both ends of a connection.
    fn connection() -> (Arc<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let ours = TcpStream::connect(address).expect("it listens");
        (Arc::new(ours), listener.accept().expect("it connected").0)
    }

    /// The rounds of the next `count` heartbeats that arrive.
    fn rounds(stream: &mut TcpStream, count: usize) -> Vec<u64> {
        let mut frames = FrameReader::new(1 << 20);
        let mut rounds = Vec::new();
        while rounds.len() < count {
            while let Some(body) = frames.next_frame().expect("whole frames") {
                let Packet::Messages(messages) = format::decode(body).expect("messages") else {
                    panic!("something else than messages");
                };
                rounds.extend(messages.iter().map(|message| match message.body {
                    Body::Heartbeat { round, .. } => round,
                    _ => 0,
                }));
            }
            if rounds.len() < count {
                assert_ne!(frames.fill(stream).expect("it goes on"), 0, "the end");
            }
        }
        rounds
    }

    #[test]
    fn a_message_goes_past_the_queue_only_if_the_writer_sleeps_and_nothing_waits() {
        let (ours, mut theirs) = connection();
        let outbox = outbox(100, 1000, Duration::ZERO);
        outbox.open(&ours);
        assert_eq!(outbox.push(heartbeat(1), 60), Pushed::Queued, "nobody sleeps");
        lock(&outbox.state).is_writer_asleep = true;
        take(&outbox);
        lock(&outbox.state).is_writer_asleep = true;
        assert!(matches!(outbox.push(heartbeat(2), 60), Pushed::Written(_)));
        assert_eq!(rounds(&mut theirs, 1), [2]);
        assert_eq!(outbox.push(heartbeat(3), 1 << 20), Pushed::Queued, "too large");
        assert!(!lock(&outbox.state).is_writer_asleep, "it is called");
        assert_eq!(outbox.push(heartbeat(4), 60), Pushed::Queued, "behind the one before");
        outbox.discard();
        lock(&outbox.state).is_writer_asleep = true;
        assert_eq!(outbox.push(heartbeat(5), 60), Pushed::Queued, "the connection is over");
    }

    #[test]
    fn a_message_that_the_system_takes_in_part_is_finished_by_the_writer() {
        let (ours, mut theirs) = connection();
        let outbox = outbox(100, 1 << 30, Duration::ZERO);
        outbox.open(&ours);
        let payload = Payload::Command(vec![7; 50_000].into());
        let entry = Entry { at: Position::new(Term::new(1), Index::new(1)), payload };
        let large = message(Body::Append {
            prev: Position::ORIGIN,
            entries: Entries::from(vec![entry]),
            commit: Index::ZERO,
        });
        // Until the other side, which does not read, leaves room for a part of one.
        let mut sent = 0;
        while lock(&outbox.state).rest.is_empty() {
            lock(&outbox.state).is_writer_asleep = true;
            assert!(matches!(outbox.push(large.clone(), 50_100), Pushed::Written(_)));
            sent += 1;
        }
        assert!(!lock(&outbox.state).is_writer_asleep, "it is called");
        assert_eq!(outbox.push(heartbeat(9), 60), Pushed::Queued, "behind the rest");
        let (mut rest, mut batch) = (Vec::new(), Vec::new());
        let for_ever = Instant::now() + Duration::from_hours(1);
        assert_eq!(outbox.take(for_ever, &mut rest, &mut batch), QUIET);
        assert_eq!(batch, [heartbeat(9)]);
        format::encode_messages(&mut rest, &batch).expect("it fits");
        let writer = std::thread::spawn(move || (&*ours).write_all(&rest));
        assert_eq!(rounds(&mut theirs, sent + 1).last(), Some(&9), "whole frames, in order");
        writer.join().expect("it ends").expect("all of it was read");
    }

    #[test]
    fn a_waiting_writer_is_woken_by_a_message_and_by_the_end() {
        let outbox = outbox(10, 1000, Duration::ZERO);
        let for_ever = Duration::from_hours(1);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut batch = Vec::new();
                let first = outbox.take(Instant::now() + for_ever, &mut Vec::new(), &mut batch);
                let count = batch.len();
                let short = Duration::ZERO;
                let pauses = [outbox.pause(short, for_ever), outbox.pause(short, for_ever)];
                (first, count, pauses)
            });
            outbox.push(heartbeat(1), 60);
            outbox.kick();
            while outbox.waiting().0 > 0 || lock(&outbox.state).call == Call::Kick {
                std::thread::yield_now();
            }
            outbox.stop();
            let seen = writer.join().expect("the writer ends");
            assert_eq!(seen, (QUIET, 1, [true, false]));
        });
        assert_eq!(outbox.push(heartbeat(2), 60), Pushed::Dropped);
    }
}
