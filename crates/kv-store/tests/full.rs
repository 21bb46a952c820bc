//! No room for the state file: the store waits for it, and answers meanwhile.

mod support;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kv_proto::{Command, Put, Range};
use kv_store::{Options, Store, StoreError};

use support::sim_disk::{Dice, SimDisk, Watch, Watched};
use support::workload::{apply_until, assert_same, forgetful, reference};
use support::{encode, entry};

/// What the file systems that we know give a file at once.
const BLOCK_BYTES: u64 = 4096;

/// A disk that may be full. As real ones do, it lets a file become longer without giving it any
/// blocks, and refuses the write that needs one.
type SmallDisk = Watched<Room>;

#[derive(Clone, Debug, Default)]
struct Room {
    blocks: Arc<Mutex<BTreeSet<u64>>>,
    is_full: Arc<AtomicBool>,
}

impl SmallDisk {
    fn set_full(&self, is_full: bool) {
        self.watch.is_full.store(is_full, Ordering::SeqCst);
    }

    fn open(&self, options: &Options) -> Store {
        Store::open_on(self.clone(), Path::new("disk"), options).expect("it opens")
    }
}

impl Watch for Room {
    fn before_write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut blocks = self.blocks.lock().expect("nobody panicked");
        for block in offset / BLOCK_BYTES..(offset + data.len() as u64).div_ceil(BLOCK_BYTES) {
            if !blocks.contains(&block) && self.is_full.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            blocks.insert(block);
        }
        Ok(())
    }
}

fn put(index: u64) -> Vec<u8> {
    encode(&Command::Put(Put::new(format!("key/{index:05}").as_bytes(), &[7; 4000])))
}

/// What the store says about room.
fn listen(store: &Store) -> Receiver<bool> {
    let (said, heard) = channel();
    store.on_full_disk(move |is_full| _ = said.send(is_full));
    assert_eq!(heard.try_recv(), Ok(false), "how it is now");
    heard
}

fn hear(heard: &Receiver<bool>) -> bool {
    heard.recv_timeout(Duration::from_mins(1)).expect("it says something")
}

/// Puts until the disk is full; returns the index of the last one.
fn fill(store: &mut Store, heard: &Receiver<bool>) -> u64 {
    loop {
        let index = store.applied_index() + 1;
        store.apply(entry(index), &put(index)).expect("applied");
        match heard.try_recv() {
            Ok(is_full) => {
                assert!(is_full);
                return index;
            }
            Err(_) => std::thread::yield_now(),
        }
    }
}

#[test]
fn reads_and_writes_go_on_while_there_is_no_room_and_everything_is_there_when_there_is() {
    let disk = SmallDisk::default();
    // Hardly anything stays in memory.
    let options = Options { cache_bytes: 0, max_unwritten_bytes: 64 << 20, ..Options::default() };
    let mut store = disk.open(&options);
    for index in 1..=100 {
        store.apply(entry(index), &put(index)).expect("applied");
    }
    store.flush().expect("written");
    let heard = listen(&store);
    disk.set_full(true);
    let last = fill(&mut store, &heard);
    // Values in the file, and such as are not there yet.
    for index in 1..=last {
        let range = Range::key(format!("key/{index:05}").as_bytes());
        let reply = store.range(&range).expect("answered");
        assert_eq!(reply.kvs[0].value.len(), 4000, "key {index}");
    }
    store.apply(entry(last + 1), &put(last + 1)).expect("applied");
    assert!(store.durable().index < last);
    store.check().expect("nothing has failed");
    disk.set_full(false);
    assert!(!hear(&heard), "it goes on");
    assert_eq!(store.flush().expect("written").index, last + 1);
    drop(store);
    assert_eq!(disk.open(&options).applied_index(), last + 1);
}

