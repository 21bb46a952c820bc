//! One connection of a bench.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hdrhistogram::Histogram;
use kv_client::kv_proto::{Call, Command, ExitCode, Put, Range, Reply, Response, Revision};
use kv_client::{Connection, ConnectionError, Deadline};

use crate::bench::{Keys, Plan, Workload};
use crate::failure::Failure;

/// Latencies are kept to three digits, up to a minute, in microseconds.
const MAX_MICROS: u64 = 60_000_000;
const DIGITS: u8 = 3;

/// Acknowledged writes that each connection remembers, to be read back.
const SAMPLE_PER_CONNECTION: usize = 10;

/// What came of a part of the run.
pub(crate) struct Tally {
    /// Of every request that was done, in microseconds.
    pub(crate) latencies: Histogram<u64>,
    /// Why the first of the others was not.
    pub(crate) first_error: Option<String>,
    /// Acknowledged writes.
    pub(crate) sample: Vec<Acknowledged>,
}

/// A write that the server said is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) index: u64,
    pub(crate) revision: Revision,
}

impl Tally {
    pub(crate) fn new() -> Result<Self, Failure> {
        let latencies = Histogram::new_with_bounds(1, MAX_MICROS, DIGITS).map_err(|_| broken())?;
        Ok(Self { latencies, first_error: None, sample: Vec::new() })
    }

    pub(crate) fn add(&mut self, other: Self) -> Result<(), Failure> {
        self.latencies.add(&other.latencies).map_err(|_| broken())?;
        self.first_error = self.first_error.take().or(other.first_error);
        self.sample.extend(other.sample);
        Ok(())
    }

    /// Counts a request that was answered well.
    fn count(&mut self, done: &Waiting, revision: Revision, reply: &Reply) {
        if matches!(reply, Reply::Range(range) if range.kvs.is_empty()) {
            self.fail(|| "a key that was written is missing".into());
            return;
        }
        let micros = u64::try_from(done.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros);
        if matches!(reply, Reply::Put(_)) && self.sample.len() < SAMPLE_PER_CONNECTION {
            self.sample.push(Acknowledged { index: done.index, revision });
        }
    }

    /// Remembers why a request was not done, if it is the first.
    fn fail(&mut self, why: impl FnOnce() -> String) {
        self.first_error.get_or_insert_with(why);
    }

    /// How many requests were done.
    pub(crate) fn done(&self) -> u64 {
        self.latencies.len()
    }
}

/// Our own mistake, told instead of a panic.
pub(crate) fn broken() -> Failure {
    Failure::Bench("the bench broke a rule of its own: report it".into(), ExitCode::Unavailable)
}

/// One connection, with its share of the requests in flight.
pub(crate) struct Worker<'a> {
    plan: &'a Plan,
    index: fn(&Keys, u64) -> u64,
    waiting: HashMap<u64, Waiting>,
    command: Vec<u8>,
}

struct Waiting {
    index: u64,
    since: Instant,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(plan: &'a Plan, index: fn(&Keys, u64) -> u64) -> Self {
        let waiting = HashMap::with_capacity(plan.in_flight);
        Self { plan, index, waiting, command: Vec::new() }
    }

    /// Works until no request is left or the connection breaks; what was in flight then is not
    /// done.
    pub(crate) fn run(mut self, mut connection: Connection) -> Result<Tally, Failure> {
        let mut tally = Tally::new()?;
        if let Err(error) = self.work(&mut connection, &mut tally) {
            tally.fail(|| format!("{}: {error}", connection.address()));
        }
        Ok(tally)
    }

    fn work(
        &mut self,
        connection: &mut Connection,
        tally: &mut Tally,
    ) -> Result<(), ConnectionError> {
        let window = self.plan.in_flight.min(connection.welcome().limits.max_in_flight as usize);
        loop {
            let deadline = Deadline::after(self.plan.timeout);
            self.send(connection, window, &deadline)?;
            if self.waiting.is_empty() {
                return Ok(());
            }
            connection.flush(&deadline)?;
            self.take(connection.receive(&deadline)?, tally)?;
            // Whatever came with it is worth no wait of its own.
            while let Some(response) = connection.receive_buffered()? {
                self.take(response, tally)?;
            }
        }
    }

    /// Queues requests until the window is full or none is left.
    fn send(
        &mut self,
        connection: &mut Connection,
        window: usize,
        deadline: &Deadline,
    ) -> Result<(), ConnectionError> {
        while self.waiting.len() < window {
            let number = self.plan.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.plan.total {
                return Ok(());
            }
            let index = (self.index)(&self.plan.keys, number);
            let key = self.plan.keys.key(index);
            let since = Instant::now();
            let call = match self.plan.workload {
                Workload::Put => {
                    let value = self.plan.keys.value(index);
                    self.command.clear();
                    Command::Put(Put::new(&key, &value))
                        .encode(&mut self.command)
                        .map_err(ConnectionError::Refused)?;
                    Call::Write(&self.command)
                }
                Workload::Get => Call::Range(Range::key(key)),
            };
            let id = connection.send(call, deadline)?;
            self.waiting.insert(id, Waiting { index, since });
        }
        Ok(())
    }

    /// Counts one answer.
    fn take(&mut self, response: Response, tally: &mut Tally) -> Result<(), ConnectionError> {
        match response {
            Response::Done { id, header, reply } => {
                if let Some(done) = self.waiting.remove(&id) {
                    tally.count(&done, header.revision, &reply);
                }
                Ok(())
            }
            Response::Failed { id, error } => {
                self.waiting.remove(&id);
                tally.fail(|| error.to_string());
                Ok(())
            }
            Response::Closing { error } => Err(ConnectionError::Refused(error)),
        }
    }
}
