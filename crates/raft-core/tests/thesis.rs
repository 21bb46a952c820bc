//! Sections of the thesis ("Consensus: Bridging Theory and Practice") and of the paper that are not
//! told elsewhere: chapter 3 where it goes beyond the paper, availability (§4.2.4), compaction
//! (paper §7) and clients (chapter 6). `docs/scenarios.md` has all sections and where they are.

use std::time::Duration;

use raft_core::{Config, ConfigChange, NodeId, Outcome, Payload, ReadMode, Rejection, RoleKind};

use crate::cluster::{Cluster, n, replace};

const HEARTBEAT: Duration = Duration::from_millis(50);
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(300);
const SECOND: Duration = Duration::from_secs(1);

/// The commands that a node has applied, in order.
fn applied(cluster: &Cluster, id: NodeId) -> Vec<String> {
    let command = |payload: &Payload| match payload {
        Payload::Command(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Payload::Noop | Payload::Config(_) => None,
    };
    cluster.nodes[&id].applied.iter().filter_map(|entry| command(&entry.payload)).collect()
}

#[test]
fn thesis_3_3_terms_grow_and_each_has_one_leader_or_none() {
    let mut cluster = Cluster::new(3);
    for round in 0..12 {
        cluster.elect(n(1 + round % 3));
    }
    let terms: Vec<_> = cluster.witness.leaders().keys().copied().collect();
    assert!(terms.len() >= 12 && terms.is_sorted(), "the witness knows of no second leader");
    for id in [1, 2, 3].map(n) {
        assert_eq!(Some(&cluster.status(id).term), terms.last(), "everybody comes along");
    }
}

#[test]
fn thesis_3_4_a_candidate_that_loses_to_nobody_tries_again() {
    let mut cluster = Cluster::new(4);
    cluster.settle();
    // Two ask at once, and each gets one vote beside its own: nobody wins.
    for id in [1, 2] {
        cluster.time_out(n(id));
    }
    cluster.cut_between(&[1, 3], &[2, 4]);
    cluster.settle();
    assert_eq!(cluster.leader(), None);
    cluster.heal();
    cluster.run(4 * ELECTION_TIMEOUT_MAX);
    assert!(cluster.leader().is_some(), "the timeouts are drawn anew");
}

#[test]
fn thesis_3_5_logs_that_agree_at_one_place_agree_before_it() {
    let mut cluster = Cluster::new(3);
    // Each leads alone for a while, and leaves entries that nobody else has.
    for id in [1, 2, 3].map(n) {
        cluster.elect(id);
        cluster.isolate(id);
        cluster.propose(id, &[&format!("only on {id}")]);
        cluster.settle();
        cluster.now = cluster.now + 2 * ELECTION_TIMEOUT_MAX;
        cluster.wake_due();
        cluster.heal();
    }
    cluster.run(2 * SECOND);
    // The witness looked at every position on the way. In the end there is one log.
    let logs = [1, 2, 3].map(|id| cluster.terms(n(id)));
    assert!(logs.iter().all(|log| *log == logs[0]), "{logs:?}");
}

#[test]
fn thesis_3_6_1_a_candidate_without_all_committed_entries_cannot_win() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.isolate(n(3));
    cluster.propose(n(1), &["x"]);
    cluster.settle();
    cluster.heal();
    cluster.crash(n(1), 0);
    cluster.now = cluster.now + ELECTION_TIMEOUT_MAX;
    for _ in 0..5 {
        cluster.time_out(n(3));
        cluster.settle();
        assert_ne!(cluster.status(n(3)).role, RoleKind::Leader, "it lacks x");
    }
    cluster.run(SECOND);
    assert_eq!(cluster.leader(), Some(n(2)));
}

#[test]
fn thesis_3_6_2_entries_of_earlier_terms_are_committed_by_one_of_the_leaders_own() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["x"]);
    cluster.deliver_kind("Append");
    cluster.persist_everywhere();
    // Everybody has x, and nobody knows that it is committed, when n1 dies.
    cluster.crash(n(1), 0);
    cluster.network.lose_all_to(n(2));
    cluster.run(SECOND);
    let leader = cluster.leader().expect("two of three");
    assert_eq!(applied(&cluster, leader), ["x"], "without any other command being proposed");
}

#[test]
fn thesis_3_6_3_whoever_leads_later_has_what_was_committed() {
    for dead in [1, 2, 3].map(n) {
        let mut cluster = Cluster::new(3);
        cluster.elect(n(1));
        cluster.propose(n(1), &["x", "y"]);
        cluster.settle();
        cluster.crash(dead, 0);
        cluster.run(2 * SECOND);
        let leader = cluster.leader().expect("two of three");
        assert_eq!(applied(&cluster, leader), ["x", "y"]);
    }
}

