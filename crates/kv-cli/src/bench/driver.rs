//! Many connections on one thread.
//!
//! It hands out requests that are due to connections that have room, writes them, and waits for
//! all connections at once. Asking is cheap that way: a bench shares its machine with the servers
//! that it measures more often than not.
//!
//! A connection has a slot. When it is lost, or leads to a node that is not to be asked any more,
//! the slot is empty until a new one is [found](crate::bench::reconnect).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use kv_client::kv_proto::Consistency;
use kv_client::{Connection, ConnectionError};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::bench::args::Workload;
use crate::bench::keys::Chooser;
use crate::bench::link::{Answer, Link, Question};
use crate::bench::pace::{Schedule, Turn};
use crate::bench::plan::Plan;
use crate::bench::progress::Counter;
use crate::bench::reconnect::{Found, Lost};
use crate::bench::tally::Tally;
use crate::failure::Failure;

/// How often connections are looked at that do not answer.
const LOOK_AROUND: Duration = Duration::from_millis(500);

/// The token of the alarm that says that a request is due.
const ALARM: Token = Token(usize::MAX);

/// One thread's share of a run.
pub(crate) struct Driver<'a> {
    plan: &'a Plan,
    schedule: &'a Schedule,
    counter: &'a Counter,
    chooser: Chooser,
    poll: Poll,
    number: usize,
    slots: Vec<Slot>,
    /// Slots that have room, each once. One that has none any more may still be in here.
    free: VecDeque<usize>,
    /// Slots that something was queued on since they were last written to.
    unwritten: Vec<usize>,
    in_flight: usize,
    tally: Tally,
    exchange: Exchange,
}

/// A place for a connection.
#[derive(Default)]
struct Slot {
    /// `None` while a new one is looked for.
    link: Option<Link>,
    is_in_free: bool,
}

/// Where connections that are lost are told, and new ones come from.
pub(crate) struct Exchange {
    pub(crate) lost: Sender<Lost>,
    pub(crate) found: Receiver<Found>,
}

impl<'a> Driver<'a> {
    /// Takes over `connections`, as thread `thread`.
    pub(crate) fn new(
        plan: &'a Plan,
        schedule: &'a Schedule,
        counter: &'a Counter,
        connections: Vec<Connection>,
        thread: u32,
        exchange: Exchange,
    ) -> Result<Self, Failure> {
        let mut driver = Self {
            plan,
            schedule,
            counter,
            chooser: Chooser::new(plan.distribution, &plan.keys, thread, plan.threads),
            poll: Poll::new().map_err(|error| no_poll(&error))?,
            number: thread as usize,
            slots: connections.iter().map(|_| Slot::default()).collect(),
            free: VecDeque::with_capacity(connections.len()),
            unwritten: Vec::new(),
            in_flight: 0,
            tally: Tally::new(plan.keys_written())?,
            exchange,
        };
        for (slot, connection) in connections.into_iter().enumerate() {
            driver.fill(slot, connection)?;
        }
        Ok(driver)
    }

