//! Whole Raft clusters on one thread from one seed.

pub mod campaign;
mod clients;
mod clock;
pub mod coverage;
mod dice;
mod disk;
mod drive;
pub mod faults;
pub mod linearizability;
mod machine;
mod medium;
mod mischief;
mod model;
mod nemesis;
mod network;
mod node;
mod oracle;
mod queue;
mod recovery;
mod run;
pub mod scenario;
mod show;
pub mod shrink;
mod storage;
mod trace;
mod violation;
mod world;

pub use crate::run::{Report, run};
pub use crate::violation::Violation;
