//! The state file: opening it, and what its tables are.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{
    Builder, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    StorageBackend, TableDefinition,
};

use super::checked::Checked;
use super::died::{self, AllMarks, bad_list};
use super::layer::Layered;
use super::marks::{Marks, bad_marks, row_numbers};
use super::patient::{Patience, Patient};
use super::state::{BadState, FORMAT, State};
use crate::error::StoreError;

/// Blocks of records, by the number of their first record.
pub(crate) const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

/// Which records are dead, by the numbers of rows (`marks`).
pub(crate) const DEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead");

/// Which records died since marks were written, a list for each batch.
pub(crate) const DIED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("died");

/// The state of the whole, in one row.
pub(crate) const STATE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("state");

/// The key of that row.
pub(crate) const STATE_ROW: u64 = 0;

/// What the database usually may keep of its pages. The operating system keeps them as well.
pub(crate) const PAGE_CACHE_BYTES: usize = 8 << 20;

/// Who looks whether all of a file is as it was written: the database promises not to panic on a
/// damaged page only if somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Every page that the database will see has been read from this storage and checked.
    Done,
    /// The database is to do so.
    ByDatabase,
}

/// What the database is to see of a backend.
pub(crate) struct Storage<B: StorageBackend> {
    layers: Layered<Checked<Layered<Patient<B>>>>,
    patience: Arc<Patience>,
}

impl<B: StorageBackend> Storage<B> {
    pub(crate) fn new(backend: B) -> Self {
        let backend = Patient::new(backend);
        let patience = Arc::clone(backend.patience());
        Self { layers: Layered(Checked::new(Layered(backend))), patience }
    }

    /// For whoever reads it before the database does.
    pub(crate) fn backend(&self) -> &impl StorageBackend {
        &self.layers
    }
}

/// The file at `path`, which must exist.
pub(crate) fn existing(path: &Path) -> Result<FileBackend, StoreError> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|error| StoreError::system(path, error))?;
    if file.metadata().map_err(|error| StoreError::system(path, error))?.len() == 0 {
        return Err(StoreError::damaged(path, "it is empty"));
    }
    FileBackend::new(file).map_err(|error| StoreError::database(path, error))
}

/// An open state file.
pub(crate) struct StateFile {
    path: PathBuf,
    database: Database,
    patience: Arc<Patience>,
}

impl StateFile {
    /// Creates the file at `path` with this content, whole or not at all: under another name at
    /// first, and in its place when it is safe on disk.
    pub(crate) fn create(path: &Path, state: &State) -> Result<(), StoreError> {
        let draft = draft_path(path);
        let created = Self::create_draft(&draft)?;
        created.write_blocks(&[], Some(state))?;
        created.close()?;
        put_in_place(&draft, path)
    }

