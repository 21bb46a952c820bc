//! [`LogThread`]: a log on a thread of its own, one sync for all that has queued up.
//!
//! Requests are carried out in the order in which they were sent. Only where the queue has no
//! bound, a read goes before all writes that do not concern it ([`LogQueue`]). While a batch is
//! being synced, the next one gathers; so the busier the log, the larger its batches, and the
//! caller never waits for a disk unless the queue is full.
//!
//! On a full disk a write waits until there is room, and those behind it wait with it: nothing is
//! refused, and nothing acknowledged. What only reads or removes is carried out meanwhile; behind a
//! whole batch that waits, it is where the queue has no bound. Whoever hears of it
//! ([`LogEvent::Room`]) in time, and takes on no new work, never comes to that.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use handoff::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use raft_core::{Entries, Index, LogRead, PersistId, ReadLog, Write};

use crate::disk::Disk;
use crate::error::{ReadError, WriteError};
use crate::log::Log;
use crate::memory::MemoryLog;
use crate::queue::LogQueue;
use crate::room::Room;
use crate::work::LogWork;

/// How often a full disk is looked at again.
const LOOK_FOR_ROOM_AFTER: Duration = Duration::from_millis(200);

/// Something for the log to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRequest {
    /// Make this durable; answered by [`LogEvent::Persisted`].
    Write(Write),
    /// Read entries back; answered by [`LogEvent::Read`].
    Read(ReadLog),
    /// Forget what is no longer needed, up to this index; not answered.
    Compact(Index),
    /// Give back to the disk what is only kept to be used again; not answered.
    FreeRoom,
}

/// What the log has done.
#[derive(Clone, Debug)]
pub enum LogEvent {
    /// Every write up to this one is durable.
    Persisted(PersistId),
    /// The answer to a read; without entries if the log no longer holds the first one.
    Read(LogRead),
    /// There is more or less room than before; at first there is ample.
    Room(Room),
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

    /// See [`Log::free_room`].
    ///
    /// # Errors
    ///
    /// As there.
    fn free_room(&mut self) -> Result<(), WriteError> {
        Ok(())
    }

    /// See [`Log::room`].
    fn room(&self) -> Room {
        Room::Ample
    }

    /// See [`Log::look_for_room`].
    fn look_for_room(&mut self) {}
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

    fn free_room(&mut self) -> Result<(), WriteError> {
        Log::free_room(self)
    }

    fn room(&self) -> Room {
        Log::room(self)
    }

    fn look_for_room(&mut self) {
        Log::look_for_room(self);
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
    /// Starts the thread. Its queue holds `queue_requests`, or all there are; `done` is called on
    /// the thread. Where the queue has a bound, `done` must not send to it: it would wait for
    /// itself.
    ///
    /// # Errors
    ///
    /// If the operating system starts no thread.
    pub fn spawn(
        log: S,
        queue_requests: Option<usize>,
        done: impl FnMut(LogEvent) + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, queue) = queue_requests.map_or_else(unbounded, bounded);
        let (work, looked_at) = (LogWork::new(log), Instant::now());
        let queue = Queue {
            sent: queue,
            is_bounded: queue_requests.is_some(),
            waiting: LogQueue::default(),
        };
        let worker = Worker { work, queue, done, looked_at };
        let thread = thread::Builder::new().name("log".into()).spawn(move || worker.run())?;
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

/// What has been sent to the thread.
struct Queue {
    sent: Receiver<LogRequest>,
    /// Whether it has a bound, which waiting writes must not get round.
    is_bounded: bool,
    /// What was sent and taken in, where there is no bound, so that reads may go first.
    waiting: LogQueue,
}

impl Queue {
    /// What is to be carried out next, if there is something.
    fn try_next(&mut self) -> Option<LogRequest> {
        if self.is_bounded {
            return self.sent.try_recv().ok();
        }
        while let Ok(request) = self.sent.try_recv() {
            self.waiting.push(request);
        }
        self.waiting.pop()
    }

    /// Waits for what is to be carried out next.
    fn next(&mut self) -> Result<LogRequest, RecvTimeoutError> {
        let next = self.try_next().map_or_else(|| self.sent.recv(), Ok);
        next.map_err(|_| RecvTimeoutError::Disconnected)
    }

    /// [`Queue::next`], but for no longer than that.
    fn next_within(&mut self, patience: Duration) -> Result<LogRequest, RecvTimeoutError> {
        self.try_next().map_or_else(|| self.sent.recv_timeout(patience), Ok)
    }
}

struct Worker<S, F> {
    work: LogWork<S>,
    queue: Queue,
    done: F,
    /// When a full disk was looked at last.
    looked_at: Instant,
}

impl<S: LogStore, F: FnMut(LogEvent)> Worker<S, F> {
    fn run(mut self) -> S {
        loop {
            let served = match self.next_request() {
                Ok(first) => self.work.serve(first, || self.queue.try_next(), &mut self.done),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let served = served.and_then(|()| self.try_again());
            if let Err(failure) = served {
                (self.done)(LogEvent::Failed(failure));
                break;
            }
            self.work.tell_room(&mut self.done);
        }
        self.work.into_log()
    }

    /// Waits for a request: for as long as it takes, or on a full disk until it is to be looked at
    /// again. Where a batch waits for room, more writes join it, so that a compaction behind them
    /// is seen; but if the queue has a bound, no more than a batch ever waits.
    fn next_request(&mut self) -> Result<LogRequest, RecvTimeoutError> {
        if self.work.told() == Room::Ample {
            return self.queue.next();
        }
        if self.work.is_batch_full() && self.queue.is_bounded {
            thread::sleep(LOOK_FOR_ROOM_AFTER);
            return Err(RecvTimeoutError::Timeout);
        }
        let until = Instant::now() + LOOK_FOR_ROOM_AFTER;
        while let Some(rest) = until.checked_duration_since(Instant::now()) {
            match self.queue.next_within(rest)? {
                LogRequest::Write(write) if self.work.is_batch_full() => self.work.join(write),
                request => return Ok(request),
            }
        }
        Err(RecvTimeoutError::Timeout)
    }

    /// Looks whether a full disk has room again, if it is time for it.
    fn try_again(&mut self) -> Result<(), LogFailure> {
        if self.work.told() == Room::Ample || self.looked_at.elapsed() < LOOK_FOR_ROOM_AFTER {
            return Ok(());
        }
        self.looked_at = Instant::now();
        self.work.look_for_room(&mut self.done)
    }
}