    /// Puts `connection` into an empty slot.
    fn fill(&mut self, slot: usize, connection: Connection) -> Result<(), Failure> {
        let descriptor = connection.as_fd().as_raw_fd();
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut SourceFd(&descriptor), Token(slot), both)
            .map_err(|error| no_poll(&error))?;
        let link = Link::new(connection, self.plan.in_flight, self.plan.timeout);
        self.slots[slot].link = Some(link.map_err(|error| self.plan.refused(&error))?);
        self.has_room_again(slot);
        Ok(())
    }

    fn has_room_again(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.slots[slot].is_in_free, true) {
            self.free.push_back(slot);
        }
    }

    /// What wakes this thread when a request is due.
    pub(crate) fn alarm(&self) -> Result<Waker, Failure> {
        Waker::new(self.poll.registry(), ALARM).map_err(|error| no_poll(&error))
    }

    /// Works until no request is left and none is in flight, or nobody looks for connections any
    /// more and there is none.
    pub(crate) fn run(mut self) -> Result<Tally, Failure> {
        let mut events = Events::with_capacity(1024);
        let mut looked_around = Instant::now();
        loop {
            let now = Instant::now();
            let is_helped = self.take_found()?;
            self.ask(now);
            self.write();
            let is_done = self.in_flight == 0 && self.schedule.is_over(now);
            if is_done || (!is_helped && self.slots.iter().all(|slot| slot.link.is_none())) {
                return Ok(self.tally);
            }
            match self.poll.poll(&mut events, Some(LOOK_AROUND)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(no_poll(&error));
                }
                _ => {}
            }
            for event in events.iter().filter(|event| event.token() != ALARM) {
                self.read(event.token().0);
                self.unwritten.push(event.token().0);
            }
            if looked_around.elapsed() >= LOOK_AROUND {
                looked_around = Instant::now();
                self.drop_silent(looked_around);
            }
        }
    }

    /// Takes connections that were found for empty slots; says whether more may be.
    fn take_found(&mut self) -> Result<bool, Failure> {
        loop {
            match self.exchange.found.try_recv() {
                Ok((slot, connection)) => {
                    self.tally.reconnects += 1;
                    self.counter.found();
                    self.fill(slot, connection)?;
                }
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
    }

    /// Hands out what is due.
    fn ask(&mut self, now: Instant) {
        while let Some(&number) = self.free.front() {
            let slot = &mut self.slots[number];
            if !slot.link.as_ref().is_some_and(Link::has_room) {
                slot.is_in_free = false;
                self.free.pop_front();
                continue;
            }
            let Turn::Due(due) = self.schedule.take(now) else { return };
            self.ask_on(number, due, now);
            if self.plan.rate.is_some() {
                // Connections take turns.
                self.free.rotate_left(1);
            }
        }
    }

    fn ask_on(&mut self, number: usize, due: Instant, now: Instant) {
        let question = self.question();
        let key = self.chooser.choose();
        let Some(link) = self.slots[number].link.as_mut() else { return };
        match link.ask(question, &self.plan.keys, key, due, now) {
            Ok(()) => {
                self.in_flight += 1;
                if self.unwritten.last() != Some(&number) {
                    self.unwritten.push(number);
                }
            }
            Err(error) => {
                // It never went out, and is one request more than the link knows of.
                self.fail(error.to_string(), 1, 0);
                self.lose(number, &error);
            }
        }
    }

    fn question(&mut self) -> Question {
        let reads_percent = self.plan.reads_percent;
        match self.plan.workload {
            Workload::GetStale => Question::Get(Consistency::Stale),
            Workload::Get => Question::Get(Consistency::Linearizable),
            Workload::Mixed if self.chooser.percent() < reads_percent => {
                Question::Get(Consistency::Linearizable)
            }
            Workload::Put | Workload::Mixed => Question::Put,
        }
    }

    fn write(&mut self) {
        let mut unwritten = std::mem::take(&mut self.unwritten);
        for number in unwritten.drain(..) {
            let written = self.slots[number].link.as_mut().map_or(Ok(()), Link::flush);
            if let Err(error) = written {
                self.lose(number, &error);
            }
        }
        self.unwritten = unwritten;
    }

    /// Takes every answer that has arrived on a connection.
    fn read(&mut self, number: usize) {
        while let Some(link) = self.slots[number].link.as_mut() {
            match link.next_answer() {
                Ok(Some(answer)) => {
                    if link.has_room() {
                        self.has_room_again(number);
                    }
                    self.in_flight -= 1;
                    self.take(answer);
                }
                Ok(None) => break,
                Err(error) => self.lose(number, &error),
            }
        }
        if let Some(link) = self.slots[number].link.take_if(|link| link.is_over()) {
            self.tell_lost(number, &link);
        }
    }

    fn take(&mut self, answer: Answer) {
        let (asked, revision) = match answer {
            Answer::Written(asked, revision) => (asked, Some(revision)),
            Answer::Read(asked) => (asked, None),
            Answer::Failed { why, is_unknown } => {
                return self.fail(why, 1, u64::from(is_unknown));
            }
        };
        if let Some(revision) = revision {
            self.tally.acknowledge(asked.key, revision);
        }
        if asked.due < self.schedule.measured_from() {
            return;
        }
        let now = Instant::now();
        self.tally.ended = Some(now);
        self.tally.count(now - asked.due, now - self.schedule.measured_from());
        self.counter.done(1);
    }

    fn fail(&mut self, why: String, times: u64, unknown_writes: u64) {
        self.tally.count_errors(why, times);
        self.tally.unknown_writes += unknown_writes;
        self.counter.failed(times);
    }

    /// A connection broke: what was in flight on it is not done, as far as is known.
    fn lose(&mut self, number: usize, why: &ConnectionError) {
        let Some(link) = self.slots[number].link.take() else { return };
        self.in_flight -= link.waiting();
        // The descriptor leaves the poll when the socket closes.
        let (waiting, writes) = (link.waiting() as u64, link.waiting_writes() as u64);
        if waiting > 0 {
            self.fail(format!("{}: {why}", link.address()), waiting, writes);
        }
        self.tell_lost(number, &link);
    }

    /// A slot is empty, and wants a new connection.
    fn tell_lost(&self, slot: usize, link: &Link) {
        let lost = Lost {
            driver: self.number,
            slot,
            from: link.address().into(),
            leader: link.leader().map(str::to_owned),
            was_of_use: link.was_of_use(),
        };
        self.counter.lost();
        // If nobody looks any more, this driver ends with its last connection.
        let _ = self.exchange.lost.send(lost);
    }

    fn drop_silent(&mut self, now: Instant) {
        for number in 0..self.slots.len() {
            let link = self.slots[number].link.as_ref();
            if link.is_some_and(|link| link.is_overdue(now)) {
                self.lose(number, &ConnectionError::TimedOut);
            }
        }
    }
}

fn no_poll(error: &io::Error) -> Failure {
    Failure::Bench(
        format!("the system refused what many connections need ({error}): use fewer"),
        kv_client::kv_proto::ExitCode::Unavailable,
    )
}
