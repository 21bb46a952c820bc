//! Snapshots: large, in pieces, on a connection of their own, so that no heartbeat waits for one.
//!
//! ```text
//!   Source -- piece n --> sending thread --TCP--> reader thread -- piece n --> Sink
//!                         paced, resumes          says what is missing         verifies, installs
//! ```
//!
//! What a piece holds is the owner's business. The two sides say:
//!
//! ```text
//!   caller   greeting  offer(id, message)          piece 4  piece 5 ...  end(9)
//!   called   greeting                     next(4)  next(5)  ...          next(9) ...  done
//! ```
//!
//! # What holds
//!
//! 1. Each call of [`SnapshotSender::send`] has one outcome:
//!    [`NetEvent::SnapshotSent`](crate::NetEvent::SnapshotSent). It says "arrived" only if the
//!    receiver's sink said that it is done.
//! 2. A sink is given the pieces of one offer, each once, in order. If the connection breaks, the
//!    next one goes on at the piece that is missing, as long as both sides remember the offer.
//! 3. To each peer one snapshot is sent at a time, and from each one is received. A new one takes
//!    the place of the old one.
//! 4. No more than [`MAX_UNCONFIRMED`] pieces are under way that the receiver has not taken in.
//!    No piece is larger than [`Snapshots::max_piece_bytes`](crate::Snapshots::max_piece_bytes).
//! 5. That a snapshot was refused is told after a pause, so that the next one is not sent at once.
//! 6. Whatever stands still for [`Snapshots::patience`](crate::Snapshots::patience) is given up.
//!
//! Reading order: `frames` is what is said; `pace` how fast; `outgoing` and `incoming` are the two
//! ends; `departures` is what is on its way, and `berth` what the receiving end keeps from one
//! connection to the next.

mod berth;
mod departures;
mod frames;
mod incoming;
mod outgoing;
mod pace;

use raft_core::Message;

pub(crate) use berth::Berth;
pub(crate) use departures::Departures;
pub use departures::SnapshotSender;
pub(crate) use incoming::receive;

/// The most pieces that are under way without the receiver having confirmed them.
pub(crate) const MAX_UNCONFIRMED: u64 = 4;

/// Where the pieces of a snapshot come from. They are read on a thread of the network, no faster
/// than they are sent.
pub trait SnapshotSource: Send {
    /// The piece with this number, from 0 on; `None` behind the last. Numbers go on one by one, or
    /// back to a piece that was asked for before, which must be the same then.
    ///
    /// # Errors
    ///
    /// If it cannot be read: a sentence for the log. The snapshot is then given up.
    fn piece(&mut self, number: u64) -> Result<Option<Vec<u8>>, String>;
}

/// Where the pieces of a snapshot go. Dropping it means that no more will come.
pub trait SnapshotSink: Send {
    /// The number of the piece that is due.
    fn next_piece(&self) -> u64;

    /// Takes the piece that is due. May wait for a disk: the sender waits as well then.
    ///
    /// # Errors
    ///
    /// If it is not what it should be, or has no place: a sentence for both logs. The snapshot is
    /// then given up.
    fn take(&mut self, piece: &[u8]) -> Result<(), String>;

    /// All pieces came. Verifies them and returns when the snapshot has served its purpose; as long
    /// as it takes, the sender is told to be patient.
    ///
    /// Shutting the network down waits for this. So whoever waits here for others, who may be gone
    /// by then, has to look now and then whether `is_stopping`, and to end if it does.
    ///
    /// # Errors
    ///
    /// If it did not: a sentence for both logs.
    fn finish(self: Box<Self>, is_stopping: &(dyn Fn() -> bool + Sync)) -> Result<(), String>;
}

/// Makes a sink for a snapshot that is offered with this message, whose body is
/// [`Body::Snapshot`](raft_core::Body::Snapshot); or says why not, in a sentence for both logs.
pub type SnapshotReceiver = dyn Fn(Message) -> Result<Box<dyn SnapshotSink>, String> + Send + Sync;
