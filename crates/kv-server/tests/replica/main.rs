//! What a replica promises to its clients, told with three of them on one thread: no clock, no
//! disk, no sockets.

mod cluster;
mod disk;
mod starting;

use std::time::Duration;

use cluster::{Answer, Cluster, KEEP};
use kv_proto::{Consistency, Error, Outcome, Reply, Revision};

#[test]
fn a_write_is_answered_when_it_is_applied() {
    let mut cluster = Cluster::with_leader(1);
    cluster.put(1, 7, "color", "blue");
    let Answer { header, reply } = cluster.answer(1, 7).expect("it is committed");
    assert_eq!(header.revision, Revision::new(2));
    assert!(matches!(reply, Reply::Put(_)));
    // The followers learn of it with the next heartbeat.
    cluster.pass(Duration::from_millis(100));
    for node in 1..=3 {
        assert_eq!(cluster.value(node, "color"), Some(b"blue".to_vec()), "on node {node}");
    }
}

#[test]
fn all_writes_of_a_turn_share_one_log_write() {
    let mut cluster = Cluster::with_leader(1);
    let writes = cluster.log_writes(1);
    cluster.hold_disk(1);
    for request in 0..100 {
        cluster.put_later(1, request, "key", "value");
    }
    cluster.turn(1);
    assert_eq!(cluster.log_writes(1), writes + 1);
    cluster.release_disk(1);
    for request in 0..100 {
        cluster.answer(1, request).expect("each is answered by itself");
    }
}

#[test]
fn a_follower_names_the_leader_and_where_clients_find_it() {
    let mut cluster = Cluster::with_leader(1);
    cluster.put(2, 1, "key", "value");
    let client_address = Some("node-1:9080".to_owned());
    assert_eq!(cluster.error(2, 1), Error::NotLeader { leader: 1, client_address });
}

#[test]
fn without_a_leader_a_write_is_refused_at_once() {
    let mut cluster = Cluster::new(3);
    cluster.put(2, 1, "key", "value");
    assert_eq!(cluster.error(2, 1), Error::NoLeader);
}

#[test]
fn any_node_serves_a_linearizable_read_of_what_was_acknowledged() {
    let mut cluster = Cluster::with_leader(1);
    cluster.put(1, 1, "key", "value");
    cluster.answer(1, 1).expect("acknowledged");
    for node in 1..=3 {
        cluster.get(node, 50, "key", Consistency::Linearizable);
        assert_eq!(cluster.found(node, 50), Some(b"value".to_vec()), "on node {node}");
    }
}

#[test]
fn a_stale_read_needs_nobody() {
    let mut cluster = Cluster::with_leader(1);
    cluster.put(1, 1, "key", "value");
    cluster.pass(Duration::from_millis(100));
    cluster.cut_off(3);
    cluster.get(3, 2, "key", Consistency::Stale);
    assert_eq!(cluster.found(3, 2), Some(b"value".to_vec()));
}

#[test]
fn a_write_that_finds_no_majority_in_time_is_unknown() {
    let mut cluster = Cluster::with_leader(1);
    cluster.cut_off(2);
    cluster.cut_off(3);
    cluster.put_within(1, 1, Duration::from_millis(100));
    cluster.pass(Duration::from_millis(150));
    let error = cluster.error(1, 1);
    assert!(
        matches!(error, Error::Timeout { waited_millis: 100.., outcome: Outcome::Unknown }),
        "{error:?}"
    );
}

#[test]
fn a_read_that_finds_no_majority_changes_nothing_and_says_so() {
    let mut cluster = Cluster::with_leader(1);
    cluster.cut_off(1);
    cluster.get(1, 1, "key", Consistency::Linearizable);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.error(1, 1).outcome(), Outcome::NotApplied);
}

