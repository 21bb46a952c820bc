//! What the system tells of this process.

use std::path::Path;
use std::time::Duration;

use kv_store::Store;

/// Prints what steps cost.
pub(crate) struct Meter<'a> {
    path: Option<&'a Path>,
    before_bytes: u64,
}

impl<'a> Meter<'a> {
    /// Memory that is held from now on counts.
    pub(crate) fn new(path: Option<&'a Path>) -> Self {
        Self { path, before_bytes: resident_bytes() }
    }

    /// What each of a step's items took in microseconds, and what is held after it.
    pub(crate) fn report(&self, store: &Store, step: &str, (cpu_us, wall_us): (f64, f64)) {
        let resident = resident_bytes().saturating_sub(self.before_bytes) / 1_000_000;
        let disk = self.path.map_or(0, allocated_bytes) / 1_000_000;
        let past = store.stats().superseded_versions;
        println!(
            "  {step:<16} {cpu_us:.2} us of processor time, {wall_us:.2} us by the clock; \
             {resident} MB in memory, {disk} MB on disk, {past} old versions"
        );
    }
}

/// The memory this process holds, in bytes; 0 where the system does not tell it in this way.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The processor time that this process has used, in seconds, also of threads that have ended. It
/// goes in steps of a hundredth; 0 where the system does not tell it in this way.
pub(crate) fn processor_seconds() -> f64 {
    const TICK: Duration = Duration::from_millis(10);
    let told = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in brackets, may have spaces in it. The time outside the system and that inside
    // are the twelfth and thirteenth field behind it.
    let fields = told.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u32>().ok());
    (TICK * ticks.sum()).as_secs_f64()
}

/// The bytes that this process has written to files so far; 0 where the system does not tell it.
pub(crate) fn written_bytes() -> u64 {
    let told = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("wchar:"));
    line.and_then(|line| line.trim().parse().ok()).unwrap_or(0)
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
