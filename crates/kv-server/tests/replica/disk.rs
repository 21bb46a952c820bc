//! A disk that is full or slow: nobody loses anything by it, and leadership goes where it is not.

use std::time::Duration;

use kv_proto::{Consistency, DiskState, Error, Outcome, Reply};
use kv_server::disk_health::DiskNotice;
use kv_server::replica::Event;
use raft_core::NodeId;
use raft_storage::Room;

use crate::cluster::Cluster;

const ELECTION_TIMEOUT_MAX: Duration = Duration::from_millis(300);

fn disk_of(cluster: &mut Cluster, node: u64, request: u64) -> DiskState {
    cluster.status(node, request);
    match cluster.answer(node, request).expect("a status").reply {
        Reply::Status(status) => status.node.disk,
        other => panic!("another kind of reply: {other:?}"),
    }
}

#[test]
fn a_leader_without_room_hands_over_at_once_and_the_next_one_takes_the_writes() {
    let mut cluster = Cluster::with_leader(1);
    cluster.put(1, 1, "before", "value");
    cluster.set_room(1, Room::Low);
    let notices = cluster.take_notices(1);
    assert!(matches!(notices[..], [DiskNotice::Full, DiskNotice::HandsOver(_)]), "{notices:?}");
    let heir = cluster.wait_for_other_leader(1);
    assert_eq!(disk_of(&mut cluster, 1, 2), DiskState::Full);
    cluster.put(heir, 3, "after", "value");
    cluster.answer(heir, 3).expect("it is committed");
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.value(1, "after"), Some(b"value".to_vec()), "what is left is used");
    cluster.get(1, 4, "after", Consistency::Linearizable);
    cluster.pass(Duration::from_millis(100));
    assert_eq!(cluster.found(1, 4), Some(b"value".to_vec()), "reads go on");
}

#[test]
fn where_no_node_has_room_writes_are_refused_reads_go_on_and_leadership_stays() {
    let mut cluster = Cluster::with_leader(1);
    cluster.put(1, 1, "key", "value");
    for node in [2, 3, 1] {
        cluster.set_room(node, Room::Low);
    }
    let term = cluster.term(1);
    for round in 0..20 {
        cluster.put(1, 100 + round, "key", "other");
        let refused = cluster.error(1, 100 + round);
        assert_eq!(refused, Error::NoSpace { node: 1 });
        assert_eq!(refused.outcome(), Outcome::NotApplied);
        cluster.get(1, 200 + round, "key", Consistency::Linearizable);
        cluster.pass(Duration::from_secs(1));
        assert_eq!(cluster.found(1, 200 + round), Some(b"value".to_vec()));
    }
    assert_eq!((cluster.leader(), cluster.term(1)), (Some(1), term), "nobody took over");
    let asked = cluster.take_notices(1).len();
    assert!(asked < 20, "it asked {asked} times, with pauses that grow");
}

#[test]
fn writes_go_on_by_themselves_where_there_is_room_again() {
    let mut cluster = Cluster::with_leader(1);
    for node in [2, 3, 1] {
        cluster.set_room(node, Room::Low);
    }
    cluster.pass(Duration::from_secs(5));
    cluster.set_room(3, Room::Ample);
    assert_eq!(cluster.wait_for_other_leader(1), 3);
    cluster.put(3, 1, "key", "value");
    cluster.answer(3, 1).expect("the others use what they have left");
    cluster.set_room(1, Room::Ample);
    assert_eq!(cluster.take_notices(1).last(), Some(&DiskNotice::HasRoom));
    assert_eq!(disk_of(&mut cluster, 1, 2), DiskState::Fine);
}

#[test]
fn a_follower_with_hardly_any_room_keeps_it_and_catches_up_later() {
    let mut cluster = Cluster::with_leader(1);
    cluster.set_room(2, Room::Scarce);
    let writes = cluster.log_writes(2);
    for request in 0..10 {
        cluster.put(1, request, "key", "value");
        cluster.answer(1, request).expect("the two others are enough");
    }
    cluster.pass(Duration::from_secs(3));
    assert_eq!((cluster.leader(), cluster.log_writes(2)), (Some(1), writes));
    assert_eq!(cluster.value(2, "key"), None);
    cluster.set_room(2, Room::Ample);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.value(2, "key"), Some(b"value".to_vec()));
}

/// Puts a value of 256 KiB that begins with this number.
fn put_large(cluster: &mut Cluster, number: u64) {
    cluster.put(1, number, "key", &format!("{number:06}{}", "x".repeat(256 << 10)));
    cluster.answer(1, number).expect("a majority has it");
}

