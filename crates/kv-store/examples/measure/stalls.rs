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
    // Overwrites in another order, so that cleaning has its share.
    let shuffled = |number| scatter(number * 7_919 % KEYS);
    let (_, full_us) = put_all(&mut store, KEYS, shuffled);
    let full_rate = 1e6 / full_us;
    println!("{KEYS} keys, overwritten; at full load {full_rate:.0} puts a second");
    let half = Duration::from_secs_f64(2.0 * full_us / 1e6);
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

/// Overwrites keys for `time`, one each `interval` on average.
fn paced(store: &mut Store, time: Duration, interval: Duration, seed: u64) -> Puts {
    let mut micros = Vec::new();
    let started = Instant::now();
    let mut number = 0_u32;
    while started.elapsed() < time {
        while interval * number < started.elapsed() {
            let name = scatter(scatter(u64::from(number)) % KEYS);
            let command = put(name, seed + u64::from(number));
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
