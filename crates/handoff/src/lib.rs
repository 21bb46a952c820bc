//! Queues from many threads to one, which sleeps at once when there is nothing for it.
//!
//! The queues are those of `crossbeam-channel`. What differs is how a receiver waits: it sleeps,
//! where theirs first looks again and again, and yields its processor in between. That pays where
//! what one waits for is a microsecond away, on a processor of its own. Here it is a disk or a
//! network away, and there are more threads than processors, so that every yield is a switch to
//! another thread, and back: with three servers and one client on two processors, a hundred
//! thousand a second.
//!
//! - [`unbounded`] and [`bounded`] make one queue to one thread.
//! - A [`Bell`] makes several to the same thread: it is rung by all of them.
//!
//! Invariants:
//! 1. What was sent before the receiver went to sleep, or while it sleeps, wakes it. So does the
//!    end of a queue, when its last sender is dropped.
//! 2. Waiting may end for no reason: who waits looks into its queues again.
//! 3. To send to a thread that is awake costs one atomic swap more than the queue itself.

mod bell;
mod queue;

pub use bell::{Bell, Ringer, Sender};
pub use crossbeam_channel::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};
pub use queue::{Receiver, bounded, unbounded};
