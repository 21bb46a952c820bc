//! The commands that are measured.

use std::hint::black_box;
use std::time::Instant;

use kv_proto::{Command, Delete, Put, Range};
use kv_store::{AHEAD, Position, Store};

use crate::meter::processor_seconds;

const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 256;

/// Commands that are encoded at once, so that they do not count as the store's memory.
const BATCH: u64 = 10_000;

/// Microseconds for each put: of the processor, and by the clock.
pub(crate) fn put_all(store: &mut Store, keys: u64, name: impl Fn(u64) -> u64) -> (f64, f64) {
    apply_all(store, keys, |number| put(name(number), number))
}

/// A put of a value that `seed` makes.
pub(crate) fn put(name: u64, seed: u64) -> Vec<u8> {
    // Half of it can be packed.
    let mut value = [7; VALUE_BYTES];
    for (place, piece) in (1..).zip(value[..VALUE_BYTES / 2].chunks_exact_mut(8)) {
        piece.copy_from_slice(&scatter(seed ^ (place << 40)).to_le_bytes());
    }
    let mut bytes = Vec::new();
    let encoded = Command::Put(Put::new(&key(name), &value)).encode(&mut bytes);
    assert!(encoded.is_ok());
    bytes
}

/// Applies a command at the next index.
pub(crate) fn apply(store: &mut Store, command: &[u8]) {
    let at = Position { term: 1, index: store.applied_index() + 1 };
    let applied = store.apply(at, command);
    assert!(black_box(applied).is_ok_and(|applied| applied.result.is_ok()));
}

/// The same for each delete.
pub(crate) fn delete_all(store: &mut Store, keys: u64, name: impl Fn(u64) -> u64) -> (f64, f64) {
    apply_all(store, keys, |number| {
        let mut bytes = Vec::new();
        let encoded = Command::Delete(Delete::key(&key(name(number)))).encode(&mut bytes);
        assert!(encoded.is_ok());
        bytes
    })
}

fn apply_all(store: &mut Store, count: u64, command: impl Fn(u64) -> Vec<u8>) -> (f64, f64) {
    let (mut cpu, mut wall) = (0.0, 0.0);
    for first in (0..count).step_by(usize::try_from(BATCH).unwrap_or(1)) {
        let commands: Vec<_> = (first..count.min(first + BATCH)).map(&command).collect();
        let (started, cpu_before) = (Instant::now(), processor_seconds());
        for commands in commands.chunks(AHEAD) {
            store.look_ahead(commands.iter().map(Vec::as_slice));
            for command in commands {
                apply(store, command);
            }
        }
        if first + BATCH >= count {
            store.flush().expect("the disk works");
        }
        wall += started.elapsed().as_secs_f64();
        cpu += processor_seconds() - cpu_before;
    }
    (per_item_us(cpu, count), per_item_us(wall, count))
}

/// The same for each get.
pub(crate) fn get_all(store: &Store, keys: u64, name: impl Fn(u64) -> u64) -> (f64, f64) {
    let (mut cpu, mut wall) = (0.0, 0.0);
    for first in (0..keys).step_by(usize::try_from(BATCH).unwrap_or(1)) {
        let ranges: Vec<_> =
            (first..keys.min(first + BATCH)).map(|number| Range::key(key(name(number)))).collect();
        let (started, cpu_before) = (Instant::now(), processor_seconds());
        for range in &ranges {
            assert!(black_box(store.range(range)).is_ok_and(|reply| reply.count == 1));
        }
        wall += started.elapsed().as_secs_f64();
        cpu += processor_seconds() - cpu_before;
    }
    (per_item_us(cpu, keys), per_item_us(wall, keys))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn per_item_us(seconds: f64, count: u64) -> f64 {
    seconds * 1e6 / count as f64
}

pub(crate) fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = *b"key/....--------";
    key[4..12].copy_from_slice(&number.to_be_bytes());
    key
}

/// A one-to-one scattering of the numbers.
pub(crate) fn scatter(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes()
}
