//! Changes of membership: chapter 4 of the thesis, section by section. (`member_faults.rs` has what
//! others got wrong.)

use std::time::Duration;

use raft_core::{
    Body, ClusterConfig, Config, ConfigChange, Index, Message, Outcome, Position, Rejection,
    RoleKind, Term,
};

use crate::cluster::{Cluster, disk_with, ids, joint, n, replace, voters};

const SECOND: Duration = Duration::from_secs(1);

fn at(term: u64, index: u64) -> Position {
    Position::new(Term::new(term), Index::new(index))
}

fn message(from: u64, to: u64, term: u64, body: Body) -> Message {
    Message { from: n(from), to: n(to), term: Term::new(term), body }
}

// 4.1 Safety

#[test]
fn thesis_4_1_a_configuration_is_in_force_from_when_it_is_in_the_log() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    let ticket = cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    assert_eq!(cluster.outcome(ticket), None, "it is not committed");
    assert!(cluster.members(n(1)).learners.contains(&n(4)), "and the leader sends to n4");
    assert!(!cluster.members(n(2)).is_member(n(4)));
    cluster.deliver((n(1), n(2)), 0);
    assert!(cluster.members(n(2)).is_member(n(4)), "it is not even durable there");
    cluster.settle();
    assert!(cluster.is_committed(ticket));
}

#[test]
fn thesis_4_1_a_configuration_that_leaves_the_log_is_out_of_force() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.isolate(n(1));
    let ticket = cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    cluster.elect(n(2));
    cluster.heal();
    cluster.record();
    cluster.run(SECOND);
    for node in 1..=3 {
        assert_eq!(*cluster.members(n(node)), voters(&[1, 2, 3]));
    }
    let transcript = cluster.take_transcript();
    assert!(transcript.contains("n1 has the members {n1 n2 n3}\n"), "the driver is told");
    assert_eq!(cluster.outcome(ticket), Some(Outcome::Overwritten));
}

#[test]
fn thesis_4_1_there_is_one_change_at_a_time() {
    let mut cluster = Cluster::with_joining(3, 2);
    cluster.elect(n(1));
    let first = cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    let second = cluster.change(n(1), ConfigChange::AddLearner(n(5)));
    assert_eq!(cluster.rejection(second), Some(Rejection::ChangeUnderWay));
    cluster.settle();
    assert!(cluster.is_committed(first));
    let second = cluster.change(n(1), ConfigChange::AddLearner(n(5)));
    cluster.settle();
    assert!(cluster.is_committed(second));
}

#[test]
fn thesis_4_1_every_change_of_one_voter_is_one_step() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.record();
    cluster.join(n(1), n(4));
    for change in [ConfigChange::Demote(n(4)), ConfigChange::Promote(n(4)), replace(&[1, 2, 3])] {
        let ticket = cluster.change(n(1), change);
        cluster.settle();
        assert!(cluster.is_committed(ticket));
    }
    assert_eq!(*cluster.members(n(1)), voters(&[1, 2, 3]));
    assert!(!cluster.take_transcript().contains("from {"), "none of them needs to be joint");
}

// 4.2.1 Catching up new servers

#[test]
fn thesis_4_2_1_a_learner_receives_everything_and_decides_nothing() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a"]);
    cluster.settle();
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    assert_eq!(cluster.status(n(4)).last, cluster.status(n(1)).last);
    // With two voters away, the learner makes no majority.
    cluster.cut_between(&[2, 3], &[1, 4]);
    let ticket = cluster.propose(n(1), &["b"])[0];
    cluster.settle();
    assert_eq!(cluster.status(n(4)).last, cluster.status(n(1)).last);
    assert_eq!(cluster.outcome(ticket), None);
    // Nor does it keep the leader in office, or stand for election itself.
    cluster.run(3 * SECOND);
    assert_ne!(cluster.status(n(1)).role, RoleKind::Leader);
    assert_eq!(cluster.status(n(4)).role, RoleKind::Follower);
    assert_eq!(cluster.status(n(4)).term, Term::new(1));
    cluster.campaign(n(4));
    assert_eq!(cluster.status(n(4)).role, RoleKind::Follower, "not even when told to");
}

#[test]
fn thesis_4_2_1_a_learner_serves_reads() {
    let mut cluster = Cluster::with_joining(1, 1);
    cluster.run(Duration::from_millis(10));
    cluster.change(n(1), ConfigChange::AddLearner(n(2)));
    cluster.run(SECOND);
    let read = cluster.read(n(2));
    cluster.settle();
    assert!(matches!(cluster.outcome(read), Some(Outcome::ReadAt(_))));
}

