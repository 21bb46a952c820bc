//! The power fails at every step of what is written: the file then holds the state at one position
//! of the log, whole, and nothing that was durable is missing.

mod support;

use std::path::Path;

use kv_store::{Store, StoreError};

use support::sim_disk::{Dice, SimDisk};
use support::workload::{apply_until, assert_same, forgetful, reference};

/// A life of a store: a few batches, some of which clean. Returns the last index that was durable
/// for sure.
fn live(disk: &SimDisk, last: u64) -> (u64, Result<(), StoreError>) {
    let mut durable = 0;
    let mut run = || {
        let mut store = Store::open_on(disk.clone(), Path::new("disk"), &forgetful())?;
        durable = store.durable().index;
        while store.applied_index() < last {
            let next = store.applied_index() + 60;
            apply_until(&mut store, next.min(last))?;
            durable = store.flush()?.index;
        }
        Ok(())
    };
    let outcome = run();
    (durable, outcome)
}

fn reopen(image: Vec<u8>) -> Result<Store, StoreError> {
    Store::open_on(SimDisk::with_content(image), Path::new("disk"), &forgetful())
}

#[test]
fn power_may_fail_at_every_step() {
    const LAST: u64 = 900;
    let references: Vec<_> =
        (0..=LAST / 60).map(|batch| reference(&forgetful(), 60 * batch)).collect();
    let whole = SimDisk::default();
    let (durable, outcome) = live(&whole, LAST);
    assert_eq!((durable, outcome.is_ok()), (LAST, true));
    let mut dice = Dice(1);
    for step in 0..whole.steps() {
        let disk = SimDisk::default();
        disk.fail_power_at(step);
        let (durable, _) = live(&disk, LAST);
        let chance = dice.roll(5);
        let image = disk.after_power_loss(|| match chance {
            0 => true,
            1 => false,
            _ => dice.roll(2) == 0,
        });
        let store = match reopen(image) {
            Ok(store) => store,
            // Not even an empty store was there yet: the server creates it under another name.
            Err(error) => {
                assert_eq!(durable, 0, "at step {step}: {error}");
                continue;
            }
        };
        let index = store.applied_index();
        assert!(index >= durable, "at step {step}: {durable} was durable, {index} is left");
        assert_eq!(index % 60, 0, "a batch is whole or not there");
        let batch = usize::try_from(index / 60).expect("a few");
        assert_same(&store, &references[batch]);
    }
}

#[test]
fn after_power_failed_the_log_goes_on_and_power_may_fail_again() {
    let mut dice = Dice(2);
    for round in 0..15 {
        let mut image = None;
        let mut last = 0;
        for _ in 0..4 {
            let disk = image.take().map_or_else(SimDisk::default, SimDisk::with_content);
            disk.fail_power_at(60 + usize::try_from(dice.roll(200)).expect("a few"));
            last += 240;
            let (durable, _) = live(&disk, last);
            let after = disk.after_power_loss(|| dice.roll(2) == 0);
            let store = reopen(after.clone()).expect("it was a store before");
            assert!(store.applied_index() >= durable, "round {round}");
            assert_same(&store, &reference(&forgetful(), store.applied_index()));
            last = store.applied_index();
            image = Some(after);
        }
    }
}

#[test]
fn a_disk_that_fails_is_reported_and_nothing_goes_on() {
    let disk = SimDisk::default();
    let mut store = Store::open_on(disk.clone(), Path::new("disk"), &forgetful()).expect("empty");
    apply_until(&mut store, 100).expect("the disk works");
    store.flush().expect("the disk works");
    disk.fail_power_at(disk.steps());
    let outcome = apply_until(&mut store, 200).and_then(|()| store.flush());
    let error = outcome.expect_err("the disk is gone");
    assert!(matches!(error, StoreError::System { .. }), "{error}");
    assert!(error.to_string().contains("the power is gone"), "{error}");
    assert!(store.check().is_err() && apply_until(&mut store, 300).is_err());
    assert_eq!(store.durable().index, 100);
}
