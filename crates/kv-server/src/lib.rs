//! The server: wires consensus, the log, the network and the store together.
//!
//! ```text
//!               +--------------- apply thread: kv-store -------------------------+
//!               | committed                                              replies |
//! peers  --> raft-net-tcp --> THE LOOP: replica (raft-core) --> log thread (raft-storage)
//! peers  <-- raft-net-tcp <------+    ^
//! clients --> clients thread (mio) ---+----> replies back through its waker
//! ```
//!
//! Reading order: [`replica`] is the heart, pure and without I/O: events in, effects out; of its
//! parts `pending` holds the requests that wait, [`directory`] the members' addresses, and
//! `first_election` sees to it that a cluster that starts has a leader soon.
//! [`event_loop`] carries effects out. [`apply`] owns the [`machine`], and so the store; `readers`
//! are the threads that read values from disk;
//! [`clients`] the sockets of the clients, of which there are as many as [`descriptors`] allows.
//! [`recovery`] brings a node back to where it was. [`server`] starts and stops all
//! of it. [`options`], [`commands`], [`settings`], [`members`] and [`timing`] turn flags into what
//! a node needs to know. [`narrate`] tells people about it. [`backups`] sends the state to clients
//! that save it. [`steward`] is what a node sees to by itself: [`compare`] compares the
//! [`checkpoints`] of states, `standing` is what follows for a node that is wrong, and `aging` is
//! which revisions are old. [`offline`] is what the binary can do besides serving.
//!
//! What it does not do: it knows no rule of Raft (that is `raft-core`), no meaning of a command
//! (`kv-store`), and no byte of a format (`wire`, `kv-proto`, `raft-storage`, `raft-net-tcp`).

mod aging;
pub mod allowance;
pub mod apply;
pub mod backups;
pub mod checkpoints;
pub mod clients;
pub mod commands;
pub mod compare;
pub mod descriptors;
pub mod directory;
pub mod disk_health;
pub mod event_loop;
mod first_election;
pub mod log_keep;
pub mod machine;
pub mod members;
pub mod narrate;
pub mod offline;
pub mod options;
mod pending;
#[cfg(feature = "planted-bugs")]
pub mod planted;
#[cfg(not(feature = "planted-bugs"))]
#[expect(unreachable_pub, reason = "it is public in the other build")]
mod planted;
mod readers;
pub mod recovery;
pub mod rejoin;
pub mod replica;
mod seldom;
pub mod server;
pub mod settings;
pub mod snapshots;
mod standing;
pub mod start_error;
pub mod steward;
pub mod timing;
