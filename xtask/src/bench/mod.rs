//! `cargo xtask bench`: figures taken side by side, in one run on one machine.
//!
//! [`cluster`] compares the whole store with others, [`core`] raft-core with raft-rs. [`storage`]
//! compares the log with the bare disk, and says what the store costs. [`instructions`] counts what
//! a put and a get take, and fails where it has become more.

pub mod cluster;
pub mod core;
pub mod instructions;
pub mod storage;
