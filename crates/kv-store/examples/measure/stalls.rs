//! How long single puts wait while the store is half busy.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kv_store::Store;

use crate::open;
use crate::work::{apply, put, put_all, scatter};

const KEYS: u64 = 1_000_000;

/// Puts are made in small groups, at fixed times.
const TICK: Duration = Duration::from_millis(1);

/// What counts as a stall.
const STALL: Duration = Duration::from_millis(50);

/// Measures it in a file at `path`, twice for `time`: alone, and while snapshots are made.
pub(crate) fn measure(path: &Path, time: Duration) {
    let mut store = open(Some(path));
    put_all(&mut store, KEYS, scatter);
    let full_rate = full_load(&mut store);
    println!("{KEYS} keys, overwritten; at full load {full_rate:.0} puts a second");
    let half = Duration::from_secs_f64(2.0 / full_rate);
    paced(&mut store, time, half, 0).report("alone");
    let snapshots = store.snapshots().expect("it has a file");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut made = 0_u32;
            while !is_over.load(Ordering::Relaxed) {
                let mut snapshot = snapshots.take().expect("the disk works");
                while !is_over.load(Ordering::Relaxed) {
                    let piece = snapshot.next_piece().expect("the disk works");
                    if piece.is_none() {
                        made += 1;
                        break;
                    }
                }
            }
            made
        });
        let puts = paced(&mut store, time, half, 1 << 60);
        is_over.store(true, Ordering::Relaxed);
        puts.report("beside snapshots");
        println!("  {} snapshots were made", sender.join().expect("the disk works"));
    });
}

/// How long each put took.
struct Puts {
    micros: Vec<u32>,
}

/// How many puts a second the store can keep up with: those it takes in while it is never left
/// alone, after cleaning has come to be as busy as it will stay.
fn full_load(store: &mut Store) -> f64 {
    let overwrite = |store: &mut Store, count: u64| {
        let started = Instant::now();
        (0..count).for_each(|number| apply(store, &overwriting(number, 1 << 50)));
        store.flush().expect("the disk works");
        f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / started.elapsed().as_secs_f64()
    };
    overwrite(store, 2 * KEYS);
    overwrite(store, 4 * KEYS)
}

/// A put of a key that is there already; which one does not look like any order.
fn overwriting(number: u64, seed: u64) -> Vec<u8> {
    put(scatter(scatter(number) % KEYS), seed + number)
}

/// Overwrites keys for `time`, one each `interval` on average.
fn paced(store: &mut Store, time: Duration, interval: Duration, seed: u64) -> Puts {
    let mut micros = Vec::new();
    let started = Instant::now();
    let mut number = 0_u32;
    while started.elapsed() < time {
        while interval * number < started.elapsed() {
            let command = overwriting(u64::from(number), seed);
            let began = Instant::now();
            apply(store, &command);
            micros.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
            number += 1;
        }
        std::thread::sleep(TICK);
    }
    Puts { micros }
}

impl Puts {
    fn report(mut self, what: &str) {
        self.micros.sort_unstable();
        let at = |of_million: usize| {
            let last = self.micros.len().saturating_sub(1);
            self.micros.get(last * of_million / 1_000_000).copied().unwrap_or(0)
        };
        let stall = u32::try_from(STALL.as_micros()).unwrap_or(u32::MAX);
        let stalls = self.micros.len() - self.micros.partition_point(|micros| *micros <= stall);
        println!(
            "  {what:<16} {} puts: median {} us, 99.9 % within {} us, 99.999 % within {} us, \
             slowest {} us; {stalls} above 50 ms",
            self.micros.len(),
            at(500_000),
            at(999_000),
            at(999_990),
            at(1_000_000)
        );
    }
}
