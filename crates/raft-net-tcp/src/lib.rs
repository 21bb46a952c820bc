//! Moves Raft messages between the nodes of a cluster over TCP: threads, blocking sockets, bounded
//! queues.
//!
//! ```text
//! Network::send --> Outbox (one a peer, bounded) -> writer thread --TCP--> reader thread -> event
//!                                                   dials, greets,         answers the
//!                                                   writes, pings          greeting and pings
//! ```
//!
//! Two connections join a pair of nodes, one each way: whoever has something to say dials. A
//! snapshot travels on one of its own, so that nothing waits behind it. So a
//! connection has one writer and one reader, nobody has to agree on who dials, and a message goes
//! from the caller's thread to the socket with one hand-over.
//!
//! # What holds
//!
//! 1. [`Network::send`] never blocks. A peer that is slow, dead or hostile costs a bounded queue.
//! 2. Messages to one peer arrive in the order they were sent, or not at all. Losses are counted,
//!    and the loss of anything that a peer would have to be asked for again is followed by
//!    [`NetEvent::Unreachable`], so that it is not waited for.
//! 3. A message is handed out only if its sender is who the connection's greeting named, and its
//!    receiver is this node.
//! 4. Nothing that arrives makes a thread panic or takes memory before that many bytes have
//!    arrived. Frames, entries, connections and their greetings have limits.
//! 5. No event is told after [`Network::shutdown`] has returned.
//! 6. If [`Config::directory`] is set, nothing is said to a peer, or believed of it, that shows
//!    another data directory than before and does not say that it rejoins.
//!
//! # A peer that is there, and one that is not
//!
//! A connection whose other end lost its power looks like one where nobody has anything to say. The
//! writer therefore sends a ping every [`Timing::keepalive_interval`], whatever else it sends, and
//! the reader answers each. The reader closes a connection on which nothing arrived for
//! [`Timing::silence_timeout`]; the writer closes one where as many pings as fit into that time
//! were sent in vain. An answer from the process itself, rather than `TCP_USER_TIMEOUT`, because
//! the kernel of a stopped or hung process goes on acknowledging what that process will never
//! read. Pings are counted rather than their time taken, so that a pause of this process is not
//! mistaken for the silence of the other one.
//!
//! # Reading order
//!
//! `config`, `directory`, `event` and `stats` are what a caller sees; `format` and `handshake` are
//! the bytes; `acquaintances` says which peers are the ones that were met before, and `peers_file`
//! is how that is written down; `outbox` is the queue, and `line` the way past it; `outgoing` and
//! `incoming` are the two threads of a connection; `arrivals` says who may stay; `snapshot` is what
//! travels beside the messages; `network` starts and stops it all.
//!
//! # What it does not do
//!
//! No encryption and no authentication: the greeting protects against mistakes, not against an
//! attacker who can write to the port. The set of peers is fixed when the network starts. What is
//! in a piece of a snapshot is the owner's business.

mod acquaintances;
mod arrivals;
mod backoff;
mod complaints;
mod config;
mod directory;
mod event;
pub mod format;
mod handshake;
mod incoming;
mod line;
mod link;
mod mirror;
mod network;
mod outbox;
mod outgoing;
pub mod peers_file;
mod snapshot;
mod start_error;
mod stats;

pub use acquaintances::FILE as PEERS_FILE;
pub use config::{Config, Limits, Snapshots, Timing};
pub use directory::{Directory, DirectoryId};
pub use event::{NetEvent, Refusal, RefusalCode};
pub use network::Network;
pub use snapshot::{SnapshotReceiver, SnapshotSender, SnapshotSink, SnapshotSource};
pub use start_error::StartError;
pub use stats::{NetStats, PeerStats, SnapshotProgress};
