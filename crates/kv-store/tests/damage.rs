//! A state file that is not as it was written is noticed, and said so: it never panics, and never
//! answers from it.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use kv_proto::{Command, Error, Put, Range};
use kv_store::{Options, Store, StoreError};

use support::sim_disk::{Dice, SimDisk};
use support::workload::{apply_until, assert_same, forgetful, reference};
use support::{encode, entry};

const LAST: u64 = 700;

/// A file with every kind of page in it.
fn image() -> Vec<u8> {
    let disk = SimDisk::default();
    let mut store = Store::open_on(disk.clone(), Path::new("disk"), &forgetful()).expect("empty");
    while store.applied_index() < LAST {
        let next = store.applied_index() + 50;
        apply_until(&mut store, next).expect("the disk works");
        store.flush().expect("the disk works");
    }
    drop(store);
    disk.after_power_loss(|| true)
}

fn open(image: Vec<u8>) -> Result<Store, StoreError> {
    let disk = SimDisk::with_content(image);
    let opened =
        catch_unwind(AssertUnwindSafe(|| Store::open_on(disk, Path::new("disk"), &forgetful())));
    opened.expect("damage is no reason to panic")
}

/// Opens to what was there, or says that the file is damaged.
fn assert_noticed_or_harmless(damaged: Vec<u8>, expected: &Store, what: &str) -> bool {
    match open(damaged) {
        Ok(store) => {
            assert_eq!(store.digest(), expected.digest(), "{what}");
            let everything = Range::prefix(b"");
            assert_eq!(store.range(&everything), expected.range(&everything), "{what}");
            false
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(sentence.contains("the state file disk"), "{what}: {sentence}");
            true
        }
    }
}

#[test]
fn flipped_bits_anywhere_are_noticed_or_lie_in_unused_space() {
    let image = image();
    let expected = reference(&forgetful(), LAST);
    assert_same(&open(image.clone()).expect("it is whole"), &expected);
    let used: Vec<_> =
        (0..image.len()).step_by(4096).filter(|page| image[*page..][..4096] != [0; 4096]).collect();
    let mut dice = Dice(3);
    let mut noticed = 0;
    for page in used {
        for _ in 0..12 {
            let within = usize::try_from(dice.roll(4096)).expect("small");
            // The first bytes of a page say how to read the rest: most of the harm is there.
            let within = if dice.roll(2) == 0 { within % 24 } else { within };
            let mut damaged = image.clone();
            damaged[page + within] ^= 1 << dice.roll(8);
            let what = format!("a bit of byte {within} of the page at {page}");
            noticed += usize::from(assert_noticed_or_harmless(damaged, &expected, &what));
        }
    }
    assert!(noticed > 100, "only {noticed} were noticed");
}

#[test]
fn pages_that_are_zero_lost_or_swapped_are_noticed_or_were_unused() {
    let image = image();
    let expected = reference(&forgetful(), LAST);
    let pages = image.len() / 4096;
    let mut dice = Dice(4);
    for page in 0..pages.min(120) {
        let place = page * 4096..(page + 1) * 4096;
        let mut zeroed = image.clone();
        zeroed[place.clone()].fill(0);
        assert_noticed_or_harmless(zeroed, &expected, &format!("page {page} zeroed"));
        let mut swapped = image.clone();
        let other = usize::try_from(dice.roll(pages as u64)).expect("small") * 4096;
        swapped.copy_within(other..other + 4096, place.start);
        assert_noticed_or_harmless(swapped, &expected, &format!("page {page} overwritten"));
    }
}

