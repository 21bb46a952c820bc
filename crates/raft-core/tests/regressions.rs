//! Bugs that were found and mended, each with its story. None may come back.

use std::time::Duration;

use crate::cluster::{Cluster, n};

/// A pre-vote speaks of the term after its sender's. While the sender's first write was still on
/// its way to the disk, its pre-votes for term 1 were held; it then entered term 1 by voting for
/// another, and the pre-votes left after all, because "said in term 1" was taken for "said in the
/// term we are in". They asked for a term that had a leader already.
#[test]
fn a_held_pre_vote_is_forgotten_when_its_term_begins() {
    let mut cluster = Cluster::new(3);
    cluster.time_out(n(3));
    assert!(cluster.network.busy_links().is_empty(), "its first write is not durable");
    cluster.settle_among(&[n(1), n(2)]);
    cluster.time_out(n(1));
    cluster.settle_among(&[n(1), n(2)]);
    // n3 learns of the leader of term 1 before its disk is done.
    assert_eq!(cluster.leader(), Some(n(1)));
    cluster.advance(Duration::from_millis(50));
    cluster.deliver_kind("Heartbeat");
    cluster.persist(n(3), usize::MAX);
    assert_eq!(cluster.deliver_kind("PreVote"), 0);
}