/// A cluster was busy with large values when its disks filled up. What was under way was more than
/// a store may have unwritten, so applying it waited for room, and with it every read, and whoever
/// asked how the node was.
#[test]
fn what_was_under_way_when_the_disk_filled_up_is_applied_and_read() {
    let disk = SmallDisk::default();
    let options = Options { cache_bytes: 0, max_unwritten_bytes: 256 << 10, ..Options::default() };
    let mut store = disk.open(&options);
    let heard = listen(&store);
    disk.set_full(true);
    let (last, (done, is_done)) = (400, channel());
    std::thread::spawn(move || {
        for index in 1..=last {
            store.apply(entry(index), &put(index)).expect("applied");
        }
        done.send(store).expect("somebody waits");
    });
    let waited = is_done.recv_timeout(Duration::from_mins(1));
    let store = waited.expect("it is applied, although it is six times what may be unwritten");
    assert!(hear(&heard), "there is no room");
    let reply = store.range(&Range::key(format!("key/{last:05}").as_bytes())).expect("answered");
    assert_eq!(reply.kvs[0].value.len(), 4000);
    disk.set_full(false);
    assert!(!hear(&heard), "it goes on");
    assert_eq!(store.flush().expect("written").index, last);
}

#[test]
fn a_store_that_is_closed_without_room_is_as_it_was_and_takes_the_log_again() {
    let options = forgetful();
    let disk = SmallDisk::default();
    let mut store = disk.open(&options);
    apply_until(&mut store, 300).expect("applied");
    let durable = store.flush().expect("written").index;
    let heard = listen(&store);
    disk.set_full(true);
    let mut last = durable;
    while heard.try_recv().is_err() {
        last += 60;
        apply_until(&mut store, last).expect("applied");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(store);
    disk.set_full(false);
    let mut store = disk.open(&options);
    assert!((durable..last).contains(&store.applied_index()));
    apply_until(&mut store, last).expect("applied");
    assert_same(&store, &reference(&options, last));
}

/// The disk is full in the middle of a life, and has room again: returns what was durable for sure.
fn live(disk: &SmallDisk, options: &Options) -> (u64, Result<(), StoreError>) {
    let mut durable = 0;
    let mut run = || {
        let mut store = Store::open_on(disk.clone(), Path::new("disk"), options)?;
        for (last, is_full) in [(120, false), (240, true), (300, false)] {
            disk.set_full(is_full);
            apply_until(&mut store, last)?;
            if !is_full {
                durable = store.flush()?.index;
            }
        }
        Ok(())
    };
    let outcome = run();
    disk.set_full(false);
    (durable, outcome)
}

#[test]
fn the_power_may_fail_while_there_is_no_room_and_after_it() {
    let options = forgetful();
    let whole = SmallDisk::default();
    let (durable, outcome) = live(&whole, &options);
    assert_eq!((durable, outcome.is_ok()), (300, true));
    let mut dice = Dice(3);
    for step in 0..whole.disk.steps() {
        let disk = SmallDisk::default();
        disk.disk.fail_power_at(step);
        let (durable, _) = live(&disk, &options);
        let image = disk.disk.after_power_loss(|| dice.roll(2) == 0);
        let left = SimDisk::with_content(image);
        match Store::open_on(left, Path::new("disk"), &options) {
            Ok(store) => {
                assert!(store.applied_index() >= durable, "at step {step}");
                assert_same(&store, &reference(&options, store.applied_index()));
            }
            Err(error) => assert_eq!(durable, 0, "at step {step}: {error}"),
        }
    }
}

/// Whoever wanted a backup of a store without room waited until there was some. Nobody else got an
/// answer from that thread, and a node could not stop while it waited.
#[test]
fn a_snapshot_is_waited_for_no_longer_than_asked() {
    let disk = SmallDisk::default();
    let options = Options { max_unwritten_bytes: 64 << 20, ..Options::default() };
    let mut store = disk.open(&options);
    let heard = listen(&store);
    disk.set_full(true);
    let last = fill(&mut store, &heard);
    let snapshots = store.snapshots().expect("it has a file");
    let taken = snapshots.take_within(Duration::from_millis(20)).expect("nothing has failed");
    assert!(taken.is_none(), "there is no room for what it has to show");
    disk.set_full(false);
    let taken = snapshots.take_within(Duration::MAX).expect("nothing has failed");
    assert!(taken.expect("there is room now").position().index >= last);
}

#[test]
fn a_full_disk_is_told_at_once_when_a_store_is_made() {
    let disk = SmallDisk::default();
    disk.set_full(true);
    let refused = Store::open_on(disk, Path::new("disk"), &Options::default());
    let said = refused.expect_err("there is no room for it").to_string();
    assert!(said.contains("disk"), "{said}");
}
