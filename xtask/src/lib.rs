//! The project's own commands, and the machinery that runs real clusters for tests.
//!
//! ```text
//! cargo xtask ci        everything that has to be right before a change is merged
//! cargo xtask tidy      the rules that no compiler checks: who may know whom, sizes, leftovers
//! cargo xtask cluster   a cluster of real processes on this machine, to try things out
//! cargo xtask torture   the same under writers, with nodes killed: nothing acknowledged is lost
//! cargo xtask sim       whole clusters in simulation, with every fault there is, one per seed
//! cargo xtask model     every state that a small cluster can reach
//! cargo xtask bench     how fast it is, beside others
//! ```
//!
//! Reading order: [`members`] knows the addresses of a cluster and [`process`] runs one node;
//! [`cluster`] puts a terminal in front of that, and [`torture`] a hard life. [`sim`] hands on to
//! `raft-sim`, [`model`] to `raft-model` and [`mod@bench`] to `xtask/peers`; [`tidy`] reads
//! sources, [`ci`] runs the lot. [`failure`] and [`workspace`] are small change.
//!
//! What this crate does not do: it holds no part of the product, it starts nothing outside this
//! machine, and it installs nothing.

pub mod bench;
pub mod ci;
pub mod cluster;
pub mod failure;
pub mod members;
pub mod model;
pub mod process;
pub mod sim;
pub mod tidy;
pub mod torture;
pub mod workspace;
