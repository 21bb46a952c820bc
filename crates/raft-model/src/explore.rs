//! Going through the states of a scenario, and telling what was found.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::model::{Action, ClusterModel};
use crate::rules::Rule;
use crate::state::State;

/// Where to stop, if the end is not reached before.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// After about so many states, those that are met again included.
    pub states: Option<usize>,
    /// After so much time.
    pub time: Option<Duration>,
    /// How many threads explore.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { states: None, time: None, threads: 1 }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many states were met, each as often as an action led to it.
    pub states: usize,
    /// How many of them are different.
    pub unique_states: usize,
    /// How many actions the longest way had that was gone.
    pub depth: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether every state within the bounds was looked at.
    pub is_complete: bool,
    /// What must happen sometimes, and never did.
    pub missing: Vec<&'static str>,
    /// A broken rule, and how it came to that.
    pub counterexample: Option<(Rule, String)>,
}

/// Goes through the states of `model`, depth first.
pub fn explore(mut model: ClusterModel, limits: Limits) -> Report {
    let start = Instant::now();
    // The checker's own time limit is for those that wait for work, and a single thread never does.
    model.deadline = limits.time.map(|time| start + time);
    let mut builder =
        model.checker().threads(limits.threads).finish_when(HasDiscoveries::AnyFailures);
    if let Some(states) = limits.states {
        builder = builder.target_state_count(states);
    }
    let checker = builder.spawn_dfs().join();
    let elapsed = start.elapsed();
    let mut discoveries = checker.discoveries();
    let is_missing = |property: &stateright::Property<ClusterModel>| {
        property.expectation == Expectation::Sometimes && !discoveries.contains_key(property.name)
    };
    let properties = checker.model().properties();
    let missing = properties.iter().filter(|property| is_missing(property));
    let missing = missing.map(|property| property.name).collect();
    let broken = Rule::ALL.into_iter().find(|rule| discoveries.contains_key(rule.name()));
    let counterexample = broken.and_then(|rule| {
        let path = discoveries.remove(rule.name())?;
        Some((rule, transcript(path.into_vec())))
    });
    let is_stopped = limits.states.is_some_and(|states| checker.state_count() >= states)
        || limits.time.is_some_and(|time| elapsed >= time);
    Report {
        states: checker.state_count(),
        unique_states: checker.unique_state_count(),
        depth: checker.max_depth(),
        elapsed,
        is_complete: !is_stopped && counterexample.is_none(),
        missing,
        counterexample,
    }
}

/// Each action, and the nodes that it changed.
fn transcript(path: Vec<(State, Option<Action>)>) -> String {
    let mut shown = String::new();
    let mut before: Option<State> = None;
    for (state, action) in path {
        for (at, node) in state.nodes.iter().enumerate() {
            if before.as_ref().is_none_or(|before| before.nodes[at] != *node) {
                // Writing to a string cannot fail.
                let _ = writeln!(shown, "    {node}");
            }
        }
        if let Some(action) = action {
            let _ = writeln!(shown, "{action}");
        }
        before = Some(state);
    }
    shown
}
