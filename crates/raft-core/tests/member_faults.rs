//! Bugs that other implementations have had with changes of membership, each as a named scenario,
//! and nodes that come and go at bad moments.

use std::collections::BTreeSet;
use std::time::Duration;

use raft_core::{
    Body, ClusterConfig, Config, ConfigChange, Entries, Entry, Index, Message, NodeId, Payload,
    Position, Rejection, RoleKind, Term,
};

use crate::cluster::{Cluster, Disk, disk_with, ids, joint, n, replace, show, voters};

const SECOND: Duration = Duration::from_secs(1);
const ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(300);

fn at(term: u64, index: u64) -> Position {
    Position::new(Term::new(term), Index::new(index))
}

fn message(from: u64, to: u64, term: u64, body: Body) -> Message {
    Message { from: n(from), to: n(to), term: Term::new(term), body }
}

/// Two leaders of different terms each make a one-voter change to the configuration that both
/// know. Their majorities do not overlap, unless the second must first commit something of its own
/// term: then the first can no longer win.
#[test]
fn one_server_changes_across_terms_do_not_elect_two_leaders() {
    let by_first = [ConfigChange::Promote(n(5)), ConfigChange::Remove(n(4))];
    let by_second = [ConfigChange::Promote(n(6)), ConfigChange::Remove(n(1))];
    for first in &by_first {
        for second in &by_second {
            let mut cluster = Cluster::with_joining(4, 2);
            cluster.elect(n(1));
            for learner in [5, 6] {
                cluster.change(n(1), ConfigChange::AddLearner(n(learner)));
                cluster.settle();
            }
            cluster.run(Duration::from_millis(50));
            // n1's change reaches n5 alone.
            cluster.cut_between(&[1, 5], &[2, 3, 4, 6]);
            cluster.change(n(1), first.clone());
            cluster.settle();
            // n2 is elected by n3 and n4, and begins a change in the same step in which it can.
            cluster.now = cluster.now + ELECTION_TIMEOUT_MAX;
            cluster.win(n(2));
            let early = cluster.change(n(2), second.clone());
            assert_eq!(cluster.rejection(early), Some(Rejection::NotReady));
            cluster.run(2 * Duration::from_millis(50));
            let ticket = cluster.change(n(2), second.clone());
            cluster.settle();
            assert!(cluster.is_committed(ticket), "{second:?}: {:?}", cluster.outcome(ticket));
            // n1 tries what it can, with n5 and whoever would listen.
            cluster.heal();
            cluster.isolate(n(2));
            cluster.now = cluster.now + ELECTION_TIMEOUT_MAX;
            for _ in 0..5 {
                cluster.time_out(n(1));
                cluster.settle_among(&[n(1), n(3), n(4), n(5)]);
                assert_ne!(cluster.status(n(1)).role, RoleKind::Leader);
            }
            cluster.heal();
            cluster.run(3 * SECOND);
            assert!(cluster.leader().is_some(), "{first:?}, then {second:?}");
        }
    }
}

#[test]
fn a_configuration_that_is_committed_and_not_applied_decides_an_election() {
    // Everyone restarts; nobody has applied anything yet. n3 was removed, and that is committed.
    let disk = |_| disk_with(&voters(&[1, 2]), 1);
    let mut cluster = Cluster::with_disks(3, |_| {}, disk);
    cluster.crash(n(2), 0);
    cluster.settle();
    cluster.run(2 * SECOND);
    assert_eq!(cluster.leader(), None, "n1 and n3 are two of the old three, one of the new two");
    cluster.restart(n(2));
    cluster.run(SECOND);
    assert!(matches!(cluster.leader(), Some(leader) if leader != n(3)));
}

#[test]
fn a_joint_configuration_is_left_once_however_often_the_leader_changes() {
    let mut cluster = Cluster::with_joining(3, 2);
    cluster.elect(n(1));
    for id in [4, 5] {
        cluster.change(n(1), ConfigChange::AddLearner(n(id)));
        cluster.settle();
    }
    // The joint configuration is committed at n1, which dies before anybody has the next one.
    cluster.change(n(1), replace(&[3, 4, 5]));
    cluster.deliver_kind("Append");
    cluster.persist_everywhere();
    cluster.deliver_kind("Appended");
    assert_eq!(*cluster.members(n(1)), voters(&[3, 4, 5]));
    cluster.network.lose_all_to(n(2));
    cluster.crash(n(1), 0);
    let mut leaders = vec![];
    for _ in 0..3 {
        cluster.run(2 * SECOND);
        let leader = cluster.leader().expect("three of each");
        leaders.push(leader);
        cluster.isolate(leader);
        cluster.run(2 * SECOND);
        cluster.heal();
    }
    cluster.run(SECOND);
    cluster.restart(n(1));
    cluster.run(2 * SECOND);
    let is_config = |entry: &&Entry| matches!(entry.payload, Payload::Config(_));
    let configs = cluster.witness.committed().iter().filter(is_config).count();
    assert_eq!(configs, 4, "two learners, one joint, one left; led by {leaders:?}");
    assert_eq!(*cluster.witness.members(), voters(&[3, 4, 5]));
}

