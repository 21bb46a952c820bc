//! The apply thread: owns the store, applies what is committed, answers who waits for it.
//!
//! It works off one queue in order. That order is what makes reads linearizable: a read stands
//! behind every entry that it must see.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use handoff::{Receiver, RecvTimeoutError, Sender, unbounded};
use kv_proto::{Error, Header};
use kv_store::{Store, StoreError};
use raft_core::{Index, ReadLog};

use crate::backups::{Backups, Work};
use crate::clients::{Replies, Reply, reply_bytes};
use crate::event_loop::Clock;
use crate::machine::{Machine, Read};
use crate::readers::{READS_TOGETHER, Readers, Waiting};
use crate::replica::{ApplyWork, Patience};
use crate::server::halt;
use crate::snapshots::Courier;

/// The most answers that are collected before they are sent on their way.
const REPLIES_PER_BATCH: usize = 128;

/// The same in bytes.
const BYTES_PER_BATCH: usize = 1 << 20;

/// How many more entries the state file holds when the loop is told again.
const STORED_STEP: u64 = 1024;

/// How long nothing happens before it is told of fewer.
const STORED_PAUSE: Duration = Duration::from_millis(500);

/// The running thread.
#[derive(Debug)]
pub struct Applier {
    queue: Sender<ApplyWork>,
    thread: JoinHandle<()>,
}

impl Applier {
    /// Starts it on `store`. Answers go to `replies`, requests for more of the log to `read_log`,
    /// and now and then `stored` hears up to where the state file holds the log. `courier` brings
    /// snapshots. `identity` is the header of every answer, without its revision and term; `clock`
    /// is the one by which the replica measures how long clients wait.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread.
    pub fn start(
        store: Store,
        identity: Header,
        clock: Clock,
        replies: Replies,
        read_log: impl Fn(ReadLog) + Send + 'static,
        stored: impl Fn(Index) + Send + 'static,
        courier: Courier,
    ) -> io::Result<Self> {
        let (queue, work) = unbounded();
        let backups = Backups::start(replies.clone(), clock)?;
        let readers = Readers::start(replies.clone(), clock)?;
        let worker = Worker {
            machine: Machine::new(store, identity),
            clock,
            replies,
            read_log: Box::new(read_log),
            stored: Box::new(stored),
            batch: Vec::new(),
            batch_bytes: 0,
            unread: Vec::new(),
            readers,
            backups,
            courier,
        };
        let thread =
            std::thread::Builder::new().name("apply".into()).spawn(move || worker.run(&work))?;
        Ok(Self { queue, thread })
    }

    /// Adds work. The queue is bounded by what feeds it: requests that wait for an answer, entries
    /// of which a leader holds only so many uncommitted, and reads of the log that come one at a
    /// time, behind what was read before.
    pub fn submit(&self, work: ApplyWork) {
        // The thread ends only after this sender is gone.
        let _ = self.queue.send(work);
    }

    /// Lets everything in the queue be done, and waits for the thread.
    pub fn stop(self) {
        drop(self.queue);
        if self.thread.join().is_err() {
            log::error!("the apply thread had panicked");
        }
    }
}

struct Worker {
    machine: Machine,
    clock: Clock,
    replies: Replies,
    read_log: Box<dyn Fn(ReadLog) + Send>,
    stored: Box<dyn Fn(Index) + Send>,
    batch: Vec<Reply>,
    /// Of its answers to reads.
    batch_bytes: usize,
    /// Reads that are settled, of which values have yet to be read.
    unread: Vec<Waiting>,
    readers: Readers,
    backups: Backups,
    courier: Courier,
}

impl Worker {
    fn run(mut self, work: &Receiver<ApplyWork>) {
        while let Some(first) = self.next(work) {
            self.carry_out(first);
            for next in work.try_iter() {
                self.carry_out(next);
                if self.batch.len() >= REPLIES_PER_BATCH || self.batch_bytes >= BYTES_PER_BATCH {
                    self.send_replies();
                }
            }
            self.send_replies();
            self.tell_stored(STORED_STEP);
        }
        let Self { machine, readers, backups, .. } = self;
        readers.stop();
        // The store first: a backup that waits for room in its file waits no longer then.
        drop(machine);
        backups.stop();
    }

