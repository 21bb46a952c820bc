//! A bounded number of seeds, as one of the tests that always run. `cargo xtask sim` runs as many
//! as there is time for.

use raft_sim::coverage::{Coverage, Mark};
use raft_sim::run;
use raft_sim::scenario::{MediumKind, Overrides, Scenario};

const SEEDS: u64 = 500;

/// A real log takes longer, and is one of five otherwise.
const SEEDS_ON_DISKS: u64 = 100;

/// Shorter than a run of `cargo xtask sim`: in as many steps, more seeds reach more.
const STEPS: u64 = 2_000;

#[test]
fn a_few_hundred_seeds_break_no_rule_and_reach_every_mark() {
    let as_drawn = Overrides { steps: Some(STEPS), ..Overrides::default() };
    let on_disks = Overrides { medium: Some(MediumKind::Disk), ..as_drawn.clone() };
    let mut coverage = Coverage::default();
    for (seeds, overrides) in [(SEEDS, as_drawn), (SEEDS_ON_DISKS, on_disks)] {
        for seed in 0..seeds {
            let report = run(&Scenario::draw(seed, &overrides), false);
            if let Err(violation) = report.result {
                panic!("cargo xtask sim --seed {seed}{overrides} breaks a rule: {violation}");
            }
            coverage.add(&report.coverage);
        }
    }
    println!("{coverage}");
    let missing: Vec<_> = coverage.missing().map(Mark::name).collect();
    assert_eq!(missing, [""; 0], "these were never reached");
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    let overrides = Overrides { steps: Some(STEPS), ..Overrides::default() };
    for seed in 0..20 {
        let scenario = Scenario::draw(seed, &overrides);
        let (first, second) = (run(&scenario, true), run(&scenario, true));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.coverage, run(&scenario, false).coverage, "seed {seed} without a trace");
    }
}
