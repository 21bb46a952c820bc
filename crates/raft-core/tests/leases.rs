//! What a lease does not cover: the time its proof was on the way, and a hand-over given up.
//! (`a_lease_by_the_clock` and `a_lease_ends_with_a_hand_over` are scripts.)

use std::time::Duration;

use raft_core::{Body, Index, Message, Outcome, ReadMode, Rejection, RoleKind, Term};

use crate::cluster::{Cluster, n, show};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Three nodes led by n1. A lease runs for 130 ms: 150, the shortest election timeout, less 20.
fn led_by_1() -> Cluster {
    let drift = Some(20 * MILLISECOND);
    let mut cluster = Cluster::configured(3, |config| config.lease_drift = drift);
    cluster.elect(n(1));
    cluster
}

/// Whether n1 answers a read by its clock alone.
fn has_lease(cluster: &mut Cluster) -> bool {
    let ticket = cluster.read_by(n(1), ReadMode::Lease);
    cluster.outcome(ticket).is_some()
}

/// A follower is bound from when it heard of the leader, which may have been as soon as the
/// heartbeat left. To count from its answer would add the time of the way back to every lease.
#[test]
fn thesis_6_4_1_a_lease_counts_from_when_the_heartbeat_left() {
    let mut cluster = led_by_1();
    cluster.time_out(n(1));
    let left_at = cluster.now;
    cluster.deliver_kind("Heartbeat");
    cluster.now = left_at + 100 * MILLISECOND;
    assert!(!has_lease(&mut cluster), "nobody has answered");
    cluster.deliver_kind("HeartbeatReply");
    assert!(has_lease(&mut cluster));
    cluster.now = left_at + 129 * MILLISECOND;
    assert!(has_lease(&mut cluster));
    cluster.now = left_at + 130 * MILLISECOND;
    assert!(!has_lease(&mut cluster), "the followers may be free again");
}

/// The word to take over is late: so late that the leader gave the hand-over up, and goes on with
/// the answers of the third node. But whoever gets that word may still be elected at once.
#[test]
fn a_hand_over_that_was_given_up_leaves_no_lease() {
    let mut cluster = led_by_1();
    cluster.run(50 * MILLISECOND);
    assert!(has_lease(&mut cluster));
    let ticket = cluster.transfer(n(1), n(2));
    let late = cluster.network.take((n(1), n(2)), 0).expect("the word to take over");
    assert_eq!(show::kind(&late.body), "TimeoutNow");
    cluster.cut_between(&[1], &[2]);
    cluster.run(301 * MILLISECOND);
    let why = Rejection::TransferFailed { leader: Some(n(1)) };
    assert_eq!(cluster.rejection(ticket), Some(why));
    assert_eq!(cluster.leader(), Some(n(1)), "n3 answers it");
    assert!(!has_lease(&mut cluster), "not in this term");
    // The late word arrives, and n2 is elected by n3, which has just heard from n1.
    cluster.settle();
    cluster.isolate(n(1));
    cluster.receive(late);
    cluster.settle_among(&[n(2), n(3)]);
    assert_eq!(cluster.leader(), Some(n(2)));
    cluster.propose(n(2), &["x"]);
    cluster.settle_among(&[n(2), n(3)]);
    assert_eq!(cluster.status(n(1)).role, RoleKind::Leader, "it does not know yet");
    assert!(!has_lease(&mut cluster), "its state lacks x");
}

/// A follower is told of a later term by somebody to whom it owes nothing. The leader does not know
/// yet, and relies on its lease: what was promised to it lasts as long as it was promised for.
#[test]
fn a_promise_outlives_the_term_in_which_it_was_made() {
    let mut cluster = led_by_1();
    cluster.run(50 * MILLISECOND);
    cluster.isolate(n(1));
    let last = cluster.status(n(3)).last;
    let say = |cluster: &mut Cluster, term, body| {
        cluster.receive(Message { from: n(3), to: n(2), term: Term::new(term), body });
        cluster.persist(n(2), usize::MAX);
        let status = cluster.status(n(2));
        (status.term.get(), status.vote)
    };
    assert_eq!(say(&mut cluster, 2, Body::HeartbeatReply { round: 0 }), (2, None));
    assert_eq!(say(&mut cluster, 2, Body::Vote { last }), (2, None), "in that term");
    assert_eq!(say(&mut cluster, 3, Body::Vote { last }), (2, None), "in the one after it");
    assert!(has_lease(&mut cluster), "that is what it rests on");
    cluster.now = cluster.now + 150 * MILLISECOND;
    assert!(!has_lease(&mut cluster));
    assert_eq!(say(&mut cluster, 3, Body::Vote { last }), (3, Some(n(3))));
}

/// A question on behalf of two reads is as demanding as the more demanding of them.
#[test]
fn a_follower_asks_for_proof_if_one_of_its_reads_needs_it() {
    let mut cluster = led_by_1();
    cluster.run(50 * MILLISECOND);
    let first = cluster.read_by(n(3), ReadMode::Lease);
    let second = cluster.read_by(n(3), ReadMode::Lease);
    let third = cluster.read(n(3));
    let read_at_1 = Some(Outcome::ReadAt(Index::new(1)));
    cluster.deliver_kind("ReadIndex");
    assert_eq!(cluster.deliver_kind("ReadIndexReply"), 1, "the clock is enough for the first");
    assert_eq!(cluster.outcome(first), read_at_1);
    cluster.deliver_kind("ReadIndex");
    assert_eq!(cluster.deliver_kind("ReadIndexReply"), 0, "and not for the other two");
    cluster.settle();
    assert_eq!([second, third].map(|read| cluster.outcome(read)), [read_at_1; 2]);
}
