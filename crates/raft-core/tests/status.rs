//! What a node says of itself, as somebody who draws its metrics would read it.

use std::time::Duration;

use raft_core::{ConfigChange, PeerState, PeerStatus, RoleKind};

use crate::cluster::{Cluster, n};

fn peer(cluster: &Cluster, leader: u64, follower: u64) -> PeerStatus {
    let status = cluster.status(n(leader));
    *status.peers.iter().find(|peer| peer.id == n(follower)).expect("it is a member")
}

#[test]
fn what_is_in_flight_and_on_the_disk_comes_and_goes() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    let (given_at, before) = (cluster.now, cluster.status(n(1)));
    assert_eq!((before.disk_stands_since, before.uncommitted_bytes), (None, 0));
    cluster.propose(n(1), &["a", "b"]);
    let status = cluster.status(n(1));
    let follower = peer(&cluster, 1, 2);
    assert_eq!((status.pending_proposals, status.disk_stands_since), (2, Some(given_at)));
    assert_eq!(follower.state, PeerState::Replicating);
    assert_eq!(follower.inflight_messages, 1);
    assert_eq!(follower.inflight_bytes, status.uncommitted_bytes, "the same two commands");
    assert_eq!(follower.matched, before.last.index);
    cluster.settle();
    let (status, follower) = (cluster.status(n(1)), peer(&cluster, 1, 2));
    assert_eq!((status.pending_proposals, status.disk_stands_since), (0, None));
    assert_eq!((follower.inflight_messages, follower.inflight_bytes), (0, 0));
    assert_eq!((follower.matched, status.uncommitted_bytes), (status.last.index, 0));
}

#[test]
fn a_follower_that_falls_silent_is_seen_by_its_age() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    let parted_at = cluster.now;
    cluster.isolate(n(3));
    cluster.run(Duration::from_millis(140));
    let status = cluster.status(n(1));
    assert!(peer(&cluster, 1, 3).heard_at <= parted_at);
    assert!(peer(&cluster, 1, 2).heard_at > parted_at);
    assert!(peer(&cluster, 1, 2).heard_at <= status.now);
    let (connected, parted) = (cluster.status(n(2)), cluster.status(n(3)));
    assert!(connected.leader_heard_at > Some(parted_at));
    assert!(parted.leader_heard_at <= Some(parted_at));
}

#[test]
fn a_promise_that_waits_for_the_disk_is_counted() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a"]);
    cluster.deliver_kind("Append");
    let held = |cluster: &Cluster| cluster.status(n(2)).held_messages;
    assert_eq!(held(&cluster), 1, "it acknowledges when it has written");
    cluster.persist(n(2), usize::MAX);
    assert_eq!(held(&cluster), 0);
}

#[test]
fn a_change_of_the_members_is_under_way_until_it_is_committed() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.change(n(1), ConfigChange::Demote(n(3)));
    let status = cluster.status(n(1));
    assert!(status.change_under_way && !status.cluster.is_voter(n(3)));
    cluster.settle();
    assert!(!cluster.status(n(1)).change_under_way);
    assert_eq!(cluster.nodes[&n(1)].counters.config_changes, 1);
}

#[test]
fn a_hand_over_shows_to_whom() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.transfer(n(1), n(2));
    assert_eq!(cluster.status(n(1)).transfer_to, Some(n(2)));
    cluster.settle();
    assert_eq!(cluster.status(n(1)).transfer_to, None);
    assert_eq!(cluster.nodes[&n(1)].counters.transfers, 1);
}

#[test]
fn counters_tell_of_elections_and_of_leaders_that_fell() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.elect(n(2));
    assert_eq!(cluster.status(n(1)).role, RoleKind::Follower);
    let counters = |id| &cluster.nodes[&n(id)].counters;
    let elections = |id| {
        let counters = counters(id);
        (counters.campaigns, counters.elections_won, counters.leaderships_ended)
    };
    assert_eq!([1, 2, 3].map(elections), [(1, 1, 1), (1, 1, 0), (0, 0, 0)]);
    assert_eq!(counters(3).votes_granted, 2);
    assert!(counters(3).leader_changes >= 2, "{:?}", counters(3));
}

#[test]
fn counters_add_up_with_the_log() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.propose(n(1), &["a", "b", "c"]);
    cluster.settle();
    cluster.run(Duration::from_millis(100));
    let last = cluster.status(n(1)).last.index.get();
    let leader = &cluster.nodes[&n(1)].counters;
    assert_eq!((leader.committed, leader.rejected), (3, 0));
    assert_eq!(leader.entries_sent, 2 * last, "each entry to each follower, once");
    for node in cluster.nodes.values() {
        let counters = &node.counters;
        assert_eq!((counters.entries_written, counters.entries_applied), (last, last));
        assert_eq!(counters.entry_bytes_written, counters.entry_bytes_applied);
    }
}
