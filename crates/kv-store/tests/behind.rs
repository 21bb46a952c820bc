//! The disk is slower than the log: memory stays bounded, and freed room is used again.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kv_proto::{Command, Put};
use kv_store::{Options, Retention, Store};

use support::sim_disk::{SimDisk, Watch, Watched};
use support::{encode, entry};

fn put(key: u64, value_bytes: usize) -> Vec<u8> {
    encode(&Command::Put(Put::new(&key.to_be_bytes(), &vec![7; value_bytes])))
}

/// A disk whose every sync gives the log a chance to run away.
#[derive(Debug)]
struct SlowDisk {
    applied: Arc<AtomicU64>,
    /// What must not be exceeded before the sync is done.
    limit: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
}

impl Watch for SlowDisk {
    fn before_sync(&self) {
        let patience = Instant::now() + Duration::from_millis(100);
        while Instant::now() < patience {
            let applied = self.applied.load(Ordering::SeqCst);
            if applied > self.limit.load(Ordering::SeqCst) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.most.fetch_max(self.applied.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

#[test]
fn applying_waits_for_a_disk_that_is_too_far_behind() {
    const VALUE_BYTES: usize = 1_000;
    let max_unwritten_bytes = 100 * VALUE_BYTES;
    let (applied, limit, most) =
        (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let watch = SlowDisk {
        applied: Arc::clone(&applied),
        limit: Arc::clone(&limit),
        most: Arc::clone(&most),
    };
    let disk = Watched { disk: SimDisk::default(), watch };
    let options = Options { max_unwritten_bytes, ..Options::default() };
    let mut store = Store::open_on(disk, Path::new("disk"), &options).expect("an empty disk");
    let mut furthest = 0;
    for index in 1..=600 {
        // One more than fits: the entry that makes it too much has been applied when it waits.
        let allowed = store.durable().index + 100;
        limit.store(allowed, Ordering::SeqCst);
        store.apply(entry(index), &put(index, VALUE_BYTES)).expect("the disk works");
        applied.store(index, Ordering::SeqCst);
        furthest = furthest.max(index - store.durable().index);
    }
    assert!(furthest <= 101, "{furthest} entries were ahead of the disk");
    assert!(most.load(Ordering::SeqCst) > 50, "the disk was never waited for");
}

#[test]
fn freed_room_is_used_again_however_long_keys_are_overwritten() {
    let retention = Retention { revisions: 100, history_bytes: u64::MAX };
    let options = Options { retention, ..Options::default() };
    let dir = tempfile::tempdir().expect("a directory for tests");
    let path = dir.path().join("store.redb");
    let mut store = Store::open(&path, &options).expect("it opens");
    let mut sizes = Vec::new();
    for round in 0..8_u64 {
        for number in 0..8_000_u64 {
            let index = round * 8_000 + number + 1;
            // In another order every round, so that the dead lie everywhere.
            let key = number * (2 * round + 1) % 2_000;
            store.apply(entry(index), &put(key, 300)).expect("the disk works");
        }
        store.flush().expect("the disk works");
        sizes.push(allocated_bytes(&path));
    }
    let most_bytes = sizes.iter().copied().max().unwrap_or(0);
    // 2000 keys of 300 bytes; all that was ever written is 20 MB.
    assert!(most_bytes < 8 << 20, "the file grows: {sizes:?}");
    let stats = store.stats();
    drop(store);
    assert_eq!(Store::open(&path, &options).expect("it opens").stats(), stats);
}

#[cfg(unix)]
fn allocated_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).expect("it exists").blocks() * 512
}

#[cfg(not(unix))]
fn allocated_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).expect("it exists").len()
}
