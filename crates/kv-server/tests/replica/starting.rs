//! Nodes that start, and who of them asks for votes first.
//!
//! A cluster whose nodes were all restarted waited for the shortest of their election timeouts, 150
//! to 300 ms, before anybody asked whether there was a leader.

use std::time::Duration;

use raft_core::RoleKind;
use raft_storage::Room;

use crate::cluster::{Cluster, HEARTBEAT};

/// As good as at once: shorter than anything that a node waits for.
const AT_ONCE: Duration = Duration::from_millis(5);

/// Three nodes that have just been restarted, with logs that begin with the write of `key`.
fn restarted() -> Cluster {
    let mut cluster = Cluster::with_leader(2);
    cluster.put(2, 1, "key", "value");
    cluster.pass(Duration::from_millis(100));
    for node in 1..=3 {
        cluster.restart(node);
    }
    cluster
}

fn connect_all(cluster: &mut Cluster) {
    for node in 1..=3 {
        for other in (1..=3).filter(|other| *other != node) {
            cluster.connect(node, other);
        }
    }
}

#[test]
fn nodes_that_start_together_have_a_leader_as_soon_as_they_reach_each_other() {
    let mut cluster = restarted();
    cluster.pass(Duration::from_millis(20));
    assert_eq!(cluster.leader(), None, "nobody reaches anybody");
    connect_all(&mut cluster);
    cluster.pass(AT_ONCE);
    assert_eq!(cluster.leader(), Some(1));
    cluster.put(1, 2, "key", "another value");
    cluster.answer(1, 2).expect("it leads");
}

#[test]
fn a_node_that_lacks_entries_leaves_it_to_the_next_one() {
    let mut cluster = Cluster::with_leader(2);
    cluster.cut_off(1);
    cluster.put(2, 1, "key", "value");
    cluster.answer(2, 1).expect("two are a majority");
    for node in 1..=3 {
        cluster.restart(node);
    }
    cluster.heal(1);
    connect_all(&mut cluster);
    cluster.pass(AT_ONCE);
    assert_eq!(cluster.leader(), None, "the others have what the first one lacks");
    cluster.pass(HEARTBEAT);
    assert_eq!(cluster.leader(), Some(2));
    assert_eq!(cluster.value(2, "key"), Some(b"value".to_vec()));
}

#[test]
fn a_node_whose_disk_is_full_leaves_it_to_the_next_one() {
    let mut cluster = restarted();
    cluster.set_room(1, Room::Low);
    connect_all(&mut cluster);
    cluster.pass(AT_ONCE);
    assert_eq!(cluster.leader(), None);
    cluster.pass(HEARTBEAT);
    assert_eq!(cluster.leader(), Some(2));
}

#[test]
fn a_majority_does_not_wait_for_who_is_not_there() {
    let mut cluster = restarted();
    cluster.cut_off(1);
    cluster.connect(2, 3);
    cluster.connect(3, 2);
    cluster.pass(HEARTBEAT + AT_ONCE);
    assert_eq!(cluster.leader(), Some(2));
}

#[test]
fn a_node_that_reaches_no_majority_any_more_does_not_ask() {
    let mut cluster = restarted();
    cluster.connect(3, 1);
    cluster.pass(HEARTBEAT);
    cluster.disconnect(3, 1);
    cluster.pass(HEARTBEAT + AT_ONCE);
    assert_eq!(cluster.role(3), RoleKind::Follower, "its turn is over");
}

/// The working leader's heartbeat has not come yet when the node asks: the others answer for it.
#[test]
fn a_node_that_starts_beside_a_working_leader_disturbs_nobody() {
    for node in [1, 3] {
        let mut cluster = Cluster::with_leader(2);
        let term = cluster.term(2);
        cluster.restart(node);
        for other in (1..=3).filter(|other| *other != node) {
            cluster.connect(node, other);
            cluster.connect(other, node);
        }
        for _ in 0..100 {
            cluster.pass(Duration::from_millis(10));
            assert_eq!(cluster.leader(), Some(2));
            assert_eq!((1..=3).map(|id| cluster.term(id)).max(), Some(term));
        }
    }
}

/// It was the leader itself that was restarted, so quickly that the others have not missed it.
#[test]
fn a_leader_that_is_back_at_once_is_followed_by_whoever_is_elected() {
    let mut cluster = Cluster::with_leader(1);
    cluster.restart(1);
    connect_all(&mut cluster);
    let leader = cluster.wait_for_other_leader(0);
    cluster.pass(HEARTBEAT);
    cluster.put(leader, 1, "key", "value");
    cluster.answer(leader, 1).expect("it leads");
}
