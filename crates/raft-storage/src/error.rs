//! Why a log could not be opened, written or read: one sentence each, with what to do.

use std::fmt;
use std::io;
use std::sync::Arc;

use raft_core::{Index, NodeId};

use crate::damage::Damage;

/// Why a log could not be opened. Nothing was changed.
#[derive(Debug)]
pub enum OpenError {
    /// The operating system refused.
    Io(IoError),
    /// Another process has the log open.
    Locked {
        /// The directory.
        directory: String,
    },
    /// The directory is that of another node.
    OtherNode {
        /// The directory.
        directory: String,
        /// Whose it is.
        owner: NodeId,
        /// Who wants to open it.
        node: NodeId,
    },
    /// The directory belongs to a node of another cluster.
    OtherCluster {
        /// The directory.
        directory: String,
        /// How that cluster was described when it was founded.
        founded_as: String,
        /// How the cluster is described now.
        cluster: String,
    },
    /// The directory was written by another version of the format.
    OtherVersion {
        /// The file that says so.
        file: String,
        /// The version it names.
        version: u32,
    },
    /// The file that says whose log this is cannot be read.
    DamagedMeta {
        /// The file.
        file: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// There is a log, but the file that says whose it is has gone.
    MissingMeta {
        /// The file.
        file: String,
    },
    /// [`Options`](crate::Options) that no log can have.
    BadOption {
        /// What is wrong, with the value and the bounds.
        sentence: String,
    },
}

impl OpenError {
    pub(crate) fn io(action: &'static str, object: &dyn fmt::Display, error: io::Error) -> Self {
        Self::Io(IoError::new(action, object, error))
    }
}

impl From<IoError> for OpenError {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Locked { directory } => write!(
                f,
                "{directory} is in use by another process: stop that one, or give this node a \
                 directory of its own"
            ),
            Self::OtherNode { directory, owner, node } => write!(
                f,
                "{directory} belongs to node {owner}, not to node {node}: start it as {owner}, or \
                 give {node} a directory of its own"
            ),
            Self::OtherCluster { directory, founded_as, cluster } => write!(
                f,
                "{directory} belongs to the cluster founded as '{founded_as}', not to '{cluster}': \
                 start with the members it was founded with, or give this node a directory of its \
                 own"
            ),
            Self::OtherVersion { file, version } => write!(
                f,
                "{file} is of format version {version}, and this program reads version {}: start \
                 the program that wrote it",
                crate::segment::VERSION
            ),
            Self::DamagedMeta { file, rule } => write!(
                f,
                "{file} is damaged ({rule}), so it cannot be told whose log this is: restore that \
                 file from a copy, or replace this node by a new one with another id"
            ),
            Self::MissingMeta { file } => write!(
                f,
                "{file} is missing, but there are log files beside it: restore that file from a \
                 copy, or replace this node by a new one with another id"
            ),
            Self::BadOption { sentence } => write!(f, "{sentence}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// Something that the operating system refused.
#[derive(Clone, Debug)]
pub struct IoError {
    /// What was attempted, as in "cannot ...".
    pub action: &'static str,
    /// With which file or directory.
    pub object: String,
    /// What the operating system said.
    pub source: Arc<io::Error>,
}

impl IoError {
    pub(crate) fn new(action: &'static str, object: &dyn fmt::Display, error: io::Error) -> Self {
        Self { action, object: object.to_string(), source: Arc::new(error) }
    }

    fn advice(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::PermissionDenied => {
                ": let this user write there, or choose another place"
            }
            io::ErrorKind::ReadOnlyFilesystem => ": choose a place that can be written",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                ": make room on this disk, then start again"
            }
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                ": name a directory, not a file"
            }
            io::ErrorKind::NotFound => ": check the name",
            _ => ": check the disk, then start again",
        }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}{}", self.action, self.object, self.source, self.advice())
    }
}

impl std::error::Error for IoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// Why a write failed. But for [`WriteError::NoSpace`], the log takes no further one and answers
/// every call with the first failure: what a failed sync has lost, no later sync brings back.
#[derive(Clone, Debug)]
pub enum WriteError {
    /// The operating system refused.
    Io(IoError),
    /// The write does not fit the log: a mistake of the caller. Nothing of its batch is
    /// acknowledged.
    Malformed {
        /// Which rule it breaks.
        rule: &'static str,
    },
    /// The write is larger than a record can be.
    TooLarge {
        /// How large, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The disk has no room for another segment. This alone is not final: nothing is lost, and what
    /// was not written may be appended again.
    NoSpace {
        /// How many of the writes are durable, from the first on. Nothing of the others is there.
        written: usize,
        /// What the operating system said.
        error: IoError,
    },
    /// The log was damaged when it was opened; it can be read, not written.
    Damaged(Damage),
}

impl From<IoError> for WriteError {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) | Self::NoSpace { error, .. } => error.fmt(f),
            Self::Malformed { rule } => write!(f, "a write that does not fit the log: {rule}"),
            Self::TooLarge { bytes, limit } => {
                write!(f, "a write of {bytes} bytes, above the limit of {limit}: split it")
            }
            Self::Damaged(damage) => damage.fmt(f),
        }
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) | Self::NoSpace { error, .. } => Some(error),
            Self::Damaged(damage) => Some(damage),
            Self::Malformed { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// Why entries could not be read.
#[derive(Clone, Debug)]
pub enum ReadError {
    /// The log does not hold the first entry that was asked for.
    NotInLog {
        /// The first index asked for.
        first: Index,
        /// The log begins right after this index.
        start: Index,
        /// The last index of the log.
        last: Index,
    },
    /// The operating system refused.
    Io(IoError),
    /// What was written is no longer what is read.
    Damaged(Damage),
    /// An earlier write failed.
    Failed(WriteError),
}

impl From<IoError> for ReadError {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInLog { first, start, last } => write!(
                f,
                "entry {first} is not in the log, which has those after {start} up to {last}"
            ),
            Self::Io(error) => error.fmt(f),
            Self::Damaged(damage) => damage.fmt(f),
            Self::Failed(error) => write!(f, "the log stopped when a write failed: {error}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Damaged(damage) => Some(damage),
            Self::Failed(error) => Some(error),
            Self::NotInLog { .. } => None,
        }
    }
}
