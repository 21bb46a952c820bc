//! The simulator itself under test: mistakes that a driver of the core could make are planted, and
//! each must be noticed within a stated number of seeds.

use raft_sim::run;
use raft_sim::scenario::{MediumKind, Overrides, Sabotage, Scenario};

/// Returns the rule by which the mistake was noticed, within so many seeds.
fn noticed(sabotage: Sabotage, seeds: u64) -> &'static str {
    // A real log would object to some of them, before the oracle can.
    let medium = Some(MediumKind::Memory);
    let overrides = Overrides { steps: Some(3_000), medium, ..Overrides::default() };
    for seed in 0..seeds {
        let mut scenario = Scenario::draw(seed, &overrides);
        scenario.sabotage = Some(sabotage);
        if let Err(violation) = run(&scenario, false).result {
            println!("{sabotage:?}, seed {seed}: {violation}");
            return violation.rule;
        }
    }
    panic!("{sabotage:?} was not noticed in {seeds} seeds");
}

#[test]
fn an_early_acknowledgement_is_noticed() {
    noticed(Sabotage::EarlyPersisted, 10);
}

#[test]
fn a_forgotten_vote_is_noticed() {
    assert_eq!(noticed(Sabotage::ForgottenVote, 100), "one vote a node and term");
}

#[test]
fn a_lost_entry_is_noticed() {
    noticed(Sabotage::LostTail, 10);
}

#[test]
fn a_stale_read_is_noticed() {
    let rule = noticed(Sabotage::StaleRead, 10);
    assert_eq!(rule, "the history of the clients is linearizable");
}

#[test]
fn an_entry_that_was_not_applied_is_noticed() {
    assert_eq!(noticed(Sabotage::SkippedEntry, 10), "equal indexes give equal states");
}
