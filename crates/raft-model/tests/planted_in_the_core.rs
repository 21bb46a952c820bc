//! A mistake in the core itself: `cargo test -p raft-model --features planted-bugs`.

use raft_core::planted::Bug;
use raft_model::{ClusterModel, Limits, Rule, Scenario, explore};

/// Figure 8 of the paper, found by nobody who knew it. Three more terms are enough for it: one
/// whose leader is cut off, one that commits by counting, and one that overwrites. (As long as an
/// append carries all entries there are, an old one never gets counted without a new one.)
#[test]
fn an_entry_of_an_earlier_term_that_is_committed_by_counting_is_lost() {
    let mut scenario = Scenario::named("replication").expect("a scenario of this name");
    scenario.max_term = 4;
    scenario.has_small_appends = true;
    scenario.budget.crashes = 0;
    let model = ClusterModel::with(scenario, None, vec![Rule::LeadersAreComplete]);
    let limits = Limits { states: Some(20_000_000), ..Limits::default() };
    let report = explore(model.with_bug(Bug::OldTermCommit), limits);
    println!("{} states, met {} times", report.unique_states, report.states);
    let (rule, transcript) = report.counterexample.expect("it is found");
    assert_eq!(rule, Rule::LeadersAreComplete);
    println!("{transcript}");
}
