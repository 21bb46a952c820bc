//! kv-store: commands applied and ranges answered, in a state file, as a server has them. The
//! thread that writes the file behind does not count.

use std::hint::black_box;

use kv_proto::Range;
use kv_store::{Options, Position, Store};
use tempfile::TempDir;

use crate::samples;

/// How many keys are put, got and put again.
const KEYS: u64 = 1000;

/// A put of a key that is not there yet.
pub(crate) fn insert(steps: u32) -> Box<dyn FnMut()> {
    applied(Home::new(), (0..u64::from(steps)).map(samples::put).collect())
}

/// A put of a key that is there.
pub(crate) fn overwrite(steps: u32) -> Box<dyn FnMut()> {
    let numbers = (0..KEYS).cycle().take(steps as usize);
    applied(Home::filled(), numbers.map(samples::put).collect())
}

/// A get of a key whose value is in memory.
pub(crate) fn get() -> Box<dyn FnMut()> {
    let home = Home::filled();
    home.store.flush().expect("the disk works");
    let ranges: Vec<_> = (0..KEYS).map(|number| Range::key(samples::key(number))).collect();
    let mut next = 0;
    Box::new(move || {
        let reply = home.store.range(&ranges[next]).expect("the disk works");
        assert_eq!(reply.kvs.len(), 1);
        black_box(reply);
        next = (next + 1) % ranges.len();
    })
}

fn applied(mut home: Home, commands: Vec<Vec<u8>>) -> Box<dyn FnMut()> {
    let mut next = 0;
    Box::new(move || {
        home.apply(&commands[next]);
        next += 1;
    })
}

/// A store in a directory of its own.
struct Home {
    // Dropped first: it writes to the end.
    store: Store,
    _directory: TempDir,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory for a store");
        let path = directory.path().join("state.redb");
        let store = Store::open(&path, &Options::default()).expect("an empty directory");
        Self { store, _directory: directory }
    }

    /// One that holds [`KEYS`].
    fn filled() -> Self {
        let mut home = Self::new();
        (0..KEYS).for_each(|number| home.apply(&samples::put(number)));
        home
    }

    fn apply(&mut self, command: &[u8]) {
        let at = Position { term: 1, index: self.store.applied_index() + 1 };
        let applied = self.store.apply(at, command).expect("the disk works");
        assert!(black_box(applied).result.is_ok());
    }
}
