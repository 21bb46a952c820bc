//! Whether the machine itself stood still while something was measured on it.
//!
//! Whoever promises that nobody waits longer than so long promises it on a machine that runs. A
//! virtual one does not always: somebody else has its processors for a while, or its disk answers
//! nobody. Witnesses that have nothing else to do tell those moments from our own:
//!
//! - On each processor, a thread that sleeps for a millisecond at a time, with a priority before
//!   everything that is measured here. When it sleeps for longer, its processor ran nothing.
//! - A thread that writes 4 KiB and syncs them, fifty times a second, into a file of its own. It
//!   waits behind what the nodes write as well, so a long sync is the disk's own doing only as far
//!   as they do not give it more than it can take.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};

use super::timeline::now_us;
use crate::failure::{Context, Failure};

/// How long a witness of a processor sleeps.
const NAP: Duration = Duration::from_millis(1);

/// What it tells: nothing on a processor that runs takes so long from who goes first.
const LEAST_OF_PROCESSOR: Duration = Duration::from_millis(5);

/// What the witness of the disk tells: more than it waits behind others otherwise.
const LEAST_OF_DISK: Duration = Duration::from_millis(20);

/// How long the witness of the disk rests after a sync.
const REST: Duration = Duration::from_millis(20);

const BLOCK_BYTES: usize = 4096;

/// A moment in which something did nothing for anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standstill {
    /// In microseconds since 1970.
    pub(super) span: Range<u64>,
    pub(super) of: Part,
}

/// What stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Processor(usize),
    Disk,
}

impl Part {
    fn least(self) -> Duration {
        match self {
            Self::Processor(_) => LEAST_OF_PROCESSOR,
            Self::Disk => LEAST_OF_DISK,
        }
    }
}

impl Standstill {
    /// It took so long, and is over now.
    fn ended(of: Part, took: Duration) -> Self {
        let until = now_us();
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        Self { span: until.saturating_sub(took)..until, of }
    }

    pub(super) fn took_us(&self) -> u64 {
        self.span.end - self.span.start
    }
}

/// Does `work`, and watches the processors and the disk of `folder` meanwhile.
///
/// Processors are not watched where that is not allowed; then it is said.
///
/// # Errors
///
/// If the work fails, or the disk.
pub(super) fn beside<T>(
    folder: &Path,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<(T, Vec<Standstill>), Failure> {
    let processors = sched_getaffinity(None).map_err(io::Error::from);
    let processors = processors.context(|| "cannot ask for the processors".into())?;
    let path = folder.join("witness");
    let about_disk = || format!("cannot watch the disk with {}", path.display());
    let file = OpenOptions::new().create_new(true).write(true).open(&path);
    let file = file.context(about_disk)?;
    let is_over = AtomicBool::new(false);
    let done = thread::scope(|scope| {
        let watched = (0..CpuSet::MAX_CPU).filter(|number| processors.is_set(*number));
        let is_over = &is_over;
        let processors: Vec<_> =
            watched.map(|number| scope.spawn(move || watch_processor(number, is_over))).collect();
        let disk = scope.spawn(|| watch_disk(&file, is_over).context(about_disk));
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        let mut seen = joined(disk)?;
        for processor in processors {
            match joined(processor) {
                Ok(mut more) => seen.append(&mut more),
                Err(failure) => eprintln!("{failure}"),
            }
        }
        Ok((done?, seen))
    });
    std::fs::remove_file(&path).context(about_disk)?;
    done
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn watch_processor(number: usize, is_over: &AtomicBool) -> Result<Vec<Standstill>, Failure> {
    go_first_on(number).context(|| format!("cannot watch processor {number}"))?;
    let mut seen = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        thread::sleep(NAP);
        note(&mut seen, Part::Processor(number), began.elapsed());
    }
    Ok(seen)
}

/// Stays on this processor, before all others.
fn go_first_on(number: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(number);
    sched_setaffinity(None, &only)?;
    let thread = gettid().as_raw_nonzero().to_string();
    // The library for such calls has none for priorities.
    let chrt = Command::new("chrt")
        .args(["--fifo", "--pid", "1", &thread])
        .stdin(Stdio::null())
        .status()?;
    if chrt.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("`chrt --fifo` ended with {chrt}: a witness has to be root")))
}

fn watch_disk(file: &File, is_over: &AtomicBool) -> io::Result<Vec<Standstill>> {
    let block = [0x5a; BLOCK_BYTES];
    let mut seen = Vec::new();
    file.write_all_at(&block, 0)?;
    file.sync_all()?;
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        file.write_all_at(&block, 0)?;
        file.sync_data()?;
        note(&mut seen, Part::Disk, began.elapsed());
        thread::sleep(REST);
    }
    Ok(seen)
}

fn note(seen: &mut Vec<Standstill>, of: Part, took: Duration) {
    if took >= of.least() {
        seen.push(Standstill::ended(of, took));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_worth_telling_is_told_with_its_time() {
        let mut seen = Vec::new();
        note(&mut seen, Part::Disk, Duration::from_millis(19));
        note(&mut seen, Part::Processor(1), Duration::from_millis(4));
        note(&mut seen, Part::Processor(1), Duration::from_millis(7));
        let [it] = &seen[..] else { panic!("one of them: {seen:?}") };
        assert_eq!((it.of, it.took_us()), (Part::Processor(1), 7_000));
        assert!(it.span.end <= now_us());
    }

    #[test]
    fn what_is_watched_comes_back_and_nothing_stays_in_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let work = || {
            thread::sleep(Duration::from_millis(5));
            Ok("done")
        };
        let (done, _) = beside(folder.path(), work).expect("the disk works");
        assert_eq!(done, "done");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
        let failed = beside(folder.path(), || Err::<(), _>(Failure::new("no")));
        assert_eq!(failed.expect_err("it failed").to_string(), "no");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
