//! [`Campaign`]: many seeds of servers, on as many threads as there are cores.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Mistake, Plan, Tally, run};
use crate::campaign::for_each_seed;
use crate::violation::Violation;

/// Which seeds to run.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// The first one.
    pub from: u64,
    /// How many at most.
    pub seeds: u64,
    /// No run begins after so long.
    pub time: Duration,
    /// On so many threads; at least one.
    pub jobs: usize,
    /// A mistake that is made in all of them.
    pub planted: Option<Mistake>,
}

/// What came of the runs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many there were.
    pub runs: u64,
    /// How much happened in them.
    pub steps: u64,
    /// How many requests there were.
    pub requests: u64,
    /// What they reached.
    pub tally: Tally,
    /// The lowest seed that broke a rule. No more runs are begun once there is one.
    pub failure: Option<(u64, Violation)>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Campaign {
    /// Runs until a rule is broken, the seeds are used up or the time is over.
    pub fn run(&self) -> Summary {
        let begin = Instant::now();
        let seeds = self.from..self.from.saturating_add(self.seeds);
        let summary = Mutex::new(Summary::default());
        for_each_seed(seeds, self.time, self.jobs, |seed| {
            let plan = Plan { planted: self.planted, ..Plan::draw(seed) };
            let report = run(&plan, false);
            let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
            summary.runs += 1;
            summary.steps += report.steps;
            summary.requests += report.requests as u64;
            summary.tally.add(&report.tally);
            let is_right = report.result.is_ok();
            if let Err(violation) = report.result
                && summary.failure.as_ref().is_none_or(|(lowest, _)| seed < *lowest)
            {
                summary.failure = Some((seed, violation));
            }
            is_right
        });
        let summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
        Summary { elapsed: begin.elapsed(), ..summary }
    }
}
