//! What can go wrong with the state file, and with what is applied to it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The state cannot be trusted, or not be kept, any more. Whoever gets one stops using the store:
/// what it holds in memory may be half of an entry.
///
/// Nothing that was acknowledged is lost by it. The state is made from the log; the log, or
/// another node, makes it again.
#[derive(Clone, Debug)]
pub enum StoreError {
    /// The operating system refused to read or write.
    System {
        /// The state file.
        file: PathBuf,
        /// What it said.
        source: Arc<io::Error>,
    },
    /// What the file holds is not what was written to it.
    Damaged {
        /// The state file.
        file: PathBuf,
        /// What was found.
        what: String,
    },
    /// Another process has the file open.
    InUse {
        /// The state file.
        file: PathBuf,
    },
    /// A newer version of this program wrote it.
    TooNew {
        /// The state file.
        file: PathBuf,
        /// The version of the format that was found.
        found: u16,
        /// The newest version that this program reads.
        known: u16,
    },
    /// An entry came that is not the one after the last: some were lost, repeated or reordered on
    /// their way from the log. Nothing was applied.
    OutOfOrder {
        /// The index of the entry that is due.
        due: u64,
        /// The index of the one that came.
        came: u64,
    },
}

impl StoreError {
    pub(crate) fn system(file: &Path, source: io::Error) -> Self {
        Self::System { file: file.to_owned(), source: Arc::new(source) }
    }

    pub(crate) fn damaged(file: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_owned(), what: what.into() }
    }

    /// What the database said, in our words.
    pub(crate) fn database(file: &Path, error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => Self::InUse { file: file.to_owned() },
            redb::Error::Io(source) => match source.kind() {
                // A file that ends early, or begins with something else.
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                    Self::damaged(file, source.to_string())
                }
                _ => Self::system(file, source),
            },
            // What it failed with, somebody else was told; nothing says that it is damaged.
            redb::Error::PreviousIo => {
                Self::system(file, io::Error::other("an earlier attempt has failed"))
            }
            other => Self::damaged(file, other.to_string()),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { file, source } => write!(
                f,
                "the state file {} cannot be read or written: {source}; see to it that the disk \
                 works and has room, then start again: the log still holds what is missing",
                file.display()
            ),
            Self::Damaged { file, what } => write!(
                f,
                "the state file {} is damaged: {what}; move it away and start again: the state is \
                 then made anew, if the log still holds all that it was made of",
                file.display()
            ),
            Self::InUse { file } => write!(
                f,
                "the state file {} is in use: stop the other process that has it open",
                file.display()
            ),
            Self::TooNew { file, found, known } => write!(
                f,
                "the state file {} has format {found}, and this program reads formats up to \
                 {known}: use the program that wrote it, or a newer one",
                file.display()
            ),
            Self::OutOfOrder { due, came } => write!(
                f,
                "entry {came} came to be applied where entry {due} is due: the log must be applied \
                 in order, without gaps; start again, and report this: it is a mistake of the \
                 program"
            ),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

/// Why a command or a read did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client is told why, and all replicas say the same.
    Refused(kv_proto::Error),
    /// This node cannot go on.
    Broken(StoreError),
}

impl From<kv_proto::Error> for Failure {
    fn from(error: kv_proto::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Broken(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After the disk has failed once, the database refuses everything. A read that met that first
    /// told people that the state file was damaged, and to move it away.
    #[test]
    fn a_database_that_gave_up_on_its_disk_is_not_taken_for_damage() {
        let told = StoreError::database(Path::new("state"), redb::Error::PreviousIo);
        assert!(matches!(told, StoreError::System { .. }), "{told}");
    }
}
