//! Many connections on one thread.
//!
//! It hands out requests that are due to connections that have room, writes them, and waits for
//! all connections at once. Asking is cheap that way: a bench shares its machine with the servers
//! that it measures more often than not.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
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
    links: Vec<Option<Link>>,
    /// Connections that have room. A broken one may still be in here.
    free: VecDeque<usize>,
    /// Connections that something was queued on since they were last written to.
    unwritten: Vec<usize>,
    in_flight: usize,
    tally: Tally,
}

impl<'a> Driver<'a> {
    /// Takes over `connections`, as thread `thread`.
    pub(crate) fn new(
        plan: &'a Plan,
        schedule: &'a Schedule,
        counter: &'a Counter,
        connections: Vec<Connection>,
        thread: u32,
    ) -> Result<Self, Failure> {
        let poll = Poll::new().map_err(|error| no_poll(&error))?;
        let mut links = Vec::with_capacity(connections.len());
        for connection in connections {
            let both = Interest::READABLE | Interest::WRITABLE;
            let descriptor = connection.as_fd().as_raw_fd();
            poll.registry()
                .register(&mut SourceFd(&descriptor), Token(links.len()), both)
                .map_err(|error| no_poll(&error))?;
            let link = Link::new(connection, plan.in_flight, plan.timeout);
            links.push(Some(link.map_err(|error| plan.refused(&error))?));
        }
        Ok(Self {
            plan,
            schedule,
            counter,
            chooser: Chooser::new(plan.distribution, &plan.keys, thread, plan.threads),
            poll,
            free: (0..links.len()).collect(),
            links,
            unwritten: Vec::new(),
            in_flight: 0,
            tally: Tally::new(plan.keys_written())?,
        })
    }

    /// What wakes this thread when a request is due.
    pub(crate) fn alarm(&self) -> Result<Waker, Failure> {
        Waker::new(self.poll.registry(), ALARM).map_err(|error| no_poll(&error))
    }

    /// Works until no request is left and none is in flight, or no connection.
    pub(crate) fn run(mut self) -> Result<Tally, Failure> {
        let mut events = Events::with_capacity(1024);
        let mut looked_around = Instant::now();
        loop {
            let is_over = self.ask(Instant::now());
            self.write();
            if (is_over && self.in_flight == 0) || self.links.iter().all(Option::is_none) {
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

    /// Hands out what is due; says whether that was the last.
    fn ask(&mut self, now: Instant) -> bool {
        while let Some(&number) = self.free.front() {
            let has_room = self.links[number].as_ref().is_some_and(Link::has_room);
            if !has_room {
                self.free.pop_front();
                continue;
            }
            let due = match self.schedule.take(now) {
                Turn::Due(due) => due,
                Turn::At(_) => return false,
                Turn::Over => return true,
            };
            self.ask_on(number, due, now);
            if self.plan.rate.is_some() {
                // Connections take turns.
                self.free.rotate_left(1);
            }
        }
        false
    }

    fn ask_on(&mut self, number: usize, due: Instant, now: Instant) {
        let question = self.question();
        let key = self.chooser.choose();
        let Some(link) = self.links[number].as_mut() else { return };
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
            let written = self.links[number].as_mut().map_or(Ok(()), Link::flush);
            if let Err(error) = written {
                self.lose(number, &error);
            }
        }
        self.unwritten = unwritten;
    }

    /// Takes every answer that has arrived on a connection.
    fn read(&mut self, number: usize) {
        while let Some(link) = self.links[number].as_mut() {
            let had_room = link.has_room();
            match link.next_answer() {
                Ok(Some(answer)) => {
                    if !had_room {
                        self.free.push_back(number);
                    }
                    self.in_flight -= 1;
                    self.take(answer);
                }
                Ok(None) => return,
                Err(error) => self.lose(number, &error),
            }
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
        let Some(link) = self.links[number].take() else { return };
        let address = link.connection().address().to_owned();
        self.in_flight -= link.waiting();
        // The descriptor leaves the poll when the socket closes.
        let (waiting, writes) = (link.waiting() as u64, link.waiting_writes() as u64);
        self.fail(format!("{address}: {why}"), waiting, writes);
    }

    fn drop_silent(&mut self, now: Instant) {
        for number in 0..self.links.len() {
            if self.links[number].as_ref().is_some_and(|link| link.is_overdue(now)) {
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
