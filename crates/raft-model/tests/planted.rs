//! Mistakes of a driver, and what the checker finds that they lead to: not the mistake itself, but
//! the harm that it does to the cluster.

use raft_model::{ClusterModel, Limits, Mischief, Rule, Scenario, explore};

fn scenario(name: &str) -> Scenario {
    Scenario::named(name).expect("a scenario of this name")
}

/// With an eye on this rule alone, a course of events is found that breaks it; and without the
/// mistake, there is none among as many states.
fn finds(mischief: Mischief, rule: Rule, scenario: &Scenario) {
    let model = |mischief| ClusterModel::with(scenario.clone(), mischief, vec![rule]);
    let limits = Limits { states: Some(1_000_000), ..Limits::default() };
    let report = explore(model(Some(mischief)), limits);
    let Some((broken, transcript)) = report.counterexample else {
        panic!("{mischief:?}: nothing found in {} states", report.unique_states);
    };
    assert_eq!(broken, rule);
    assert!(transcript.lines().count() > 3, "{transcript}");
    println!("{mischief:?}: found after {} states", report.unique_states);
    let limits = Limits { states: Some(report.states.max(1)), ..limits };
    assert!(explore(model(None), limits).counterexample.is_none());
}

#[test]
fn a_vote_that_is_forgotten_makes_two_leaders_of_one_term() {
    finds(Mischief::ForgetsTheVote, Rule::OneLeaderATerm, &scenario("elections"));
}

#[test]
fn a_write_reported_before_the_sync_loses_what_was_committed() {
    finds(Mischief::AnswersBeforeTheSync, Rule::LeadersAreComplete, &scenario("disks"));
}

#[test]
fn a_tail_that_is_cut_off_loses_what_was_committed() {
    finds(Mischief::CutsTheTail, Rule::LeadersAreComplete, &scenario("replication"));
}

#[test]
fn entries_acknowledged_on_receipt_are_committed_and_lost() {
    finds(Mischief::AcknowledgesOnReceipt, Rule::LeadersAreComplete, &scenario("replication"));
}

#[test]
fn replaced_entries_that_are_kept_come_back() {
    let mut scenario = scenario("replication");
    scenario.budget.proposals = 2;
    finds(Mischief::KeepsReplacedEntries, Rule::NodesStartAgain, &scenario);
}
