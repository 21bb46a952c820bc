//! An answer that is completed later is the one that it would have been at once.

mod support;

use kv_proto::{KeyValue, Put, Range, SortBy};
use kv_store::{Options, Store};

use support::sim_disk::Dice;
use support::workload::{apply_until, forgetful, reference};
use support::{at, encode, entry};

/// Answers are completed in any order and on other threads, while what they found is overwritten,
/// forgotten, and cleaned out of the file, and after the store is gone.
#[test]
fn what_was_found_is_told_whatever_is_applied_meanwhile() {
    let dir = tempfile::tempdir().expect("a directory for tests");
    let mut store = Store::open(&dir.path().join("state"), &forgetful()).expect("it opens");
    let mut in_memory = reference(&forgetful(), 0);
    let mut dice = Dice(7);
    let mut open = Vec::new();
    let mut missing = 0;
    for _ in 0..400 {
        let last = store.applied_index() + dice.roll(30);
        apply_until(&mut store, last).expect("the disk works");
        apply_until(&mut in_memory, last).expect("it has no disk");
        if dice.roll(3) == 0 {
            store.flush().expect("the disk works");
        }
        let (oldest, newest) = (store.compacted_revision().get(), store.revision().get());
        let mut range = at(Range::prefix(b""), oldest + dice.roll(newest - oldest + 1));
        if dice.roll(4) == 0 {
            range.options.sort_by = SortBy::Value;
            range.options.limit = Some(1 + u32::try_from(dice.roll(60)).expect("it is small"));
            range.options.keys_only = dice.roll(2) == 0;
        }
        let is_sorted = range.options.sort_by == SortBy::Value;
        let draft = store.find(&range).expect("it can be read");
        missing += draft.missing();
        assert_eq!(draft.is_complete(), draft.missing() == 0 && !is_sorted);
        let expected = in_memory.range(&range).expect("it can be read");
        if !is_sorted {
            let size_bytes = |kv: &KeyValue| kv.key.len() + kv.value.len();
            assert_eq!(draft.size_bytes(), expected.kvs.iter().map(size_bytes).sum::<usize>());
        }
        open.push((draft, expected));
        while open.len() > 20 || !open.is_empty() && dice.roll(3) == 0 {
            let one = usize::try_from(dice.roll(open.len() as u64)).expect("a place");
            let (draft, expected) = open.swap_remove(one);
            let completed = std::thread::spawn(|| draft.complete()).join().expect("no panic");
            assert_eq!(completed.expect("the disk works"), expected);
        }
    }
    assert!(missing > 2_000, "{missing} values were on disk");
    drop(store);
    assert!(!open.is_empty());
    for (draft, expected) in open {
        assert_eq!(draft.complete().expect("the disk works"), expected);
    }
}

/// Answers to questions that come one after the other share what they see of the file. It must not
/// be shared with one that comes after the next entry: what was written since is not in it.
#[test]
fn what_was_written_after_one_answer_is_there_for_the_next() {
    let dir = tempfile::tempdir().expect("a directory for tests");
    let options = Options { cache_bytes: 0, read_cache_bytes: 0, ..Options::default() };
    let mut store = Store::open(&dir.path().join("state"), &options).expect("it opens");
    let mut open = Vec::new();
    for index in (1..40).step_by(2) {
        let (key, value) = (index.to_string(), vec![7; 5_000]);
        let put = kv_proto::Command::Put(Put::new(key.as_bytes(), &value));
        store.apply(entry(index), &encode(&put)).expect("the disk works");
        store.flush().expect("the disk works");
        // What is written leaves memory with the next entry.
        store.skip(entry(index + 1)).expect("the disk works");
        for _ in 0..2 {
            let draft = store.find(&Range::key(key.as_bytes())).expect("it can be read");
            assert_eq!((draft.missing(), draft.pairs()), (1, 1));
            open.push((draft, value.clone()));
        }
    }
    for (draft, value) in open {
        let reply = draft.complete().expect("the disk works");
        assert_eq!(*reply.kvs[0].value, *value);
    }
}

/// What few are asked for is asked for again, most likely; who asks for many goes through all.
#[test]
fn a_value_that_was_read_is_in_memory_for_the_next_unless_many_were_read() {
    let dir = tempfile::tempdir().expect("a directory for tests");
    let options = Options { cache_bytes: 0, ..Options::default() };
    let mut store = Store::open(&dir.path().join("state"), &options).expect("it opens");
    for index in 1..=100 {
        let (key, value) = ([1, index], [index; 5_000]);
        let command = encode(&kv_proto::Command::Put(Put::new(&key, &value)));
        store.apply(entry(u64::from(index)), &command).expect("the disk works");
    }
    store.flush().expect("the disk works");
    store.skip(entry(101)).expect("the disk works");
    let missing = |range: &Range| {
        let draft = store.find(range).expect("it can be read");
        let missing = draft.missing();
        let reply = draft.complete().expect("the disk works");
        assert!(reply.kvs.iter().all(|kv| *kv.value == [kv.key[1]; 5_000]));
        missing
    };
    let (all, one) = (Range::prefix(&[1]), Range::key(vec![1, 7]));
    assert_eq!((missing(&all), missing(&all)), (100, 100));
    assert_eq!((missing(&one), missing(&one), missing(&all)), (1, 0, 99));
}

#[test]
fn nothing_is_missing_of_what_is_in_memory() {
    let mut store = Store::new(kv_proto::Limits::default());
    apply_until(&mut store, 100).expect("it has no disk");
    let draft = store.find(&Range::prefix(b"")).expect("it can be read");
    assert_eq!(draft.missing(), 0);
    assert!(draft.pairs() > 10);
    let reply = store.range(&Range::prefix(b"")).expect("it can be read");
    assert_eq!(draft.complete().expect("it has no disk"), reply);
}
