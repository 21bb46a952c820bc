//! [`Readers`]: the threads that read values for clients, beside the one that applies.
//!
//! What a read finds is settled at its turn, by the apply thread: the keys are in memory. Values
//! may not be, or the answer is to be in their order: then it is completed here. So a write never
//! waits for a value that somebody reads, and neither does a read that finds everything in memory.
//!
//! Invariants:
//! 1. Nobody waits for these threads: their queues take everything.
//! 2. Every read is answered once, also when the server stops.
//! 3. An answer counts as [under way](Replies::is_full) from the moment it is settled, with the
//!    values that are still missing: that is what bounds the queues.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use handoff::{Receiver, Sender, unbounded};
use log::error;

use crate::apply::or_halt;
use crate::clients::{Announced, Replies};
use crate::event_loop::Clock;
use crate::machine::Found;
use crate::replica::Patience;

/// How many threads there are. Most of the time, one has nothing to do before it has everything
/// done; where values come from a disk and not from the system's memory, it can look for so many
/// at once.
const READERS: usize = 4;

/// The most reads that go to one thread together.
pub(crate) const READS_TOGETHER: usize = 32;

/// The running threads.
#[derive(Debug)]
pub(crate) struct Readers {
    readers: Vec<Reader>,
    replies: Replies,
}

#[derive(Debug)]
struct Reader {
    queue: Sender<Batch>,
    /// How many values it has yet to read, and one for each answer.
    left: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// A read that is settled, and how long its client waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) found: Found,
    pub(crate) patience: Patience,
}

/// Reads for one thread.
#[derive(Debug)]
struct Batch {
    reads: Vec<Waiting>,
    work: usize,
    /// Until they are sent.
    _announced: Announced,
}

impl Readers {
    /// Starts them. Answers go to `replies`; `clock` is the one by which the replica measures how
    /// long clients wait.
    pub(crate) fn start(replies: Replies, clock: Clock) -> io::Result<Self> {
        let start = || Reader::start(replies.clone(), clock);
        let readers = (0..READERS).map(|_| start()).collect::<io::Result<_>>()?;
        Ok(Self { readers, replies })
    }

    /// Has these reads completed and answered, by the thread that has the least to do.
    pub(crate) fn submit(&self, reads: Vec<Waiting>) {
        let left = |reader: &&Reader| reader.left.load(Ordering::Relaxed);
        let Some(reader) = self.readers.iter().min_by_key(left) else { return };
        let work = reads.iter().map(|read| read.found.missing() + 1).sum();
        reader.left.fetch_add(work, Ordering::Relaxed);
        let bytes = reads.iter().map(|read| read.found.size_bytes()).sum();
        let batch = Batch { reads, work, _announced: self.replies.announce(bytes) };
        // The thread ends only after this sender is gone.
        let _ = reader.queue.send(batch);
    }

    /// Lets everything in the queues be done, and waits for the threads.
    pub(crate) fn stop(self) {
        let queues_and_threads =
            self.readers.into_iter().map(|reader| (reader.queue, reader.thread));
        let (queues, threads): (Vec<_>, Vec<_>) = queues_and_threads.unzip();
        drop(queues);
        for thread in threads {
            if thread.join().is_err() {
                error!("a thread that reads values had panicked");
            }
        }
    }
}

impl Reader {
    fn start(replies: Replies, clock: Clock) -> io::Result<Self> {
        let (queue, work) = unbounded();
        let left = Arc::<AtomicUsize>::default();
        let of_thread = Arc::clone(&left);
        let run = move || work_off(&work, &of_thread, &replies, clock);
        let thread = thread::Builder::new().name("read".into()).spawn(run)?;
        Ok(Self { queue, left, thread })
    }
}

fn work_off(work: &Receiver<Batch>, left: &AtomicUsize, replies: &Replies, clock: Clock) {
    while let Ok(batch) = work.recv() {
        let answer = |read: Waiting| {
            let may = read.patience.check_read(clock.now());
            or_halt(read.found.answer(may))
        };
        replies.send(batch.reads.into_iter().map(answer).collect());
        left.fetch_sub(batch.work, Ordering::Relaxed);
    }
}
