//! Backups, as a client fetches them, of nodes that serve meanwhile.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kv_client::{Backup, BackupOptions, Client, Connection, Deadline, Options};
use kv_proto::{BackupRequest, Call, Consistency, Error, Response};
use kv_store::snapshot::{Summary, Verifier};

use crate::node::{Cluster, PATIENCE};

/// A client of node `id` alone.
fn client_of(cluster: &Cluster, id: usize) -> Client {
    Client::new([cluster.client_address(id)], Options { timeout: PATIENCE }).unwrap()
}

fn begin(client: &Client) -> Backup {
    client.backup(BackupOptions::default()).unwrap()
}

/// Fetches the rest, checks all of it, and says what it is.
fn fetch(backup: Backup) -> Summary {
    let mut verifier = Verifier::default();
    for piece in backup {
        verifier.take(&piece.unwrap().bytes).unwrap();
    }
    verifier.finish().unwrap()
}

/// So many writes of a KiB that does not compress well.
fn fill(client: &mut Client, count: u64) {
    for number in 0..count {
        let noise: Vec<u8> = (0..1024_u64)
            .map(|at| (number ^ at).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7])
            .collect();
        client.put(format!("fill/{number}").as_bytes(), &noise).unwrap();
    }
}

#[test]
fn a_backup_from_any_node_holds_every_write_that_was_acknowledged_before() {
    let cluster = Cluster::start(3);
    let mut writer = cluster.client();
    for round in 0..3_u64 {
        for id in 1..=3 {
            let revision = writer.put(b"round", &round.to_le_bytes()).unwrap().header.revision;
            let summary = fetch(begin(&client_of(&cluster, id)));
            assert!(summary.revision >= revision.get(), "node {id}: {summary:?}");
        }
    }
}

#[test]
fn a_backup_is_of_one_moment_while_writes_go_on() {
    let cluster = Cluster::start(1);
    let mut writer = cluster.client();
    fill(&mut writer, 2_000);
    let is_over = AtomicBool::new(false);
    let (written, summary) = std::thread::scope(|scope| {
        let under_load = scope.spawn(|| {
            let mut count = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                writer.put(b"busy", &count.to_le_bytes()).unwrap();
                count += 1;
            }
            count
        });
        let reader = client_of(&cluster, 1);
        let summaries: Vec<Summary> = (0..5).map(|_| fetch(begin(&reader))).collect();
        is_over.store(true, Ordering::Relaxed);
        (under_load.join().unwrap(), summaries)
    });
    assert!(written > 0, "writes went on");
    assert!(summary.is_sorted_by_key(|summary| summary.position), "{summary:?}");
    assert!(summary.iter().all(|summary| summary.records >= 2_000), "{summary:?}");
}

/// Nobody must be able to hold the state file, and memory, with backups that are never fetched.
#[test]
fn only_so_many_backups_are_under_way_at_once() {
    let cluster = Cluster::start(1);
    fill(&mut cluster.client(), 2_000);
    let client = cluster.impatient_client(Duration::from_secs(2));
    let mut under_way: Vec<Backup> = (0..4).map(|_| begin(&client)).collect();
    let refused = client.backup(BackupOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("too much waiting"), "{refused}");
    fetch(under_way.pop().unwrap());
    fetch(begin(&client));
    for backup in under_way {
        fetch(backup);
    }
}

/// What the thread that makes backups has had of a processor.
fn processor_time_of_backups(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut threads = threads.map(|thread| thread.unwrap().path());
    let is_it = |name: &str| name.trim() == "backups";
    let thread = threads.find(|it| is_it(&fs::read_to_string(it.join("comm")).unwrap())).unwrap();
    let schedstat = fs::read_to_string(thread.join("schedstat")).unwrap();
    Duration::from_nanos(schedstat.split_whitespace().next().unwrap().parse().unwrap())
}

/// A backup was made as fast as its client fetched it: with several, or a fast client, that thread
/// kept a processor to itself, on a machine on which a dozen threads want two.
#[test]
fn backups_leave_half_of_a_processor_to_others_however_many_fetch_them() {
    let cluster = Cluster::start(1);
    fill(&mut cluster.client(), 2_000);
    let client = client_of(&cluster, 1);
    let (before, began) = (processor_time_of_backups(cluster.pid(1)), Instant::now());
    let worked = || processor_time_of_backups(cluster.pid(1)).saturating_sub(before);
    let is_enough = || worked() > Duration::from_millis(300);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_enough() {
                    fetch(begin(&client));
                }
            });
        }
    });
    let (worked, passed) = (worked(), began.elapsed());
    // Some more than half: beginning one and sending off what was made are not rested from.
    assert!(worked < passed.mul_f64(0.65), "{worked:?} of {passed:?}");
}

#[test]
fn a_node_that_hears_nothing_from_the_others_is_backed_up_only_if_that_was_asked_for() {
    let mut cluster = Cluster::start(3);
    let revision = cluster.client().put(b"a", b"1").unwrap().header.revision;
    let survivor = client_of(&cluster, 1);
    fetch(begin(&survivor));
    cluster.kill(2);
    cluster.kill(3);
    let hurried = cluster.impatient_client(Duration::from_secs(2));
    hurried.backup(BackupOptions::default()).unwrap_err();
    let stale = BackupOptions { consistency: Consistency::Stale };
    let summary = fetch(survivor.backup(stale).unwrap());
    assert!(summary.revision >= revision.get());
}

#[test]
fn pieces_that_are_asked_for_out_of_order_are_refused_and_the_connection_goes_on() {
    let cluster = Cluster::start(1);
    cluster.client().put(b"a", b"1").unwrap();
    let deadline = Deadline::after(PATIENCE);
    let mut connection = Connection::open(&cluster.client_address(1), &deadline).unwrap();
    let mut ask = |piece| {
        let backup = BackupRequest { piece, consistency: Consistency::Stale };
        connection.send(Call::Backup(backup), &deadline).unwrap();
        connection.flush(&deadline).unwrap();
        connection.receive(&deadline).unwrap()
    };
    let is_refused =
        |answer| matches!(answer, Response::Failed { error: Error::InvalidOptions { .. }, .. });
    assert!(is_refused(ask(1)), "none is under way");
    assert!(matches!(ask(0), Response::Done { .. }));
    assert!(is_refused(ask(2)), "piece 1 is due");
    assert!(matches!(ask(1), Response::Done { .. }));
    assert!(matches!(ask(0), Response::Done { .. }), "begun again");
}