/// A learner whose leader had gone went on asking it for ever: its reads were never answered, and
/// when a question and the election timeout fell due together, it wanted to be woken at once, again
/// and again.
#[test]
fn thesis_4_2_1_a_learner_gives_up_a_leader_that_is_silent() {
    let mut cluster = Cluster::with_joining(1, 1);
    cluster.run(Duration::from_millis(10));
    cluster.change(n(1), ConfigChange::AddLearner(n(2)));
    cluster.run(SECOND);
    cluster.crash(n(1), 0);
    let read = cluster.read(n(2));
    cluster.run(SECOND);
    assert_eq!(cluster.rejection(read), Some(Rejection::NotLeader { leader: None }));
    assert_eq!(cluster.status(n(2)).leader, None);
}

#[test]
fn thesis_4_2_1_a_node_that_has_not_caught_up_gets_no_vote() {
    let mut cluster = Cluster::with_joining(3, 2);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a", "b", "c"]);
    cluster.settle();
    let refused = |cluster: &mut Cluster| {
        let ticket = cluster.change(n(1), ConfigChange::Promote(n(4)));
        cluster.rejection(ticket)
    };
    let behind = |entries| Some(Rejection::NotCaughtUp { node: n(4), behind: entries });
    assert_eq!(refused(&mut cluster), Some(Rejection::UnknownMember { node: n(4) }));
    // It is down when it is added.
    cluster.crash(n(4), 0);
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    assert_eq!(refused(&mut cluster), behind(5), "nothing of it is known");
    cluster.restart(n(4));
    cluster.run(SECOND);
    // It has everything, and dies.
    cluster.crash(n(4), 0);
    cluster.run(SECOND);
    assert_eq!(refused(&mut cluster), behind(0), "it is silent");
    cluster.propose(n(1), &["d", "e"]);
    cluster.settle();
    assert_eq!(refused(&mut cluster), behind(2), "and two entries behind");
    cluster.restart(n(4));
    cluster.run(SECOND);
    assert_eq!(refused(&mut cluster), None);
    cluster.settle();
    assert_eq!(*cluster.members(n(4)), voters(&[1, 2, 3, 4]));
    // The same for a replacement: its new voters must be learners that caught up.
    let ticket = cluster.change(n(1), replace(&[1, 2, 5]));
    let why = Rejection::NotCaughtUp { node: n(5), behind: 8 };
    assert_eq!(cluster.rejection(ticket), Some(why));
}

/// All that it may lack is what is on its way to it. What waits for room in its window, it lacks.
#[test]
fn thesis_4_2_1_a_node_whose_window_is_full_gets_no_vote() {
    let mut cluster = Cluster::configured(3, |config| config.limits.max_inflight_messages = 1);
    cluster.elect(n(1));
    cluster.add_joining(Config::new(n(4)));
    cluster.restart(n(4));
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.run(SECOND);
    for command in ["in flight", "waits"] {
        cluster.propose(n(1), &[command]);
    }
    let early = cluster.change(n(1), ConfigChange::Promote(n(4)));
    let why = Rejection::NotCaughtUp { node: n(4), behind: 2 };
    assert_eq!(cluster.rejection(early), Some(why));
    cluster.settle();
    cluster.propose(n(1), &["in flight, with nothing behind it"]);
    let later = cluster.change(n(1), ConfigChange::Promote(n(4)));
    assert_eq!(cluster.outcome(later), None, "it is taken in");
    cluster.settle();
    assert!(cluster.is_committed(later));
}

/// Its connection broke. What it had acknowledged counts, but nobody knows when it will be back.
#[test]
fn thesis_4_2_1_a_node_that_is_probed_gets_no_vote() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.run(SECOND);
    cluster.unreachable(n(1), n(4));
    let early = cluster.change(n(1), ConfigChange::Promote(n(4)));
    let why = Rejection::NotCaughtUp { node: n(4), behind: 0 };
    assert_eq!(cluster.rejection(early), Some(why));
    cluster.run(Duration::from_millis(60));
    let later = cluster.change(n(1), ConfigChange::Promote(n(4)));
    cluster.settle();
    assert!(cluster.is_committed(later), "it answered a heartbeat, and a probe");
}