    /// Waits for work; `None` when no more will come. Where nothing happens, the loop hears in the
    /// end of all that was stored, and then this thread sleeps.
    fn next(&mut self, work: &Receiver<ApplyWork>) -> Option<ApplyWork> {
        while self.machine.has_more_to_store() {
            match work.recv_timeout(STORED_PAUSE) {
                Ok(next) => return Some(next),
                Err(RecvTimeoutError::Timeout) => {
                    or_halt(self.machine.store().check());
                    self.tell_stored(1);
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        work.recv().ok()
    }

    /// Tells the loop up to where the state is stored, if that is so many entries on.
    fn tell_stored(&mut self, step: u64) {
        if let Some(stored) = self.machine.newly_stored(step) {
            (self.stored)(stored);
        }
    }

    fn send_replies(&mut self) {
        // A read that failed has only told its client.
        or_halt(self.machine.store().check());
        self.batch_bytes = 0;
        self.replies.send(std::mem::take(&mut self.batch));
        self.send_unread();
    }

    fn send_unread(&mut self) {
        if !self.unread.is_empty() {
            self.readers.submit(std::mem::take(&mut self.unread));
        }
    }

    fn carry_out(&mut self, work: ApplyWork) {
        match work {
            ApplyWork::Entries { entries, waiters } => {
                or_halt(self.machine.apply(&entries, &waiters, &mut self.batch));
            }
            ApplyWork::Read { client, range, term, patience } => {
                let may = self.may_read(patience);
                let read = self.machine.read(client, &range, term, may);
                self.add_read(read, patience);
            }
            ApplyWork::Status { client, mut status } => {
                status.node.sending = self.courier.sending();
                self.batch.push(self.machine.status(client, *status));
            }
            ApplyWork::Backup { client, piece, term, patience } => {
                let snapshots = if piece == 0 { self.machine.store().snapshots() } else { None };
                let header = self.machine.header(term);
                self.backups.submit(Work { client, piece, header, patience, snapshots });
            }
            ApplyWork::Digests { client, term, difference } => {
                self.batch.push(self.machine.digests(client, term, difference));
            }
            ApplyWork::ReadLog(read) => (self.read_log)(read),
            ApplyWork::SendSnapshot(request) => self.courier.send(&request, self.machine.store()),
            ApplyWork::CancelSnapshots => self.courier.cancel(),
            ApplyWork::InstallSnapshot(snapshot) => {
                let install = |store: &mut Store| self.courier.install(store, &snapshot);
                or_halt(self.machine.replace(install));
            }
        }
    }

    fn add_read(&mut self, read: Read, patience: Patience) {
        let reply = match read {
            Read::Refused(reply) => reply,
            Read::Found(found) if found.is_complete() => or_halt(found.answer(Ok(()))),
            Read::Found(found) => {
                self.unread.push(Waiting { found, patience });
                if self.unread.len() >= READS_TOGETHER {
                    self.send_unread();
                }
                return;
            }
        };
        self.batch_bytes += reply_bytes(&reply);
        self.batch.push(reply);
    }

    /// Whether a read is carried out that waited for its turn so patiently.
    fn may_read(&self, patience: Patience) -> Result<(), Error> {
        patience.check_read(self.clock.now())?;
        if self.replies.is_full() { Err(Error::Busy) } else { Ok(()) }
    }
}

/// The state cannot be kept or read. What the store holds in memory may be half of an entry, so
/// nothing may be said or done any more. The log has everything.
pub(crate) fn or_halt<T>(outcome: Result<T, StoreError>) -> T {
    outcome.unwrap_or_else(|error| halt(&format_args!("this node stops at once: {error}")))
}
