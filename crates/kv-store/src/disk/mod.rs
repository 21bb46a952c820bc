//! The values on disk, and everything that a restart needs: one file, written behind.
//!
//! ```text
//!  apply thread                                        writer thread
//!  Disk: one entry  --- queue: the latest records --->  Writer  --->  StateFile (redb)
//!    reads those, or, on any thread, a Reader does  <----------------------'
//! ```
//!
//! Every version of a key is a *record*, and has a number: the first has 0, and each further one
//! the next. The file holds the records in blocks (`block`), which of them are dead (`groups`),
//! and one row that says up to where the log is applied (`state`). All of a batch is written in
//! one transaction (`writer`), so the file is always the state at one position of the log, and the
//! log's tail is replayed on top of it.
//!
//! Reading order: `state`, `record`, `block`, `marks`, `died`, `groups`, `starts`, `queue`,
//! `writer`, `packer`, `file`, `layer`, `patient`, `checked`, `reader`, `read_cache`, `handed`;
//! `load` reads all of it at a start, by way of `scan` and `pages`; `bytes` is for `record` and
//! `state`, and `steps` for simulators.
//!
//! # Invariants
//!
//! 1. Nothing of the file is ever written but by a whole batch, which ends between two entries.
//! 2. A record that is not in the file for sure is in memory.
//! 3. What is read from the file has matched a checksum that also covers its place.
//! 4. A reader that is made when a value is not found in memory, before the next entry ends, finds
//!    it in the file, whatever is applied and written from then on.
//! 5. Memory: the unwritten, the recent and the read values have bounds of their own. The rest is a
//!    few bytes for each record that lives.
//!
//! # What it does not do
//!
//! It does not retry. An error of the disk is the end of this store: the log is still there. Only
//! for room it waits (`patient`), and with it, when far too much is unwritten, whoever applies.

mod block;
mod bytes;
mod checked;
mod died;
mod file;
mod groups;
mod handed;
mod layer;
mod load;
mod marks;
mod packer;
mod pages;
mod patient;
mod queue;
mod read_cache;
mod reader;
mod recent;
mod record;
mod scan;
mod starts;
mod state;
mod steps;
mod writer;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use kv_proto::Bytes;
use redb::backends::FileBackend;

pub(crate) use block::{Block, BlockBuilder, bad_block};
pub(crate) use bytes::{Cursor, put_number};
pub(crate) use died::AllMarks;
pub(crate) use file::{PAGE_CACHE_BYTES, RECORDS, StateFile, View, existing, put_in_place};
use handed::Handed;
pub(crate) use load::{Loaded, Taker, open, read_in_order};
pub(crate) use marks::{GROUP_RECORDS, Marks};
pub(crate) use patient::is_full;
use queue::Changes;
pub(crate) use queue::Queue;
use read_cache::ReadCache;
pub(crate) use reader::Reader;
use reader::{Scene, Sources};
pub(crate) use record::{PutRecord, Record, weight};
use starts::Starts;
pub use state::Position;
pub(crate) use state::{BadState, Mark, State};
pub use steps::Steps;
use writer::Writer;

use crate::error::StoreError;

/// How much memory values may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "it is their unit")]
pub(crate) struct Bounds {
    /// Of those that are in the file as well: the latest.
    pub(crate) cache_bytes: usize,
    /// And those that were read.
    pub(crate) read_cache_bytes: usize,
    /// Of those that are not.
    pub(crate) max_unwritten_bytes: usize,
}

/// The apply thread's end of it.
#[derive(Debug)]
pub(crate) struct Disk {
    sources: Arc<Sources>,
    /// What readers see that were made since the last entry, if any of them is still there.
    scene: RefCell<Weak<Scene>>,
    /// Of the entry that is being applied.
    changes: Changes,
    writer: Option<JoinHandle<()>>,
    /// Who moves the writer, where that is not a clock.
    steps: Option<Steps>,
}

