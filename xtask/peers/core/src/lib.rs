//! `raft-core` and `raft-rs` (the `raft` crate), measured side by side.
//!
//! Whole clusters on one thread, with nothing but the protocol: time stands still, messages are
//! moved from one queue to another, a write is durable as soon as the node has been told so, and
//! applying is counting. So the figures say what the protocol costs, which is what is left when
//! network and disk are fast or shared by many.
//!
//! Both clusters are driven by the same two calls ([`Cluster`]). A batch of commands is proposed
//! to the leader at once; then everything is delivered, made durable, acknowledged, committed and
//! applied on the leader, until no node has anything left to do. Followers learn of the commit
//! with the next batch. The number of commands in a batch is the *depth*: with depth 1, one
//! client that waits for every answer.
//!
//! [`ours`] drives `raft-core`. `raft-rs` is driven in two ways: [`documented`] does it as its
//! manual says, with the log that it brings; [`peer`] with a log and a loop that were written to
//! make it faster, and says what was done for that.
//! [`rounds`] measures in interleaved rounds, [`report`] prints. The binary `speed` measures time;
//! `allocations` counts allocations in a program of its own, so that the counting costs no time
//! in the other; `work` and `floor` do a given amount of it, for programs that count
//! instructions. [`floor`] is what would be left of `raft-core` if it decided nothing.
//!
//! What this does not do: it compares no network, no disk, no elections and no snapshots.

pub mod documented;
pub mod floor;
pub mod options;
pub mod ours;
pub mod peer;
mod raft_rs;
pub mod report;
pub mod rounds;

/// A cluster on one thread, whose first node leads.
pub trait Cluster {
    /// Starts a cluster of so many nodes, all of them voters, for commands of this size.
    fn start(nodes: u64, command_bytes: usize) -> Self;

    /// Proposes `depth` commands at once, and goes on until no node has anything to do.
    ///
    /// # Panics
    ///
    /// If the leader did not apply every one of them.
    fn commit(&mut self, depth: usize);
}

/// What is measured: everything that makes one figure differ from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The number of nodes, all of them voters.
    pub nodes: u64,
    /// The number of commands proposed at once.
    pub depth: usize,
    /// The size of a command.
    pub command_bytes: usize,
    /// How many commands the log has taken in before, where that is what is asked.
    pub log_entries: u64,
}

impl Case {
    /// Three nodes and commands of 16 bytes, at this depth.
    pub const fn at_depth(depth: usize) -> Self {
        Self { nodes: 3, depth, command_bytes: 16, log_entries: 0 }
    }
}
