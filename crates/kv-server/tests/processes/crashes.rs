//! Nodes that die and come back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kv_client::Client;
use kv_proto::Outcome;

use crate::node::{Cluster, PATIENCE, wait_for};

fn key(number: u32) -> Vec<u8> {
    format!("key-{number:05}").into_bytes()
}

/// Writes this, which must be acknowledged. Nobody else writes to the same key.
///
/// Writes could fail here when the machine was busy: a leader that is kept waiting for a third of
/// a second is deposed, and whoever has a write under way hears that its outcome is unknown. That
/// is right. Then the same is written again; anything else that is said is a failure.
pub(crate) fn put_surely(client: &mut Client, key: &[u8], value: &[u8]) {
    let give_up = Instant::now() + PATIENCE;
    while let Err(error) = client.put(key, value) {
        let is_unknown = error.outcome() == Outcome::Unknown;
        assert!(is_unknown && Instant::now() < give_up, "{}: {error}", key.escape_ascii());
    }
}

/// Writes keys `first..last`, each of which must be acknowledged.
pub(crate) fn put_all(cluster: &Cluster, first: u32, last: u32) {
    let mut client = cluster.client();
    for number in first..last {
        put_surely(&mut client, &key(number), format!("value {number}").as_bytes());
    }
}

/// Everything acknowledged is there, in a linearizable read.
pub(crate) fn assert_all_there(cluster: &Cluster, last: u32) {
    let mut client = cluster.client();
    for number in 0..last {
        let found = client.get(&key(number)).unwrap().reply.map(|kv| kv.value.to_vec());
        assert_eq!(found, Some(format!("value {number}").into_bytes()), "key {number}");
    }
}

#[test]
fn what_was_acknowledged_survives_the_leader_and_then_everybody() {
    let mut cluster = Cluster::start(3);
    put_all(&cluster, 0, 200);
    let old = cluster.leader();
    cluster.kill(old);
    put_all(&cluster, 200, 400);
    assert_all_there(&cluster, 400);

    cluster.restart(old);
    let leader = cluster.leader();
    wait_for("the old leader to catch up", || {
        (cluster.applied(old)? == cluster.applied(leader)?).then_some(())
    });

    cluster.kill_all();
    for id in 1..=3 {
        cluster.restart(id);
    }
    assert_all_there(&cluster, 400);
}

#[test]
fn a_node_alone_keeps_what_it_acknowledged() {
    let mut cluster = Cluster::start(1);
    put_all(&cluster, 0, 100);
    cluster.kill(1);
    cluster.restart(1);
    assert_all_there(&cluster, 100);
}

#[test]
fn a_follower_that_missed_ten_thousand_writes_catches_up() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let missing = leader % 3 + 1;
    cluster.kill(missing);
    let writers = 20;
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let cluster = &cluster;
            scope.spawn(move || put_all(cluster, writer * 500, (writer + 1) * 500));
        }
    });
    cluster.restart(missing);
    let (target, _) = cluster.applied(cluster.leader()).unwrap();
    assert!(target > 10_000);
    wait_for("the follower to catch up", || (cluster.applied(missing)?.0 >= target).then_some(()));
    let leader = cluster.leader();
    wait_for("equal states", || {
        (cluster.applied(missing)? == cluster.applied(leader)?).then_some(())
    });
}

#[test]
fn a_minority_accepts_no_write_and_says_so_in_time() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    put_all(&cluster, 0, 1);
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.kill(id);
    }
    let mut client = cluster.impatient_client(Duration::from_secs(2));
    for attempt in 0..3 {
        let refused = client.put(b"lonely", b"write").expect_err("acknowledged by a minority");
        // The first may have reached the old leader's log; later ones find no leader.
        assert!(attempt == 0 || refused.outcome() == Outcome::NotApplied, "{refused}");
    }
    client.get(&key(0)).expect_err("a linearizable read served by a minority");
}

/// One node after the other is killed, leaders among them, and started again, while writes go on.
#[test]
fn nodes_that_are_killed_again_and_again_under_writes_lose_nothing_and_stay_equal() {
    const ROUNDS: usize = 9;
    let mut cluster = Cluster::start(3);
    let is_over = AtomicBool::new(false);
    let mut client = cluster.client();
    let acknowledged = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                // What nobody knows the outcome of may be there or not.
                if client.put(&key(number), format!("value {number}").as_bytes()).is_ok() {
                    acknowledged.push(number);
                }
            }
            acknowledged
        });
        for round in 0..ROUNDS {
            let victim = if round % 2 == 0 { cluster.leader() } else { round % 3 + 1 };
            cluster.kill(victim);
            cluster.leader();
            cluster.restart(victim);
        }
        is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    assert!(!acknowledged.is_empty());
    let mut client = cluster.client();
    for number in acknowledged {
        let found = client.get(&key(number)).unwrap().reply.map(|kv| kv.value.to_vec());
        assert_eq!(found, Some(format!("value {number}").into_bytes()), "key {number}");
    }
    wait_for("equal states", || {
        let states = [cluster.applied(1)?, cluster.applied(2)?, cluster.applied(3)?];
        states.iter().all(|state| *state == states[0]).then_some(())
    });
}
