//! Clusters of servers in simulation: that nothing breaks a rule, that everything worth it is
//! reached, and that mistakes are found. `cargo xtask sim --server` does more of each.

use std::time::Duration;

use raft_sim::server::campaign::{Campaign, Summary};
use raft_sim::server::{Mistake, Plan, Slip, run};

fn campaign(seeds: u64, planted: Option<Mistake>) -> Summary {
    Campaign { from: 0, seeds, time: Duration::MAX, jobs: 2, planted }.run()
}

/// The rule by which the mistake is found in one of so many seeds.
fn found(mistake: Mistake, seeds: u64) -> &'static str {
    let failure = campaign(seeds, Some(mistake)).failure;
    let (seed, violation) = failure.unwrap_or_else(|| panic!("{mistake} is not found in {seeds}"));
    println!("{mistake}, seed {seed}: {violation}");
    violation.rule
}

/// What has to be reached by a few seeds: a simulation that does not get there proves nothing.
const WANTED: [&str; 30] = [
    "answers not waited for",
    "disks filled",
    "disks slowed",
    "elections won",
    "hand-overs for room",
    "leaders whose disk stalled",
    "linearizable reads",
    "links cut",
    "log read back",
    "logs cut",
    "logs with hardly any room",
    "logs with little room",
    "logs with room again",
    "nodes with room again",
    "nodes without room",
    "power losses",
    "processes killed",
    "servers stopped",
    "slow disks noticed",
    "snapshots installed",
    "snapshots sent",
    "snapshots without room",
    "stale reads",
    "state files without room",
    "values read beside",
    "what can be done with full disks was done",
    "writes acknowledged",
    "writes overwritten",
    "writes refused for room",
    "writes unknown: leadership lost",
];

#[test]
fn no_seed_breaks_a_rule_and_everything_is_reached() {
    let summary = campaign(80, None);
    assert_eq!(summary.failure, None);
    let missing: Vec<_> = WANTED.iter().filter(|what| summary.tally.count(what) == 0).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}");
}

#[test]
fn a_seed_is_all_that_a_run_depends_on() {
    for seed in 0..8 {
        let plan = Plan::draw(seed);
        let (first, second) = (run(&plan, true), run(&plan, true));
        let differing = first.trace.iter().zip(&second.trace).find(|(one, other)| one != other);
        assert_eq!(differing, None, "seed {seed}");
        assert_eq!(first.steps, second.steps, "seed {seed}");
    }
}

fn rule_broken_by(slip: Slip, seeds: u64) -> &'static str {
    found(Mistake::Driver(slip), seeds)
}

#[test]
fn what_a_client_is_not_told_or_told_wrongly_is_noticed() {
    let rule = rule_broken_by(Slip::AnsweredUnapplied, 5);
    assert_eq!(rule, "a write is answered with what it did");
    let rule = rule_broken_by(Slip::StaleRead, 10);
    assert_eq!(rule, "the history of the clients is linearizable");
    rule_broken_by(Slip::FailureUntold, 20);
    rule_broken_by(Slip::StoppedUntold, 20);
}

#[test]
fn what_is_on_no_disk_is_noticed_when_a_node_starts() {
    let rule = "a node starts with what it has left";
    assert_eq!(rule_broken_by(Slip::StateUnsynced, 20), rule);
    assert_eq!(rule_broken_by(Slip::NamesUnsynced, 20), rule);
    assert_eq!(rule_broken_by(Slip::InstallForgotten, 20), rule);
    assert_eq!(rule_broken_by(Slip::AppliedTwice, 20), rule);
}

#[test]
fn a_node_that_does_not_hear_that_there_is_room_is_noticed() {
    rule_broken_by(Slip::RoomUnheard, 30);
    rule_broken_by(Slip::StateRoomUnheard, 30);
}
