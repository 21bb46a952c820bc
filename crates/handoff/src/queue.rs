//! One queue to one thread.

use std::time::{Duration, Instant};

use crossbeam_channel::{RecvError, RecvTimeoutError, TryRecvError};

use crate::bell::{Bell, Sender};

/// A queue that takes everything.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let bell = Bell::new();
    let (sender, queue) = bell.unbounded();
    (sender, Receiver { queue, bell })
}

/// A queue that holds `capacity` at most: who sends one more waits.
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let bell = Bell::new();
    let (sender, queue) = bell.bounded(capacity);
    (sender, Receiver { queue, bell })
}

/// The receiving end, for one thread.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: crossbeam_channel::Receiver<T>,
    bell: Bell,
}

impl<T> Receiver<T> {
    /// What comes next; sleeps until there is something.
    ///
    /// # Errors
    ///
    /// If nothing is left, and every sender is gone.
    pub fn recv(&self) -> Result<T, RecvError> {
        loop {
            match self.try_recv() {
                Ok(item) => return Ok(item),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
                Err(TryRecvError::Empty) => self.bell.wait(),
            }
        }
    }

    /// As [`recv`](Self::recv), but sleeps for `patience` at most.
    ///
    /// # Errors
    ///
    /// If nothing came in that time, or nothing is left and every sender is gone.
    pub fn recv_timeout(&self, patience: Duration) -> Result<T, RecvTimeoutError> {
        let Some(deadline) = Instant::now().checked_add(patience) else {
            return Ok(self.recv()?);
        };
        loop {
            match self.try_recv() {
                Ok(item) => return Ok(item),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) if Instant::now() >= deadline => {
                    return Err(RecvTimeoutError::Timeout);
                }
                Err(TryRecvError::Empty) => self.bell.wait_until(deadline),
            }
        }
    }

    /// What comes next, if it is there.
    ///
    /// # Errors
    ///
    /// If nothing is there; and whether every sender is gone as well.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.queue.try_recv()
    }

    /// What is there now, one after the other.
    pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
        self.queue.try_iter()
    }
}
