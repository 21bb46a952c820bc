//! A store whose writer takes steps: nothing is written in between, and the same steps do the same.

mod support;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kv_store::snapshot::Restore;
use kv_store::{Options, Steps, Store};

use support::sim_disk::{SimDisk, Watch, Watched};
use support::workload::{apply_until, assert_same, forgetful, reference};

/// Whether a disk is full to the last byte.
#[derive(Clone, Debug, Default)]
struct Full(Arc<AtomicBool>);

impl Watch for Full {
    fn before_write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        let is_full = self.0.load(Ordering::SeqCst);
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn options() -> Options {
    Options { max_unwritten_bytes: usize::MAX, ..forgetful() }
}

/// A store on this disk, and who moves its writer.
fn open(disk: &Watched<Full>) -> (Store, Steps) {
    let steps = Steps::default();
    let store = Store::open_in_steps(disk.clone(), Path::new("disk"), &options(), &steps);
    (store.expect("it opens"), steps)
}

#[test]
fn only_a_step_writes_and_without_room_it_only_looks_for_some() {
    let disk = Watched::<Full>::default();
    let (mut store, steps) = open(&disk);
    steps.step();
    apply_until(&mut store, 50).expect("applied");
    let before = disk.disk.steps();
    std::thread::yield_now();
    assert_eq!((store.durable().index, disk.disk.steps()), (0, before), "nothing has happened");
    steps.step();
    assert_eq!(store.durable().index, 50);
    disk.watch.0.store(true, Ordering::SeqCst);
    apply_until(&mut store, 80).expect("applied");
    for _ in 0..3 {
        steps.step();
        assert_eq!(store.durable().index, 50, "there is no room");
    }
    disk.watch.0.store(false, Ordering::SeqCst);
    steps.step();
    assert_eq!(store.durable().index, 80);
    // One that stands in the middle of a batch is dropped all the same.
    disk.watch.0.store(true, Ordering::SeqCst);
    apply_until(&mut store, 90).expect("applied");
    steps.step();
    drop(store);
    steps.step();
    disk.watch.0.store(false, Ordering::SeqCst);
    let (mut store, _steps) = open(&disk);
    assert_eq!(store.applied_index(), 80);
    apply_until(&mut store, 90).expect("applied");
    assert_same(&store, &reference(&options(), 90));
}

#[test]
fn the_same_steps_leave_the_same_bytes() {
    let live = || {
        let disk = Watched::<Full>::default();
        for life in 1..=3 {
            let (mut store, steps) = open(&disk);
            for batch in 1..=10 {
                disk.watch.0.store(batch % 4 == 3, Ordering::SeqCst);
                apply_until(&mut store, life * 300 + batch * 25).expect("applied");
                steps.step();
            }
        }
        (disk.disk.steps(), disk.disk.after_power_loss(|| true))
    };
    let (first, second) = (live(), live());
    assert_eq!(first.0, second.0, "as many writes and syncs");
    assert!(first.1 == second.1, "the same bytes");
}

#[test]
fn a_snapshot_is_put_together_in_what_a_test_holds() {
    let disk = Watched::<Full>::default();
    let (mut store, steps) = open(&disk);
    apply_until(&mut store, 300).expect("applied");
    steps.step();
    let mut source = store.snapshot().expect("it can be read").expect("it has a file");
    let draft = SimDisk::default();
    let mut restore = Restore::begin_on(draft.clone(), Path::new("other")).expect("there is room");
    while let Some(piece) = source.next_piece().expect("it can be read") {
        restore.take(&piece).expect("it is whole");
    }
    let restored = restore.finish().expect("all of it came");
    assert_eq!(restored.position().index, 300);
    let store = Store::open_on(draft, Path::new("other"), &options()).expect("it opens");
    assert_same(&store, &reference(&options(), 300));
}