#[test]
fn a_recovered_leader_leaves_a_joint_configuration_only_when_it_is_committed() {
    // Only n1 has the joint configuration. It leads again, and must first commit it.
    let joint = joint(&[2, 3, 4], &[1, 2, 3]);
    let disk = |id| if id == n(1) { disk_with(&joint, 0) } else { Disk::default() };
    let mut cluster = Cluster::with_disks(4, |_| {}, disk);
    cluster.settle();
    cluster.win(n(1));
    assert_eq!(*cluster.members(n(1)), joint);
    cluster.persist_everywhere();
    assert_eq!(*cluster.members(n(1)), joint, "its own disk is no majority");
    cluster.settle();
    assert_eq!(*cluster.members(n(1)), voters(&[2, 3, 4]));
}

#[test]
fn a_promoted_learner_votes_though_it_does_not_know_that_it_may() {
    let mut cluster = Cluster::with_joining(2, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(3)));
    cluster.run(SECOND);
    // n3 does not hear that it was promoted.
    cluster.cut((n(1), n(3)));
    let ticket = cluster.change(n(1), ConfigChange::Promote(n(3)));
    cluster.settle();
    assert!(cluster.is_committed(ticket));
    assert!(!cluster.members(n(3)).is_voter(n(3)));
    // n1 dies. Of the three voters, n2 and n3 are left.
    cluster.crash(n(1), 0);
    cluster.run(2 * SECOND);
    assert_eq!(cluster.leader(), Some(n(2)));
    assert!(cluster.members(n(3)).is_voter(n(3)));
}

#[test]
fn a_change_that_cannot_be_made_is_refused_and_never_silently_nothing() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    let crowd: BTreeSet<NodeId> = (10..300_000).map(n).collect();
    let unknown = |id| Rejection::UnknownMember { node: n(id) };
    let cases = [
        (ConfigChange::AddLearner(n(4)), Rejection::NoChange),
        (ConfigChange::AddLearner(n(2)), Rejection::NoChange),
        (ConfigChange::Promote(n(2)), Rejection::NoChange),
        (ConfigChange::Demote(n(4)), Rejection::NoChange),
        (replace(&[]), Rejection::NoVoters),
        (ConfigChange::Promote(n(9)), unknown(9)),
        (ConfigChange::Demote(n(9)), unknown(9)),
        (ConfigChange::Remove(n(9)), unknown(9)),
        (
            ConfigChange::Replace { voters: ids(&[1, 2, 3]), learners: ids(&[4]) },
            Rejection::NoChange,
        ),
        (
            ConfigChange::Replace { voters: ids(&[1, 2, 3]), learners: crowd },
            Rejection::TooLarge { size_bytes: 32 + 8 * 299_993, limit_bytes: 2 << 20 },
        ),
    ];
    for (change, why) in cases {
        let ticket = cluster.change(n(1), change);
        assert_eq!(cluster.rejection(ticket), Some(why));
    }
    let elsewhere = cluster.change(n(2), ConfigChange::Remove(n(4)));
    let why = Rejection::NotLeader { leader: Some(n(1)) };
    assert_eq!(cluster.rejection(elsewhere), Some(why));
    let mut alone = Cluster::new(1);
    alone.run(SECOND);
    for change in [ConfigChange::Remove(n(1)), ConfigChange::Demote(n(1))] {
        let ticket = alone.change(n(1), change);
        assert_eq!(alone.rejection(ticket), Some(Rejection::NoVoters));
    }
}

#[test]
fn a_node_that_is_down_can_be_removed() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.crash(n(3), 0);
    let ticket = cluster.change(n(1), ConfigChange::Remove(n(3)));
    cluster.settle();
    assert!(cluster.is_committed(ticket));
    // It is back, knows of nothing, and is not listened to.
    cluster.restart(n(3));
    cluster.run(3 * SECOND);
    assert_eq!(cluster.leader(), Some(n(1)));
    assert_eq!(cluster.status(n(1)).term, Term::new(1));
}

#[test]
fn of_two_nodes_a_dead_one_can_be_removed() {
    let mut cluster = Cluster::new(2);
    cluster.elect(n(1));
    cluster.crash(n(2), 0);
    let ticket = cluster.change(n(1), ConfigChange::Remove(n(2)));
    cluster.settle();
    assert!(cluster.is_committed(ticket), "the new configuration decides: n1 alone");
    cluster.restart(n(2));
    cluster.run(3 * SECOND);
    assert_eq!(cluster.leader(), Some(n(1)));
}

/// A joint configuration of one voter each was taken for a cluster of one: its leader believed that
/// nobody else could lead, and held on to its office with a disk that stood still.
#[test]
fn one_voter_coming_and_one_going_are_two() {
    let disk = |_| disk_with(&joint(&[1], &[2]), 0);
    let mut cluster = Cluster::with_disks(2, |_| {}, disk);
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower, "it waits like any other");
    cluster.settle();
    cluster.time_out(n(1));
    assert_eq!(cluster.status(n(1)).role, RoleKind::PreCandidate, "it needs n2");
    cluster.settle();
    assert_eq!(cluster.leader(), Some(n(1)));
}