#[test]
fn thesis_3_7_requests_that_come_twice_do_what_they_do_once() {
    let mut cluster = Cluster::new(3);
    cluster.time_out(n(1));
    let mut is_proposed = false;
    for _ in 0..30 {
        for link in cluster.network.busy_links() {
            for at in 0..cluster.network.queued(link).count() {
                cluster.network.duplicate(link, at);
            }
            while cluster.network.find(link, |_| true).is_some() {
                cluster.deliver(link, 0);
            }
        }
        cluster.persist_everywhere();
        if cluster.leader() == Some(n(1)) && !is_proposed {
            cluster.propose(n(1), &["x"]);
            is_proposed = true;
        }
    }
    assert_eq!(cluster.leader(), Some(n(1)));
    assert_eq!(applied(&cluster, n(1)), ["x"]);
}

#[test]
fn thesis_3_7_a_candidate_that_crashes_holds_nobody_up() {
    let mut cluster = Cluster::new(3);
    cluster.settle();
    cluster.time_out(n(1));
    cluster.deliver_kind("PreVote");
    cluster.deliver_kind("PreVoteReply");
    cluster.persist(n(1), usize::MAX);
    cluster.deliver_kind("Vote");
    cluster.crash(n(1), 0);
    cluster.run(3 * ELECTION_TIMEOUT_MAX);
    assert!(cluster.leader().is_some(), "the votes it was given bind for one term alone");
}

#[test]
fn thesis_3_8_term_vote_and_log_outlive_a_restart_and_the_rest_is_found_again() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["x"]);
    cluster.settle();
    cluster.run(HEARTBEAT);
    let before = cluster.status(n(2));
    cluster.crash(n(2), 0);
    cluster.restart(n(2));
    let after = cluster.status(n(2));
    assert_eq!((after.term, after.vote, after.last), (before.term, before.vote, before.last));
    assert_eq!(after.leader, None, "who leads is found out again");
    cluster.run(2 * HEARTBEAT);
    assert_eq!(cluster.status(n(2)).commit, before.commit);
    assert_eq!(applied(&cluster, n(2)), ["x"], "the state machine is made anew from the log");
}

#[test]
fn thesis_3_8_the_whole_cluster_restarts_at_once() {
    let mut cluster = Cluster::new(5);
    cluster.elect(n(1));
    cluster.propose(n(1), &["x"]);
    cluster.settle();
    for id in [1, 2, 3, 4, 5].map(n) {
        cluster.crash(id, 0);
    }
    for id in [1, 2, 3, 4, 5].map(n) {
        cluster.restart(id);
    }
    cluster.run(2 * SECOND);
    for id in [1, 2, 3, 4, 5].map(n) {
        assert_eq!(applied(&cluster, id), ["x"]);
    }
}

#[test]
fn thesis_3_9_a_leader_is_found_within_a_few_election_timeouts() {
    for seed in 0..50 {
        let mut cluster = Cluster::configured(5, |config| config.seed += 10 * seed);
        cluster.run(5 * ELECTION_TIMEOUT_MAX);
        assert!(cluster.leader().is_some(), "seed {seed}");
    }
}

#[test]
fn thesis_3_9_a_node_that_should_not_lead_waits_for_the_others() {
    let patient = |config: &mut Config| {
        if config.id == n(1) {
            config.campaign_delay = SECOND;
        }
    };
    for seed in 0..20 {
        let mut cluster = Cluster::configured(3, |config| {
            patient(config);
            config.seed += 10 * seed;
        });
        cluster.run(5 * ELECTION_TIMEOUT_MAX);
        assert!(matches!(cluster.leader(), Some(leader) if leader != n(1)), "seed {seed}");
    }
}

#[test]
fn thesis_4_2_4_the_cluster_serves_clients_through_every_change() {
    let mut cluster = Cluster::with_joining(3, 3);
    cluster.elect(n(1));
    cluster.run(HEARTBEAT);
    let add = |id| ConfigChange::AddLearner(n(id));
    let mut changes = vec![add(4), add(5), add(6)];
    changes.extend([4, 5, 6].map(|id| ConfigChange::Promote(n(id))));
    changes.extend([1, 2].map(|id| ConfigChange::Remove(n(id))));
    changes.push(replace(&[4, 5, 6]));
    for (number, change) in changes.into_iter().enumerate() {
        let leader = cluster.leader().expect("there is always a leader");
        let ticket = cluster.change(leader, change.clone());
        cluster.run(2 * ELECTION_TIMEOUT_MAX);
        assert!(cluster.is_committed(ticket), "{change:?}: {:?}", cluster.outcome(ticket));
        let leader = cluster.leader().expect("or one that takes over at once");
        let written = cluster.propose(leader, &[&format!("write {number}")])[0];
        let read = cluster.read(leader);
        cluster.run(HEARTBEAT);
        assert!(cluster.is_committed(written), "after {change:?}");
        assert!(matches!(cluster.outcome(read), Some(Outcome::ReadAt(_))), "after {change:?}");
    }
}

#[test]
fn section_6_two_majorities_decide_between_two_configurations() {
    // Neither the old three nor the new three can decide alone, whatever they hear of the others.
    for reached in [[1, 2, 3], [1, 4, 5]] {
        let mut cluster = Cluster::with_joining(3, 3);
        cluster.elect(n(1));
        for id in [4, 5, 6] {
            cluster.change(n(1), ConfigChange::AddLearner(n(id)));
            cluster.settle();
        }
        cluster.run(HEARTBEAT);
        let others: Vec<_> = (1..=6).filter(|id| !reached.contains(id)).collect();
        cluster.cut_between(&reached, &others);
        let ticket = cluster.change(n(1), replace(&[4, 5, 6]));
        cluster.settle();
        assert_eq!(cluster.outcome(ticket), None, "with {reached:?}");
        cluster.heal();
        cluster.run(2 * HEARTBEAT);
        assert!(cluster.is_committed(ticket), "with all of them");
    }
}

