//! [`run`]: one scenario from beginning to end, and what came of it.

use crate::coverage::Coverage;
use crate::scenario::Scenario;
use crate::violation::{Violation, catch_panics};
use crate::world::World;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The rule that was broken, if one was.
    pub result: Result<(), Violation>,
    /// How many events happened.
    pub steps: u64,
    /// How many operations the clients asked for.
    pub operations: usize,
    /// What was reached.
    pub coverage: Coverage,
    /// What happened, line by line, if that was wanted.
    pub trace: Vec<String>,
}

/// Runs a scenario.
pub fn run(scenario: &Scenario, is_traced: bool) -> Report {
    let mut world = World::new(scenario, is_traced);
    let result = catch_panics(|| world.run());
    Report {
        result,
        steps: world.steps,
        operations: world.clients.asked(),
        coverage: world.coverage,
        trace: world.trace.into_lines(),
    }
}
