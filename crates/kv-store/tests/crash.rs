//! The power fails at every step of what is written: the file then holds the state at one position
//! of the log, whole, and nothing that was durable is missing.

mod support;

use std::path::Path;

use kv_proto::Range;
use kv_store::{Options, Store, StoreError};

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

/// What may be there when power is back, of what was not synced: every subset where there are few
/// changes; otherwise nothing, everything, what came first, and any part.
fn left_by(disk: &SimDisk, dice: &mut Dice) -> Vec<Vec<u8>> {
    let mut changes = 0_u32;
    let nothing = disk.after_power_loss(|| {
        changes += 1;
        false
    });
    let mut images = vec![nothing, disk.after_power_loss(|| true)];
    let mut keep = |kept: &mut dyn FnMut(u32) -> bool| {
        let mut nth = 0..;
        images.push(disk.after_power_loss(|| nth.next().is_some_and(&mut *kept)));
    };
    if changes <= 3 {
        for subset in 1..1_u32 << changes {
            keep(&mut |nth| subset >> nth & 1 == 1);
        }
        return images;
    }
    for _ in 0..2 {
        let first = u32::try_from(dice.roll(u64::from(changes))).expect("below");
        keep(&mut |nth| nth < first);
        keep(&mut |_| dice.roll(2) == 0);
    }
    images
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
        for (nth, image) in left_by(&disk, &mut dice).into_iter().enumerate() {
            assert_whole(image, durable, &references, &format!("step {step}, image {nth}"));
        }
    }
}

/// Some file systems may make a file longer bit by bit. Its database knows only lengths of whole
/// pages: a file that was cut short at a sector of its new part was called damaged, and the node
/// did not start.
#[test]
fn power_may_fail_while_the_file_is_made_longer() {
    let whole = SimDisk::default();
    live(&whole, 300).1.expect("nothing fails");
    let references: Vec<_> = (0..=5).map(|batch| reference(&forgetful(), 60 * batch)).collect();
    for sectors in 1..=24 {
        let disk = SimDisk::default();
        disk.fail_power_at(whole.steps() - 3 - sectors % 8);
        let (durable, _) = live(&disk, 300);
        assert!(durable > 0, "it had a file");
        let mut image = disk.after_power_loss(|| false);
        image.resize(image.len() + 512 * sectors, 0);
        assert_whole(image, durable, &references, &format!("{sectors} sectors more"));
    }
}

/// What is on a disk after a life that ended in an error: the state at the end of a batch, and no
/// less than was durable.
fn assert_whole(image: Vec<u8>, durable: u64, references: &[Store], what: &str) {
    match reopen(image) {
        Ok(store) => {
            let index = store.applied_index();
            assert!(index >= durable, "{what}: {durable} was durable, {index} is left");
            assert_eq!(index % 60, 0, "{what}: a batch is whole or not there");
            assert_same(&store, &references[usize::try_from(index / 60).expect("a few")]);
        }
        // Not even an empty store was there yet.
        Err(error) => assert_eq!(durable, 0, "{what}: {error}"),
    }
}

/// The answers of a disk that fails once and works again must not be believed: after a failed
/// sync, nobody knows what was written, and the next sync does not say.
#[test]
fn any_one_write_or_sync_may_fail_and_is_the_end_of_the_store() {
    const LAST: u64 = 300;
    let references: Vec<_> =
        (0..=LAST / 60).map(|batch| reference(&forgetful(), 60 * batch)).collect();
    let whole = SimDisk::default();
    live(&whole, LAST).1.expect("the disk works");
    let mut dice = Dice(5);
    let mut failed = 0;
    for step in 0..whole.steps() {
        let disk = SimDisk::default();
        disk.fail_once_at(step);
        let (durable, outcome) = live(&disk, LAST);
        failed += usize::from(outcome.is_err());
        let what = format!("after step {step} failed");
        // What a batch after the failed one wrote would not be whole here.
        assert_whole(disk.after_power_loss(|| true), durable, &references, &what);
        let torn = disk.after_power_loss(|| dice.roll(2) == 0);
        assert_whole(torn, durable, &references, &what);
    }
    // The last steps close the file, when everything is durable.
    assert!(failed + 20 > whole.steps(), "{failed} of {} failed", whole.steps());
}

#[test]
fn any_one_read_may_fail_and_nothing_wrong_is_answered() {
    const LAST: u64 = 300;
    let references: Vec<_> =
        (0..=LAST / 60).map(|batch| reference(&forgetful(), 60 * batch)).collect();
    // Opened from a file, with values read from it: almost everything reads.
    let options = Options { page_cache_bytes: 0, cache_bytes: 0, ..forgetful() };
    let begin = SimDisk::default();
    live(&begin, 120).1.expect("the disk works");
    let image = begin.after_power_loss(|| true);
    let run = |disk: &SimDisk| {
        let mut durable = 120;
        let mut answers = Vec::new();
        let mut run = || -> Result<(), StoreError> {
            let mut store = Store::open_on(disk.clone(), Path::new("disk"), &options)?;
            while store.applied_index() < LAST {
                let next = store.applied_index() + 60;
                apply_until(&mut store, next)?;
                durable = store.flush()?.index;
                answers.push(store.range(&Range::prefix(b"")));
                store.check()?;
            }
            Ok(())
        };
        let outcome = run();
        (durable, outcome, answers)
    };
    let whole = SimDisk::with_content(image.clone());
    let (_, outcome, expected) = run(&whole);
    outcome.expect("the disk works");
    let mut failed = 0;
    for read in 0..whole.reads() {
        let disk = SimDisk::with_content(image.clone());
        disk.fail_read_at(read);
        let (durable, outcome, answers) = run(&disk);
        failed += usize::from(outcome.is_err());
        for (answer, expected) in answers.iter().zip(&expected) {
            assert!(answer.is_err() || answer == expected, "after read {read} failed");
        }
        let what = format!("after read {read} failed");
        assert_whole(disk.after_power_loss(|| true), durable, &references, &what);
    }
    assert!(2 * failed > whole.reads(), "only {failed} of {} were noticed", whole.reads());
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
