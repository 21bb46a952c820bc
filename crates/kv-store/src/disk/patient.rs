//! A disk that waits while there is no room.
//!
//! The database gives up for good after the first error of its storage. But no room is no fault:
//! the log has everything that is not in the state file yet, what could not be written can be
//! written again, and those who read are not to be in the way. So this layer keeps a full disk from
//! the database, and whoever wants to know of it is told ([`Patience`]).
//!
//! 1. What there is no room for is held in memory, and read from there. That is at most what one
//!    transaction writes, because:
//! 2. A sync first writes what is held, and waits for room to do so. The database holds no lock
//!    then that a reader needs, as it may while it writes.
//! 3. One sync does not: the one right after the file was made longer. It is there for the length
//!    alone, which must be durable before anything that is written later speaks of it; and the
//!    database does hold a lock. What is held is a part of no commit then: a commit writes the
//!    header, and syncs that.
//! 4. It is patient only while a store is open. Opening one, making one and closing one fail on a
//!    full disk, as does a sync that the system refuses for whatever reason: that may have lost
//!    something.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redb::StorageBackend;

use super::layer::Layer;
use super::steps::Steps;

/// How often a full disk is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What is held is held in blocks of so many bytes.
const BLOCK_BYTES: u64 = 4096;

/// Whether somebody waits for room, and whether that is right.
#[derive(Default)]
pub(crate) struct Patience {
    /// Looked at after every write, so it has no lock.
    waits: AtomicBool,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    is_patient: bool,
    /// Who says when it is looked for room again, where that is not a clock.
    steps: Option<Steps>,
    listeners: Vec<Box<dyn Fn(bool) + Send>>,
}

impl Patience {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on writing waits for room, and looks for it now and then, or as `steps` say.
    pub(crate) fn begin(&self, steps: Option<Steps>) {
        let mut inner = self.lock();
        (inner.is_patient, inner.steps) = (true, steps);
    }

    /// From now on writing does not wait any more.
    pub(crate) fn end(&self) {
        self.lock().is_patient = false;
        self.changed.notify_all();
    }

    /// Has `listener` told whether writing waits now, when it begins to, and when it goes on, as
    /// those before it. Later calls come from the thread that writes, and must not wait for it.
    pub(crate) fn listen(&self, listener: impl Fn(bool) + Send + 'static) {
        let mut inner = self.lock();
        listener(self.waits.load(Ordering::Acquire));
        inner.listeners.push(Box::new(listener));
    }

    /// There is no room; `false` if nobody is to wait for it.
    fn begins(&self) -> bool {
        let inner = self.lock();
        if inner.is_patient && !self.waits.swap(true, Ordering::AcqRel) {
            inner.tell(true);
        }
        inner.is_patient
    }

    /// Waits a moment for room; `false` if that is not wanted.
    fn wait(&self) -> bool {
        let is_patient = self.begins();
        let mut inner = self.lock();
        if let Some(steps) = inner.steps.clone().filter(|_| is_patient) {
            drop(inner);
            steps.stand();
            inner = self.lock();
        } else if is_patient && inner.is_patient {
            let waited = self.changed.wait_timeout(inner, TRY_AGAIN_AFTER);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.is_patient
    }

    /// There is room.
    fn is_over(&self) {
        if self.waits.swap(false, Ordering::AcqRel) {
            self.lock().tell(false);
        }
    }
}

impl Inner {
    fn tell(&self, waits: bool) {
        for listener in &self.listeners {
            listener(waits);
        }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("waits", &self.waits).finish_non_exhaustive()
    }
}

/// A storage that waits while there is no room.
#[derive(Debug)]
pub(crate) struct Patient<B> {
    storage: B,
    patience: Arc<Patience>,
    /// Whether anything is held.
    holds: AtomicBool,
    held: Mutex<Held>,
}

/// What there was no room for.
#[derive(Debug, Default)]
struct Held {
    /// Blocks of [`BLOCK_BYTES`], by their numbers.
    blocks: BTreeMap<u64, Vec<u8>>,
    /// Nothing was written since the file was made longer.
    has_grown: bool,
}

impl<B: StorageBackend> Patient<B> {
    pub(crate) fn new(storage: B) -> Self {
        let (holds, held) = (AtomicBool::new(false), Mutex::default());
        Self { storage, patience: Arc::default(), holds, held }
    }

