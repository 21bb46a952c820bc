//! The subcommands of `kv-server`: what it does to files of nodes that are stopped.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::options::MemberOptions;

/// What the binary can do besides serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Look at a node's log while the node is stopped
    Log {
        /// What to do with it.
        #[command(subcommand)]
        command: LogCommand,
    },
    /// Look at a snapshot that 'kv-cli snapshot save' wrote
    Snapshot {
        /// What to do with it.
        #[command(subcommand)]
        command: SnapshotCommand,
    },
    /// Make a node of a new cluster from a snapshot
    ///
    /// Run it once for each member of the new cluster, always with the same snapshot, --cluster and
    /// --token; then start the nodes as usual. They form a new cluster, even with the old
    /// addresses: nodes of the old one keep out of it.
    Restore(RestoreOptions),
    /// Make a cluster of its own from a node whose other members will not come back
    ///
    /// For when a majority of the cluster is lost for good. It first says what this node has and
    /// what may be missing, and asks. Everything in the node's log is then taken as committed, and
    /// the node becomes the only member of a new cluster. The old files are kept beside the new
    /// ones. If there is a recent snapshot, restoring that may lose less: compare the indexes.
    /// Old revisions stay as they are; start the node with the flags that it had.
    Recover(RecoverOptions),
}

/// What can be done with a log.
#[derive(Clone, Debug, Subcommand)]
pub enum LogCommand {
    /// Print every record of the log in a data directory, and whatever is damaged
    Inspect {
        /// The data directory of the node
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Read all of the log in a data directory, and say in a sentence whether it is whole
    ///
    /// The exit code is 0 if it is, and 1 if not.
    Verify {
        /// The data directory of the node
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// What can be done with a snapshot.
#[derive(Clone, Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Check all of a snapshot, and say what it holds, or where it is damaged
    ///
    /// The exit code is 0 if it is whole, and 1 if not.
    Verify {
        /// The snapshot
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// The flags of `restore`.
#[derive(Clone, Debug, Args)]
pub struct RestoreOptions {
    /// What to restore
    #[arg(long, value_name = "FILE")]
    pub snapshot: PathBuf,

    /// Which node to make, of which cluster; the data directory has to be empty or not there.
    #[command(flatten)]
    pub member: MemberOptions,

    /// Any word that tells this cluster from another one with the same members that was restored
    /// from the same snapshot
    #[arg(long, value_name = "WORD", default_value = "", hide_default_value = true)]
    pub token: String,
}

/// The flags of `recover`.
#[derive(Clone, Debug, Args)]
pub struct RecoverOptions {
    /// The data directory of the node
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,

    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}
