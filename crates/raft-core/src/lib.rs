//! The Raft consensus algorithm as a pure state machine: events in, actions out.
#![no_std]

extern crate alloc;

mod api;
mod config;
mod election;
mod entry;
mod held;
pub mod invariants;
mod log;
mod message;
mod node;
mod progress;
mod proposals;
mod quorum;
mod read_index;
mod reads;
mod receive;
mod replication;
mod rng;
mod role;
mod status;
mod types;

pub use api::{
    Action, DropReason, Event, HardState, Input, LogRead, Outcome, ReadLog, ReadPurpose, Rejection,
    RoleChange, VoteAnswer, Write,
};
pub use config::{Boot, BootError, ClusterConfig, Config, ConfigError, Limits};
pub use entry::{Entries, Entry, Payload};
pub use message::{Body, Message};
pub use node::Raft;
pub use status::{PeerStatus, RoleKind, Status};
pub use types::{Index, NodeId, PersistId, Position, Term, Ticket, Time};