/// The number at the beginning of the value that a node has.
fn number(cluster: &Cluster, node: u64) -> Option<u64> {
    let value = cluster.value(node, "key")?;
    std::str::from_utf8(&value[..6]).unwrap().parse().ok()
}

#[test]
fn a_follower_without_room_for_its_state_file_takes_what_it_can_remember_and_the_rest_later() {
    let mut cluster = Cluster::with_leader(1);
    cluster.set_state_waits(2, true);
    (1..=20).for_each(|request| put_large(&mut cluster, request));
    cluster.pass(Duration::from_millis(200));
    assert_eq!(number(&cluster, 2), Some(20), "5 MiB");
    (21..=40).for_each(|request| put_large(&mut cluster, request));
    cluster.pass(Duration::from_secs(3));
    let taken = number(&cluster, 2).unwrap();
    assert!((30..=32).contains(&taken), "8 MiB are {taken}");
    assert_eq!(cluster.leader(), Some(1));
    cluster.set_state_waits(2, false);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(number(&cluster, 2), Some(40));
}

/// A node that had no room for its state file refused what came next, though its log had room for
/// it. When the disks of the others were full as well, and their leader went away, the next one
/// needed that node for a majority. It lacked more than such a node took then: so nothing could be
/// read until somebody made room.
#[test]
fn a_node_whose_state_file_waits_first_is_of_use_to_the_next_leader() {
    let mut cluster = Cluster::with_leader(1);
    cluster.set_state_waits(2, true);
    (1..=12).for_each(|request| put_large(&mut cluster, request));
    cluster.set_state_waits(3, true);
    cluster.set_state_waits(1, true);
    cluster.cut_off(1);
    let leader = cluster.wait_for_other_leader(1);
    cluster.get(leader, 13, "key", Consistency::Linearizable);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.found(leader, 13).map(|value| value.len()), Some(6 + (256 << 10)));
}

/// Segments wait to be used again, while the state file, or a snapshot, has no room.
#[test]
fn the_log_gives_back_what_it_can_spare_to_whatever_has_no_room() {
    let mut cluster = Cluster::with_leader(1);
    cluster.set_state_waits(2, true);
    assert_eq!(cluster.log_rooms_freed(2), 1);
    cluster.set_state_waits(2, false);
    assert_eq!(cluster.log_rooms_freed(2), 1);
    cluster.event(2, Event::SnapshotHasNoRoom);
    assert_eq!((cluster.log_rooms_freed(2), cluster.log_rooms_freed(1)), (2, 0));
}

#[test]
fn nodes_with_hardly_any_room_still_elect_a_leader_that_can_read() {
    let mut cluster = Cluster::with_leader(1);
    cluster.put(1, 1, "key", "value");
    cluster.pass(Duration::from_millis(200));
    for node in 1..=3 {
        cluster.set_room(node, Room::Scarce);
    }
    cluster.cut_off(1);
    let leader = cluster.wait_for_other_leader(1);
    cluster.get(leader, 2, "key", Consistency::Linearizable);
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.found(leader, 2), Some(b"value".to_vec()));
}

/// A leader was elected that had a command which the others lacked. They had hardly any room, and
/// took no commands: so it could commit nothing of its own term, and served no reads.
#[test]
fn a_few_commands_of_an_earlier_term_are_taken_so_that_a_new_leader_can_read() {
    let mut cluster = Cluster::with_leader(1);
    cluster.put(1, 1, "key", "value");
    cluster.pass(Duration::from_millis(200));
    for node in [2, 3] {
        cluster.set_room(node, Room::Scarce);
    }
    cluster.put(1, 2, "key", "other");
    cluster.set_room(1, Room::Low);
    // The leader is away for a while; one of the others could lead, but it is elected again.
    cluster.cut_off(1);
    cluster.cut_off(2);
    cluster.pass(Duration::from_secs(1));
    cluster.heal(1);
    cluster.pass(Duration::from_secs(1));
    assert_eq!(cluster.leader(), Some(1), "the other's log is behind");
    cluster.get(1, 3, "key", Consistency::Linearizable);
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.found(1, 3), Some(b"other".to_vec()));
}

