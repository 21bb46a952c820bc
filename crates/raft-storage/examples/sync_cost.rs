//! What the log costs beyond the disk itself: appends of 1, 16 and 256 entries of 256 bytes,
//! against a plain write and `fdatasync` of as many bytes in a file that was made the same way.
//! Also, how fast a log of a million entries is read when it is opened, and how a segment should
//! be made: at the end of a growing file, reserved, or full of zeros.
//!
//! ```text
//! cargo xtask bench storage log --directory DIRECTORY
//! cargo run --release -p raft-storage --example sync_cost [DIRECTORY]
//! ```
//!
//! All kinds take turns within one run, and medians are compared: the figures of a disk wander.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use raft_core::{
    Command, Entries, Entry, HardState, Index, NodeId, Payload, PersistId, Position, Term, Write,
};
use raft_storage::{FileDisk, Log, Options};

const ROUNDS: usize = 1000;
const VALUE_BYTES: usize = 256;
const FILE_BYTES: usize = 256 << 20;

/// How many entries are synced at once, and in how many writes.
const SHAPES: [(usize, usize); 4] = [(1, 1), (16, 1), (256, 1), (256, 256)];

fn main() -> Result<(), Box<dyn Error>> {
    let directory = match std::env::args().nth(1) {
        Some(path) => tempfile::tempdir_in(path)?,
        None => tempfile::tempdir_in(".")?,
    };
    compare_with_the_disk(directory.path())?;
    open_a_million(&directory.path().join("million"))?;
    compare_ways_to_make_a_file(directory.path())?;
    Ok(())
}

fn compare_with_the_disk(directory: &Path) -> Result<(), Box<dyn Error>> {
    println!("entries  writes    bytes   log, us   raw, us   ratio   (medians of {ROUNDS})");
    for (entries, writes) in SHAPES {
        let mut log = Appender::new(&directory.join(format!("{entries}-{writes}")))?;
        let bytes = log.bytes_of(entries, writes)?;
        let raw = zeroed(&directory.join(format!("{entries}-{writes}.raw")), FILE_BYTES)?;
        let payload = noise(bytes);
        let (mut log_times, mut raw_times) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            log_times.push(log.append(entries, writes)?);
            let at = (round * bytes) % (FILE_BYTES - bytes);
            let begin = Instant::now();
            raw.write_all_at(&payload, at as u64)?;
            raw.sync_data()?;
            raw_times.push(begin.elapsed());
        }
        let (log_us, raw_us) = (median_us(log_times), median_us(raw_times));
        let ratio = log_us / raw_us;
        println!(
            "{entries:>7}  {writes:>6}  {bytes:>7}  {log_us:>8.1}  {raw_us:>8.1}  {ratio:>6.2}"
        );
    }
    Ok(())
}

struct Appender {
    log: Log<FileDisk>,
    path: PathBuf,
    next: u64,
    command: Command,
}

impl Appender {
    fn new(path: &Path) -> Result<Self, Box<dyn Error>> {
        // One segment for the whole run: what rolling costs is paid in the background.
        let options = Options {
            segment_bytes: FILE_BYTES as u64,
            ..Options::new(NodeId::new(1), 1, "1=a:1")
        };
        Self::with(path, &options)
    }

    fn with(path: &Path, options: &Options) -> Result<Self, Box<dyn Error>> {
        let (log, _) = Log::open(FileDisk::create(path)?, options)?;
        let command = Command::from(noise(VALUE_BYTES));
        Ok(Self { log, path: path.to_owned(), next: 1, command })
    }

    fn append(&mut self, entries: usize, writes: usize) -> Result<Duration, Box<dyn Error>> {
        let batch: Vec<Write> = (0..writes).map(|_| self.write_of(entries / writes)).collect();
        let begin = Instant::now();
        self.log.append(&batch)?;
        Ok(begin.elapsed())
    }

    fn write_of(&mut self, entries: usize) -> Write {
        let term = Term::new(1);
        let entry = |index| Entry {
            at: Position::new(term, Index::new(index)),
            payload: Payload::Command(self.command.clone()),
        };
        let run: Entries = (self.next..).take(entries).map(entry).collect();
        self.next += entries as u64;
        Write {
            id: PersistId::new(self.next),
            hard_state: HardState { term, vote: None, boots: 1, recovering: false },
            commit: Index::ZERO,
            reset: None,
            entries: run,
        }
    }