    /// A new file without content, under a name that is not its own yet.
    pub(crate) fn create_draft(draft: &Path) -> Result<Self, StoreError> {
        let refused = |error| StoreError::system(draft, error);
        match fs::remove_file(draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(error)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(draft).map_err(refused)?;
        let backend = FileBackend::new(file).map_err(|error| StoreError::database(draft, error))?;
        Self::create_on(backend, draft)
    }

    /// A new file without content in what `backend` holds. `path` is only its name.
    pub(crate) fn create_on(backend: impl StorageBackend, path: &Path) -> Result<Self, StoreError> {
        Self::open_on(Storage::new(backend), path, PAGE_CACHE_BYTES, Check::ByDatabase)
    }

    /// Opens what a storage holds. `path` is only its name.
    pub(crate) fn open_on<B: StorageBackend>(
        storage: Storage<B>,
        path: &Path,
        page_cache_bytes: usize,
        check: Check,
    ) -> Result<Self, StoreError> {
        let Storage { layers, patience } = storage;
        let database = Builder::new()
            .set_cache_size(page_cache_bytes)
            .set_check_integrity_on_open(check == Check::ByDatabase)
            .create_with_backend(layers)
            .map_err(|error| StoreError::database(path, error))?;
        Ok(Self { path: path.to_owned(), database, patience })
    }

    /// Whether writing waits for room.
    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Its name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// What the database said, in our words.
    pub(crate) fn fault(&self, error: impl Into<redb::Error>) -> StoreError {
        StoreError::database(&self.path, error)
    }

    pub(crate) fn damaged(&self, what: impl Into<String>) -> StoreError {
        StoreError::damaged(&self.path, what)
    }

    /// A view of the file that does not change.
    pub(crate) fn view(&self) -> Result<View, StoreError> {
        let transaction = self.database.begin_read().map_err(|error| self.fault(error))?;
        Ok(View { transaction })
    }

    /// Writes blocks under their numbers, in one transaction, and with the last of them the state:
    /// a file without one is not finished. Makes the tables.
    pub(crate) fn write_blocks(
        &self,
        blocks: &[(u64, Vec<u8>)],
        state: Option<&State>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write().map_err(|error| self.fault(error))?;
        transaction.set_quick_repair(true);
        {
            let table = |table| transaction.open_table(table).map_err(|error| self.fault(error));
            table(DEAD)?;
            table(DIED)?;
            let mut rows = table(RECORDS)?;
            for (first, bytes) in blocks {
                rows.insert(first, bytes.as_slice()).map_err(|error| self.fault(error))?;
            }
            let mut states = table(STATE)?;
            if let Some(row) = state.map(State::encode) {
                states.insert(STATE_ROW, row.as_slice()).map_err(|error| self.fault(error))?;
            }
        }
        transaction.commit().map_err(|error| self.fault(error))
    }

    /// The marks of all records in lists, as a view shows them.
    pub(crate) fn listed(&self, view: &View) -> Result<AllMarks, StoreError> {
        let mut marks = AllMarks::default();
        let table = match view.transaction.open_table(DIED) {
            // As in format 1.
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(marks),
            opened => opened.map_err(|error| self.fault(error))?,
        };
        for row in table.iter().map_err(|error| self.fault(error))? {
            let (key, row) = row.map_err(|error| self.fault(error))?;
            let dead = died::decode(key.value(), row.value());
            marks.add_list(&dead.ok_or_else(|| self.damaged(bad_list(key.value())))?);
        }
        Ok(marks)
    }

    /// Which records of a group are marked, as a view shows it.
    pub(crate) fn marks(&self, view: &View, group: u64) -> Result<Marks, StoreError> {
        let table = self.table(view, DEAD)?;
        let mut marks = Marks::default();
        for row in table.range(row_numbers(group)).map_err(|error| self.fault(error))? {
            let (number, row) = row.map_err(|error| self.fault(error))?;
            let read = marks.add_row(number.value(), row.value());
            read.ok_or_else(|| self.damaged(bad_marks(number.value())))?;
        }
        Ok(marks)
    }

    /// The state that a view shows; `None` if the file never got one.
    pub(crate) fn state(&self, view: &View) -> Result<Option<State>, StoreError> {
        let table = match view.transaction.open_table(STATE) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            opened => opened.map_err(|error| self.fault(error))?,
        };
        let Some(row) = table.get(STATE_ROW).map_err(|error| self.fault(error))? else {
            return Ok(None);
        };
        let state = State::decode(row.value()).map_err(|bad| match bad {
            BadState::Damaged => self.damaged("its state row does not match its checksum"),
            BadState::TooNew(found) => {
                StoreError::TooNew { file: self.path.clone(), found, known: FORMAT }
            }
        })?;
        Ok(Some(state))
    }

    /// A table as a view shows it.
    pub(crate) fn table(
        &self,
        view: &View,
        table: TableDefinition<'_, u64, &'static [u8]>,
    ) -> Result<ReadOnlyTable<u64, &'static [u8]>, StoreError> {
        view.transaction.open_table(table).map_err(|error| self.fault(error))
    }

    /// Closes it in order.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        let Self { path, database, .. } = self;
        database.close().map_err(|error| StoreError::database(&path, error))
    }
}

impl fmt::Debug for StateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The file at one moment, while it changes.
pub(crate) struct View {
    transaction: ReadTransaction,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}

/// Where a file is written before it is put in its place.
pub(crate) fn draft_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Gives a file that is safe on disk its name, in one step that a crash does not undo once this
/// has returned.
pub(crate) fn put_in_place(draft: &Path, path: &Path) -> Result<(), StoreError> {
    let place = || {
        fs::rename(draft, path)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    place().map_err(|error| StoreError::system(path, error))
}