// Nodes that come later

#[test]
fn a_joining_node_waits_without_a_vote() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.run(2 * SECOND);
    let status = cluster.status(n(4));
    assert_eq!((status.role, status.term), (RoleKind::Follower, Term::ZERO));
    cluster.campaign(n(4));
    let ticket = cluster.propose(n(4), &["a"])[0];
    assert_eq!(cluster.rejection(ticket), Some(Rejection::NotLeader { leader: None }));
    assert_eq!(cluster.status(n(4)).role, RoleKind::Follower);
}

/// A node that joined, and stopped before it had received the entry that names the members, was
/// refused when it started again: "there is nobody who votes".
#[test]
fn a_joining_node_may_stop_before_it_knows_the_members() {
    let mut cluster = Cluster::configured(1, |config| config.limits.max_append_bytes = 50);
    cluster.run(Duration::from_millis(10));
    cluster.propose(n(1), &["a", "b", "c"]);
    cluster.settle();
    let mut config = Config::new(n(2));
    config.limits.max_append_bytes = 50;
    cluster.add_joining(config);
    cluster.restart(n(2));
    cluster.change(n(1), ConfigChange::AddLearner(n(2)));
    for _ in 0..10 {
        if cluster.status(n(2)).last == Position::ORIGIN {
            let link = cluster.network.busy_links()[0];
            cluster.deliver(link, 0);
            cluster.persist_everywhere();
        }
    }
    assert_ne!(cluster.status(n(2)).last, Position::ORIGIN, "it has begun to receive");
    assert_eq!(cluster.members(n(2)).members().count(), 0);
    cluster.crash(n(2), usize::MAX);
    cluster.restart(n(2));
    cluster.run(SECOND);
    assert_eq!(cluster.members(n(2)).learners, ids(&[2]));
    assert_eq!(cluster.status(n(2)).last, cluster.status(n(1)).last);
}

#[test]
fn a_node_that_was_added_and_removed_in_one_term_is_followed_afresh() {
    let mut cluster = Cluster::with_joining(3, 1);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::AddLearner(n(4)));
    cluster.settle();
    // What was in flight to it when it was removed no longer counts.
    cluster.isolate(n(4));
    cluster.propose(n(1), &["a", "b"]);
    cluster.settle();
    cluster.change(n(1), ConfigChange::Remove(n(4)));
    cluster.settle();
    assert_eq!(cluster.status(n(1)).peers.len(), 2);
    cluster.heal();
    cluster.join(n(1), n(4));
    let status = cluster.status(n(1));
    let peer = status.peers.iter().find(|peer| peer.id == n(4)).expect("it is back");
    assert_eq!((peer.matched, peer.inflight_messages), (status.last.index, 0));
}

#[test]
fn entries_that_are_read_back_for_a_node_that_left_are_not_sent() {
    let mut cluster = Cluster::configured(1, |config| config.limits.max_cached_bytes = 0);
    cluster.run(Duration::from_millis(10));
    cluster.propose(n(1), &["a"]);
    cluster.settle();
    cluster.add_joining(Config::new(n(2)));
    cluster.restart(n(2));
    cluster.persist_everywhere();
    cluster.change(n(1), ConfigChange::AddLearner(n(2)));
    while cluster.nodes[&n(1)].log_reads.is_empty() {
        let link = cluster.network.busy_links()[0];
        cluster.deliver(link, 0);
        cluster.persist_everywhere();
    }
    let ticket = cluster.change(n(1), ConfigChange::Remove(n(2)));
    cluster.persist_everywhere();
    assert!(cluster.is_committed(ticket));
    cluster.answer_log_read(n(1), usize::MAX);
    assert_eq!(cluster.network.queued((n(1), n(2))).count(), 0);
    // What it still says is a stranger's.
    cluster.receive(message(2, 1, 1, Body::HeartbeatReply { round: 1 }));
    assert_eq!(cluster.status(n(1)).dropped_messages, 1);
}

#[test]
fn members_that_a_message_brings_are_shown_as_they_are() {
    // What a leader sends decides; the receiver only reads it.
    let mut cluster = Cluster::new(3);
    cluster.settle();
    let config = ClusterConfig { learners: ids(&[7]), ..joint(&[1, 2, 5], &[1, 2, 3]) };
    let entry = Entry { at: at(1, 1), payload: Payload::Config(config.clone().into()) };
    let entries = Entries::from(vec![entry]);
    let append = Body::Append { prev: at(0, 0), entries, commit: Index::ZERO };
    cluster.receive(message(2, 1, 1, append));
    assert_eq!(*cluster.members(n(1)), config);
    assert_eq!(show::members(&config), "{n1 n2 n5} from {n1 n2 n3} learners {n7}");
}