impl Disk {
    /// Starts to write behind what was loaded; by itself, or as `steps` says.
    pub(crate) fn start(
        file: StateFile,
        loaded: Loaded,
        bounds: Bounds,
        steps: Option<Steps>,
    ) -> Result<Self, StoreError> {
        let file = Arc::new(file);
        let mark = loaded.state.mark;
        file.patience().begin(steps.clone());
        let queue = Arc::new(Queue::new(mark, bounds, steps.clone()));
        let told = Arc::clone(&queue);
        file.patience().listen(move |waits| told.set_has_no_room(waits));
        let starts = Arc::<Starts>::default();
        let (groups, told) = (loaded.groups, Arc::clone(&starts));
        let writer = Writer::new(Arc::clone(&file), groups, told, loaded.state);
        let (for_writer, steps_of_writer) = (Arc::clone(&queue), steps.clone());
        let thread = std::thread::Builder::new()
            .name("state".into())
            .spawn(move || {
                let path = writer.path().to_owned();
                let _told = TellsOfEnd { queue: &for_writer, path, steps: steps_of_writer };
                writer.run(&for_writer);
            })
            .map_err(|error| StoreError::system(file.path(), error))?;
        let (handed, read) = (Handed::default(), ReadCache::up_to(bounds.read_cache_bytes));
        let sources = Arc::new(Sources { file, queue, starts, handed, read });
        let (scene, changes) = (RefCell::default(), Changes::default());
        Ok(Self { sources, scene, changes, writer: Some(thread), steps })
    }

    /// Takes the next record.
    pub(crate) fn add(&mut self, record: &Record<'_>) {
        self.changes.records.push(record);
    }

    /// The record `seq` of this weight will not be read any more.
    pub(crate) fn kill(&mut self, seq: u64, weight: u64) {
        self.changes.dead.push((seq, weight));
    }

    /// The cluster has these members from the entry on that is being applied.
    pub(crate) fn set_members(&mut self, members: Arc<[u8]>) {
        self.changes.members = Some(members);
    }

    /// Ends an entry. Waits for the disk only if too much is unwritten.
    pub(crate) fn end_entry(&mut self, mark: Mark) -> Result<(), StoreError> {
        *self.scene.get_mut() = Weak::new();
        self.sources.queue.add(&mut self.changes, mark)
    }

    /// A value that is in memory: of a record of an entry before this one.
    pub(crate) fn in_memory(&self, seq: u64) -> Option<Bytes> {
        self.sources.in_memory(seq)
    }

    /// A reader of the values that were not found in memory since the last entry. It may be used
    /// on any thread, and whatever is applied meanwhile.
    pub(crate) fn reader(&self) -> Result<Reader, StoreError> {
        let mut last = self.scene.borrow_mut();
        // What was written leaves memory only with an entry, and what was read was in the file
        // before: so what was opened for one reader since then has what another one looks for.
        let scene = match last.upgrade() {
            Some(scene) => scene,
            None => Arc::new(self.sources.scene()?),
        };
        *last = Arc::downgrade(&scene);
        Ok(Reader::new(Arc::clone(&self.sources), scene))
    }

    pub(crate) fn file(&self) -> &StateFile {
        &self.sources.file
    }

    /// The file, for whoever looks at it longer.
    pub(crate) fn shared_file(&self) -> Arc<StateFile> {
        Arc::clone(&self.sources.file)
    }

    /// What is on its way into the file, for whoever waits for it.
    pub(crate) fn shared_queue(&self) -> Arc<Queue> {
        Arc::clone(&self.sources.queue)
    }

    /// Up to where the file holds the log for sure.
    pub(crate) fn durable(&self) -> Position {
        self.sources.queue.durable()
    }

    /// Whether anything went wrong.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.sources.queue.outcome().map(|_| ())
    }

    /// Waits until everything up to the last entry is in the file.
    pub(crate) fn flush(&self) -> Result<Position, StoreError> {
        self.sources.queue.flush().map(|mark| mark.position)
    }
}

impl Drop for Disk {
    /// Writes what is left, and waits for that.
    fn drop(&mut self) {
        self.sources.queue.close();
        // What there is no room for is in the log.
        self.sources.file.patience().end();
        self.steps.iter().for_each(Steps::free);
        if let Some(writer) = self.writer.take() {
            // A panic in it was reported where it happened, and the file is as it was before.
            let _ = writer.join();
        }
    }
}

/// Whoever waits for the writer is told when it panics, where that does not end the process; and
/// nobody waits for its next step.
struct TellsOfEnd<'a> {
    queue: &'a Queue,
    path: PathBuf,
    steps: Option<Steps>,
}

impl Drop for TellsOfEnd<'_> {
    fn drop(&mut self) {
        self.steps.iter().for_each(Steps::free);
        if std::thread::panicking() {
            self.queue.fail(StoreError::damaged(&self.path, "the thread that writes it panicked"));
        }
    }
}

/// The state file at `path`, to be [opened](open). Creates one, of a store to which nothing was
/// applied, if there is none.
pub(crate) fn find_or_create(path: &Path, empty: &State) -> Result<FileBackend, StoreError> {
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => StateFile::create(path, empty)?,
        Err(error) => return Err(StoreError::system(path, error)),
    }
    existing(path)
}
