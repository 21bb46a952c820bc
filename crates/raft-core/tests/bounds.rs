//! What is taken in, in flight and in memory has a bound, and each bound is met exactly where
//! [`raft_core::Limits`] says.

use std::time::Duration;

use raft_core::{
    Body, Config, Index, Limits, Message, Outcome, PeerState, ReadMode, Rejection, Term, Ticket,
};

use crate::cluster::{Cluster, n};

/// What an entry counts beyond its command.
const OVERHEAD_BYTES: usize = 32;

/// Three nodes with other limits than the usual, led by n1.
fn led_by_1(change: impl Fn(&mut Limits)) -> Cluster {
    let mut cluster = Cluster::configured(3, |config: &mut Config| change(&mut config.limits));
    cluster.elect(n(1));
    cluster
}

fn are_busy(cluster: &Cluster, tickets: &[Ticket]) -> Vec<bool> {
    tickets.iter().map(|ticket| cluster.rejection(*ticket) == Some(Rejection::Busy)).collect()
}

#[test]
fn proposals_that_come_together_count_together() {
    let mut cluster = led_by_1(|limits| limits.max_uncommitted_bytes = 100);
    // Each counts 40 bytes: there is room for two.
    let tickets = cluster.propose(n(1), &["8 bytes.", "8 BYTES.", "8 Bytes."]);
    assert_eq!(are_busy(&cluster, &tickets), [false, false, true]);
    assert_eq!(cluster.status(n(1)).uncommitted_bytes, 80);
    let alone = cluster.propose(n(1), &["no more?"]);
    assert_eq!(are_busy(&cluster, &alone), [true]);
    cluster.settle();
    assert!(cluster.is_committed(tickets[0]) && cluster.is_committed(tickets[1]));
    let later = cluster.propose(n(1), &["8 more.."])[0];
    cluster.settle();
    assert!(cluster.is_committed(later), "what is committed counts no more");
}

#[test]
fn one_proposal_is_always_taken() {
    let mut cluster = led_by_1(|limits| limits.max_uncommitted_bytes = 1);
    for commands in [&["more than one byte"][..], &["again, in a list", "and one too many"]] {
        let tickets = cluster.propose(n(1), commands);
        assert_eq!(cluster.outcome(tickets[0]), None, "it is taken in");
        assert_eq!(are_busy(&cluster, &tickets[1..]), vec![true; commands.len() - 1]);
        cluster.settle();
        assert!(cluster.is_committed(tickets[0]));
    }
}

#[test]
fn a_command_of_the_largest_size_is_taken_and_one_byte_more_is_not() {
    let limit_bytes = OVERHEAD_BYTES + 8;
    let mut cluster = led_by_1(|limits| limits.max_proposal_bytes = limit_bytes);
    let size_bytes = limit_bytes + 1;
    let too_large = Some(Rejection::TooLarge { size_bytes, limit_bytes });
    let fits = cluster.propose(n(1), &["8 bytes."])[0];
    let alone = cluster.propose(n(1), &["9 bytes.."])[0];
    let mixed = cluster.propose(n(1), &["9 BYTES..", "8 BYTES.", "9 Bytes.."]);
    cluster.settle();
    assert!(cluster.is_committed(fits) && cluster.is_committed(mixed[1]));
    for refused in [alone, mixed[0], mixed[2]] {
        assert_eq!(cluster.rejection(refused), too_large);
    }
}

#[test]
fn a_follower_that_does_not_answer_is_sent_a_window_and_no_more() {
    for (messages, bytes, sent) in [(3, usize::MAX, 3), (usize::MAX, 100, 3), (usize::MAX, 1, 1)] {
        let mut cluster = led_by_1(|limits| {
            (limits.max_inflight_messages, limits.max_inflight_bytes) = (messages, bytes);
        });
        cluster.cut((n(3), n(1)));
        // Each is a message of its own, of 40 bytes. The third begins below 100 bytes.
        for number in 10..20 {
            cluster.propose(n(1), &[&format!("8 byte{number}")]);
        }
        let status = cluster.status(n(1));
        let silent = status.peers.iter().find(|peer| peer.id == n(3)).expect("a member");
        assert_eq!(silent.state, PeerState::Replicating);
        assert_eq!((silent.inflight_messages, silent.inflight_bytes), (sent, 40 * sent));
        cluster.heal();
        cluster.run(Duration::from_millis(200));
        assert_eq!(cluster.status(n(3)).last, cluster.status(n(1)).last, "in the end, all of it");
    }
}

/// What a leader keeps for a follower that lacks it ends at the limit. The rest is read back.
#[test]
fn what_a_follower_lacks_stays_in_memory_up_to_the_limit() {
    const LIMIT_BYTES: usize = 128 << 10;
    let mut cluster = led_by_1(|limits| limits.max_cached_bytes = LIMIT_BYTES);
    cluster.isolate(n(3));
    for round in 0..64 {
        let command = format!("{round:0>8160}");
        cluster.propose(n(1), &[&command]);
        cluster.settle();
    }
    let kept = cluster.status(n(1)).cached_bytes;
    assert!(kept <= LIMIT_BYTES, "{kept} of half a mebibyte");
    assert!(kept > LIMIT_BYTES / 2, "n3 lacks all of the {kept}, and more");
    cluster.record();
    cluster.heal();
    cluster.run(Duration::from_millis(500));
    assert!(cluster.take_transcript().contains("n1 read log"), "the beginning is read back");
    assert_eq!(cluster.status(n(3)).last, cluster.status(n(1)).last);
}

/// Followers that ask on behalf of their own callers, again and again, take no more of the leader's
/// memory than its own callers may.
#[test]
fn reads_that_followers_ask_about_are_bounded() {
    let mut cluster = led_by_1(|limits| limits.max_pending_reads = 2);
    for id in 0..10 {
        let body = Body::ReadIndex { id, mode: ReadMode::Confirmed };
        cluster.receive(Message { from: n(2), to: n(1), term: Term::new(1), body });
    }
    assert_eq!(cluster.status(n(1)).pending_reads, 2);
    let own = cluster.read(n(1));
    assert_eq!(cluster.rejection(own), Some(Rejection::Busy));
    cluster.settle();
    let own = cluster.read(n(1));
    cluster.settle();
    assert_eq!(cluster.outcome(own), Some(Outcome::ReadAt(Index::new(1))));
}
