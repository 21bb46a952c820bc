//! What a put costs in processor time, a key in memory and on disk, and how long anything waits.
//!
//! ```text
//! cargo run --release -p kv-store --example measure -- [DIR|memory] [WHAT] [N]
//! ```
//!
//! WHAT is one of `random`, `ascending`, `opening`, `ageing` and `stalls`.
//!
//! `random` and `ascending` put N keys (a million unless told otherwise) of 16 bytes with values of
//! 256 bytes, in that order, open the store again, read each key once, make a snapshot and take it
//! in, put all keys again in another order, and delete them. Commands are encoded beforehand.
//! Times are of the processor, of all threads, and end when everything is in the file: what is
//! written behind counts.
//!
//! `opening` puts N keys, and opens the store seven times.
//!
//! `ageing` overwrites a million keys at random, N million times (20 unless told otherwise), and
//! tells of each million what a put took.
//!
//! `stalls` overwrites a million keys for N seconds (300 unless told otherwise) at half the rate
//! that the store keeps up with for as long as one likes, and tells how long single puts took; then
//! for as long again while snapshots are made one after the other.
//!
//! With DIR alone, `random` and `stalls` are run, one after the other. What is made in DIR is
//! removed again. In `memory`, there is no file, and no `stalls`. What the process holds (`VmRSS`)
//! and its processor time are told by Linux only.

mod meter;
mod stalls;
mod work;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kv_proto::{Limits, Range, SortBy};
use kv_store::snapshot::Restore;
use kv_store::{Options, Store};

use meter::{Meter, processor_seconds};
use work::{delete_all, get_all, put_all, scatter};

/// How often the same store is opened, where that is measured.
const OPENINGS: usize = 7;

/// How long puts are made for `stalls`, each of two times.
const STALLS_TIME: Duration = Duration::from_mins(5);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().unwrap_or_else(|| "memory".into());
    let what = arguments.next();
    let count = arguments.next().and_then(|count| count.parse().ok());
    let path = (place != "memory").then(|| PathBuf::from(place).join("measure.redb"));
    let path = path.as_deref();
    if path.is_some_and(Path::exists) {
        return eprintln!("measure.redb is there already: name a directory without it");
    }
    let keys = count.unwrap_or(1_000_000);
    match (what.as_deref(), path) {
        (None, Some(path)) => {
            measure(Some(path), "random", keys, scatter);
            let _ = std::fs::remove_file(path);
            stalls::measure(path, STALLS_TIME);
        }
        (Some("random") | None, path) => measure(path, "random", keys, scatter),
        (Some("ascending"), path) => measure(path, "ascending", keys, |number| number),
        (Some("opening"), Some(path)) => opening(path, keys),
        (Some("ageing"), Some(path)) => ageing(path, count.unwrap_or(20)),
        (Some("stalls"), Some(path)) => {
            stalls::measure(path, count.map_or(STALLS_TIME, Duration::from_secs));
        }
        (Some(other), _) => eprintln!("{other} is not measured here: see what is above"),
    }
    if let Some(path) = path {
        let _ = std::fs::remove_file(path);
    }
}

fn open(path: Option<&Path>) -> Store {
    match path {
        None => Store::new(Limits::default()),
        Some(path) => Store::open(path, &Options::default()).expect("the file can be used"),
    }
}

/// Opens a store of so many keys again and again.
fn opening(path: &Path, keys: u64) {
    println!("opening a store of {keys} random keys");
    put_all(&mut open(Some(path)), keys, scatter);
    for _ in 0..OPENINGS {
        let (started, cpu) = (Instant::now(), processor_seconds());
        let store = open(Some(path));
        get_all(&store, 1, scatter);
        let cpu = processor_seconds() - cpu;
        let wall = started.elapsed().as_secs_f64();
        println!("  opened           {wall:.3} s to the first read, {cpu:.3} s of processor time");
    }
}

/// Overwrites a million keys at random again and again, a million puts at a time.
fn ageing(path: &Path, rounds: u64) {
    const KEYS: u64 = 1_000_000;
    println!("a million keys, put again at random, a million puts a line");
    let meter = Meter::new(Some(path));
    let mut store = open(Some(path));
    let cost = put_all(&mut store, KEYS, scatter);
    meter.report(&store, "first put", cost);
    for round in 1..=rounds {
        let before = meter::written_bytes();
        let random = |number| scatter(KEYS * round + number) % KEYS;
        let cost = put_all(&mut store, KEYS, |number| scatter(random(number)));
        meter.report(&store, &format!("{round} million"), cost);
        println!("                   {} bytes written", (meter::written_bytes() - before) / KEYS);
    }
}

fn measure(path: Option<&Path>, order: &str, keys: u64, name: impl Fn(u64) -> u64) {
    println!("{order} keys, {keys} of them");
    let meter = Meter::new(path);
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
    // Not in the order in which they were put, so that what is read lies everywhere.
    let shuffled = |number| name(number * 7_919 % keys);
    let cost = get_all(&store, keys, shuffled);
    meter.report(&store, "get anywhere", cost);
    if let Some(path) = path {
        copy(&store, &path.with_extension("copy"));
    }
    // So that what dies lies everywhere.
    let cost = put_all(&mut store, keys, shuffled);
    meter.report(&store, "second put", cost);
    let cost = put_all(&mut store, keys, &name);
    meter.report(&store, "third put", cost);
    scan(&store);
    let cost = delete_all(&mut store, keys, &name);
    meter.report(&store, "delete", cost);
}

/// Counts all keys, and reads them page by page.
fn scan(store: &Store) {
    let started = Instant::now();
    let mut range = Range::prefix(b"");
    range.options.count_only = true;
    let counted = store.range(&range).map_or(0, |reply| reply.count);
    let count_us = started.elapsed().as_secs_f64() * 1e6;
    println!("  count            {count_us:.0} us for {counted} keys");
    let mut range = Range::prefix(b"");
    range.options.limit = Some(1_000);
    let started = Instant::now();
    let (mut pages, mut pairs) = (0, 0);
    for _ in 0..100 {
        let Ok(reply) = store.range(&range) else { break };
        pages += 1;
        pairs += reply.kvs.len();
        let Some(next) = reply.next_key else { break };
        range.key = next.to_vec();
    }
    let page_us = work::per_item_us(started.elapsed().as_secs_f64(), pages);
    println!("  scan             {page_us:.0} us a page, {pages} pages with {pairs} pairs");
    sort_by_value(store, range.key);
}

/// Asks for the keys before `end` with the smallest values.
fn sort_by_value(store: &Store, end: Vec<u8>) {
    let mut range = Range::new(b"\0".to_vec(), end);
    range.options.limit = Some(10);
    range.options.sort_by = SortBy::Value;
    let started = Instant::now();
    let draft = store.find(&range).expect("they are few enough");
    let (settled, pairs) = (started.elapsed(), draft.pairs());
    draft.complete().expect("the disk works");
    let (settled, all) = (settled.as_secs_f64() * 1e3, started.elapsed().as_secs_f64() * 1e3);
    println!(
        "  by value         {settled:.0} ms at its turn, {all:.0} ms in all, of {pairs} pairs"
    );
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
    let unpacked = std::fs::metadata(path).map_or(0, |file| file.len()) / 1_000_000;
    let (out, taken_in) = (out.as_secs_f64(), taken_in.as_secs_f64());
    println!(
        "  snapshot         {packed} MB for a file of {unpacked} MB; {out:.2} s to make, \
         {taken_in:.2} s to take in"
    );
    let _ = std::fs::remove_file(path);
}
