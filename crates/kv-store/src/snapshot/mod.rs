//! The whole store in pieces: for a node that lacks too much of the log, and for a backup.
//!
//! ```text
//!   Snapshot: header, chunk 1, chunk 2, ..., end     one moment of a file that goes on changing
//!      |  each piece by itself: over a network, or one behind the other in a file
//!      v
//!   Restore: checks each as it comes; a fresh file, put in its place when all of it is right
//! ```
//!
//! Reading order: `piece` is how the pieces look, `source` makes them, `checker` believes nothing
//! of them, and `restore` makes a state file of them.
//!
//! # Invariants
//!
//! 1. All pieces of one [`Snapshot`] are of one moment. Asked for again, a piece is the same.
//! 2. A piece that was changed, cut, swapped with another or left out is noticed when it comes, or
//!    at the end at the latest. Nothing is put in place before the end.
//! 3. Where the old file was, there is the old file or the new one, whole, whenever the power goes.
//! 4. No length is believed before it has been held against a bound: a piece takes at most
//!    [`MAX_PIECE_BYTES`] of memory, and as much again unpacked.

mod checker;
mod piece;
mod restore;
mod source;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub use checker::{Summary, Verifier, verify};
pub use piece::{MAX_PIECE_BYTES, read_piece};
pub use restore::{Restore, Restored, remove_draft};
pub use source::{Snapshot, Snapshots};

use crate::disk::is_full;
use crate::error::StoreError;

/// Why a snapshot is not taken in.
#[derive(Debug)]
pub enum SnapshotError {
    /// A piece is not as it was made. Fetch it again: [`Restore::next_piece`].
    Damaged {
        /// The number of the piece that was due.
        due: u64,
        /// What was found.
        what: &'static str,
    },
    /// Another piece came than the one that was due.
    OutOfOrder {
        /// The number of the piece that was due.
        due: u64,
        /// The number of the one that came.
        came: u64,
    },
    /// It ended early.
    Unfinished {
        /// The number of the piece that was due.
        due: u64,
    },
    /// A newer version of this program made it.
    TooNew {
        /// The version of the format that was found.
        found: u16,
        /// The newest version that this program reads.
        known: u16,
    },
    /// Its source could not be read.
    Source(io::Error),
    /// The disk has no room for the new state file. What was there before is as it was.
    NoRoom {
        /// The file that was being written.
        file: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The new state file cannot be written, and not for want of room.
    Store(StoreError),
}

impl From<StoreError> for SnapshotError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::System { file, source } if is_full(&source) => {
                Self::NoRoom { file, source }
            }
            other => Self::Store(other),
        }
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { due, what } => {
                write!(f, "piece {due} of the snapshot is damaged: {what}; fetch it again")
            }
            Self::OutOfOrder { due, came } => {
                write!(
                    f,
                    "piece {came} of the snapshot came where piece {due} was due: go on there"
                )
            }
            Self::Unfinished { due } => {
                write!(f, "the snapshot ended before piece {due}: it is not whole, go on there")
            }
            Self::TooNew { found, known } => write!(
                f,
                "the snapshot has format {found}, and this program reads formats up to {known}: \
                 use the program that made it, or a newer one"
            ),
            Self::Source(error) => write!(f, "the snapshot cannot be read: {error}"),
            Self::NoRoom { file, source } => write!(
                f,
                "there is no room for the snapshot in {}: {source}; make some and try again, \
                 nothing was replaced",
                file.display()
            ),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SnapshotError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            Self::NoRoom { source, .. } => Some(&**source),
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}