    /// How many bytes such a batch takes, from what it leaves in the file.
    fn bytes_of(&mut self, entries: usize, writes: usize) -> Result<usize, Box<dyn Error>> {
        self.append(entries, writes)?;
        let before = self.written()?;
        self.append(entries, writes)?;
        Ok(self.written()? - before)
    }

    fn written(&self) -> Result<usize, Box<dyn Error>> {
        let bytes = std::fs::read(self.path.join("00000001.log"))?;
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Ok(used)
    }
}

/// How fast a log is read back, checks and all. The system still has its bytes in memory, so this
/// is what the processor allows; the disk may be slower.
fn open_a_million(path: &Path) -> Result<(), Box<dyn Error>> {
    const ENTRIES: usize = 256;
    const BATCHES: usize = 4096;
    const OPENINGS: usize = 5;
    println!("\nopening a log of {} entries, medians of {OPENINGS}", ENTRIES * BATCHES);
    println!("entries in a record      MB        ms    MB/s");
    for record in [1, 16, 256] {
        let path = path.join(record.to_string());
        let options = Options::new(NodeId::new(1), 1, "1=a:1");
        let mut log = Appender::with(&path, &options)?;
        for _ in 0..BATCHES {
            log.append(ENTRIES, ENTRIES / record)?;
        }
        drop(log);
        let mut times = Vec::new();
        for _ in 0..OPENINGS {
            let begin = Instant::now();
            let (log, recovered) = Log::open(FileDisk::existing(&path)?, &options)?;
            times.push(begin.elapsed());
            assert_eq!(recovered.last.index.get(), (ENTRIES * BATCHES) as u64);
            drop(log);
        }
        let kilobytes = u32::try_from(segments_bytes(&path)? / 1000)?;
        let (megabytes, ms) = (f64::from(kilobytes) / 1e3, median_us(times) / 1e3);
        println!("{record:>19}  {megabytes:>6.0}  {ms:>8.1}  {:>6.0}", megabytes / ms * 1e3);
        std::fs::remove_dir_all(&path)?;
    }
    Ok(())
}

/// The size of all segments.
fn segments_bytes(path: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(path)? {
        let file = file?;
        if file.path().extension().is_some_and(|extension| extension == "log") {
            bytes += file.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn compare_ways_to_make_a_file(directory: &Path) -> Result<(), Box<dyn Error>> {
    const SIZE_BYTES: usize = 16 << 20;
    let growing = create(&directory.join("growing"))?;
    let reserved = create(&directory.join("reserved"))?;
    rustix::fs::fallocate(&reserved, rustix::fs::FallocateFlags::empty(), 0, SIZE_BYTES as u64)?;
    reserved.sync_all()?;
    let begin = Instant::now();
    let zeros = zeroed(&directory.join("zeros"), SIZE_BYTES)?;
    let made = begin.elapsed();
    let payload = noise(4096);
    let files = [("growing", growing), ("reserved", reserved), ("zeros", zeros)];
    let mut times = files.each_ref().map(|_| Vec::new());
    for round in 0..ROUNDS {
        for ((_, file), times) in files.iter().zip(&mut times) {
            let begin = Instant::now();
            file.write_all_at(&payload, (round * payload.len()) as u64)?;
            file.sync_data()?;
            times.push(begin.elapsed());
        }
    }
    println!("\n4 KiB and fdatasync, by how the file was made (16 MiB of zeros took {made:.1?})");
    for ((name, _), times) in files.iter().zip(times) {
        println!("{name:>9}  {:>8.1} us", median_us(times));
    }
    Ok(())
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

fn zeroed(path: &Path, size_bytes: usize) -> std::io::Result<File> {
    let file = create(path)?;
    let zeros = vec![0; 1 << 20];
    for at in (0..size_bytes).step_by(zeros.len()) {
        file.write_all_at(&zeros, at as u64)?;
    }
    file.sync_data()?;
    Ok(file)
}

fn noise(bytes: usize) -> Vec<u8> {
    (0..=250).cycle().take(bytes).collect()
}

fn median_us(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}