#[test]
fn thesis_4_2_1_a_cluster_of_one_grows_and_shrinks_again() {
    let mut cluster = Cluster::with_joining(1, 2);
    cluster.run(Duration::from_millis(10));
    cluster.join(n(1), n(2));
    cluster.join(n(1), n(3));
    cluster.crash(n(1), 0);
    cluster.run(SECOND);
    let leader = cluster.leader().expect("two of three go on");
    for id in [n(1), if leader == n(2) { n(3) } else { n(2) }] {
        let ticket = cluster.change(leader, ConfigChange::Remove(id));
        cluster.settle();
        assert!(cluster.is_committed(ticket), "{id} goes");
    }
    let ticket = cluster.propose(leader, &["alone"])[0];
    cluster.settle();
    assert!(cluster.is_committed(ticket));
}

// 4.2.2 Removing the current leader

#[test]
fn thesis_4_2_2_a_removed_leader_goes_on_until_that_is_committed() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    let ticket = cluster.change(n(1), ConfigChange::Remove(n(1)));
    cluster.persist(n(1), usize::MAX);
    cluster.deliver((n(1), n(2)), 0);
    cluster.persist(n(2), usize::MAX);
    cluster.deliver((n(2), n(1)), 0);
    assert_eq!(cluster.status(n(1)).role, RoleKind::Leader);
    assert_eq!(cluster.outcome(ticket), None, "of n2 and n3 one is no majority: n1 counts no more");
    cluster.settle();
    assert!(cluster.is_committed(ticket));
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower);
    // Nobody had to wait for that: the time is still the same.
    let leader = cluster.leader().expect("one of the others took over at once");
    assert_ne!(leader, n(1));
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), Some(leader));
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower);
}

#[test]
fn thesis_4_2_2_a_leader_that_loses_its_vote_leaves_no_ticket_open() {
    for change in [ConfigChange::Remove(n(1)), ConfigChange::Demote(n(1)), replace(&[2, 3])] {
        let mut cluster = Cluster::new(3);
        cluster.elect(n(1));
        let before = cluster.propose(n(1), &["before"])[0];
        let ticket = cluster.change(n(1), change);
        let after = cluster.propose(n(1), &["after"])[0];
        assert_eq!(cluster.rejection(after), Some(Rejection::Leaving));
        cluster.settle();
        assert!(cluster.is_committed(before) && cluster.is_committed(ticket));
        assert_eq!(cluster.witness.open().count(), 0);
        assert_ne!(cluster.leader(), Some(n(1)));
    }
}

/// A leader that removed itself from a cluster of two died before the other had the entry. The
/// other needed its vote, which a log that ends earlier does not get; and the one with the entry,
/// having no vote in it, never campaigned: the cluster stood still for ever.
#[test]
fn thesis_4_2_2_the_leaver_of_two_nodes_is_elected_when_only_it_knows_that_it_leaves() {
    for change in [ConfigChange::Remove(n(1)), ConfigChange::Demote(n(1))] {
        let mut cluster = Cluster::new(2);
        cluster.elect(n(1));
        cluster.cut((n(1), n(2)));
        cluster.change(n(1), change);
        cluster.settle();
        cluster.run(SECOND);
        assert_eq!(cluster.leader(), None, "n1 has lost its quorum, n2 cannot win");
        cluster.heal();
        cluster.run(3 * SECOND);
        assert_eq!(cluster.leader(), Some(n(2)));
        assert_eq!(cluster.members(n(2)).voters, ids(&[2]));
        assert_eq!(cluster.witness.leaders().len(), 3, "n1, n1 for a moment, n2");
    }
}

#[test]
fn thesis_4_2_2_whoever_has_left_for_good_does_not_campaign() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::Remove(n(1)));
    cluster.settle();
    cluster.crash(n(2), 0);
    cluster.crash(n(3), 0);
    cluster.record();
    cluster.run(SECOND);
    cluster.campaign(n(1));
    assert!(!cluster.take_transcript().contains("PreVote"));
}

// 4.2.3 Disruptive servers

#[test]
fn thesis_4_2_3_a_removed_node_disturbs_nobody() {
    let mut cluster = Cluster::new(4);
    cluster.elect(n(1));
    let ticket = cluster.change(n(1), ConfigChange::Remove(n(4)));
    cluster.settle();
    assert!(cluster.is_committed(ticket));
    assert!(cluster.members(n(4)).is_voter(n(4)), "nobody told it");
    cluster.run(5 * SECOND);
    assert_eq!(cluster.leader(), Some(n(1)));
    assert_eq!(cluster.status(n(1)).term, Term::new(1));
    // It restarts, and another leader is elected while it campaigns.
    cluster.crash(n(4), 0);
    cluster.restart(n(4));
    cluster.crash(n(1), 0);
    cluster.run(5 * SECOND);
    let leader = cluster.leader().expect("two of three");
    assert_ne!(leader, n(4));
    assert_eq!(cluster.witness.leaders().len(), 2, "it takes one election, with n4 or without");
}