/// The leader takes in a write, and is cut off before anybody else has it. The others elect a
/// leader whose entry takes its place. The client is told that the write was not applied, which is
/// more than most stores can say.
#[test]
fn a_write_that_was_overwritten_is_definitely_not_applied() {
    let mut cluster = Cluster::with_leader(1);
    cluster.cut_off(1);
    cluster.put_within(1, 1, Duration::from_mins(1));
    let leader = cluster.wait_for_other_leader(1);
    cluster.heal(1);
    cluster.put(leader, 2, "other", "value");
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.error(1, 1), Error::Overwritten);
    assert_eq!(cluster.value(1, "key"), None);
}

/// As before, but the old leader hears nothing of the others: after an election timeout it says
/// what it knows, which is nothing, instead of letting the client wait for its whole minute.
#[test]
fn a_write_orphaned_by_a_lost_leadership_is_soon_unknown() {
    let mut cluster = Cluster::with_leader(1);
    cluster.cut_off(1);
    cluster.put_within(1, 1, Duration::from_mins(1));
    cluster.pass(Duration::from_secs(2));
    assert_eq!(cluster.error(1, 1), Error::LeadershipLost);
}

/// The write reached another node before the old leader was cut off: the next leader commits it,
/// and the old one, when it is back, still knows the client and tells it.
#[test]
fn a_write_that_the_next_leader_commits_is_answered_by_the_old_one() {
    let mut cluster = Cluster::with_leader(1);
    cluster.hold_disk(1);
    cluster.hold_disk(2);
    cluster.hold_disk(3);
    cluster.put_within(1, 1, Duration::from_mins(1));
    cluster.cut_off(1);
    cluster.release_disk(1);
    cluster.release_disk(2);
    cluster.release_disk(3);
    let leader = cluster.wait_for_other_leader(1);
    cluster.heal(1);
    cluster.put(leader, 2, "other", "value");
    cluster.pass(Duration::from_millis(200));
    cluster.answer(1, 1).expect("it was committed after all");
    assert_eq!(cluster.value(leader, "key"), Some(b"value".to_vec()));
}

#[test]
fn a_stopping_node_finishes_what_is_under_way_and_takes_nothing_new() {
    let mut cluster = Cluster::with_leader(1);
    cluster.hold_disk(1);
    cluster.put_within(1, 1, Duration::from_mins(1));
    cluster.stop(1);
    cluster.put_within(1, 2, Duration::from_mins(1));
    assert_eq!(cluster.error(1, 2), Error::ShuttingDown);
    cluster.release_disk(1);
    cluster.answer(1, 1).expect("it was under way");
    assert!(cluster.has_stopped(1));
}

/// Nobody else is there to commit the write. It is answered all the same, with what is known.
#[test]
fn a_stopping_node_does_not_wait_for_ever_and_answers_who_waits() {
    let mut cluster = Cluster::with_leader(1);
    cluster.cut_off(2);
    cluster.cut_off(3);
    cluster.put_within(1, 1, Duration::from_mins(1));
    cluster.stop(1);
    assert!(!cluster.has_stopped(1));
    cluster.get(1, 2, "key", Consistency::Stale);
    assert_eq!(cluster.error(1, 2), Error::ShuttingDown);
    cluster.pass(Duration::from_secs(3));
    assert!(cluster.has_stopped(1));
    assert_eq!(cluster.error(1, 1).outcome(), Outcome::Unknown);
}

/// It only stopped, and nobody could write until an election timeout had passed.
#[test]
fn a_leader_that_stops_hands_over_first() {
    let mut cluster = Cluster::with_leader(1);
    cluster.put(1, 1, "key", "value");
    cluster.stop(1);
    cluster.settle();
    assert!(cluster.has_stopped(1));
    let heir = cluster.leader().expect("no time has passed");
    assert_ne!(heir, 1);
    cluster.put(heir, 2, "key", "another value");
    cluster.answer(heir, 2).expect("it leads");
}

