//! What a put costs in time, and a key in memory.
//!
//! ```text
//! cargo run --release -p kv-store --example measure [ascending|random] [KEYS]
//! ```
//!
//! Puts KEYS keys (a million unless told otherwise) of 16 bytes with values of 256 bytes, in
//! ascending or in random order, then puts all of them again, reads each once, and deletes them.
//! One thread, commands encoded beforehand. The memory is what the process holds more than before
//! (`VmRSS`, Linux only), less the bytes of the keys and values themselves.

use std::hint::black_box;
use std::time::Instant;

use kv_proto::{Command, Delete, Limits, Put, Range};
use kv_store::Store;

const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 256;

/// Commands that are encoded at once, so that they do not count as the store's memory.
const BATCH: u64 = 10_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let order = arguments.next().unwrap_or_else(|| "ascending".into());
    let keys = arguments.next().and_then(|keys| keys.parse().ok()).unwrap_or(1_000_000);
    match order.as_str() {
        "ascending" => measure(&order, keys, |number| number),
        "random" => measure(&order, keys, scatter),
        other => eprintln!("no order is called {other}: choose ascending or random"),
    }
}

fn measure(order: &str, keys: u64, name: impl Fn(u64) -> u64) {
    let mut store = Store::new(Limits::default());
    let before_bytes = resident_bytes();
    let first_us = put_all(&mut store, keys, &name);
    let grown_bytes = resident_bytes().saturating_sub(before_bytes);
    let overhead_bytes = (grown_bytes / keys).saturating_sub((KEY_BYTES + VALUE_BYTES) as u64);
    let again_us = put_all(&mut store, keys, &name);
    let get_us = get_all(&store, keys, &name);
    let started = Instant::now();
    let listed = store.range(&Range::prefix(b"")).map_or(0, |reply| reply.count);
    let count_us = started.elapsed().as_secs_f64() * 1e6;
    let delete_us = delete_all(&mut store, keys, &name);
    println!("{order} keys, {keys} of them");
    println!("  first put        {first_us:.2} us");
    println!("  second put       {again_us:.2} us");
    println!("  get              {get_us:.2} us");
    println!("  delete           {delete_us:.2} us");
    println!("  first page       {count_us:.0} us, counting {listed}");
    println!("  memory           {overhead_bytes} bytes a key beyond key and value");
}

/// Microseconds for each put.
fn put_all(store: &mut Store, keys: u64, name: impl Fn(u64) -> u64) -> f64 {
    let value = [7; VALUE_BYTES];
    apply_all(store, keys, |number| {
        let mut bytes = Vec::new();
        let encoded = Command::Put(Put::new(&key(name(number)), &value)).encode(&mut bytes);
        assert!(encoded.is_ok());
        bytes
    })
}

/// Microseconds for each delete.
fn delete_all(store: &mut Store, keys: u64, name: impl Fn(u64) -> u64) -> f64 {
    apply_all(store, keys, |number| {
        let mut bytes = Vec::new();
        let encoded = Command::Delete(Delete::key(&key(name(number)))).encode(&mut bytes);
        assert!(encoded.is_ok());
        bytes
    })
}

fn apply_all(store: &mut Store, count: u64, command: impl Fn(u64) -> Vec<u8>) -> f64 {
    let mut seconds = 0.0;
    for first in (0..count).step_by(usize::try_from(BATCH).unwrap_or(1)) {
        let commands: Vec<_> = (first..count.min(first + BATCH)).map(&command).collect();
        let started = Instant::now();
        for command in &commands {
            let applied = store.apply(store.applied_index() + 1, command);
            assert!(black_box(applied).result.is_ok());
        }
        seconds += started.elapsed().as_secs_f64();
    }
    per_item_us(seconds, count)
}

/// Microseconds for each get.
fn get_all(store: &Store, keys: u64, name: impl Fn(u64) -> u64) -> f64 {
    let mut seconds = 0.0;
    for first in (0..keys).step_by(usize::try_from(BATCH).unwrap_or(1)) {
        let ranges: Vec<_> =
            (first..keys.min(first + BATCH)).map(|number| Range::key(key(name(number)))).collect();
        let started = Instant::now();
        for range in &ranges {
            assert!(black_box(store.range(range)).is_ok_and(|reply| reply.count == 1));
        }
        seconds += started.elapsed().as_secs_f64();
    }
    per_item_us(seconds, keys)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_item_us(seconds: f64, count: u64) -> f64 {
    seconds * 1e6 / count as f64
}

fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = *b"key/....--------";
    key[4..12].copy_from_slice(&number.to_be_bytes());
    key
}

/// A one-to-one scattering of the numbers.
fn scatter(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes()
}

/// The memory this process holds, in bytes; 0 where the system does not tell it in this way.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
