//! Between the thread that applies and the thread that writes: what is not written yet.
//!
//! The one who applies adds to it after every entry, and is never in the way of the disk: it waits
//! only if so much is unwritten that memory would not be bounded otherwise. The one who writes
//! takes everything there is at once, so a slower disk makes larger batches.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::state::{Mark, Position};
use crate::error::StoreError;

/// As soon as this much waits, it is written.
const BATCH_BYTES: usize = 4 << 20;

/// What waits longer is written, however little it is. A crash costs replaying this much of the
/// log; a shorter pause would cost more syncs, which hold up those of the log on the same disk.
const PAUSE: Duration = Duration::from_millis(500);

/// What a record takes in memory until it is written, beyond its bytes.
const RECORD_OVERHEAD_BYTES: usize = 16;

/// Changes, in the order of the log, that end between two entries.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The records, one behind the other. Their numbers follow each other.
    pub(crate) bytes: Vec<u8>,
    /// Where each of them ends, and its weight.
    pub(crate) pieces: Vec<Piece>,
    /// Records that died: number and weight. Some may be of this very batch.
    pub(crate) dead: Vec<(u64, u64)>,
    /// The members of the cluster, if they changed.
    pub(crate) members: Option<Arc<[u8]>>,
    /// The state after the last entry; `None` if there was no entry.
    pub(crate) mark: Option<Mark>,
}

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) size_bytes: usize,
    pub(crate) weight: u64,
}

impl Batch {
    /// Moves everything behind what is here.
    fn append(&mut self, other: &mut Self) {
        self.bytes.append(&mut other.bytes);
        self.pieces.append(&mut other.pieces);
        self.dead.append(&mut other.dead);
        self.members = other.members.take().or(self.members.take());
        self.mark = other.mark.take().or(self.mark);
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let records = self.pieces.len() + self.dead.len();
        self.bytes.len() + records * RECORD_OVERHEAD_BYTES
    }
}

/// What the two threads share.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    to_writer: Condvar,
    to_store: Condvar,
}

#[derive(Debug)]
struct Inner {
    waiting: Batch,
    /// Of the batch that is being written.
    writing_bytes: usize,
    /// What the file holds for sure.
    durable: Mark,
    /// Whether the other side waits for the disk.
    is_urgent: bool,
    is_closing: bool,
    failure: Option<StoreError>,
}

impl Queue {
    pub(crate) fn new(durable: Mark) -> Self {
        let inner = Inner {
            waiting: Batch::default(),
            writing_bytes: 0,
            durable,
            is_urgent: false,
            is_closing: false,
            failure: None,
        };
        Self { inner: Mutex::new(inner), to_writer: Condvar::new(), to_store: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds the lock can panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the changes of an entry, and waits while more than `max_bytes` are unwritten. Returns
    /// what the file holds for sure.
    pub(crate) fn add(&self, batch: &mut Batch, max_bytes: usize) -> Result<Mark, StoreError> {
        let mut inner = self.lock();
        let was = inner.waiting.mark.is_some();
        inner.waiting.append(batch);
        let is_enough = inner.waiting.memory_bytes() >= BATCH_BYTES;
        if !was || is_enough {
            self.to_writer.notify_one();
        }
        while inner.failure.is_none() && inner.unwritten_bytes() > max_bytes {
            inner = self.wait_for_disk(inner);
        }
        inner.outcome()
    }

    /// Waits until everything that was added is written.
    pub(crate) fn flush(&self) -> Result<Mark, StoreError> {
        let mut inner = self.lock();
        while inner.failure.is_none() && (inner.waiting.mark.is_some() || inner.writing_bytes > 0) {
            inner = self.wait_for_disk(inner);
        }
        inner.outcome()
    }

    /// Waits until the file holds the log up to `index`, whatever is added meanwhile.
    pub(crate) fn wait_for(&self, index: u64) -> Result<(), StoreError> {
        let mut inner = self.lock();
        while inner.failure.is_none() && inner.durable.position.index < index {
            // A store that was dropped in an orderly way has written everything.
            inner = self.wait_for_disk(inner);
        }
        inner.outcome().map(|_| ())
    }

    fn wait_for_disk<'a>(&self, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        inner.is_urgent = true;
        self.to_writer.notify_one();
        self.to_store.wait(inner).unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file holds for sure, and whether anything went wrong.
    pub(crate) fn outcome(&self) -> Result<Mark, StoreError> {
        self.lock().outcome()
    }

    /// What the file holds for sure.
    pub(crate) fn durable(&self) -> Position {
        self.lock().durable.position
    }

    /// Takes all that waits; `None` when the store is closing and nothing is left. Waits a while
    /// for more to come, unless somebody waits for it.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut inner = self.lock();
        while inner.waiting.mark.is_none() && !inner.is_closing {
            inner = self.to_writer.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        let deadline = Instant::now() + PAUSE;
        while !inner.is_ripe() {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            let waited = self.to_writer.wait_timeout(inner, rest);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.waiting.mark?;
        inner.is_urgent = false;
        // At least one, so that it counts as being under way.
        inner.writing_bytes = inner.waiting.memory_bytes().max(1);
        Some(std::mem::take(&mut inner.waiting))
    }

    /// What was taken is in the file.
    pub(crate) fn written(&self, durable: Mark) {
        let mut inner = self.lock();
        inner.writing_bytes = 0;
        inner.durable = durable;
        self.to_store.notify_all();
    }

    /// Something went wrong; only the first thing is told.
    pub(crate) fn fail(&self, error: StoreError) {
        self.lock().failure.get_or_insert(error);
        self.to_store.notify_all();
    }

    /// Lets the writer finish and end.
    pub(crate) fn close(&self) {
        self.lock().is_closing = true;
        self.to_writer.notify_one();
    }
}

impl Inner {
    fn unwritten_bytes(&self) -> usize {
        self.waiting.memory_bytes() + self.writing_bytes
    }

    fn is_ripe(&self) -> bool {
        self.is_closing || self.is_urgent || self.waiting.memory_bytes() >= BATCH_BYTES
    }

    fn outcome(&self) -> Result<Mark, StoreError> {
        self.failure.clone().map_or(Ok(self.durable), Err)
    }
}