#[test]
fn a_file_that_ends_early_is_no_file_or_garbage_is_refused() {
    let image = image();
    for length in [1, 100, 320, 4096, 5000, image.len() / 2, image.len() - 1] {
        let error = open(image[..length].to_vec()).expect_err("something is missing");
        assert!(matches!(error, StoreError::Damaged { .. }), "{length} bytes: {error}");
    }
    let error = open(vec![0x55; 100_000]).expect_err("that is no store");
    assert!(error.to_string().contains("damaged"), "{error}");

    let dir = tempfile::tempdir().expect("a directory for tests");
    let path = dir.path().join("store.redb");
    std::fs::write(&path, b"").expect("a file");
    let error = Store::open(&path, &Options::default()).expect_err("an empty file");
    assert!(error.to_string().contains("it is empty"), "{error}");
    let error = Store::open(dir.path(), &Options::default()).expect_err("a directory");
    assert!(error.to_string().contains(&*dir.path().to_string_lossy()), "{error}");
}

#[test]
fn a_value_that_goes_bad_while_the_store_is_open_is_not_answered() {
    let disk = SimDisk::default();
    let options = Options { cache_bytes: 0, ..Options::default() };
    let mut store = Store::open_on(disk.clone(), Path::new("disk"), &options).expect("empty");
    // More than the database keeps of its pages.
    let value = [0x5a; 6_000];
    for index in 1..=3_000_u64 {
        let put = encode(&Command::Put(Put::new(&index.to_be_bytes(), &value)));
        store.apply(entry(index), &put).expect("the disk works");
    }
    store.flush().expect("the disk works");
    store.skip(entry(3_001)).expect("the disk works");
    disk.rot(|page| page[2000..2100] == value[..100]);
    let mut bad = 0;
    for index in 1..=3_000_u64 {
        match store.range(&Range::key(index.to_be_bytes().as_slice())) {
            Ok(reply) => assert_eq!(*reply.kvs[0].value, value),
            Err(Error::Internal { reason }) => {
                assert!(reason.contains("is damaged"), "{reason}");
                bad += 1;
            }
            Err(error) => panic!("another error: {error}"),
        }
    }
    assert!(bad > 1_000, "only {bad} were noticed");
    assert!(store.check().is_err(), "nothing goes on from here");
    assert!(store.skip(entry(3_002)).is_err());
}

/// The database believes its own pages once it has checked them. One that went bad later could make
/// it panic, and the node with it, without a word about the disk.
#[test]
fn any_page_may_go_bad_while_the_store_is_open_and_is_an_error_or_not_needed() {
    let options = Options { cache_bytes: 0, page_cache_bytes: 0, ..forgetful() };
    let image = image();
    let end = LAST + 100;
    let (before, after) = (reference(&forgetful(), LAST), reference(&forgetful(), end));
    let everything = Range::prefix(b"");
    let (mut noticed, mut dice) = (0, Dice(7));
    for page in 0..image.len() / 4096 {
        // Somewhere, and where pages begin with what they are and how much is in them.
        for place in [0, 2, 9, usize::try_from(dice.roll(4096)).expect("small")] {
            let what = format!("byte {place} of page {page}");
            let disk = SimDisk::with_content(image.clone());
            let store = Store::open_on(disk.clone(), Path::new("disk"), &options);
            let mut store = store.expect("nothing is bad yet");
            disk.flip(page * 4096 + place);
            let answer = store.range(&everything);
            match &answer {
                Err(Error::Internal { reason }) => assert!(reason.contains("damaged"), "{reason}"),
                answer => assert_eq!(*answer, before.range(&everything), "{what}"),
            }
            let outcome = apply_until(&mut store, end).and_then(|()| store.flush());
            match outcome {
                Err(error) => assert!(error.to_string().contains("damaged"), "{what}: {error}"),
                Ok(_) => assert!(answer.is_ok(), "nothing goes on after an error"),
            }
            if store.check().is_ok() {
                match store.range(&everything) {
                    Err(error) => assert!(error.to_string().contains("damaged"), "{error}"),
                    answer => assert_eq!(answer, after.range(&everything), "{what}"),
                }
            }
            noticed += usize::from(store.check().is_err());
        }
    }
    assert!(noticed > 100, "only {noticed} were noticed");
}
