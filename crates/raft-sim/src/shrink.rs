//! [`shrink`]: the simplest run that breaks the same rule.
//!
//! A seed is never changed: only what it draws is overridden, so that the result can be given on a
//! command line. Each fault, each client operation, each node and each event that turns out not to
//! matter is left out.

use crate::faults::{Fault, Faults};
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
    let mut best = Failing::of(seed, overrides.clone())?;
    let mut runs = 1;
    loop {
        let before = best.overrides.clone();
        for cut in cuts(&best) {
            let Some(simpler) = cut.of(&best).filter(|_| runs < max_runs) else { continue };
            runs += 1;
            let failing = Failing::of(seed, simpler);
            best = failing.filter(|it| it.violation.rule == best.violation.rule).unwrap_or(best);
        }
        if best.overrides == before || runs >= max_runs {
            let Failing { overrides, violation, .. } = best;
            return Some(Shrunk { overrides, violation, runs });
        }
    }
}

/// A run that breaks a rule.
struct Failing {
    overrides: Overrides,
    scenario: Scenario,
    report: Report,
    violation: Violation,
}

impl Failing {
    fn of(seed: u64, overrides: Overrides) -> Option<Self> {
        let scenario = Scenario::draw(seed, &overrides);
        let report = run(&scenario, false);
        let violation = report.result.clone().err()?;
        Some(Self { overrides, scenario, report, violation })
    }
}

/// Something that may be left out.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// What comes after so many events.
    Steps(u64),
    /// All operations after so many.
    Operations(usize),
    /// All founders but so many.
    Nodes(usize),
    /// All nodes that join but so many.
    Spares(usize),
    Disk,
    Limits,
    /// All faults but these.
    Faults(Faults),
    Fault(Fault),
}

/// What may be left out, the boldest cuts first. Of the numbers, the smallest that still fails is
/// found in a few rounds.
fn cuts(failing: &Failing) -> Vec<Cut> {
    let Failing { scenario, report, .. } = failing;
    let mut cuts = vec![Cut::Steps(report.steps), Cut::Operations(report.operations)];
    cuts.extend([1, 2, 3].map(Cut::Nodes));
    cuts.extend([0, 1].map(Cut::Spares));
    cuts.extend([Cut::Disk, Cut::Limits]);
    let singles = scenario.faults.iter().map(|fault| Faults::NONE.with(fault));
    cuts.extend([Faults::NONE].into_iter().chain(singles).map(Cut::Faults));
    cuts.extend(scenario.faults.iter().map(Cut::Fault));
    let operations = report.operations;
    cuts.extend([0, operations / 2, operations - operations / 4].map(Cut::Operations));
    cuts.extend([operations - operations / 10, operations.saturating_sub(1)].map(Cut::Operations));
    let steps = scenario.steps.min(report.steps);
    cuts.extend([0, steps / 2, steps - steps / 4, steps - steps / 10].map(Cut::Steps));
    cuts
}

impl Cut {
    /// The same run without this; none if there is no such thing in it any more.
    fn of(self, failing: &Failing) -> Option<Overrides> {
        let Failing { scenario, overrides, .. } = failing;
        let mut simpler = overrides.clone();
        let is_less = match self {
            Self::Steps(steps) => {
                simpler.steps = Some(steps);
                steps < scenario.steps
            }
            Self::Operations(operations) => {
                simpler.operations = Some(operations);
                operations < scenario.operations
            }
            Self::Nodes(nodes) => {
                simpler.nodes = Some(nodes);
                nodes < scenario.nodes
            }
            Self::Spares(spares) => {
                simpler.spares = Some(spares);
                spares < scenario.spares
            }
            Self::Disk => {
                simpler.medium = Some(MediumKind::Memory);
                scenario.medium != MediumKind::Memory
            }
            Self::Limits => {
                simpler.is_roomy = true;
                !overrides.is_roomy
            }
            Self::Faults(faults) => {
                simpler.faults = Some(faults);
                faults.iter().count() < scenario.faults.iter().count()
            }
            Self::Fault(fault) => {
                simpler.faults = Some(scenario.faults.without(fault));
                scenario.faults.has(fault)
            }
        };
        is_less.then_some(simpler)
    }
}
