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
//!              Index                                        Value
//!   key  ->  KeyId  ->  History: one Version, or several  ->  bytes
//! ```
//!
//! Reading order:
//!
//! * [`store`](Store): the log's side. Applies entries, counts them, keeps the digest.
//! * `write`: what a put and a delete do; `read`: what a range does. These two hold the meaning.
//! * `index`: the ordered keys, each a `key`. `history`: the states of one. `value`: the only door
//!   to the bytes of a value, so that they can move to disk without the others noticing.
//! * `retention`: forgetting the past in small steps.
//! * `digest`: one number by which replicas are compared.
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
//!
//! # What it does not do
//!
//! It does not know that Raft exists, opens no file and no socket, and does not time anything. It
//! keeps everything in memory for now. Transactions, watches, leases and sessions are still to
//! come; until there are leases, every lease named by a put is unknown.

mod digest;
mod history;
mod index;
mod key;
mod read;
mod retention;
mod store;
mod value;
mod write;

pub use retention::Retention;
pub use store::{Applied, Stats, Store};
