//! [`LogWork`]: what a log does with requests, without a thread and without a clock.
//!
//! [`LogThread`](crate::thread::LogThread) gives it a thread; a simulator calls it step by step.

use raft_core::{Entries, LogRead, PersistId, ReadLog, Write};

use crate::error::{ReadError, WriteError};
use crate::room::Room;
use crate::thread::{LogEvent, LogFailure, LogRequest, LogStore};

/// The most writes that are synced together.
const MAX_BATCH_WRITES: usize = 4096;

/// A batch is not made larger once it has this many bytes: 8 MiB.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// Carries out requests, in their order, and tells what became of them.
///
/// 1. Writes that come together are synced together, up to 4096 of them or 8 MiB.
/// 2. Those that there is no room for wait, and so do all writes after them. What only reads or
///    removes is carried out meanwhile.
/// 3. After a failure nothing may be asked of it any more.
#[derive(Debug)]
pub struct LogWork<S> {
    log: S,
    /// Empty between two calls, unless it waits for room.
    batch: Batch,
    /// What was last said of the room.
    told: Room,
}

/// Writes that are not durable yet, in order.
#[derive(Debug, Default)]
struct Batch {
    writes: Vec<Write>,
    size_bytes: usize,
}

impl Batch {
    fn push(&mut self, write: Write) {
        self.size_bytes += write.entries.size_bytes();
        self.writes.push(write);
    }

    fn is_full(&self) -> bool {
        self.writes.len() >= MAX_BATCH_WRITES || self.size_bytes >= MAX_BATCH_BYTES
    }

    /// Forgets the first `count` writes, which are durable now; returns the last of them.
    fn done(&mut self, count: usize) -> Option<PersistId> {
        let last = self.writes.drain(..count).next_back().map(|write| write.id);
        self.size_bytes = self.writes.iter().map(|write| write.entries.size_bytes()).sum();
        last
    }
}

impl<S: LogStore> LogWork<S> {
    /// The work of `log`, which has ample room as far as anybody knows.
    pub fn new(log: S) -> Self {
        Self { log, batch: Batch::default(), told: Room::Ample }
    }

    /// What was last said of the room.
    pub fn told(&self) -> Room {
        self.told
    }

    /// Whether as many writes wait as are synced together.
    pub fn is_batch_full(&self) -> bool {
        self.batch.is_full()
    }

    /// Has `write` wait with the others, without looking whether there is room for them.
    pub fn join(&mut self, write: Write) {
        self.batch.push(write);
    }

    /// Serves `first`, and with it all writes that come `next` right behind it, up to the bounds.
    ///
    /// # Errors
    ///
    /// Why the log has stopped.
    pub fn serve(
        &mut self,
        first: LogRequest,
        mut next: impl FnMut() -> Option<LogRequest>,
        done: &mut impl FnMut(LogEvent),
    ) -> Result<(), LogFailure> {
        let mut due = Some(first);
        while let Some(request) = due {
            match request {
                LogRequest::Read(wanted) => {
                    self.write(done)?;
                    return self.read(wanted, done);
                }
                LogRequest::Compact(upto) => {
                    self.write(done)?;
                    return self.log.compact(upto).map_err(LogFailure::Write);
                }
                LogRequest::FreeRoom => {
                    self.write(done)?;
                    return self.log.free_room().map_err(LogFailure::Write);
                }
                LogRequest::Write(write) => self.batch.push(write),
            }
            due = if self.batch.is_full() { None } else { next() };
        }
        self.write(done)
    }

    /// Looks whether a full disk has room again. To be called now and then while the room that was
    /// [told](Self::told) is not ample.
    ///
    /// # Errors
    ///
    /// As for [`serve`](Self::serve).
    pub fn look_for_room(&mut self, done: &mut impl FnMut(LogEvent)) -> Result<(), LogFailure> {
        self.log.look_for_room();
        self.write(done)
    }

    /// Says how much room there is, if that has changed. To be called after each of the others.
    pub fn tell_room(&mut self, done: &mut impl FnMut(LogEvent)) {
        let waits = !self.batch.writes.is_empty();
        let room = if waits { Room::Scarce } else { self.log.room() };
        if room != self.told {
            self.told = room;
            done(LogEvent::Room(room));
        }
    }

    /// The log, and nothing that waits.
    pub fn into_log(self) -> S {
        self.log
    }

    /// Makes the batch durable, or as much of it as there is room for.
    fn write(&mut self, done: &mut impl FnMut(LogEvent)) -> Result<(), LogFailure> {
        if self.batch.writes.is_empty() {
            return Ok(());
        }
        let written = match self.log.append(&self.batch.writes) {
            Ok(()) => self.batch.writes.len(),
            Err(WriteError::NoSpace { written, .. }) => written,
            Err(error) => return Err(LogFailure::Write(error)),
        };
        if let Some(last) = self.batch.done(written) {
            done(LogEvent::Persisted(last));
        }
        Ok(())
    }

    fn read(&mut self, wanted: ReadLog, done: &mut impl FnMut(LogEvent)) -> Result<(), LogFailure> {
        let ReadLog { purpose, first, last, max_bytes } = wanted;
        let entries = match self.log.read(first, last, max_bytes) {
            Ok(entries) => entries,
            Err(ReadError::NotInLog { .. }) => Entries::empty(),
            Err(error) => return Err(LogFailure::Read(error)),
        };
        done(LogEvent::Read(LogRead { purpose, first, entries }));
        Ok(())
    }
}
