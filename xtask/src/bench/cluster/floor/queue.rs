//! What waits for a file: bounded in bytes, taken all at once.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Requests that are passed on and written together.
pub(super) type Batch = Arc<Vec<u8>>;

/// Between a thread that brings batches and one that writes them.
///
/// Guarantees:
/// 1. Batches come out in the order in which they went in.
/// 2. A batch waits outside while `max_bytes` or more are inside.
/// 3. Once it is closed nothing goes in, and what is inside still comes out.
#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    came: Condvar,
    went: Condvar,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    batches: Vec<Batch>,
    bytes: usize,
    is_closed: bool,
}

impl Queue {
    pub(super) fn new(max_bytes: usize) -> Self {
        let (came, went) = (Condvar::new(), Condvar::new());
        Self { inner: Mutex::default(), came, went, max_bytes }
    }

    /// Brings a batch, once there is room; false if the queue is closed.
    pub(super) fn push(&self, batch: Batch) -> bool {
        let is_full = |it: &mut Inner| it.bytes >= self.max_bytes && !it.is_closed;
        let waited = self.went.wait_while(self.inner(), is_full);
        let mut inner = waited.unwrap_or_else(PoisonError::into_inner);
        if inner.is_closed {
            return false;
        }
        inner.bytes += batch.len();
        inner.batches.push(batch);
        drop(inner);
        self.came.notify_one();
        true
    }

    /// No more comes.
    pub(super) fn close(&self) {
        self.inner().is_closed = true;
        self.came.notify_one();
        self.went.notify_all();
    }

    /// Everything there is, when it is `enough_bytes`, or the first has waited for `patience`;
    /// nothing if nothing will come.
    pub(super) fn take(&self, enough_bytes: usize, patience: Duration) -> Option<Vec<Batch>> {
        let is_empty = |it: &mut Inner| it.batches.is_empty() && !it.is_closed;
        let waited = self.came.wait_while(self.inner(), is_empty);
        let mut inner = waited.unwrap_or_else(PoisonError::into_inner);
        let came = Instant::now();
        while inner.bytes < enough_bytes && !inner.is_closed {
            let left = patience.saturating_sub(came.elapsed());
            if left.is_zero() {
                break;
            }
            let waited = self.came.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let batches = std::mem::take(&mut inner.batches);
        inner.bytes = 0;
        drop(inner);
        self.went.notify_all();
        (!batches.is_empty()).then_some(batches)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