#[test]
fn an_outvoted_leader_gives_up_its_leadership_and_answers_no_client_from_its_state() {
    let mut cluster = Cluster::with_leader(1);
    cluster.put(1, 1, "key", "value");
    cluster.differs(1, true);
    let heir = cluster.leader().expect("no time has passed");
    assert_ne!(heir, 1);
    cluster.put(1, 2, "key", "value");
    for (request, consistency) in [(3, Consistency::Stale), (4, Consistency::Linearizable)] {
        cluster.get(1, request, "key", consistency);
    }
    for request in 2..=4 {
        assert_eq!(cluster.error(1, request), Error::Diverged { node: 1, index: 64 });
    }
    cluster.status(1, 5);
    cluster.answer(1, 5).expect("it still says how it is");
    cluster.put(heir, 6, "key", "another value");
    cluster.answer(heir, 6).expect("it leads");
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.value(1, "key"), Some(b"another value".to_vec()), "it goes on as a member");
}

#[test]
fn a_node_of_which_nobody_knows_that_it_is_wrong_goes_on() {
    let mut cluster = Cluster::with_leader(1);
    cluster.differs(1, false);
    cluster.put(1, 1, "key", "value");
    cluster.answer(1, 1).expect("it leads and serves");
    assert_eq!(cluster.leader(), Some(1));
}

#[test]
fn status_tells_the_role_and_every_member() {
    let mut cluster = Cluster::with_leader(1);
    cluster.status(2, 9);
    let Answer { reply: Reply::Status(status), .. } = cluster.answer(2, 9).unwrap() else {
        panic!("another kind of reply");
    };
    assert_eq!(status.node.leader, Some(1));
    let ids: Vec<u64> = status.members.iter().map(|member| member.id).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(status.node.applied_index, status.node.commit_index);
}

/// Puts `count` times, a hundred to a turn.
fn put_many(cluster: &mut Cluster, node: u64, count: u64) {
    for request in 0..count {
        cluster.put_later(node, request, "key", "value");
        if request % 100 == 99 {
            cluster.turn(node);
        }
    }
}

#[test]
fn a_log_is_cut_behind_the_stored_state_but_for_what_slow_followers_need() {
    let mut cluster = Cluster::with_leader(1);
    put_many(&mut cluster, 1, 2_000);
    cluster.stored(1, 1_500);
    assert_eq!(cluster.cut(1), Some(1_500), "no further than what is stored");
    // The first entry of the log is the leader's own.
    cluster.stored(1, 2_001);
    assert_eq!(cluster.cut(1), Some(2_001 - KEEP.entries));
}

/// A follower that has got a snapshot needs what was written while that travelled. When the leader
/// cut its log there at once, the follower needed another snapshot, and so on for ever.
#[test]
fn a_follower_that_is_there_and_behind_is_waited_for_as_long_as_the_log_is_not_too_large() {
    let mut cluster = Cluster::with_leader(1);
    put_many(&mut cluster, 1, 500);
    cluster.hold_disk(3);
    for request in 501..=1_000 {
        cluster.put(1, request, "key", "value");
    }
    cluster.stored(1, 1_001);
    assert_eq!(cluster.cut(1), Some(501), "what it has is not needed");
    let large = "v".repeat(200_000);
    for request in 1_001..=1_020 {
        cluster.put(1, request, "key", &large);
    }
    cluster.stored(1, 1_021);
    let cut = cluster.cut(1).expect("the log is too large to wait for anybody");
    assert!((1_001..1_021).contains(&cut), "{cut}");
}

#[test]
fn a_follower_that_is_gone_is_not_waited_for() {
    let mut cluster = Cluster::with_leader(1);
    cluster.cut_off(3);
    put_many(&mut cluster, 1, 1_000);
    cluster.pass(Duration::from_secs(1));
    cluster.stored(1, 1_001);
    assert_eq!(cluster.cut(1), Some(1_001 - KEEP.entries));
}
