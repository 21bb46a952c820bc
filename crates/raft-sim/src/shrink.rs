//! [`shrink`]: the simplest run that breaks the same rule.
//!
//! A seed is never changed: only what it draws is overridden, so that the result can be given on a
//! command line. Each fault, each client operation, each node and each event that turns out not to
//! matter is left out.

use crate::run::{Report, run};
use crate::scenario::{MediumKind, Overrides, Scenario};
use crate::violation::Violation;

/// What is left of a failing run.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What makes it as simple as this.
    pub overrides: Overrides,
    /// The rule it breaks, as before.
    pub violation: Violation,
    /// How many runs it took to find it.
    pub runs: u32,
}

/// Makes a failing run simpler for as long as it breaks the same rule, in at most `max_runs` runs.
/// None if it breaks no rule to begin with.
pub fn shrink(seed: u64, overrides: &Overrides, max_runs: u32) -> Option<Shrunk> {
    let mut best = overrides.clone();
    let mut scenario = Scenario::draw(seed, &best);
    let mut report = run(&scenario, false);
    let rule = report.result.as_ref().err()?.rule;
    let mut runs = 1;
    let mut candidates = simpler(&scenario, &best, &report).into_iter();
    while let Some(candidate) = candidates.next().filter(|_| runs < max_runs) {
        let simpler_scenario = Scenario::draw(seed, &candidate);
        let simpler_report = run(&simpler_scenario, false);
        runs += 1;
        let is_same = simpler_report.result.as_ref().is_err_and(|found| found.rule == rule);
        if is_same {
            (best, scenario, report) = (candidate, simpler_scenario, simpler_report);
            candidates = simpler(&scenario, &best, &report).into_iter();
        }
    }
    let violation = report.result.err()?;
    Some(Shrunk { overrides: best, violation, runs })
}

/// Runs that are a little simpler than this one, the boldest steps first.
fn simpler(scenario: &Scenario, overrides: &Overrides, report: &Report) -> Vec<Overrides> {
    let like = |change: &dyn Fn(&mut Overrides)| {
        let mut simpler = overrides.clone();
        change(&mut simpler);
        simpler
    };
    let mut candidates = Vec::new();
    // What comes after the failure does not matter.
    if report.steps < scenario.steps {
        candidates.push(like(&|it| it.steps = Some(report.steps)));
    }
    if report.operations < scenario.operations {
        candidates.push(like(&|it| it.operations = Some(report.operations)));
    }
    for nodes in [1, 3].into_iter().filter(|nodes| *nodes < scenario.nodes) {
        candidates.push(like(&|it| it.nodes = Some(nodes)));
    }
    if scenario.medium != MediumKind::Memory {
        candidates.push(like(&|it| it.medium = Some(MediumKind::Memory)));
    }
    if !overrides.is_roomy {
        candidates.push(like(&|it| it.is_roomy = true));
    }
    for fault in scenario.faults.iter() {
        candidates.push(like(&|it| it.faults = Some(scenario.faults.without(fault))));
    }
    for operations in fewer(report.operations as u64) {
        let operations = usize::try_from(operations).unwrap_or(0);
        candidates.push(like(&|it| it.operations = Some(operations)));
    }
    for steps in fewer(scenario.steps) {
        candidates.push(like(&|it| it.steps = Some(steps)));
    }
    candidates
}

/// None, half as many, and then ever closer to `count`.
fn fewer(count: u64) -> impl Iterator<Item = u64> {
    let parts = [0, count / 2, count - count / 4, count - count / 10, count.saturating_sub(1)];
    parts.into_iter().filter(move |fewer| *fewer < count)
}