    pub(crate) fn patience(&self) -> &Arc<Patience> {
        &self.patience
    }

    fn holds(&self) -> bool {
        self.holds.load(Ordering::Acquire)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps these bytes until they are written.
    fn hold(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut held = self.held();
        self.holds.store(true, Ordering::Release);
        held.has_grown = false;
        let mut rest = data;
        let mut at = offset;
        while !rest.is_empty() {
            let (number, start) = (at / BLOCK_BYTES, to_usize(at % BLOCK_BYTES));
            let (now, behind) = rest.split_at(rest.len().min(to_usize(BLOCK_BYTES) - start));
            let block = match held.blocks.entry(number) {
                Entry::Occupied(block) => block.into_mut(),
                Entry::Vacant(free) => free.insert(self.stored_block(number)?),
            };
            block[start..start + now.len()].copy_from_slice(now);
            at += now.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    /// A block as the storage has it, with zeros behind its end.
    fn stored_block(&self, number: u64) -> io::Result<Vec<u8>> {
        let start = number * BLOCK_BYTES;
        let stored = self.storage.len()?.saturating_sub(start).min(BLOCK_BYTES);
        let mut block = vec![0; to_usize(BLOCK_BYTES)];
        self.storage.read(start, &mut block[..to_usize(stored)])?;
        Ok(block)
    }

    /// Writes everything that is held, as soon as there is room for it.
    fn write_held(&self) -> io::Result<()> {
        let mut len = None;
        loop {
            let mut held = self.held();
            let Some(mut block) = held.blocks.first_entry() else {
                self.holds.store(false, Ordering::Release);
                break;
            };
            let start = block.key() * BLOCK_BYTES;
            let len = *len.get_or_insert(self.storage.len()?);
            let stored = to_usize(len.saturating_sub(start).min(BLOCK_BYTES));
            match self.storage.write(start, &block.get_mut()[..stored]) {
                Ok(()) => drop(block.remove()),
                Err(error) => {
                    // Readers may look into what is held meanwhile.
                    drop(held);
                    if !(is_full(&error) && self.patience.wait()) {
                        return Err(error);
                    }
                }
            }
        }
        self.patience.is_over();
        Ok(())
    }
}

/// Offsets within a block, and blocks within a file that is in memory, fit.
fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Whether it was refused for want of room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl<B: StorageBackend> Layer for Patient<B> {
    type Below = B;

    fn below(&self) -> &B {
        &self.storage
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if !self.holds() {
            return self.storage.read(offset, out);
        }
        let held = self.held();
        self.storage.read(offset, out)?;
        let end = offset + out.len() as u64;
        for (number, block) in held.blocks.range(offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)) {
            let start = number * BLOCK_BYTES;
            let (from, to) = (start.max(offset), (start + BLOCK_BYTES).min(end));
            let source = &block[to_usize(from - start)..to_usize(to - start)];
            out[to_usize(from - offset)..to_usize(to - offset)].copy_from_slice(source);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        // Where this takes room, which it does not where files may have holes, readers wait too.
        loop {
            match self.storage.set_len(len) {
                Err(error) if is_full(&error) && self.patience.wait() => {}
                outcome => break outcome?,
            }
        }
        if self.holds() {
            let mut held = self.held();
            let is_within = |number: u64| number * BLOCK_BYTES < len;
            held.blocks.retain(|number, _| is_within(*number));
            held.has_grown = true;
        } else {
            self.patience.is_over();
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.holds() && !self.held().has_grown {
            self.write_held()?;
        }
        self.storage.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if !self.holds() {
            match self.storage.write(offset, data) {
                Err(error) if is_full(&error) && self.patience.begins() => {}
                outcome => return outcome,
            }
        }
        self.hold(offset, data)
    }
}
