//! A store on disk that is stopped and started again is the store that it was.

mod support;

use std::path::{Path, PathBuf};

use kv_proto::{Command, Put, Range};
use kv_store::{Options, Position, Store, StoreError};
use proptest::prelude::*;
use tempfile::TempDir;

use support::sim_disk::SimDisk;
use support::workload::{apply_until, assert_same, forgetful, reference};
use support::{encode, entry};

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory for tests");
    let path = dir.path().join("store.redb");
    (dir, path)
}

fn open(path: &Path) -> Store {
    Store::open(path, &forgetful()).expect("it opens")
}

#[test]
fn a_fresh_store_is_empty_and_nothing_of_it_is_durable() {
    let (_dir, path) = place();
    let store = open(&path);
    assert_same(&store, &reference(&forgetful(), 0));
    assert_eq!(store.durable(), Position::default());
    drop(store);
    assert_same(&open(&path), &reference(&forgetful(), 0));
}

#[test]
fn it_goes_on_where_it_was_stopped_as_if_nothing_had_happened() {
    let (_dir, path) = place();
    let mut last = 0;
    for run in 0..12 {
        let mut store = open(&path);
        assert_same(&store, &reference(&forgetful(), last));
        last += [1, 3, 400, 0, 77, 1500][run % 6];
        apply_until(&mut store, last).expect("the disk works");
        assert_same(&store, &reference(&forgetful(), last));
    }
}

/// Which records died is listed for each batch, until there is so much in the lists that it is
/// worth marking them. Whoever opens the file finds some of both.
#[test]
fn what_died_stays_dead_whether_it_is_listed_or_marked() {
    let (dir, path) = place();
    let copy = dir.path().join("copy.redb");
    let mut store = open(&path);
    for last in (1..40).chain((40..3_000).step_by(40)) {
        apply_until(&mut store, last).expect("the disk works");
        store.flush().expect("the disk works");
        std::fs::copy(&path, &copy).expect("the disk works");
        let mut reopened = open(&copy);
        assert_same(&reopened, &reference(&forgetful(), last));
        // And goes on from there, with another batch or two.
        apply_until(&mut reopened, last + 1).expect("the disk works");
        reopened.flush().expect("the disk works");
        apply_until(&mut reopened, last + 30).expect("the disk works");
        drop(reopened);
        assert_same(&open(&copy), &reference(&forgetful(), last + 30));
    }
}

/// Makes a file in which nothing is listed one of format 1: that had no lists.
fn make_format_1(path: &Path) {
    use redb::{Database, ReadableTable, ReadableTableMetadata, TableDefinition};
    const DEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead");
    const DIED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("died");
    const STATE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("state");
    let database = Database::open(path).expect("it is closed");
    let mut transaction = database.begin_write().expect("the disk works");
    transaction.set_quick_repair(true);
    let rows = |table| transaction.open_table(table).and_then(|table| Ok(table.len()?));
    assert_eq!(rows(DIED).expect("the disk works"), 0);
    assert!(rows(DEAD).expect("the disk works") > 0, "something is marked");
    assert!(transaction.delete_table(DIED).expect("the disk works"), "it was there");
    {
        let mut table = transaction.open_table(STATE).expect("it is there");
        let mut row = table.get(0).expect("the disk works").expect("it is there").value().to_vec();
        assert_eq!(row[4..6], [2, 0]);
        row[4] = 1;
        let checksum = crc32c::crc32c(&row[4..]);
        row[..4].copy_from_slice(&checksum.to_le_bytes());
        table.insert(0, row.as_slice()).expect("the disk works");
    }
    transaction.commit().expect("the disk works");
}

#[test]
fn a_file_of_format_1_is_read_and_goes_on_as_one_of_format_2() {
    let (_dir, path) = place();
    apply_until(&mut open(&path), 400).expect("the disk works");
    // The first batch after a start marks what was listed before.
    apply_until(&mut open(&path), 401).expect("the disk works");
    make_format_1(&path);
    let mut store = open(&path);
    assert_same(&store, &reference(&forgetful(), 401));
    for last in [402, 430, 431, 1_000, 1_001] {
        apply_until(&mut store, last).expect("the disk works");
        store.flush().expect("the disk works");
    }
    drop(store);
    assert_same(&open(&path), &reference(&forgetful(), 1_001));
}

#[test]
fn the_log_is_replayed_from_the_durable_position_on() {
    let (_dir, path) = place();
    let mut store = open(&path);
    apply_until(&mut store, 300).expect("the disk works");
    assert_eq!(store.flush().expect("the disk works"), entry(300));
    assert_eq!(store.durable(), entry(300));
    apply_until(&mut store, 301).expect("the disk works");
    assert!([300, 301].contains(&store.durable().index));
}

