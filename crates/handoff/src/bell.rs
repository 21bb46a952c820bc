//! [`Bell`]: wakes one thread, for whichever of its queues has something.

use std::time::Instant;

use crossbeam_channel::{SendError, TrySendError};
use crossbeam_utils::sync::{Parker, Unparker};

/// What one thread waits for. It is rung by all queues that were made with it, and by
/// [`Ringer`]s.
#[derive(Debug, Default)]
pub struct Bell {
    parker: Parker,
}

impl Bell {
    /// A bell that nobody can ring yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A way to ring it.
    pub fn ringer(&self) -> Ringer {
        Ringer(self.parker.unparker().clone())
    }

    /// A queue that takes everything. Its receiver is to be read without waiting: see
    /// [`Bell::wait`].
    pub fn unbounded<T>(&self) -> (Sender<T>, crossbeam_channel::Receiver<T>) {
        let (queue, receiver) = crossbeam_channel::unbounded();
        (self.ring_after(queue), receiver)
    }

    /// A queue that holds `capacity` at most: who sends one more waits. Its receiver is to be read
    /// without waiting: see [`Bell::wait`].
    pub fn bounded<T>(&self, capacity: usize) -> (Sender<T>, crossbeam_channel::Receiver<T>) {
        let (queue, receiver) = crossbeam_channel::bounded(capacity);
        (self.ring_after(queue), receiver)
    }

    fn ring_after<T>(&self, queue: crossbeam_channel::Sender<T>) -> Sender<T> {
        Sender { queue, rope: Rope(self.ringer()) }
    }

    /// Sleeps until the bell has rung. If it rang since the last wait, this returns at once: so
    /// whoever looks into the queues first and waits then misses nothing.
    pub fn wait(&self) {
        self.parker.park();
    }

    /// As [`wait`](Self::wait), until `deadline` at most.
    pub fn wait_until(&self, deadline: Instant) {
        self.parker.park_deadline(deadline);
    }
}

/// Rings a bell, from any thread.
#[derive(Clone, Debug)]
pub struct Ringer(Unparker);

impl Ringer {
    /// Wakes the thread if it sleeps; otherwise its next wait ends at once.
    pub fn ring(&self) {
        self.0.unpark();
    }
}

/// The sending end of a queue, for any thread.
#[derive(Debug)]
pub struct Sender<T> {
    queue: crossbeam_channel::Sender<T>,
    /// Behind the queue: when this sender is dropped, the queue may end, and then the bell rings.
    rope: Rope,
}

/// Rings when it is dropped.
#[derive(Clone, Debug)]
struct Rope(Ringer);

impl Drop for Rope {
    fn drop(&mut self) {
        self.0.ring();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), rope: self.rope.clone() }
    }
}

impl<T> Sender<T> {
    /// Adds `item`; waits while the queue is full.
    ///
    /// # Errors
    ///
    /// If the receiver is gone: the item comes back.
    pub fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.queue.send(item)?;
        self.rope.0.ring();
        Ok(())
    }

    /// Adds `item` if there is room.
    ///
    /// # Errors
    ///
    /// If the queue is full or the receiver is gone: the item comes back.
    pub fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.queue.try_send(item)?;
        self.rope.0.ring();
        Ok(())
    }
}
