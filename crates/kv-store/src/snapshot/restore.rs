//! Making a state file of a snapshot.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::StorageBackend;

use super::SnapshotError;
use super::checker::Checker;
use super::piece::{Totals, take_record};
use crate::digest::Digest;
use crate::disk::{
    self, BlockBuilder, Cursor, Loaded, PAGE_CACHE_BYTES, Position, Record, State, StateFile,
    Taker, put_in_place,
};
use crate::error::StoreError;

/// How many bytes of pieces are written in one transaction.
const BATCH_BYTES: usize = 8 << 20;

/// Reads a draft back that is closed.
type ReadBack = Box<dyn Fn() -> Result<(Loaded, Sum), StoreError> + Send>;

/// Takes in a snapshot, piece by piece, beside the state file that it is to replace.
pub struct Restore {
    path: PathBuf,
    draft: PathBuf,
    file: StateFile,
    read_back: ReadBack,
    checker: Checker,
    tail: BlockBuilder,
    /// Checked records that are not written yet, as they stood in chunks.
    records: Vec<u8>,
    forgets_members: bool,
}

/// A state file that is whole, checked and safe on disk, but not in its place yet.
#[derive(Debug)]
#[must_use = "it is not in its place yet"]
pub struct Restored {
    path: PathBuf,
    draft: PathBuf,
    position: Position,
    members: Arc<[u8]>,
}

/// Where a snapshot for the state file `path` is put together.
fn draft_path(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".snapshot");
    PathBuf::from(draft)
}

/// Removes what is left of a snapshot for the state file `path` that will not be finished. It may
/// not be there. A [`Restore`] or [`Restored`] that is in use must be dropped before.
///
/// # Errors
///
/// If the operating system refuses.
pub fn remove_draft(path: &Path) -> Result<(), StoreError> {
    let draft = draft_path(path);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::system(&draft, error))
        }
        _ => Ok(()),
    }
}

impl Restore {
    /// Begins to make the state file `path`. Until [`Restored::put_in_place`], a store may be open
    /// there and go on.
    ///
    /// # Errors
    ///
    /// If a file beside it cannot be created.
    pub fn begin(path: &Path) -> Result<Self, SnapshotError> {
        let draft = draft_path(path);
        let file = StateFile::create_draft(&draft)?;
        let again = draft.clone();
        let read_back = Box::new(move || {
            disk::read_in_order(disk::existing(&again)?, &again, PAGE_CACHE_BYTES)
        });
        Ok(Self::new(path.to_owned(), draft, file, read_back))
    }

    /// As [`begin`](Self::begin), in what `backend` holds, which is nothing yet: for tests that are
    /// the disk themselves. `name` stands for the path in errors. To put it in its place is up to
    /// whoever has the backend.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub fn begin_on(
        backend: impl StorageBackend + Clone,
        name: &Path,
    ) -> Result<Self, SnapshotError> {
        let draft = draft_path(name);
        let file = StateFile::create_on(backend.clone(), &draft)?;
        let again = draft.clone();
        let read_back =
            Box::new(move || disk::read_in_order(backend.clone(), &again, PAGE_CACHE_BYTES));
        Ok(Self::new(name.to_owned(), draft, file, read_back))
    }

    fn new(path: PathBuf, draft: PathBuf, file: StateFile, read_back: ReadBack) -> Self {
        Self {
            path,
            draft,
            file,
            read_back,
            checker: Checker::new(),
            tail: BlockBuilder::default(),
            records: Vec::new(),
            forgets_members: false,
        }
    }

    /// The store that this makes belongs to a new cluster: it is not told who the members of the
    /// old one were.
    pub fn forget_members(&mut self) {
        self.forgets_members = true;
    }

    /// The number of the piece that is due. A transport that broke goes on here.
    pub fn next_piece(&self) -> u64 {
        self.checker.due()
    }

    /// Takes the piece that is due.
    ///
    /// # Errors
    ///
    /// If it is damaged or another one, which changes nothing: the right one can still come. If the
    /// file cannot be written, which is final.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        let mut records = self.checker.take(piece)?;
        self.records.append(&mut records);
        if self.records.len() >= BATCH_BYTES {
            self.write_records(None)?;
        }
        Ok(())
    }

    /// Ends it: checks that all of it came, and reads back what was written.
    ///
    /// # Errors
    ///
    /// If a piece is missing, or the file is not what it should be.
    pub fn finish(mut self) -> Result<Restored, SnapshotError> {
        let checker = std::mem::replace(&mut self.checker, Checker::new());
        let (mut state, totals) = checker.finish()?;
        if self.forgets_members {
            state.members = Arc::default();
        }
        self.write_records(Some(&state))?;
        let Self { path, draft, file, read_back, .. } = self;
        file.close()?;
        compare(&draft, &read_back()?, &state, totals)?;
        Ok(Restored { path, draft, position: state.mark.position, members: state.members })
    }

    /// Writes what waits, and at the end, the state.
    fn write_records(&mut self, state: Option<&State>) -> Result<(), StoreError> {
        let records = std::mem::take(&mut self.records);
        let mut blocks = Vec::new();
        let mut cursor = Cursor(&records);
        while let Some((seq, record)) = take_record(&mut cursor) {
            if !self.tail.takes(seq, record.len()) {
                blocks.push(self.tail.take());
            }
            self.tail.push(seq, record);
        }
        if state.is_some() && !self.tail.is_empty() {
            blocks.push(self.tail.take());
        }
        self.file.write_blocks(&blocks, state)
    }
}

impl fmt::Debug for Restore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restore").field("draft", &self.draft).finish_non_exhaustive()
    }
}

impl Restored {
    /// The position of the log at which the store is then.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The members of the cluster there, as the log gave them; empty if it never did.
    pub fn members(&self) -> &[u8] {
        &self.members
    }

    /// Replaces the state file, in one step that is durable when this returns. A store that is open
    /// on the old one should be dropped before: what it still writes is lost.
    ///
    /// # Errors
    ///
    /// If the operating system refuses. Then there is the old file or the new one.
    pub fn put_in_place(self) -> Result<(), StoreError> {
        put_in_place(&self.draft, &self.path)
    }
}

/// Sums up what is in a file, as the pieces of a snapshot do.
struct Sum {
    records: u64,
    digest: Digest,
    /// For the bytes of a record.
    bytes: Vec<u8>,
}

impl Default for Sum {
    fn default() -> Self {
        Self { records: 0, digest: Digest::EMPTY, bytes: Vec::new() }
    }
}

impl Taker for Sum {
    fn take(&mut self, _: &State, seq: u64, record: &Record<'_>) -> Result<(), &'static str> {
        self.bytes.clear();
        record.encode(&mut self.bytes);
        self.digest.number(seq);
        self.digest.bytes(&self.bytes);
        self.records += 1;
        Ok(())
    }
}

/// Whether the file holds what came.
fn compare(
    draft: &Path,
    (loaded, sum): &(Loaded, Sum),
    state: &State,
    totals: Totals,
) -> Result<(), StoreError> {
    let found = Totals { records: sum.records, digest: sum.digest.get() };
    if loaded.state != *state || found != totals {
        return Err(StoreError::damaged(draft, "it does not hold what was written to it"));
    }
    Ok(())
}
