//! The simulator itself under test: mistakes that a driver of the core could make are planted, and
//! each must be noticed within a stated number of seeds.

use std::time::Duration;

use raft_sim::Violation;
use raft_sim::campaign::Campaign;
use raft_sim::run;
use raft_sim::scenario::{MediumKind, Overrides, Sabotage, Scenario};
use raft_sim::shrink::shrink;

fn with(sabotage: Sabotage) -> Overrides {
    Overrides {
        steps: Some(3_000),
        // A real log would object to some of them, before the oracle can.
        medium: Some(MediumKind::Memory),
        sabotage: Some(sabotage),
        ..Overrides::default()
    }
}

/// Returns the first of so many seeds by which the mistake was noticed, and how.
fn noticed(sabotage: Sabotage, seeds: u64) -> (u64, Violation) {
    let (time, overrides) = (Duration::MAX, with(sabotage));
    let summary = Campaign { from: 0, seeds, time, jobs: 1, overrides }.run(|_| {});
    match summary.failure {
        Some((seed, violation)) => {
            println!("{sabotage:?}, seed {seed}: {violation}");
            (seed, violation)
        }
        None => panic!("{sabotage:?} was not noticed in {seeds} seeds"),
    }
}

#[test]
fn an_early_acknowledgement_is_noticed() {
    noticed(Sabotage::EarlyPersisted, 10);
}

#[test]
fn a_forgotten_vote_is_noticed() {
    assert_eq!(noticed(Sabotage::ForgottenVote, 1000).1.rule, "one vote a node and term");
}

#[test]
fn a_lost_entry_is_noticed() {
    noticed(Sabotage::LostTail, 10);
}

#[test]
fn a_stale_read_is_noticed() {
    let rule = noticed(Sabotage::StaleRead, 20).1.rule;
    assert_eq!(rule, "the history of the clients is linearizable");
}

#[test]
fn an_entry_that_was_not_applied_is_noticed() {
    assert_eq!(noticed(Sabotage::SkippedEntry, 10).1.rule, "equal indexes give equal states");
}

#[test]
fn a_failing_run_is_made_simpler_and_still_breaks_the_same_rule() {
    for sabotage in [Sabotage::LostTail, Sabotage::StaleRead] {
        let (seed, violation) = noticed(sabotage, 20);
        let whole = with(sabotage);
        let shrunk = shrink(seed, &whole, 200).expect("it breaks a rule");
        assert_eq!(shrunk.violation.rule, violation.rule);
        let (before, after) =
            (Scenario::draw(seed, &whole), Scenario::draw(seed, &shrunk.overrides));
        let kinds = |scenario: &Scenario| scenario.faults.iter().count();
        assert!(kinds(&after) < kinds(&before), "{}", shrunk.overrides);
        assert!(after.nodes <= before.nodes, "{}", shrunk.overrides);
        assert!(after.steps < before.steps, "{}", shrunk.overrides);
        let again = run(&after, false).result.expect_err("the command reproduces it");
        assert_eq!(again, shrunk.violation);
        println!("{} in {} runs", shrunk.overrides, shrunk.runs);
    }
}

#[test]
fn a_run_without_a_mistake_cannot_be_shrunk() {
    let overrides = Overrides { steps: Some(200), ..Overrides::default() };
    assert!(shrink(1, &overrides, 10).is_none());
}
