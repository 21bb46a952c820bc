//! `snapshot save`: a backup of the whole store, in one file.
//!
//! Rules:
//! 1. What has the name that was asked for is whole, was checked piece by piece, and is on disk.
//!    Until then it is written beside, as `FILE.partial`, which goes when anything fails. One that
//!    is there already is of another save, under way or killed, and is left alone: this one takes
//!    the next free name, and says so.
//! 2. A file that is there is replaced only with `--force`, and then in one step.
//! 3. Nobody else can read it, unless its owner lets them.
//! 4. Only a terminal gets to see how far it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kv_client::{BackupOptions, Client};
use kv_store::snapshot::{SnapshotError, Summary, Verifier};
use serde::Serialize;

use crate::args::Format;
use crate::failure::Failure;
use crate::output::{self, size};

/// What to save.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) file: PathBuf,
    /// Whether a file that is there is replaced.
    pub(crate) force: bool,
    pub(crate) options: BackupOptions,
}

/// What was saved.
struct Saved {
    summary: Summary,
    size_bytes: u64,
    address: String,
}

/// Saves it, and says what it is.
pub(crate) fn run(
    client: &Client,
    wish: &Wish,
    format: Format,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let file = &wish.file;
    if file.is_dir() {
        let file = file.display();
        return Err(Failure::Usage(format!("{file} is a directory: name a file in it")));
    }
    if !wish.force && file.symlink_metadata().is_ok() {
        return Err(Failure::Usage(format!(
            "{} is there already and is left as it is: choose another name, or give --force to \
             replace it",
            file.display()
        )));
    }
    let mut partial = Partial::create(file)?;
    let is_shown = format == Format::Text && io::stderr().is_terminal();
    let saved = fetch(client, wish, &mut partial, Progress::new(is_shown))?;
    partial.put_in_place(file)?;
    let written = match format {
        Format::Text => print(out, file, &saved),
        Format::Json => output::json(out, &JsonSaved::new(file, &saved)),
    };
    written.map_err(Failure::Output)
}

fn fetch(
    client: &Client,
    wish: &Wish,
    partial: &mut Partial,
    mut progress: Progress,
) -> Result<Saved, Failure> {
    let backup = client.backup(wish.options)?;
    let address = backup.address().to_owned();
    let mut verifier = Verifier::default();
    let mut size_bytes = 0;
    for piece in backup {
        let piece = piece?;
        verifier.take(&piece.bytes).map_err(|error| spoilt(&address, &error))?;
        partial.append(&piece.bytes)?;
        size_bytes += piece.bytes.len() as u64;
        progress.show(size_bytes, piece.done, piece.total);
    }
    let summary = verifier.finish().map_err(|error| spoilt(&address, &error))?;
    Ok(Saved { summary, size_bytes, address })
}

fn spoilt(address: &str, error: &SnapshotError) -> Failure {
    Failure::Save(format!(
        "what {address} sent is no whole snapshot, and nothing was saved: {error}"
    ))
}

/// So many saves to one name may be under way or have been killed.
const MAX_PARTIALS: u32 = 9;

/// So much is synced at once. A node whose disk the file is on would otherwise wait at the end for
/// all of it, and its clients with it.
const SYNC_BYTES: usize = 1 << 20;

/// `FILE.partial`, then `FILE.partial-2` and so on.
fn partial_name(target: &Path, number: u32) -> PathBuf {
    let mut path = target.as_os_str().to_owned();
    path.push(".partial");
    if number > 1 {
        path.push(format!("-{number}"));
    }
    PathBuf::from(path)
}

/// If nobody hears it, the file is saved all the same.
fn say_that_it_is_not_alone(first: &Path, own: &Path) {
    let _ = writeln!(
        io::stderr(),
        "kv-cli: {} is there, of a save that is under way or was killed, and is left as it is; \
         this one writes {}. Remove the other if nobody writes it any more",
        first.display(),
        own.display()
    );
}

/// A file that goes when it is dropped, unless it was put in its place.
struct Partial {
    path: PathBuf,
    file: File,
    unsynced_bytes: usize,
    is_done: bool,
}

