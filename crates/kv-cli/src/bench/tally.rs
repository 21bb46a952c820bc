//! What came of a part of a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use kv_client::kv_proto::{ExitCode, Revision};

use crate::failure::Failure;

/// Latencies are kept to three digits, up to ten minutes, in microseconds.
const MAX_MICROS: u64 = 600_000_000;
const DIGITS: u8 = 3;

/// So many reasons for errors are told apart.
const MAX_REASONS: usize = 8;

/// What came of a part of a run.
pub(crate) struct Tally {
    /// Of every request that was done, in microseconds.
    pub(crate) latencies: Histogram<u64>,
    /// How many were done in each second of what was measured.
    pub(crate) seconds: Vec<u64>,
    /// The slowest of those that were done in each tenth of a second, in microseconds.
    pub(crate) slowest: Vec<u64>,
    /// Why requests were not done, and how many.
    pub(crate) errors: BTreeMap<String, u64>,
    /// How many of those are writes of which nobody knows whether they were done.
    pub(crate) unknown_writes: u64,
    /// The highest revision of an acknowledged write of each key; empty if nothing is written.
    pub(crate) acknowledged: Vec<Revision>,
    /// How many connections took the place of lost ones.
    pub(crate) reconnects: u64,
    /// When the last answer came.
    pub(crate) ended: Option<Instant>,
}

impl Tally {
    /// An empty one, for a run that writes so many keys.
    pub(crate) fn new(keys_written: u64) -> Result<Self, Failure> {
        let keys = usize::try_from(keys_written).map_err(|_| broken())?;
        Ok(Self {
            latencies: Histogram::new_with_bounds(1, MAX_MICROS, DIGITS).map_err(|_| broken())?,
            seconds: Vec::new(),
            slowest: Vec::new(),
            errors: BTreeMap::new(),
            unknown_writes: 0,
            acknowledged: vec![Revision::ZERO; keys],
            reconnects: 0,
            ended: None,
        })
    }

    /// Adds what came of another part.
    pub(crate) fn add(&mut self, other: Self) -> Result<(), Failure> {
        self.latencies.add(&other.latencies).map_err(|_| broken())?;
        join(&mut self.seconds, other.seconds, |done, more| done + more);
        join(&mut self.slowest, other.slowest, u64::max);
        for (why, times) in other.errors {
            self.count_errors(why, times);
        }
        self.unknown_writes += other.unknown_writes;
        for (revision, other) in self.acknowledged.iter_mut().zip(other.acknowledged) {
            *revision = other.max(*revision);
        }
        self.reconnects += other.reconnects;
        self.ended = self.ended.max(other.ended);
        Ok(())
    }

    /// Counts a request that was done, due so long ago, in a run measured for so long.
    pub(crate) fn count(&mut self, latency: Duration, into_the_run: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        self.latencies.saturating_record(micros);
        *at(&mut self.seconds, into_the_run.as_millis() / 1000) += 1;
        let slowest = at(&mut self.slowest, into_the_run.as_millis() / 100);
        *slowest = micros.max(*slowest);
    }

    /// Remembers that this write is there for good.
    pub(crate) fn acknowledge(&mut self, key: u64, revision: Revision) {
        let place = usize::try_from(key).ok().and_then(|key| self.acknowledged.get_mut(key));
        if let Some(known) = place {
            *known = revision.max(*known);
        }
    }

    /// Counts so many requests that were not done.
    pub(crate) fn count_errors(&mut self, why: String, times: u64) {
        let is_new = !self.errors.contains_key(&why);
        let why = if is_new && self.errors.len() >= MAX_REASONS { "other".into() } else { why };
        *self.errors.entry(why).or_insert(0) += times;
    }

    /// How many requests were done.
    pub(crate) fn done(&self) -> u64 {
        self.latencies.len()
    }

    /// How many were not.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Puts together what there is of each stretch of time.
fn join(places: &mut Vec<u64>, others: Vec<u64>, both: impl Fn(u64, u64) -> u64) {
    places.resize(places.len().max(others.len()), 0);
    for (place, other) in places.iter_mut().zip(others) {
        *place = both(*place, other);
    }
}

/// The place of a stretch of time, which is made if it is not there yet.
fn at(places: &mut Vec<u64>, place: u128) -> &mut u64 {
    let place = usize::try_from(place).unwrap_or(usize::MAX);
    if places.len() <= place {
        places.resize(place + 1, 0);
    }
    &mut places[place]
}

/// Our own mistake, told instead of a panic.
pub(crate) fn broken() -> Failure {
    Failure::Bench("the bench broke a rule of its own: report it".into(), ExitCode::Unavailable)
}
