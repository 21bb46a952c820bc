//! [`LogThread`]: a log on a thread of its own, one sync for all that has queued up.
//!
//! Requests are carried out in the order in which they were sent. While a batch is being synced,
//! the next one gathers; so the busier the log, the larger its batches, and the caller never waits
//! for a disk unless the queue is full.

use std::io;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use raft_core::{Entries, Index, LogRead, PersistId, ReadLog, Write};

use crate::disk::Disk;
use crate::error::{ReadError, WriteError};
use crate::log::Log;
use crate::memory::MemoryLog;

/// The most writes that are synced together.
const MAX_BATCH_WRITES: usize = 4096;

/// A batch is not made larger once it has this many bytes: 8 MiB.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// Something for the log to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRequest {
    /// Make this durable; answered by [`LogEvent::Persisted`].
    Write(Write),
    /// Read entries back; answered by [`LogEvent::Read`].
    Read(ReadLog),
    /// Forget what is no longer needed, up to this index; not answered.
    Compact(Index),
}

/// What the log has done.
#[derive(Clone, Debug)]
pub enum LogEvent {
    /// Every write up to this one is durable.
    Persisted(PersistId),
    /// The answer to a read; without entries if the log no longer holds the first one.
    Read(LogRead),
    /// The log has stopped, and this is the last event. Nothing that was not reported as durable
    /// may be relied on; the process should end.
    Failed(LogFailure),
}

/// Why a log has stopped.
#[derive(Clone, Debug)]
pub enum LogFailure {
    /// A write failed.
    Write(WriteError),
    /// What was written could not be read back.
    Read(ReadError),
}

impl std::fmt::Display for LogFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LogFailure {}

/// What a [`LogThread`] needs of a log.
pub trait LogStore: Send + 'static {
    /// See [`Log::append`].
    ///
    /// # Errors
    ///
    /// As there.
    fn append(&mut self, writes: &[Write]) -> Result<(), WriteError>;

    /// See [`Log::read`].
    ///
    /// # Errors
    ///
    /// As there.
    fn read(&mut self, first: Index, last: Index, max_bytes: usize) -> Result<Entries, ReadError>;

    /// See [`Log::compact`].
    ///
    /// # Errors
    ///
    /// As there.
    fn compact(&mut self, upto: Index) -> Result<(), WriteError>;
}

impl<D: Disk> LogStore for Log<D> {
    fn append(&mut self, writes: &[Write]) -> Result<(), WriteError> {
        Log::append(self, writes)
    }

    fn read(&mut self, first: Index, last: Index, max_bytes: usize) -> Result<Entries, ReadError> {
        Log::read(self, first, last, max_bytes)
    }

    fn compact(&mut self, upto: Index) -> Result<(), WriteError> {
        Log::compact(self, upto)
    }
}

impl LogStore for MemoryLog {
    fn append(&mut self, writes: &[Write]) -> Result<(), WriteError> {
        MemoryLog::append(self, writes)
    }

    fn read(&mut self, first: Index, last: Index, max_bytes: usize) -> Result<Entries, ReadError> {
        MemoryLog::read(self, first, last, max_bytes)
    }

    fn compact(&mut self, upto: Index) -> Result<(), WriteError> {
        MemoryLog::compact(self, upto)
    }
}

/// A log on a thread of its own.
#[derive(Debug)]
pub struct LogThread<S> {
    requests: Sender<LogRequest>,
    thread: JoinHandle<S>,
}

impl<S: LogStore> LogThread<S> {
    /// Starts the thread. Its queue holds `queue_requests`; `done` is called on the thread.
    ///
    /// # Errors
    ///
    /// If the operating system starts no thread.
    pub fn spawn(
        log: S,
        queue_requests: usize,
        done: impl FnMut(LogEvent) + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, queue) = bounded(queue_requests);
        let work = move || Worker { log, queue, done }.run();
        let thread = thread::Builder::new().name("log".into()).spawn(work)?;
        Ok(Self { requests, thread })
    }

    /// The queue: `send` waits while it is full, `try_send` refuses. Both fail once the log has
    /// stopped.
    pub fn requests(&self) -> &Sender<LogRequest> {
        &self.requests
    }

    /// Carries out what is in the queue, then hands the log back; `None` if the thread panicked.
    /// Waits for clones of the sender to be dropped as well.
    pub fn finish(self) -> Option<S> {
        drop(self.requests);
        self.thread.join().ok()
    }
}

struct Worker<S, F> {
    log: S,
    queue: Receiver<LogRequest>,
    done: F,
}

impl<S: LogStore, F: FnMut(LogEvent)> Worker<S, F> {
    fn run(mut self) -> S {
        let mut batch = Vec::new();
        while let Ok(first) = self.queue.recv() {
            if let Err(failure) = self.serve(first, &mut batch) {
                (self.done)(LogEvent::Failed(failure));
                break;
            }
        }
        self.log
    }

    /// Serves `first`, and with it all writes that are queued right behind it, up to the bounds.
    fn serve(&mut self, first: LogRequest, batch: &mut Vec<Write>) -> Result<(), LogFailure> {
        let mut size_bytes = 0;
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                LogRequest::Read(wanted) => {
                    self.write(batch)?;
                    return self.read(wanted);
                }
                LogRequest::Compact(upto) => {
                    self.write(batch)?;
                    return self.log.compact(upto).map_err(LogFailure::Write);
                }
                LogRequest::Write(write) => {
                    size_bytes += write.entries.size_bytes();
                    batch.push(write);
                }
            }
            let has_room = batch.len() < MAX_BATCH_WRITES && size_bytes < MAX_BATCH_BYTES;
            next = if has_room { self.queue.try_recv().ok() } else { None };
        }
        self.write(batch)
    }

    fn write(&mut self, batch: &mut Vec<Write>) -> Result<(), LogFailure> {
        let Some(last) = batch.last().map(|write| write.id) else { return Ok(()) };
        self.log.append(batch).map_err(LogFailure::Write)?;
        batch.clear();
        (self.done)(LogEvent::Persisted(last));
        Ok(())
    }

    fn read(&mut self, wanted: ReadLog) -> Result<(), LogFailure> {
        let ReadLog { purpose, first, last, max_bytes } = wanted;
        let entries = match self.log.read(first, last, max_bytes) {
            Ok(entries) => entries,
            Err(ReadError::NotInLog { .. }) => Entries::empty(),
            Err(error) => return Err(LogFailure::Read(error)),
        };
        (self.done)(LogEvent::Read(LogRead { purpose, first, entries }));
        Ok(())
    }
}
