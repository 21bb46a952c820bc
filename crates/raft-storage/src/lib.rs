//! A write-ahead log for Raft on files, and its recovery.
//!
//! One promise: **what the log has acknowledged is there after any crash, and if the medium has
//! lost it all the same, the log says so.** It never takes damage for a write that a crash cut
//! short, because the difference is decided sector by sector:
//!
//! * Every sector of 512 bytes has a seal of its own. It is good, or unwritten, or bad. A crash
//!   leaves good and unwritten sectors; a bad one is damage.
//! * Batches are synced one after the other, and every record names the last one that was durable
//!   when it was written. A record that is gone although a later one calls it durable is damage.
//! * A damaged log is never written, truncated or tidied up by opening it. [`Recovered::damage`]
//!   says in one sentence what is wrong and where; what to do about it is for the node to decide,
//!   which has peers. If it can get back from them what is lost, [`repair()`] sets the damaged
//!   files aside and lets the node start as one that recovers
//!   ([`HardState::recovering`](raft_core::HardState)).
//! * Term and vote are kept twice, in the log and in a file of their own, because nobody else
//!   could give them back.
//! * A full disk is not a failed write: it is noticed where the next file is made, before anything
//!   is promised. The log says so ([`Log::room`]), goes on with a reserve, and waits.
//!
//! The way through the code, from the bytes up: `sector` (what a disk writes whole), `record` (one
//! [`Write`](raft_core::Write)), `segment` (one file), `tip` (what the next record has to
//! continue), `walk` (where the log ends, and whether it is damaged), `open` (what a crash left to
//! tidy up), `witness` (what is kept twice), `repair` (damage set aside), `writer`, `spare` and
//! `spares` (batches, and files made ahead of use), `room` (what a full disk leaves), `index` and
//! `log` (reading back). `queue` is in which order requests come up, `work` what a log does with
//! them, and [`thread`] puts it on a thread of its own, with one sync for all that has queued up;
//! [`inspect`](mod@inspect) prints a log for people, [`verify()`] only says whether it is whole;
//! [`MemoryLog`] is for tests.
//! `docs/format.md` has every byte.
//!
//! ```
//! use raft_core::{Entries, Entry, HardState, Index, NodeId, Payload, PersistId, Position, Term};
//! use raft_storage::{FileDisk, Log, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let options = Options::new(NodeId::new(1), 42, "1=10.0.0.1:8080");
//! let (mut log, recovered) = Log::open(FileDisk::create(directory.path())?, &options)?;
//! assert_eq!(recovered.last, Position::ORIGIN);
//!
//! let at = Position::new(Term::new(1), Index::new(1));
//! let write = raft_core::Write {
//!     id: PersistId::new(1),
//!     hard_state: HardState { term: Term::new(1), ..HardState::default() },
//!     commit: Index::ZERO,
//!     reset: None,
//!     entries: Entries::from(vec![Entry { at, payload: Payload::Noop }]),
//! };
//! log.append(&[write])?; // on return it would survive a loss of power
//! assert_eq!(log.read(Index::new(1), Index::new(1), usize::MAX)?[0].at, at);
//! # Ok(())
//! # }
//! ```
//!
//! What this crate does not do: it gives nothing back that is lost (peers do), it stores no
//! snapshots, it does not tell a disk that was emptied from a new one, and it knows no state
//! machine.

mod damage;
mod disk;
mod error;
mod fields;
mod file_disk;
mod index;
pub mod inspect;
mod log;
mod memory;
mod meta;
mod open;
mod options;
#[cfg(feature = "planted-repairs")]
pub mod planted;
#[cfg(not(feature = "planted-repairs"))]
#[expect(unreachable_pub, reason = "it is public in the other build")]
mod planted;
mod queue;
mod record;
mod recovery;
mod repair;
mod room;
mod sector;
mod segment;
mod spare;
mod spares;
pub mod thread;
mod tip;
mod verify;
mod walk;
mod witness;
mod work;
mod writer;

pub use crate::damage::{BadSector, Damage, Fault};
pub use crate::disk::{Access, Disk, DiskFile};
pub use crate::error::{IoError, OpenError, ReadError, WriteError};
pub use crate::file_disk::FileDisk;
pub use crate::log::Log;
pub use crate::memory::MemoryLog;
pub use crate::meta::{FILE as META_FILE, MAX_DESCRIPTION_BYTES};
pub use crate::open::LOCK_FILE;
pub use crate::options::Options;
pub use crate::queue::LogQueue;
pub use crate::record::MAX_PAYLOAD_BYTES;
pub use crate::recovery::{Recovered, Torn};
pub use crate::repair::{RepairError, Repaired, repair};
pub use crate::room::Room;
pub use crate::verify::{LogIdentity, Verified, identity, verify};
pub use crate::work::LogWork;
