//! A blocking client: it finds the leader, repeats what is safe to repeat, and says of everything
//! else whether it was applied.
//!
//! [`Client`] is the one to use: typed calls, one at a time, each within the
//! [timeout](Options::timeout). [`Connection`] is one socket to one node with any number of
//! requests in flight; it repeats nothing, and is there for load and for tools.
//!
//! ```no_run
//! use kv_client::{Client, Options};
//!
//! # fn main() -> Result<(), kv_client::Error> {
//! let mut client = Client::new(["127.0.0.1:9080", "127.0.0.1:9081"], Options::default())?;
//! client.put(b"colour", b"green")?;
//! assert!(client.get(b"colour")?.reply.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! # What is repeated
//!
//! 1. A read, whatever happened to it: it changes nothing.
//! 2. A write that was certainly never received whole, or whose error says "not applied" and may
//!    well succeed later ([`kv_proto::Error::is_temporary`]).
//! 3. Nothing else. A write that was sent and got no answer is [`Error::NoAnswer`], whose outcome
//!    is unknown.
//!
//! Reading order: [`deadline`] and `backoff` measure time, `resolve` turns names into
//! addresses, [`connection`] is the socket, [`endpoints`] remembers where the nodes are,
//! [`client`] is the loop of rule 1 to 3, [`pages`] and [`cluster`] are built on it. [`backup`]
//! fetches the whole store from one node.
//!
//! What this crate does not do: it keeps no sessions yet, so "unknown" is left to the caller; it
//! is not asynchronous; and a [`Client`] serves one thread, so give each thread its own.

mod backoff;
pub mod backup;
pub mod client;
pub mod cluster;
pub mod connection;
pub mod deadline;
pub mod endpoints;
pub mod error;
pub mod pages;
mod resolve;

pub use backup::{Backup, BackupOptions};
pub use client::{Answer, Client, Options};
pub use cluster::{ClusterStatus, NodeRow};
pub use connection::{Connection, ConnectionError};
pub use deadline::Deadline;
pub use endpoints::Endpoints;
pub use error::Error;
pub use kv_proto;
pub use pages::Pages;
