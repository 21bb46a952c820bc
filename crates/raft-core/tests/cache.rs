//! What stays in memory of the log's end: what somebody lacks, and little more.

use std::time::Duration;

use crate::cluster::{Cluster, n};

const COMMAND: &str = "a command of thirty-two letters.";
/// How much stays of what nobody lacks.
const SPARE_BYTES: usize = 64 << 10;

/// Commits 128 KiB on node 1, which leads: each command counts 64 bytes as an entry.
fn commit_128_kib(cluster: &mut Cluster) {
    for _ in 0..16 {
        cluster.propose(n(1), &[COMMAND; 128]);
        cluster.settle();
    }
    assert_eq!(cluster.status(n(1)).commit, cluster.status(n(1)).last.index);
}

fn cached_bytes(cluster: &Cluster, id: u64) -> usize {
    cluster.status(n(id)).cached_bytes
}

#[test]
fn a_node_keeps_little_of_what_nobody_lacks() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    commit_128_kib(&mut cluster);
    for id in 1..=3 {
        let kept = cached_bytes(&cluster, id);
        assert!(kept <= SPARE_BYTES, "node {id} keeps {kept}");
        assert!(kept > SPARE_BYTES / 2, "node {id} keeps {kept}");
    }
}

#[test]
fn a_leader_keeps_what_one_follower_lacks_until_that_has_it() {
    let mut cluster = Cluster::new(3);
    cluster.elect(n(1));
    cluster.isolate(n(3));
    commit_128_kib(&mut cluster);
    commit_128_kib(&mut cluster);
    assert!(cached_bytes(&cluster, 1) >= 256 << 10, "node 3 lacks all of it");
    assert!(cached_bytes(&cluster, 2) <= SPARE_BYTES, "that is up to the leader");
    cluster.heal();
    cluster.run(Duration::from_millis(200));
    assert_eq!(cluster.status(n(3)).commit, cluster.status(n(1)).last.index);
    assert!(cached_bytes(&cluster, 1) <= SPARE_BYTES);
}
