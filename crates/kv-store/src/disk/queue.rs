//! Between the thread that applies and the thread that writes: what is not written yet.
//!
//! The one who applies adds to it after every entry, and is never in the way of the disk: it waits
//! only if so much is unwritten that memory would not be bounded otherwise. On a full disk that
//! bound is a larger one, so that those who read do not wait as well. The one who writes takes
//! everything there is at once, so a slower disk makes larger batches.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kv_proto::Bytes;

use super::Bounds;
use super::recent::{Chunk, Recent};
use super::state::{Mark, Position};
use super::steps::Steps;
use crate::error::StoreError;

/// As soon as this much waits, it is written.
const BATCH_BYTES: usize = 4 << 20;

/// Or so many records, which are half a mebibyte if their values have 256 bytes. With more,
/// whoever wants a processor or the disk meanwhile waits longer for them; with fewer, there are
/// more syncs.
const BATCH_RECORDS: usize = 2048;

/// What waits longer is written, however little it is. A crash costs replaying this much of the
/// log; a shorter pause would cost more syncs, which hold up those of the log on the same disk.
const PAUSE: Duration = Duration::from_millis(500);

/// So many times as much may be unwritten while the file has no room. Then nobody knows how long it
/// takes, and whoever reads is not to wait for it: nothing new comes in, but what was under way is
/// applied. By default this is 128 MiB, of which a leader has let in 64 at most, and its store had
/// 16 unwritten.
const NO_ROOM_FACTOR: usize = 8;

/// What an entry changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) records: Chunk,
    /// Records that died: number and weight. Some may be of this very entry.
    pub(crate) dead: Vec<(u64, u64)>,
    /// The members of the cluster, if they changed.
    pub(crate) members: Option<Arc<[u8]>>,
}

/// Changes, in the order of the log, that end between two entries.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The records. Their numbers follow each other.
    pub(crate) records: Vec<Arc<Chunk>>,
    /// As in [`Changes`].
    pub(crate) dead: Vec<(u64, u64)>,
    pub(crate) members: Option<Arc<[u8]>>,
    /// The state after the last entry.
    pub(crate) mark: Mark,
}

/// What the two threads share.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    to_writer: Condvar,
    to_store: Condvar,
    max_unwritten_bytes: usize,
    /// Who says when a batch is taken, where that is not a clock.
    steps: Option<Steps>,
}

#[derive(Debug)]
struct Inner {
    recent: Recent,
    /// What waits besides records.
    dead: Vec<(u64, u64)>,
    members: Option<Arc<[u8]>>,
    /// The state after the last entry that waits; `None` if none does.
    mark: Option<Mark>,
    /// Of what waits.
    waiting_bytes: usize,
    waiting_records: usize,
    /// Of the batch that is being written.
    writing_bytes: usize,
    /// What the file holds for sure.
    durable: Mark,
    /// Whether the other side waits for the disk.
    is_urgent: bool,
    /// Whether the writer waits for room.
    has_no_room: bool,
    is_closing: bool,
    failure: Option<StoreError>,
}

impl Queue {
    /// Nothing waits, and everything up to `durable` is written.
    pub(crate) fn new(durable: Mark, bounds: Bounds, steps: Option<Steps>) -> Self {
        let inner = Inner {
            recent: Recent::new(durable.next_seq, bounds.cache_bytes),
            dead: Vec::new(),
            members: None,
            mark: None,
            waiting_bytes: 0,
            waiting_records: 0,
            writing_bytes: 0,
            durable,
            is_urgent: false,
            has_no_room: false,
            is_closing: false,
            failure: None,
        };
        let (to_writer, to_store) = (Condvar::new(), Condvar::new());
        let max_unwritten_bytes = bounds.max_unwritten_bytes;
        Self { inner: Mutex::new(inner), to_writer, to_store, max_unwritten_bytes, steps }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that holds the lock can panic half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the changes of an entry, after which the state is as `mark` says, and empties them.
    /// Waits while too much is unwritten.
    pub(crate) fn add(&self, changes: &mut Changes, mark: Mark) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let was_waiting = inner.mark.replace(mark).is_some();
        // Here and nowhere else: what was not in memory since the last entry is in the file that
        // whoever looked for it opened since (`Disk::reader`), though it be before the last batch.
        let unwritten = inner.durable.next_seq;
        inner.recent.evict(unwritten);
        inner.waiting_bytes += changes.memory_bytes();
        inner.waiting_records += changes.records.len();
        inner.recent.append(&changes.records);
        changes.records.clear();
        inner.dead.append(&mut changes.dead);
        inner.members = changes.members.take().or(inner.members.take());
        if !was_waiting || inner.is_ripe() {
            self.to_writer.notify_one();
        }
        while inner.failure.is_none() && inner.unwritten_bytes() > self.max_bytes(&inner) {
            inner = self.wait_for_disk(inner, None);
        }
        inner.outcome().map(|_| ())
    }

    /// How much may be unwritten now.
    fn max_bytes(&self, inner: &Inner) -> usize {
        let factor = if inner.has_no_room { NO_ROOM_FACTOR } else { 1 };
        self.max_unwritten_bytes.saturating_mul(factor)
    }