/// Opening was once three times as much work: the database read all of it twice for its check, and
/// then it was read again for the index.
#[test]
fn the_file_is_read_once_at_a_start_whether_it_was_closed_or_the_power_went() {
    let options = Options { page_cache_bytes: 0, ..forgetful() };
    let disk = SimDisk::default();
    let mut store = Store::open_on(disk.clone(), Path::new("disk"), &options).expect("empty");
    while store.applied_index() < 4_000 {
        let next = entry(store.applied_index() + 1);
        let name = next.index.to_be_bytes();
        let put = Command::Put(Put::new(&name, &[0x5a; 1_000]));
        store.apply(next, &encode(&put)).expect("the disk works");
        if next.index.is_multiple_of(500) {
            store.flush().expect("the disk works");
        }
    }
    let without_power = disk.after_power_loss(|| false);
    let digest = store.digest();
    drop(store);
    for image in [without_power, disk.after_power_loss(|| true)] {
        let used_bytes = image.chunks(4096).filter(|page| page.iter().any(|byte| *byte != 0));
        let used_bytes = used_bytes.count() * 4096;
        let disk = SimDisk::with_content(image);
        let store = Store::open_on(disk.clone(), Path::new("disk"), &options).expect("it is whole");
        assert_eq!(store.digest(), digest);
        let read_bytes = disk.read_bytes();
        // With its assertions on, as in tests, the database goes through all pages by itself.
        let most = if cfg!(debug_assertions) { 5 } else { 3 };
        assert!(read_bytes < used_bytes / 2 * most, "{read_bytes} for {used_bytes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn restarts_at_any_moments_change_nothing(runs in prop::collection::vec(0..300_u64, 1..6)) {
        let (_dir, path) = place();
        let mut last = 0;
        for run in runs {
            let mut store = open(&path);
            last += run;
            apply_until(&mut store, last).expect("the disk works");
        }
        assert_same(&open(&path), &reference(&forgetful(), last));
    }
}

#[test]
fn a_value_is_read_from_disk_when_it_has_left_the_memory() {
    let (_dir, path) = place();
    let options = Options { cache_bytes: 0, ..Options::default() };
    let mut store = Store::open(&path, &options).expect("it opens");
    let value = |index: u64| format!("the value of {index}").into_bytes();
    for index in 1..=5_000_u64 {
        let put = encode(&Command::Put(Put::new(&index.to_be_bytes(), &value(index))));
        store.apply(entry(index), &put).expect("the disk works");
    }
    store.flush().expect("the disk works");
    store.skip(entry(5_001)).expect("the disk works");
    for index in 1..=5_000_u64 {
        let reply = store.range(&Range::key(index.to_be_bytes().as_slice())).expect("it is there");
        assert_eq!(*reply.kvs[0].value, *value(index));
    }
    // Prev and keep need the old value while they are applied.
    let key = 7_u64.to_be_bytes();
    let keep = Put { value: None, prev: true, ..Put::new(&key, b"") };
    store.apply(entry(5_002), &encode(&Command::Put(keep))).expect("the disk works");
    let reply = store.range(&Range::key(key.as_slice())).expect("it is there");
    assert_eq!((reply.kvs[0].version, &*reply.kvs[0].value), (2, &*value(7)));
}

/// The database was asked for the last block up to a record, and looked at the one behind it
/// first: for each value, two were read and checked.
#[test]
fn a_value_is_read_with_its_own_block_and_no_other() {
    // Hardly more than the way down to a block.
    let options = Options { page_cache_bytes: 64 << 10, cache_bytes: 0, ..forgetful() };
    let disk = SimDisk::default();
    let mut store = Store::open_on(disk.clone(), Path::new("disk"), &options).expect("empty");
    let read_all = |store: &Store, what: &str| {
        let before = disk.read_bytes();
        for number in 0..2_000_u64 {
            let key = (number * 1_009 % 2_000).to_be_bytes();
            let reply = store.range(&Range::key(key.as_slice())).expect("it is there");
            assert_eq!(reply.kvs.len(), 1);
        }
        let each_bytes = (disk.read_bytes() - before) / 2_000;
        assert!((12 << 10..24 << 10).contains(&each_bytes), "{what}: {each_bytes} bytes for each");
    };
    for (puts, what) in [(2_000, "put once"), (9_000, "put again, and cleaned")] {
        for _ in 0..puts {
            let next = entry(store.applied_index() + 1);
            let key = (next.index * 7 % 2_000).to_be_bytes();
            let put = encode(&Command::Put(Put::new(&key, &[0x5a; 1_000])));
            store.apply(next, &put).expect("the disk works");
        }
        store.flush().expect("the disk works");
        store.skip(entry(store.applied_index() + 1)).expect("the disk works");
        read_all(&store, what);
    }
    drop(store);
    let store = Store::open_on(disk.clone(), Path::new("disk"), &options).expect("it is whole");
    read_all(&store, "opened again");
}

#[test]
fn two_stores_cannot_have_one_file() {
    let (_dir, path) = place();
    let _store = open(&path);
    let error = Store::open(&path, &forgetful()).expect_err("the file is taken");
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
}

#[test]
fn a_draft_that_a_crash_left_behind_is_no_store() {
    let (dir, path) = place();
    std::fs::write(dir.path().join("store.redb.new"), b"half of a file").expect("a file");
    apply_until(&mut open(&path), 10).expect("the disk works");
    assert_same(&open(&path), &reference(&forgetful(), 10));
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path) = place();
    drop(open(&path));
    let mode = std::fs::metadata(&path).expect("it exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