#[test]
fn thesis_4_2_3_a_removed_node_that_returns_with_a_higher_term_does_no_harm() {
    let mut cluster = Cluster::new(4);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::Remove(n(4)));
    cluster.run(SECOND);
    let before = cluster.status(n(1));
    let last = at(40, 99);
    for to in 1..=3 {
        cluster.receive(message(4, to, 41, Body::PreVote { last }));
        cluster.receive(message(4, to, 41, Body::Vote { last }));
        // And it claims that a leader wants it so.
        cluster.receive(message(4, to, 41, Body::TransferVote { last }));
    }
    cluster.run(SECOND);
    assert_eq!(cluster.status(n(1)).term, before.term);
    assert_eq!(cluster.leader(), Some(n(1)));
}

#[test]
fn thesis_4_2_3_a_removed_node_may_start_again() {
    let mut cluster = Cluster::new(2);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::Demote(n(2)));
    cluster.settle();
    let ticket = cluster.change(n(1), ConfigChange::Remove(n(2)));
    cluster.settle();
    assert!(cluster.is_committed(ticket));
    cluster.crash(n(2), 0);
    cluster.restart(n(2));
    cluster.run(SECOND);
    assert_eq!(cluster.status(n(2)).role, RoleKind::Follower);
    // It may also come back, with the disk it has.
    cluster.join(n(1), n(2));
    assert_eq!(cluster.status(n(2)).last, cluster.status(n(1)).last);
}

// 4.3 Arbitrary configuration changes using joint consensus

#[test]
fn thesis_4_3_between_configurations_both_majorities_commit() {
    for away in [[5, 6], [2, 3]] {
        let mut cluster = Cluster::with_joining(3, 3);
        cluster.elect(n(1));
        for id in 4..=6 {
            cluster.change(n(1), ConfigChange::AddLearner(n(id)));
            cluster.settle();
        }
        for id in &away {
            cluster.isolate(n(*id));
        }
        let ticket = cluster.change(n(1), replace(&[4, 5, 6]));
        cluster.settle();
        assert_eq!(cluster.outcome(ticket), None, "one majority alone, without {away:?}");
        assert_eq!(*cluster.members(n(4)), joint(&[4, 5, 6], &[1, 2, 3]));
        cluster.heal();
        cluster.run(SECOND);
        assert!(cluster.is_committed(ticket));
        let leader = cluster.leader().expect("one of the new");
        assert_eq!(*cluster.members(leader), voters(&[4, 5, 6]));
        assert!(ids(&[4, 5, 6]).contains(&leader));
    }
}

#[test]
fn thesis_4_3_between_configurations_both_majorities_elect() {
    for (away, wins) in [(vec![2, 3], false), (vec![5, 6], false), (vec![3, 6], true)] {
        let disk = |_| disk_with(&joint(&[4, 5, 6], &[1, 2, 3]), 0);
        let mut cluster = Cluster::with_disks(6, |_| {}, disk);
        cluster.settle();
        for id in &away {
            cluster.isolate(n(*id));
        }
        cluster.run(2 * SECOND);
        assert_eq!(cluster.leader().is_some(), wins, "without {away:?}");
    }
}

#[test]
fn thesis_4_3_a_voter_of_the_old_configuration_alone_can_lead_through() {
    let disk = |_| disk_with(&joint(&[3, 4, 5], &[1, 2, 3]), 0);
    let mut cluster = Cluster::with_disks(5, |_| {}, disk);
    cluster.settle();
    cluster.time_out(n(1));
    cluster.settle();
    assert!(cluster.witness.leaders().values().any(|leader| *leader == n(1)), "it led");
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower, "and has left");
    let leader = cluster.leader().expect("one of the new");
    assert_eq!(*cluster.members(leader), voters(&[3, 4, 5]));
}

#[test]
fn thesis_4_3_a_replaced_voter_may_stay_as_a_learner() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    let change = ConfigChange::Replace { voters: ids(&[1, 2, 4]), learners: ids(&[3, 4]) };
    let ticket = cluster.change(n(1), change);
    cluster.settle();
    assert!(cluster.is_committed(ticket));
    let expected = ClusterConfig { learners: ids(&[3]), ..voters(&[1, 2, 4]) };
    assert_eq!(*cluster.members(n(3)), expected);
}
