//! The replicated state machine: an ordered map of keys that remembers its past.
//!
//! A [`Store`] is fed the committed log, entry by entry, and answers reads. It is the same on every
//! replica because nothing but the log drives it: it reads no clock, draws no random number, and
//! walks nothing whose order is not fixed.
//!
//! # How it is built
//!
//! Every write makes a new *revision* of the whole store, and leaves the older states of a key in
//! place for a while, so that a reader can page through one unchanging state while writes go on.
//!
//! ```text
//!              Index, in memory                             Values, in a file
//!   key  ->  KeyId  ->  History: the newest Version  ->  record number  ->  bytes
//!                          `-> Past: the older ones, of all keys
//! ```
//!
//! Keys are in memory, a hundred bytes or so for each beyond its own; values are in a file, and
//! the latest of them, and those that are asked for often, in memory as well. The file is written
//! behind, by a thread of its own: the log is durable already, and its end is applied again after a
//! restart. So applying waits for a disk only when memory would not be bounded otherwise.
//!
//! Reading order:
//!
//! * [`store`](Store): the log's side. Applies entries, counts them, keeps the digest.
//! * `write`: what a put and a delete do; `read`: what a range does. These two hold the meaning.
//!   [`draft`](Draft): what was found, of which values have yet to be read.
//! * `index`: the keys, in the order of `keys`, each a `key`. `history`: the states of one.
//! * `turns`: how many keys there are, without looking at each.
//! * `build`: the index of a whole state file, made at once, with the keys in the `order` of which
//!   many are sorted.
//! * `retention`: the past, and forgetting it in small steps.
//! * `digest`: one number by which replicas are compared.
//! * `values`: the one door to the bytes of values; `disk`, behind it, is the file.
//! * [`snapshot`]: the whole store in pieces, for another node or for a backup.
//! * [`error`](StoreError): what can go wrong with the file.
//!
//! # Invariants
//!
//! 1. The revision grows by one with every command that changed something, and by nothing else.
//! 2. A command that fails changes nothing but the applied index and the digest.
//! 3. The versions of a key have rising revisions, at most one for each, and begin with a put.
//! 4. A read at a revision that is not compacted sees exactly what a read saw when that revision
//!    was the current one.
//! 5. The compacted revision never goes back and never passes the current one.
//! 6. Whatever was superseded is in the queue of `retention`, once, until it is forgotten.
//! 7. A store that was opened again is, in every answer and in all it will do, the store that it
//!    was at the position it had durably applied.
//!
//! # What it does not do
//!
//! It does not know that Raft exists, and opens no socket. Nothing that it answers depends on a
//! clock; only the pauses between two writes of the file do. It does not go on after an error of
//! the disk. Transactions, watches, leases and sessions are still to come; until there are leases,
//! every lease named by a put is unknown.

mod build;
mod digest;
mod disk;
mod draft;
mod error;
mod history;
mod index;
mod key;
mod keys;
mod order;
mod read;
mod retention;
pub mod snapshot;
mod store;
mod turns;
mod values;
mod write;

pub use disk::{Position, Steps};
pub use draft::Draft;
pub use error::StoreError;
pub use retention::Retention;
pub use store::{AHEAD, Applied, Options, Stats, Store};
