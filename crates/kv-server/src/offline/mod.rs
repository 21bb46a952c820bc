//! What `kv-server` does besides serving: to logs, snapshots and data directories of nodes that are
//! stopped.
//!
//! Reading order: [`log`] and [`snapshot`] only look. [`founding`] is how a node begins that has a
//! state before it has a log; [`restore`] does that with a backup, [`recover`] with what a survivor
//! has. Each returns an error of one sentence, which the program prints before it ends with code 1.

mod files;
pub mod founding;
pub mod log;
pub mod recover;
pub mod restore;
pub mod snapshot;

use std::fmt;
use std::io;
use std::path::Path;

use kv_store::StoreError;
use kv_store::snapshot::SnapshotError;
use raft_storage::inspect::InspectError;
use raft_storage::{OpenError, ReadError, WriteError};

use crate::settings::SettingsError;

/// Why it could not be done: one sentence with the file or value, and what to do.
#[derive(Debug)]
pub enum OfflineError {
    /// The flags do not fit together.
    Settings(SettingsError),
    /// What is wrong, in words that say all of it.
    Refused(String),
    /// The operating system refused.
    Io {
        /// What was to be done, and with which file.
        what: String,
        /// What it said.
        source: io::Error,
    },
    /// The log cannot be opened.
    Open(OpenError),
    /// The log cannot be looked at.
    Inspect(InspectError),
    /// The log cannot be read.
    Read(ReadError),
    /// The log cannot be written.
    Write(WriteError),
    /// The state file cannot be used.
    Store(StoreError),
    /// The snapshot cannot be used.
    Snapshot {
        /// Its file.
        file: String,
        /// Where in it, in bytes, the piece begins that is wrong.
        offset_bytes: u64,
        /// What is wrong.
        source: SnapshotError,
    },
    /// The output cannot be written.
    Output(io::Error),
}

impl OfflineError {
    /// Whether whoever was to read the output went away: then it was enough.
    pub fn is_broken_pipe(&self) -> bool {
        let (Self::Output(error) | Self::Inspect(InspectError::Output(error))) = self else {
            return false;
        };
        error.kind() == io::ErrorKind::BrokenPipe
    }

    /// Whether it was asked for wrongly.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Settings(_))
    }

    pub(crate) fn io(what: &str, path: &Path, source: io::Error) -> Self {
        Self::Io { what: format!("{what} {}", path.display()), source }
    }
}

macro_rules! from {
    ($($source:ty => $variant:ident),* $(,)?) => {
        $(impl From<$source> for OfflineError {
            fn from(error: $source) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

from! {
    SettingsError => Settings,
    OpenError => Open,
    InspectError => Inspect,
    ReadError => Read,
    WriteError => Write,
    StoreError => Store,
    io::Error => Output,
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::Refused(sentence) => f.write_str(sentence),
            Self::Io { what, source } => {
                write!(f, "cannot {what}: {source}; see to it that it is there, and try again")
            }
            Self::Open(error) => error.fmt(f),
            Self::Inspect(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Snapshot { file, offset_bytes, source } => {
                snapshot::explain(f, file, *offset_bytes, source)
            }
            Self::Output(error) => write!(f, "standard output cannot be written: {error}"),
        }
    }
}

impl std::error::Error for OfflineError {}
