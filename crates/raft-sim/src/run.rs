//! [`run`]: one scenario from beginning to end, and what came of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::coverage::Coverage;
use crate::scenario::Scenario;
use crate::violation::Violation;
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

/// Runs a scenario. A panic in what is tested is a broken rule like any other.
pub fn run(scenario: &Scenario, is_traced: bool) -> Report {
    let mut world = World::new(scenario, is_traced);
    let result = catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let detail = text.unwrap_or("it does not say why").to_owned();
        Err(Violation { rule: "nothing panics", detail })
    });
    Report {
        result,
        steps: world.steps,
        operations: world.clients.asked(),
        coverage: world.coverage,
        trace: world.trace.into_lines(),
    }
}