impl Partial {
    fn create(target: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // It holds everything, so it is as private as the data directory of a node.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let first = partial_name(target, 1);
        for number in 1..=MAX_PARTIALS {
            let path = partial_name(target, number);
            match options.open(&path) {
                Ok(file) => {
                    if number > 1 {
                        say_that_it_is_not_alone(&first, &path);
                    }
                    return Ok(Self { path, file, unsynced_bytes: 0, is_done: false });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let path = path.display();
                    let what = format!("{path} cannot be created: {error}; choose another place");
                    return Err(Failure::Usage(what));
                }
            }
        }
        Err(Failure::Usage(format!(
            "{} and {} more like it are there, of saves that are under way or were killed: remove \
             those that nobody writes any more",
            first.display(),
            MAX_PARTIALS - 1
        )))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| self.failed("write", &error))?;
        self.unsynced_bytes += bytes.len();
        if self.unsynced_bytes >= SYNC_BYTES {
            self.unsynced_bytes = 0;
            self.file.sync_data().map_err(|error| self.failed("sync", &error))?;
        }
        Ok(())
    }

    fn put_in_place(mut self, target: &Path) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| self.failed("sync", &error))?;
        fs::rename(&self.path, target).map_err(|error| self.failed("rename", &error))?;
        self.is_done = true;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(parent.unwrap_or(Path::new(".")));
        let synced = directory.and_then(|directory| directory.sync_all());
        synced.map_err(|error| self.failed("sync the directory of", &error))
    }

    fn failed(&self, what: &str, error: &io::Error) -> Failure {
        let path = self.path.display();
        Failure::Save(format!("cannot {what} {path}: {error}; see to it that the disk has room"))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_done {
            // If that fails too, it is still called what it is: partial.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// How often a person is told.
const SHOW_INTERVAL: Duration = Duration::from_millis(200);

/// One line on standard error that is written over and over, and gone at the end.
struct Progress {
    is_shown: bool,
    began: Instant,
    shown: Option<Instant>,
}

impl Progress {
    fn new(is_shown: bool) -> Self {
        Self { is_shown, began: Instant::now(), shown: None }
    }

    fn show(&mut self, size_bytes: u64, done: u64, total: u64) {
        let is_due = self.shown.is_none_or(|shown| shown.elapsed() >= SHOW_INTERVAL);
        if !self.is_shown || !is_due {
            return;
        }
        self.shown = Some(Instant::now());
        let line = line(size_bytes, done, total, self.began.elapsed());
        // Only for show.
        let _ = write!(io::stderr(), "\r{line}\x1b[K");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

const BAR_WIDTH: u8 = 30;

/// `[=====>      ]  42%  12.3 MiB  40.1 MiB/s`
fn line(size_bytes: u64, done: u64, total: u64, took: Duration) -> String {
    let part = |of: u64| u128::from(done.min(total)) * u128::from(of) / u128::from(total.max(1));
    let filled = usize::try_from(part(u64::from(BAR_WIDTH))).unwrap_or_default();
    let bar = format!("{}>", "=".repeat(filled));
    let per_second = u128::from(size_bytes) * 1000 / took.as_millis().max(1);
    let rate = size(u64::try_from(per_second).unwrap_or(u64::MAX));
    format!(
        "[{bar:<width$}] {:>3}%  {}  {rate}/s",
        part(100),
        size(size_bytes),
        width = usize::from(BAR_WIDTH) + 1
    )
}

/// The size to a byte, and where those are many, in the unit that suits as well.
fn exact_size(bytes: u64) -> String {
    if bytes < 1 << 10 { size(bytes) } else { format!("{}, {bytes} bytes", size(bytes)) }
}

fn print(out: &mut impl Write, file: &Path, saved: &Saved) -> io::Result<()> {
    let Saved { summary, size_bytes, address } = saved;
    writeln!(
        out,
        "saved {} ({}) from {address}\n\
         revision {}, index {} of term {}, {} records, digest {:016x}",
        file.display(),
        exact_size(*size_bytes),
        summary.revision,
        summary.position.index,
        summary.position.term,
        summary.records,
        summary.state_digest,
    )
}

#[derive(Serialize)]
struct JsonSaved<'a> {
    file: String,
    bytes: u64,
    server: &'a str,
    revision: u64,
    index: u64,
    term: u64,
    records: u64,
    /// In hexadecimal: many readers of JSON keep only 53 bits of a number.
    digest: String,
}

impl<'a> JsonSaved<'a> {
    fn new(file: &Path, saved: &'a Saved) -> Self {
        let Saved { summary, size_bytes, address } = saved;
        Self {
            file: file.display().to_string(),
            bytes: *size_bytes,
            server: address,
            revision: summary.revision,
            index: summary.position.index,
            term: summary.position.term,
            records: summary.records,
            digest: format!("{:016x}", summary.state_digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_suits() {
        let told = [0, 1023, 1024, 1536, 12 << 20, (3 << 30) + (1 << 29)].map(size);
        assert_eq!(told, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 KiB", "12.0 MiB", "3.5 GiB"]);
        assert_eq!(size(u64::MAX), "17179869183.9 GiB");
        assert_eq!([1023, 1536].map(exact_size), ["1023 bytes", "1.5 KiB, 1536 bytes"]);
    }

    #[test]
    fn the_bar_fills_from_left_to_right_and_always_has_one_length() {
        let second = Duration::from_secs(1);
        let lines = [(0, 0), (0, 9), (5, 10), (10, 10), (11, 10), (u64::MAX, u64::MAX)]
            .map(|(done, total)| line(1 << 20, done, total, second));
        assert!(lines.iter().all(|line| line.find(']') == Some(32)), "{lines:?}");
        assert!(lines[1].contains("  0%") && lines[2].contains(" 50%"), "{lines:?}");
        assert!(lines[3].starts_with("[==============================>] 100%  1.0 MiB  1.0 MiB/s"));
    }
}