    /// The writer waits for room from now on, or it does not any more.
    pub(crate) fn set_has_no_room(&self, has_no_room: bool) {
        self.lock().has_no_room = has_no_room;
        self.to_store.notify_all();
    }

    /// A value that is in memory.
    pub(crate) fn recent(&self, seq: u64) -> Option<Bytes> {
        self.lock().recent.get(seq)
    }

    /// Waits until everything that was added is written.
    pub(crate) fn flush(&self) -> Result<Mark, StoreError> {
        let mut inner = self.lock();
        while inner.failure.is_none() && (inner.mark.is_some() || inner.writing_bytes > 0) {
            inner = self.wait_for_disk(inner, None);
        }
        inner.outcome()
    }

    /// Waits until the file holds the log up to `index`, whatever is added meanwhile; `false` if
    /// it does not by `give_up_at`.
    pub(crate) fn wait_for(
        &self,
        index: u64,
        give_up_at: Option<Instant>,
    ) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        while inner.failure.is_none() && inner.durable.position.index < index {
            let rest = give_up_at.map(|at| at.saturating_duration_since(Instant::now()));
            if rest.is_some_and(|rest| rest.is_zero()) {
                return Ok(false);
            }
            // A store that was dropped in an orderly way has written everything.
            inner = self.wait_for_disk(inner, rest);
        }
        inner.outcome().map(|_| true)
    }

    /// Waits until something was written, or failed; no longer than `patience`, if that is given.
    fn wait_for_disk<'a>(
        &self,
        mut inner: MutexGuard<'a, Inner>,
        patience: Option<Duration>,
    ) -> MutexGuard<'a, Inner> {
        inner.is_urgent = true;
        self.to_writer.notify_one();
        match patience {
            None => self.to_store.wait(inner).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.to_store.wait_timeout(inner, patience);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
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
        let mut inner = match &self.steps {
            Some(steps) => self.wait_for_step(steps),
            None => self.wait_for_batch(),
        };
        let mark = inner.mark.take()?;
        inner.is_urgent = false;
        // At least one, so that it counts as being under way.
        inner.writing_bytes = std::mem::take(&mut inner.waiting_bytes).max(1);
        inner.waiting_records = 0;
        let records = inner.recent.take_new();
        let (dead, members) = (std::mem::take(&mut inner.dead), inner.members.take());
        Some(Batch { records, dead, members, mark })
    }

    /// Waits until a step finds something to write.
    fn wait_for_step(&self, steps: &Steps) -> MutexGuard<'_, Inner> {
        loop {
            steps.stand();
            let inner = self.lock();
            if inner.mark.is_some() || inner.is_closing {
                return inner;
            }
        }
    }

    /// Waits until something is to be written, and a while for more to come.
    fn wait_for_batch(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        while inner.mark.is_none() && !inner.is_closing {
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
        inner
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

impl Changes {
    fn memory_bytes(&self) -> usize {
        self.records.memory_bytes() + size_of_val(self.dead.as_slice())
    }
}

impl Inner {
    fn unwritten_bytes(&self) -> usize {
        self.waiting_bytes + self.writing_bytes
    }

    fn is_ripe(&self) -> bool {
        let is_much = self.waiting_bytes >= BATCH_BYTES || self.waiting_records >= BATCH_RECORDS;
        self.is_closing || self.is_urgent || is_much
    }

    fn outcome(&self) -> Result<Mark, StoreError> {
        self.failure.clone().map_or(Ok(self.durable), Err)
    }
}

#[cfg(test)]
mod tests {
    use kv_proto::Revision;

    use super::super::record::{PutRecord, Record};
    use super::*;

    fn mark(next_seq: u64) -> Mark {
        let (revision, compacted) = (Revision::new(1 + next_seq), Revision::FRESH);
        let position = Position { term: 1, index: next_seq };
        Mark { position, revision, compacted, digest: 0, next_seq }
    }

    fn add(queue: &Queue, seq: u64) {
        let put = PutRecord { created: Revision::new(2), version: 1, lease: None, value: b"value" };
        let mut changes = Changes::default();
        let modified = Revision::new(2 + seq);
        changes.records.push(&Record { modified, sub: 0, key: b"key", put: Some(put) });
        queue.add(&mut changes, mark(seq + 1)).expect("nothing failed");
    }

    /// A question opens the file once, and may look for another value later, when a batch was
    /// written meanwhile: what the file shows it does not have that value, so memory must.
    #[test]
    fn what_was_written_stays_in_memory_until_the_next_entry() {
        let bounds = Bounds { cache_bytes: 0, read_cache_bytes: 0, max_unwritten_bytes: 1 << 20 };
        let queue = Queue::new(mark(0), bounds, None);
        add(&queue, 0);
        queue.lock().is_urgent = true;
        let batch = queue.take().expect("something waits");
        queue.written(batch.mark);
        assert_eq!(queue.durable().index, 1);
        assert!(queue.recent(0).is_some(), "a question may be under way");
        add(&queue, 1);
        assert!(queue.recent(0).is_none(), "it is over");
        assert!(queue.recent(1).is_some());
    }
}
