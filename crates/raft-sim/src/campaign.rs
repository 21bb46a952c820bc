//! [`Campaign`]: many seeds, on as many threads as there are cores.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::coverage::Coverage;
use crate::planted::Mistake;
use crate::run::run;
use crate::scenario::{Overrides, Scenario};
use crate::violation::Violation;

/// Which seeds to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The first one.
    pub from: u64,
    /// How many at most.
    pub seeds: u64,
    /// No run begins after so long.
    pub time: Duration,
    /// On so many threads; at least one.
    pub jobs: usize,
    /// What is to be otherwise than drawn, in all of them.
    pub overrides: Overrides,
}

/// What came of the runs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many there were.
    pub runs: u64,
    /// How many events happened in them.
    pub steps: u64,
    /// What they reached.
    pub coverage: Coverage,
    /// The lowest seed that broke a rule. No more runs are begun once there is one.
    pub failure: Option<(u64, Violation)>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Campaign {
    /// Runs until a rule is broken, the seeds are used up or the time is over. `on_run` is called
    /// after each run, on its thread, with how many there were.
    pub fn run(&self, on_run: impl Fn(u64) + Sync) -> Summary {
        let begin = Instant::now();
        let seeds = self.from..self.from.saturating_add(self.seeds);
        let summary = Mutex::new(Summary::default());
        for_each_seed(seeds, self.time, self.jobs, |seed| {
            let report = run(&Scenario::draw(seed, &self.overrides), false);
            let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
            summary.runs += 1;
            summary.steps += report.steps;
            summary.coverage.add(&report.coverage);
            let is_right = report.result.is_ok();
            if let Err(violation) = report.result {
                summary.fail(seed, violation);
            }
            let runs = summary.runs;
            drop(summary);
            on_run(runs);
            is_right
        });
        let summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
        Summary { elapsed: begin.elapsed(), ..summary }
    }
}

impl Campaign {
    /// The same, looking for a mistake.
    #[must_use]
    pub fn hunting(&self, mistake: Mistake) -> Self {
        let overrides = self.overrides.clone();
        let medium = overrides.medium.or(mistake.medium());
        Self { overrides: Overrides { medium, planted: Some(mistake), ..overrides }, ..*self }
    }
}

/// Has `is_right` look at one seed after the other, on so many threads, until it finds one that is
/// not, or the time is over. What was begun is brought to its end.
pub(crate) fn for_each_seed(
    seeds: Range<u64>,
    time: Duration,
    jobs: usize,
    is_right: impl Fn(u64) -> bool + Sync,
) {
    let begin = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let work = || {
        while begin.elapsed() < time {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            if !is_right(seed) {
                next.store(seeds.end, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
}

impl Summary {
    fn fail(&mut self, seed: u64, violation: Violation) {
        if self.failure.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
            self.failure = Some((seed, violation));
        }
    }
}
