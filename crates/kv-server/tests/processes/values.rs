//! Values that are on disk and in nobody's memory, as clients read them.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use kv_proto::{KeyValue, Range};

use crate::node::Cluster;

const KEYS: u32 = 600;

/// With these, the values are twice what is kept in memory of the latest and of those read.
const VALUE_BYTES: usize = 60 << 10;

fn key(number: u32) -> String {
    format!("value/{number:04}")
}

/// What a key is in a round: nothing of it packs well, and each byte depends on both.
fn value(number: u32, round: u32) -> Vec<u8> {
    let mut seed = u64::from(number) << 32 | u64::from(round);
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.to_le_bytes()[7]
    });
    round.to_le_bytes().into_iter().chain(noise.take(VALUE_BYTES)).collect()
}

/// The round of a pair, all of which must be as it was written then.
fn round_of(pair: &KeyValue) -> u32 {
    let name = std::str::from_utf8(&pair.key).unwrap();
    let number = name.strip_prefix("value/").unwrap().parse().unwrap();
    let round = u32::from_le_bytes(pair.value[..4].try_into().unwrap());
    assert!(*pair.value == value(number, round), "{name} is not what it was in round {round}");
    round
}

/// A node that has every key in round 0, and no value in memory.
fn with_values_on_disk() -> Cluster {
    let mut cluster = Cluster::start_with(1, &["--keep-revisions", "100"]);
    let mut client = cluster.client();
    for number in 0..KEYS {
        client.put(key(number).as_bytes(), &value(number, 0)).unwrap();
    }
    // The log is not replayed after that: it would bring them into memory.
    cluster.stop(1);
    cluster.restart(1);
    cluster.leader();
    cluster
}

/// What the threads that read values have had of the processors.
fn processor_time_of_readers(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let threads = threads.map(|thread| thread.unwrap().path());
    let is_it = |name: String| name.trim() == "read";
    let readers = threads.filter(|it| is_it(fs::read_to_string(it.join("comm")).unwrap()));
    let nanos = readers.map(|thread| {
        let schedstat = fs::read_to_string(thread.join("schedstat")).unwrap();
        schedstat.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(nanos.sum())
}

/// What a read finds is settled at its turn, and its values are read later, while writes go on,
/// which replace them, and have what was replaced forgotten and cleaned away.
#[test]
fn reads_of_values_on_disk_are_as_good_as_others_while_all_of_it_is_overwritten() {
    let cluster = with_values_on_disk();
    let rounds: Vec<AtomicU32> = (0..KEYS).map(|_| AtomicU32::new(0)).collect();
    let is_over = AtomicBool::new(false);
    let read = |from: u32| {
        let mut client = cluster.client();
        for turn in (0..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
            // Ahead of the writer, and behind it.
            let number = (from + 7 * turn) % KEYS;
            let least = rounds[number as usize].load(Ordering::SeqCst);
            let pair = client.get(key(number).as_bytes()).unwrap().reply.expect("it is there");
            assert!(
                round_of(&pair) >= least,
                "{} is older than what was acknowledged",
                key(number)
            );
        }
    };
    let read_pages = || {
        let mut client = cluster.client();
        while !is_over.load(Ordering::Relaxed) {
            let least: Vec<u32> = rounds.iter().map(|it| it.load(Ordering::SeqCst)).collect();
            let page = client.range(&Range::prefix(b"value/")).unwrap().reply;
            assert_eq!(page.count, u64::from(KEYS));
            // A page of one moment: whoever writes goes round in order.
            let found: Vec<u32> = page.kvs.iter().map(round_of).collect();
            assert!(found.is_sorted_by(|one, next| one >= next), "{found:?}");
            assert!(found.iter().zip(&least).all(|(found, least)| found >= least));
        }
    };
    std::thread::scope(|scope| {
        let mut readers: Vec<_> =
            [0, KEYS / 3, KEYS / 2].map(|from| scope.spawn(move || read(from))).into();
        readers.push(scope.spawn(read_pages));
        let mut writer = cluster.client();
        for round in 1..=3 {
            for number in 0..KEYS {
                writer.put(key(number).as_bytes(), &value(number, round)).unwrap();
                rounds[number as usize].store(round, Ordering::SeqCst);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    let beside = processor_time_of_readers(cluster.pid(1));
    assert!(beside > Duration::from_millis(5), "{beside:?} beside the thread that applies");
}

/// Whichever thread meets the damage: nothing is answered from there on.
#[test]
fn a_node_whose_values_rot_while_it_serves_stops_and_says_so() {
    let mut cluster = with_values_on_disk();
    let path = cluster.data(1).join("state.redb");
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    // Not what the database has at its start, which it has read already.
    for at in (1 << 20..length).step_by(4 << 10) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[!byte[0]], at).unwrap();
    }
    let mut client = cluster.impatient_client(Duration::from_millis(500));
    let unread = (0..KEYS).find(|number| {
        let answer = client.get(key(*number).as_bytes());
        answer.map(|answer| round_of(&answer.reply.expect("it is there"))).is_err()
    });
    assert!(unread.is_some(), "every value was read from a file that is damaged all over");
    assert_eq!(cluster.wait_for_end(1).code(), Some(1));
    let said = cluster.said(1);
    assert!(said.contains("this node stops at once: the state file"), "{said}");
    assert!(said.contains("damaged"), "{said}");
    cluster.spawn(1);
    assert_eq!(cluster.wait_for_end(1).code(), Some(1), "it starts on a file like that");
}
