//! What came of a load, as `kv-cli bench` prints it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The answers that came in the measured time.
#[derive(Debug)]
pub(super) struct Tally {
    starts: Instant,
    ends: Instant,
    /// How long each was waited for.
    micros: Vec<u32>,
    /// How many came in each second.
    by_second: Vec<u64>,
}

impl Tally {
    pub(super) fn new(starts: Instant, seconds: u64) -> Self {
        let ends = starts + Duration::from_secs(seconds);
        Self { starts, ends, micros: Vec::new(), by_second: Vec::new() }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        now >= self.ends
    }

    /// How many were counted.
    pub(super) fn done(&self) -> usize {
        self.micros.len()
    }

    /// Counts answers that came now, unless that is too early or too late.
    pub(super) fn count(&mut self, now: Instant, waited: Duration, answers: usize) {
        if now < self.starts || now >= self.ends {
            return;
        }
        let micros = u32::try_from(waited.as_micros()).unwrap_or(u32::MAX);
        self.micros.extend(std::iter::repeat_n(micros, answers));
        let second = usize::try_from((now - self.starts).as_secs()).unwrap_or(usize::MAX);
        if self.by_second.len() <= second {
            self.by_second.resize(second + 1, 0);
        }
        self.by_second[second] += answers as u64;
    }

    pub(super) fn into_json(mut self) -> Value {
        self.micros.sort_unstable();
        let done = self.micros.len();
        let at = |percent: usize| {
            let place = (done * percent / 100).min(done.saturating_sub(1));
            self.micros.get(place).copied().unwrap_or(0)
        };
        let seconds = (self.ends - self.starts).as_secs_f64();
        let ops_per_s = f64::from(u32::try_from(done).unwrap_or(u32::MAX)) / seconds;
        json!({
            "done": done, "errors": 0, "ops_per_s": ops_per_s,
            "slowest_second": self.by_second.iter().min().copied().unwrap_or(0),
            "p50_us": at(50), "p99_us": at(99), "max_us": at(100),
        })
    }
}