#[test]
fn section_7_a_snapshot_takes_the_place_of_the_log() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.crash(n(3), 0);
    cluster.propose(n(1), &["x", "y", "z"]);
    cluster.settle();
    cluster.run(HEARTBEAT);
    for id in [1, 2].map(n) {
        cluster.compact(id, 0);
        assert_eq!(cluster.terms(id), [] as [u64; 0], "nothing is left in the log");
    }
    // Each server cuts its own log, whoever leads, and starts again with what is left.
    cluster.crash(n(2), 0);
    cluster.restart(n(2));
    cluster.restart(n(3));
    cluster.run(SECOND);
    for id in [1, 2, 3].map(n) {
        assert_eq!(applied(&cluster, id), ["x", "y", "z"]);
    }
    assert_eq!(cluster.terms(n(3)), [] as [u64; 0], "its log begins behind the snapshot");
}

#[test]
fn thesis_5_1_a_log_keeps_what_spares_a_slow_follower_the_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.crash(n(3), 0);
    cluster.propose(n(1), &["x", "y", "z"]);
    cluster.settle();
    cluster.compact(n(1), 3);
    cluster.restart(n(3));
    cluster.run(SECOND);
    assert_eq!(applied(&cluster, n(3)), ["x", "y", "z"]);
    assert!(!cluster.marks.contains_key("snapshot needed"), "the log reached back far enough");
}

#[test]
fn thesis_6_2_a_node_that_does_not_lead_says_who_does() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.run(HEARTBEAT);
    let not_leader = |leader| Some(Rejection::NotLeader { leader });
    let ticket = cluster.propose(n(2), &["x"])[0];
    assert_eq!(cluster.rejection(ticket), not_leader(Some(n(1))));
    // Cut off, it knows for a while, and then knows that it does not.
    cluster.isolate(n(2));
    cluster.run(3 * ELECTION_TIMEOUT_MAX);
    let ticket = cluster.propose(n(2), &["y"])[0];
    assert_eq!(cluster.rejection(ticket), not_leader(None));
}

#[test]
fn thesis_6_3_a_command_that_is_proposed_again_is_applied_again() {
    // To tell is up to the state machine: its clients number what they ask for.
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    for _ in 0..2 {
        cluster.propose(n(1), &["x"]);
        cluster.settle();
    }
    assert_eq!(applied(&cluster, n(1)), ["x", "x"]);
}

#[test]
fn thesis_6_4_a_read_needs_a_commit_of_this_term_a_round_and_the_state() {
    let mut cluster = Cluster::new(3);
    cluster.settle();
    cluster.win(n(1));
    // 1. An entry of its own term is to be committed.
    let ticket = cluster.read(n(1));
    assert_eq!(cluster.deliver_kind("Heartbeat"), 0);
    cluster.deliver_kind("Append");
    cluster.persist_everywhere();
    cluster.deliver_kind("Appended");
    // 2. and 3. The commit index is noted, and a round of heartbeats confirms the leader.
    assert_eq!(cluster.outcome(ticket), None);
    assert_eq!(cluster.deliver_kind("Heartbeat"), 2);
    assert_eq!(cluster.outcome(ticket), None);
    // 4. The state machine has come that far: the witness checks that it was told before.
    cluster.deliver_kind("HeartbeatReply");
    assert_eq!(cluster.outcome(ticket), Some(Outcome::ReadAt(cluster.witness.commit())));
}

#[test]
fn thesis_6_4_1_a_lease_read_takes_no_message_and_no_lease_means_a_round() {
    let lease = |config: &mut Config| config.lease_drift = Some(Duration::from_millis(10));
    let mut cluster = Cluster::configured(3, lease);
    cluster.elect(n(1));
    cluster.run(HEARTBEAT);
    let ticket = cluster.read_by(n(1), ReadMode::Lease);
    assert!(matches!(cluster.outcome(ticket), Some(Outcome::ReadAt(_))));
    assert!(cluster.network.busy_links().is_empty(), "by the clock alone");
    // The process is paused for longer than a lease. What it thinks it knows is not enough.
    cluster.now = cluster.now + Duration::from_millis(141);
    let ticket = cluster.read_by(n(1), ReadMode::Lease);
    assert_eq!(cluster.outcome(ticket), None);
    assert_eq!(cluster.deliver_kind("Heartbeat"), 2);
    cluster.deliver_kind("HeartbeatReply");
    assert!(matches!(cluster.outcome(ticket), Some(Outcome::ReadAt(_))));
    // Who does not opt in has no lease.
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.run(HEARTBEAT);
    let ticket = cluster.read_by(n(1), ReadMode::Lease);
    assert_eq!(cluster.outcome(ticket), None);
}
