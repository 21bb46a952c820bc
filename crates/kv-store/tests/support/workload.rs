//! A log for stores on disks, and how two stores are compared.

#![allow(dead_code, reason = "every test file uses some of it")]

use kv_proto::{Command, Delete, Put, Range};
use kv_store::{Options, Retention, Store, StoreError};

use super::sim_disk::Dice;
use super::{at, encode, entry};

/// A store that forgets quickly, so that cleaning has something to do.
pub(crate) fn forgetful() -> Options {
    let retention = Retention { revisions: 20, history_bytes: u64::MAX };
    Options { retention, cache_bytes: 2_000, read_cache_bytes: 20_000, ..Options::default() }
}

/// The command at an index: puts of values short and long, deletes of one key and of many.
pub(crate) fn command(index: u64) -> Vec<u8> {
    let mut dice = Dice(index);
    let key = |number: u64| format!("key/{number:03}").into_bytes();
    let name = key(dice.roll(60));
    let value_bytes = match dice.roll(20) {
        0 => 20_000,
        1 => 0,
        _ => 40 + dice.roll(200),
    };
    let value = vec![index.to_le_bytes()[0]; usize::try_from(value_bytes).unwrap_or(0)];
    match dice.roll(10) {
        0 => encode(&Command::Delete(Delete::key(&name))),
        1 => {
            let end = key(dice.roll(60));
            encode(&Command::Delete(Delete { key: &name, range_end: &end, prev: false }))
        }
        2 => encode(&Command::Put(Put { value: None, ..Put::new(&name, b"") })),
        _ => encode(&Command::Put(Put::new(&name, &value))),
    }
}

/// Applies the log of [`command`]s up to `last`; every seventh entry is none for the store.
pub(crate) fn apply_until(store: &mut Store, last: u64) -> Result<(), StoreError> {
    while store.applied_index() < last {
        let index = store.applied_index() + 1;
        match index % 7 {
            0 => store.set_members(entry(index), &index.to_le_bytes())?,
            _ => _ = store.apply(entry(index), &command(index))?,
        }
    }
    Ok(())
}

/// The state at `index`, made in memory.
pub(crate) fn reference(options: &Options, index: u64) -> Store {
    let mut store = Store::with_retention(options.limits, options.retention);
    apply_until(&mut store, index).expect("it has no disk");
    store
}

/// Panics unless everything that can be asked of the two is answered alike.
pub(crate) fn assert_same(left: &Store, right: &Store) {
    assert_eq!(left.position(), right.position());
    assert_eq!(left.digest(), right.digest());
    assert_eq!(left.members(), right.members());
    assert_eq!(left.stats(), right.stats());
    assert_eq!(left.compacted_revision(), right.compacted_revision());
    assert_eq!(left.revision(), right.revision());
    for revision in left.compacted_revision().get()..=left.revision().get() {
        let range = at(Range::prefix(b""), revision);
        assert_eq!(left.range(&range), right.range(&range), "at revision {revision}");
    }
}
