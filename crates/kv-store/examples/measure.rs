//! What a put costs in processor time, and a key in memory and on disk.
//!
//! ```text
//! cargo run --release -p kv-store --example measure -- [FILE|memory] [ascending|random] [KEYS]
//! ```
//!
//! Puts KEYS keys (a million unless told otherwise) of 16 bytes with values of 256 bytes, in
//! ascending or in random order, opens the store again, reads each key once, puts all of them
//! again in another order, and deletes them. Commands are encoded beforehand.
//!
//! Times are of the processor, of all threads, and end when everything is in FILE: what is written
//! behind counts. FILE is created, and must not exist; without one (`memory`), everything stays in
//! memory. What the process holds (`VmRSS`) and its processor time are told by Linux only.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use kv_proto::{Command, Delete, Limits, Put, Range};
use kv_store::snapshot::Restore;
use kv_store::{Options, Position, Store};

const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 256;

/// Commands that are encoded at once, so that they do not count as the store's memory.
const BATCH: u64 = 10_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().unwrap_or_else(|| "memory".into());
    let order = arguments.next().unwrap_or_else(|| "ascending".into());
    let keys = arguments.next().and_then(|keys| keys.parse().ok()).unwrap_or(1_000_000);
    let path = (place != "memory").then(|| Path::new(&place));
    if path.is_some_and(Path::exists) {
        return eprintln!("{place} exists: name a file that does not");
    }
    match order.as_str() {
        "ascending" => measure(path, &order, keys, |number| number),
        "random" => measure(path, &order, keys, scatter),
        other => eprintln!("no order is called {other}: choose ascending or random"),
    }
}

fn open(path: Option<&Path>) -> Store {
    match path {
        None => Store::new(Limits::default()),
        Some(path) => Store::open(path, &Options::default()).expect("the file can be used"),
    }
}

fn measure(path: Option<&Path>, order: &str, keys: u64, name: impl Fn(u64) -> u64) {
    println!("{order} keys, {keys} of them");
    let meter = Meter { path, before_bytes: resident_bytes() };
    let mut store = open(path);
    let cost = put_all(&mut store, keys, &name);
    meter.report(&store, "first put", cost);
    if path.is_some() {
        drop(store);
        let (started, cpu) = (Instant::now(), processor_seconds());
        store = open(path);
        get_all(&store, 1, &name);
        let cpu = processor_seconds() - cpu;
        let wall = started.elapsed().as_secs_f64();
        println!("  opened again     {wall:.2} s to the first read, {cpu:.2} s of processor time");
    }
    let cost = get_all(&store, keys, &name);
    meter.report(&store, "get", cost);
    if let Some(path) = path {
        copy(&store, &path.with_extension("copy"));
    }
    // Not in the order in which they were put, so that what dies lies everywhere.
    let shuffled = |number| name(number * 7_919 % keys);
    let cost = put_all(&mut store, keys, shuffled);
    meter.report(&store, "second put", cost);
    let cost = put_all(&mut store, keys, &name);
    meter.report(&store, "third put", cost);
    let started = Instant::now();
    let listed = store.range(&Range::prefix(b"")).map_or(0, |reply| reply.count);
    let count_us = started.elapsed().as_secs_f64() * 1e6;
    println!("  first page       {count_us:.0} us, counting {listed}");
    let cost = delete_all(&mut store, keys, &name);
    meter.report(&store, "delete", cost);
}

/// Sends the store to another file as a snapshot, and removes that.
fn copy(store: &Store, path: &Path) {
    let mut snapshot = store.snapshot().expect("the disk works").expect("it has a file");
    let mut restore = Restore::begin(path).expect("the disk works");
    let (mut bytes, mut out, mut taken_in) = (0, Duration::ZERO, Duration::ZERO);
    loop {
        let started = Instant::now();
        let Some(piece) = snapshot.next_piece().expect("the disk works") else { break };
        out += started.elapsed();
        bytes += piece.len();
        let started = Instant::now();
        restore.take(&piece).expect("it is whole");
        taken_in += started.elapsed();
    }
    let started = Instant::now();
    restore.finish().and_then(|done| Ok(done.put_in_place()?)).expect("it is whole");
    taken_in += started.elapsed();
    let packed = bytes / 1_000_000;
    let (out, taken_in) = (out.as_secs_f64(), taken_in.as_secs_f64());
    println!("  snapshot         {packed} MB; {out:.2} s to make, {taken_in:.2} s to take in");
    let _ = std::fs::remove_file(path);
}

/// Prints what steps cost.
struct Meter<'a> {
    path: Option<&'a Path>,
    before_bytes: u64,
}

impl Meter<'_> {
    /// What each of a step's items took in microseconds, and what is held after it.
    fn report(&self, store: &Store, step: &str, (cpu_us, wall_us): (f64, f64)) {
        let resident = resident_bytes().saturating_sub(self.before_bytes) / 1_000_000;
        let disk = self.path.map_or(0, allocated_bytes) / 1_000_000;
        let past = store.stats().superseded_versions;
        println!(
            "  {step:<16} {cpu_us:.2} us of processor time, {wall_us:.2} us by the clock; \
             {resident} MB in memory, {disk} MB on disk, {past} old versions"
        );
    }
}

/// Microseconds for each put: of the processor, and by the clock.
fn put_all(store: &mut Store, keys: u64, name: impl Fn(u64) -> u64) -> (f64, f64) {
    apply_all(store, keys, |number| {
        // Half of it can be packed.
        let mut value = [7; VALUE_BYTES];
        for (place, piece) in (1..).zip(value[..VALUE_BYTES / 2].chunks_exact_mut(8)) {
            piece.copy_from_slice(&scatter(number ^ (place << 40)).to_le_bytes());
        }
        let mut bytes = Vec::new();
        let encoded = Command::Put(Put::new(&key(name(number)), &value)).encode(&mut bytes);
        assert!(encoded.is_ok());
        bytes
    })
}

/// The same for each delete.
fn delete_all(store: &mut Store, keys: u64, name: impl Fn(u64) -> u64) -> (f64, f64) {
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
        for command in &commands {
            let at = Position { term: 1, index: store.applied_index() + 1 };
            let applied = store.apply(at, command);
            assert!(black_box(applied).is_ok_and(|applied| applied.result.is_ok()));
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
fn get_all(store: &Store, keys: u64, name: impl Fn(u64) -> u64) -> (f64, f64) {
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

/// The processor time that all threads of this process have used, in seconds.
fn processor_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let told = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        told.split_whitespace().next()?.parse::<u64>().ok()
    });
    std::time::Duration::from_nanos(nanos.sum()).as_secs_f64()
}

#[cfg(unix)]
fn allocated_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map_or(0, |file| file.blocks() * 512)
}

#[cfg(not(unix))]
fn allocated_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
