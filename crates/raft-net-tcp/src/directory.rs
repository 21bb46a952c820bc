//! The data directory of a node, by which its peers tell whether it still is the node that it was.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The name of a data directory: random, made with it, and never given to another one. The id of
/// the log in it is a good one, because the promises of the node are lost with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DirectoryId(u64);

impl DirectoryId {
    /// The name with this number.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The data directory of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its name, durable already.
    pub id: DirectoryId,
    /// Where it is. The file [`PEERS_FILE`](crate::PEERS_FILE) in it belongs to the network;
    /// one network at a time may use it.
    pub path: PathBuf,
    /// This node was a member with another directory, which is lost. It has promised nothing with
    /// this one, and promises nothing before it knows that it contradicts no promise it made then.
    /// The peers put this directory in the place of the other, and let that in no more.
    pub rejoins: bool,
}

/// What a node tells of its directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// `None` if it tells of none.
    pub(crate) directory: Option<DirectoryId>,
    /// It takes the place of the one before.
    pub(crate) rejoins: bool,
}

impl Claim {
    pub(crate) fn of(directory: Option<&Directory>) -> Self {
        match directory {
            Some(Directory { id, rejoins, .. }) => Self { directory: Some(*id), rejoins: *rejoins },
            None => Self::default(),
        }
    }
}