/// A node was full before the others, so it lacked seven large commands when their leader went
/// away. The next one sent them. The disk was slow as well: what had arrived was not acknowledged
/// for a while, so it was sent again, and each time it was counted against what such a node takes.
/// It refused the rest, though it had the room for them, and the new leader could not read until
/// somebody made some.
#[test]
fn what_is_sent_again_does_not_use_up_what_a_full_node_takes() {
    let mut cluster = Cluster::with_leader(1);
    cluster.put(1, 1, "key", "value");
    cluster.set_room(2, Room::Scarce);
    for request in 2..=8 {
        cluster.put(1, request, "key", &"x".repeat(256 << 10));
        cluster.answer(1, request).expect("the two others are enough");
    }
    cluster.cut_off(1);
    cluster.lose_entries(true);
    assert_eq!(cluster.wait_for_other_leader(1), 3, "the other's log is behind");
    cluster.hold_disk(2);
    cluster.lose_entries(false);
    cluster.pass(Duration::from_secs(1));
    cluster.release_disk(2);
    cluster.pass(Duration::from_secs(1));
    cluster.get(3, 9, "key", Consistency::Linearizable);
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.found(3, 9).map(|value| value.len()), Some(256 << 10));
}

/// A leader took a command before its first entry had reached anybody. From then on it sent the two
/// together, and nodes with hardly any room took neither: it committed nothing of its own term, and
/// served no reads until there was room. So it went now and then with a cluster whose disks were
/// all full: whoever noticed first handed over to one that did not know yet.
#[test]
fn a_command_does_not_keep_the_first_entry_of_its_leader_from_those_with_hardly_any_room() {
    let mut cluster = Cluster::with_leader(1);
    cluster.put(1, 1, "key", "value");
    cluster.pass(Duration::from_millis(200));
    cluster.cut_off(1);
    cluster.lose_entries(true);
    let leader = cluster.wait_for_other_leader(1);
    cluster.put(leader, 2, "key", "other");
    for node in (1..=3).filter(|node| *node != leader) {
        cluster.set_room(node, Room::Scarce);
    }
    cluster.lose_entries(false);
    cluster.pass(Duration::from_millis(500));
    assert_eq!(cluster.leader(), Some(leader));
    cluster.get(leader, 3, "key", Consistency::Linearizable);
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.found(leader, 3), Some(b"value".to_vec()));
    for node in 1..=3 {
        cluster.set_room(node, Room::Ample);
    }
    cluster.pass(Duration::from_secs(1));
    cluster.answer(leader, 2).expect("it is committed when there is room");
}

/// A follower without room was behind for as long as there was none. A client that happened to ask
/// it for a read waited for all the time that it had, though the leader could have answered.
#[test]
fn a_read_does_not_wait_for_a_follower_that_cannot_catch_up() {
    let mut cluster = Cluster::with_leader(1);
    cluster.set_room(2, Room::Scarce);
    cluster.put(1, 1, "key", "value");
    cluster.answer(1, 1).expect("the two others are enough");
    cluster.get(2, 2, "key", Consistency::Linearizable);
    cluster.pass(Duration::from_secs(2));
    let client_address = Some("node-1:9080".to_owned());
    assert_eq!(cluster.error(2, 2), Error::NotLeader { leader: 1, client_address });
    cluster.set_room(2, Room::Ample);
    cluster.pass(Duration::from_secs(1));
    cluster.get(2, 3, "key", Consistency::Linearizable);
    cluster.pass(Duration::from_millis(200));
    assert_eq!(cluster.found(2, 3), Some(b"value".to_vec()), "it serves reads as others do");
}

#[test]
fn a_leader_whose_disk_stalls_hands_over_and_does_not_take_it_back() {
    let mut cluster = Cluster::with_leader(1);
    cluster.hold_disk(1);
    cluster.put(1, 1, "key", "value");
    let heir = cluster.wait_for_other_leader(1);
    let notices = cluster.take_notices(1);
    let [DiskNotice::Stalled(waited)] = notices[..] else { panic!("{notices:?}") };
    assert!(waited > ELECTION_TIMEOUT_MAX && waited < 2 * ELECTION_TIMEOUT_MAX, "{waited:?}");
    assert_eq!(disk_of(&mut cluster, 1, 2), DiskState::Slow);
    let term = cluster.term(heir);
    cluster.pass(Duration::from_secs(2));
    cluster.release_disk(1);
    let notices = cluster.take_notices(1);
    assert!(matches!(notices[..], [DiskNotice::Slow(waited)] if waited > Duration::from_secs(2)));
    // The new leader runs out of room, and asks both. The one that was slow does not want to.
    let third = 6 - 1 - heir;
    cluster.cut_off(third);
    cluster.set_room(heir, Room::Low);
    cluster.pass(Duration::from_secs(3));
    assert_eq!((cluster.leader(), cluster.term(heir)), (Some(heir), term), "no flapping");
    let asked = cluster.take_notices(heir);
    assert!(asked.contains(&DiskNotice::HandsOver(NodeId::new(1))), "{asked:?}");
    // When some time has passed, it does.
    cluster.pass(Duration::from_mins(1));
    assert_eq!(cluster.leader(), Some(1));
}
