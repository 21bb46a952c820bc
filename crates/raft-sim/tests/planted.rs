//! The simulator itself under test: mistakes are planted, and each must be found within a stated
//! number of seeds. `cargo xtask sim --planted` takes as long as it needs to find all of them.

use std::time::Duration;

use raft_sim::Violation;
use raft_sim::campaign::Campaign;
use raft_sim::planted::{Blunder, Mistake};
use raft_sim::run;
use raft_sim::scenario::{Overrides, Scenario};
use raft_sim::shrink::shrink;

/// As many seeds, and runs as short, as there is time for in a test that always runs.
fn campaign(seeds: u64) -> Campaign {
    let overrides = Overrides { steps: Some(3_000), ..Overrides::default() };
    Campaign { from: 0, seeds, time: Duration::MAX, jobs: 1, overrides }
}

/// Returns the first of so many seeds by which the mistake was found, and how.
fn found(mistake: Mistake, seeds: u64) -> (u64, Violation) {
    let summary = campaign(seeds).hunting(mistake).run(|_| {});
    match summary.failure {
        Some((seed, violation)) => {
            println!("{mistake}, seed {seed}: {violation}");
            (seed, violation)
        }
        None => panic!("{mistake} was not found in {seeds} seeds"),
    }
}

fn rule_broken_by(blunder: Blunder, seeds: u64) -> &'static str {
    found(Mistake::Driver(blunder), seeds).1.rule
}

#[test]
fn what_is_told_too_early_is_noticed() {
    rule_broken_by(Blunder::EarlyPersisted, 20);
    rule_broken_by(Blunder::IgnoredSyncError, 20);
    rule_broken_by(Blunder::NoFileSync, 20);
}

#[test]
fn what_is_forgotten_is_noticed() {
    rule_broken_by(Blunder::LostTail, 50);
    rule_broken_by(Blunder::Amnesia, 50);
}

#[test]
fn a_stale_read_is_noticed() {
    let rule = rule_broken_by(Blunder::StaleRead, 20);
    assert_eq!(rule, "the history of the clients is linearizable");
}

#[test]
fn another_state_than_that_of_others_is_noticed() {
    let rule = "equal indexes give equal states";
    assert_eq!(rule_broken_by(Blunder::SkippedEntry, 10), rule);
    assert_eq!(rule_broken_by(Blunder::AppliedTwice, 50), rule);
}

/// What takes more seeds than there is time for here: `cargo xtask sim --planted` does find it.
#[cfg(feature = "planted-bugs")]
const RARE: [&str; 29] = [
    "applied-while-installing",
    "campaign-while-bound",
    "cut-unsaved",
    "disloyal-voter",
    "forgotten-starts",
    "forgotten-vote",
    "lease-after-transfer",
    "lease-by-latest-round",
    "lease-by-longest",
    "lease-from-answer",
    "lease-from-anything",
    "lease-without-drift",
    "lease-without-vote",
    "loss-forgotten",
    "no-check-quorum",
    "old-snapshot-installed",
    "old-term-commit",
    "pre-vote-raises-term",
    "question-reused",
    "read-by-old-round",
    "read-unproven",
    "recovered-by-old-answer",
    "recovering-commits",
    "repair-told-last",
    "stale-takeover",
    "torn-write-kept",
    "truncated-without-conflict",
    "unknown-overwritten",
    "vote-by-index",
];

#[cfg(feature = "planted-bugs")]
#[test]
fn every_mistake_that_is_not_rare_is_noticed() {
    let names: Vec<_> = Mistake::all().iter().map(ToString::to_string).collect();
    assert!(RARE.iter().all(|rare| names.iter().any(|name| name == rare)), "{names:?}");
    for mistake in Mistake::all() {
        if !RARE.contains(&mistake.to_string().as_str()) {
            found(mistake, 250);
        }
    }
}

#[test]
fn a_failing_run_is_made_simpler_and_still_breaks_the_same_rule() {
    for blunder in [Blunder::LostTail, Blunder::StaleRead] {
        let mistake = Mistake::Driver(blunder);
        let (seed, violation) = found(mistake, 50);
        let whole = campaign(1).hunting(mistake).overrides;
        let shrunk = shrink(seed, &whole, 200).expect("it breaks a rule");
        assert_eq!(shrunk.violation.rule, violation.rule);
        let (before, after) =
            (Scenario::draw(seed, &whole), Scenario::draw(seed, &shrunk.overrides));
        let kinds = |scenario: &Scenario| scenario.faults.iter().count();
        assert!(kinds(&after) < kinds(&before), "{}", shrunk.overrides);
        assert!(after.seats() <= before.seats(), "{}", shrunk.overrides);
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
