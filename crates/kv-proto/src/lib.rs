//! The vocabulary of the key-value store: what a client can ask, what a server can answer, what
//! goes into the log, and what each of these looks like as bytes.
//!
//! Reading order: [`ids`] and [`limits`] are the small words. [`span`] says which keys a request
//! means. [`command`] is a write as it travels through the log; [`range`] is a read. [`reply`] is
//! what comes back, or [`error`]: one enum for everything that can be refused. [`hello`],
//! [`request`] and [`response`] put all of it into frames. [`exit`] turns outcomes into exit codes.
//!
//! One rule shapes every format here: **metadata through `wire`'s codec, keys and values raw behind
//! it.** A request to write carries exactly the bytes of the [`Command`], so a server validates
//! that slice and hands it to the log unchanged.
//!
//! Nodes, clusters, terms and log indexes belong to Raft; here they are only told to people, and
//! are plain `u64`. [`Revision`] and [`LeaseId`] belong to the data model, and have types.
//!
//! What this crate does not do: it opens no socket, knows no Raft, and stores nothing.

pub mod command;
pub mod error;
pub mod exit;
pub mod hello;
pub mod ids;
pub mod limits;
pub mod range;
pub mod reply;
pub mod request;
pub mod response;
pub mod span;

pub use command::{Command, Compact, Delete, LeaseChange, Put};
pub use error::{Error, Outcome, Part};
pub use exit::ExitCode;
pub use hello::{
    ClientHello, MAX_HELLO_BYTES, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, ServerHello, Welcome,
};
pub use ids::{LeaseId, Revision};
pub use limits::Limits;
pub use range::{Consistency, Direction, Range, RangeOptions, SortBy};
pub use reply::{
    BackupPiece, Bytes, CompactReply, DeleteReply, Difference, DigestsReply, DiskState, Header,
    KeyValue, Member, NodeStatus, PutReply, RangeReply, Reply, Role, Sending, StateDigest,
    StatusReply,
};
pub use request::{BackupRequest, Call, Request};
pub use response::Response;
pub use span::{Span, prefix_end};
/// What takes this protocol's frames off a stream.
pub use wire::frame::{FrameError, FrameReader, HEADER_BYTES};
