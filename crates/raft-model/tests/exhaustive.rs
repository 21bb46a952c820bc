//! Every state of small clusters, within bounds that a test has time for. The same with wider ones:
//! `cargo xtask model`, and what it found is in `docs/testing.md`.

use raft_model::{ClusterModel, Limits, Scenario, explore};

fn scenario(name: &str) -> Scenario {
    Scenario::named(name).expect("a scenario of this name")
}

/// The same, with nobody losing power.
fn without_crashes(mut scenario: Scenario) -> Scenario {
    scenario.budget.crashes = 0;
    scenario
}

/// Every state is as it should be, and what should happen somewhere does.
fn check(scenario: Scenario) {
    let name = scenario.name;
    let report = explore(ClusterModel::new(scenario), Limits::default());
    if let Some((rule, transcript)) = &report.counterexample {
        panic!("{name}: this does not hold: {}\n{transcript}", rule.name());
    }
    assert!(report.is_complete && report.missing.is_empty(), "{name}: {report:?}");
    println!("{name}: {} states, met {} times", report.unique_states, report.states);
}

#[test]
fn three_nodes_elect_leaders() {
    check(without_crashes(scenario("elections")));
}

#[test]
fn a_leader_of_three_replicates_and_one_of_them_crashes() {
    check(scenario("replication"));
}

/// A state and its mirror image are two at most: what symmetry leaves out has its image among the
/// rest, unless it leaves out too much.
#[test]
fn symmetry_leaves_out_nothing_but_mirror_images() {
    let alike = scenario("replication");
    let told_apart = Scenario { alike: 0..0, ..alike.clone() };
    let [some, all] = [alike, told_apart].map(|scenario| {
        let report = explore(ClusterModel::new(scenario), Limits::default());
        assert!(report.is_complete && report.missing.is_empty(), "{report:?}");
        report.unique_states
    });
    assert!(some < all && all <= 2 * some, "{some} of {all}");
}

#[test]
fn disks_take_their_time() {
    check(without_crashes(scenario("disks")));
}

#[test]
fn an_append_carries_one_entry() {
    let mut scenario = scenario("replication");
    scenario.has_small_appends = true;
    scenario.budget.proposals = 2;
    check(without_crashes(scenario));
}

#[test]
fn a_damaged_log_is_made_whole() {
    check(scenario("recovery"));
}

#[test]
fn a_message_arrives_twice() {
    let mut scenario = scenario("replication");
    scenario.budget.repeats = 1;
    check(without_crashes(scenario));
}

#[test]
fn a_heartbeat_falls_due() {
    let mut scenario = scenario("replication");
    scenario.budget.heartbeats = 1;
    check(without_crashes(scenario));
}

#[test]
fn a_leader_steps_down_and_a_node_crashes() {
    let mut scenario = scenario("replication");
    scenario.budget.step_downs = 1;
    check(scenario);
}

#[test]
fn a_voter_is_removed() {
    check(without_crashes(scenario("remove")));
}

#[test]
fn the_leader_is_removed() {
    check(without_crashes(scenario("leave")));
}

#[test]
fn two_nodes_become_three() {
    let mut scenario = scenario("grow");
    scenario.budget.proposals = 0;
    check(without_crashes(scenario));
}

#[test]
fn one_of_two_nodes_gives_its_vote_to_a_third() {
    let mut scenario = scenario("swap");
    (scenario.budget.proposals, scenario.budget.step_downs) = (0, 1);
    check(without_crashes(scenario));
}
