//! Why a server may refuse to start.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use kv_store::StoreError;
use raft_core::BootError;
use raft_net_tcp::StartError as NetworkError;
use raft_storage::{Damage, OpenError, RepairError};

use crate::rejoin::RejoinError;

/// What to do without a file that the node cannot do without.
const REPLACE: &str = "Nothing was changed. Put the right file back; or, if all other nodes run, \
                       move the data directory away and start this node with --rejoin";

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// The port for clients is not to be had.
    ClientPort {
        /// Its address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The data directory cannot be used.
    Open(OpenError),
    /// The log is damaged.
    Damaged {
        /// Where, and how.
        damage: Damage,
        /// The data directory.
        dir: String,
    },
    /// A recovery of the data directory was begun and not finished.
    UnfinishedRecovery {
        /// The data directory.
        dir: String,
    },
    /// A restore into the data directory was begun and not finished.
    UnfinishedRestore {
        /// The data directory.
        dir: String,
    },
    /// The log is damaged, and could not be repaired.
    Repair(RepairError),
    /// The state file cannot be used.
    Store(StoreError),
    /// The state file is damaged, and the log does not hold what it was made of.
    StateDamaged {
        /// Where it is.
        file: PathBuf,
        /// What was found.
        what: String,
        /// The log begins after this index.
        log_start: u64,
    },
    /// There is no state file, and the log does not hold what it was made of.
    StateMissing {
        /// Where it should be.
        file: PathBuf,
        /// The log begins after this index.
        log_start: u64,
    },
    /// The state file is from before the log begins.
    StateTooOld {
        /// Where it is.
        file: PathBuf,
        /// The last index that it holds.
        state_end: u64,
        /// The log begins after this index.
        log_start: u64,
    },
    /// It cannot come back without its data.
    Rejoin(RejoinError),
    /// The members of the cluster that the state names cannot be read.
    Members(String),
    /// What was recovered does not make a node.
    Boot(BootError),
    /// The port for the other nodes is not to be had.
    Network(NetworkError),
    /// The system refused something else.
    Io(io::Error),
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<RepairError> for StartError {
    fn from(error: RepairError) -> Self {
        Self::Repair(error)
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<BootError> for StartError {
    fn from(error: BootError) -> Self {
        Self::Boot(error)
    }
}

impl From<NetworkError> for StartError {
    fn from(error: NetworkError) -> Self {
        Self::Network(error)
    }
}

impl From<RejoinError> for StartError {
    fn from(error: RejoinError) -> Self {
        Self::Rejoin(error)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientPort { address, source } if source.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen for clients on {address}: another process uses this address; \
                     stop it, or choose another --client-bind or --client-port-offset"
                )
            }
            Self::ClientPort { address, source } => write!(
                f,
                "cannot listen for clients on {address}: {source}; choose another --client-bind"
            ),
            Self::Open(OpenError::DamagedMeta { file, rule }) => write!(
                f,
                "{file} is damaged ({rule}), so it cannot be told whose log this is. {REPLACE}"
            ),
            Self::Open(OpenError::MissingMeta { file }) => write!(
                f,
                "{file} is missing, and there was a log beside it: it cannot be told whose that \
                 is. {REPLACE}"
            ),
            Self::Open(error) => error.fmt(f),
            Self::Damaged { damage, dir } => write!(
                f,
                "{damage}. Writes that this node acknowledged may be lost, and it has no other \
                 members to get them from, so it does not start. Nothing was changed. Look at it \
                 with 'kv-server log inspect {dir}'; then restore the directory from a copy"
            ),
            Self::UnfinishedRecovery { dir } => write!(
                f,
                "a recovery of {dir} was begun and not finished, so no node starts on it: finish \
                 it with 'kv-server recover --data-dir {dir}'"
            ),
            Self::UnfinishedRestore { dir } => write!(
                f,
                "a restore into {dir} was begun and not finished, so no node starts on it: remove \
                 the directory, and run 'kv-server restore' again"
            ),
            Self::Repair(RepairError::HardStateLost { damage, file }) => write!(
                f,
                "{damage}; and {file} is missing or damaged too, so this node no longer knows \
                 whom it voted for. {REPLACE}"
            ),
            Self::Repair(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::StateDamaged { file, what, log_start } => {
                let wrong = format!("{} is damaged ({what})", file.display());
                write_no_state(f, &wrong, *log_start)
            }
            Self::StateMissing { file, log_start } => {
                write_no_state(f, &format!("{} is missing", file.display()), *log_start)
            }
            Self::StateTooOld { file, state_end, log_start } => write!(
                f,
                "the state file {} ends at index {state_end}, and the log begins after index \
                 {log_start}: the file is an older copy. {REPLACE}",
                file.display()
            ),
            Self::Rejoin(error) => error.fmt(f),
            Self::Members(why) => {
                write!(f, "{why}; move the state file away, or use the program that wrote it")
            }
            Self::Boot(error) => error.fmt(f),
            Self::Network(NetworkError::PeersOfAnother { file }) => write_other_log(f, file),
            Self::Network(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the system refused what is needed to start: {error}"),
        }
    }
}

/// The log is not the one with which this node met its peers.
fn write_other_log(f: &mut fmt::Formatter<'_>, file: &Path) -> fmt::Result {
    write!(
        f,
        "{} belongs to another log than the one beside it: what this node acknowledged with that \
         one may be missing here. Put the files of that log back; or, if all other nodes run, move \
         the data directory away and start this node with --rejoin",
        file.display()
    )
}

/// The state cannot be had, and not be made anew either.
fn write_no_state(f: &mut fmt::Formatter<'_>, wrong: &str, log_start: u64) -> fmt::Result {
    write!(
        f,
        "the state file {wrong}, and the log begins after index {log_start}: it no longer holds \
         what the state was made of. {REPLACE}"
    )
}

impl std::error::Error for StartError {}
