//! The apply thread: owns the store, applies what is committed, answers who waits for it.
//!
//! It works off one queue in order. That order is what makes reads linearizable: a read stands
//! behind every entry that it must see.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use handoff::{Receiver, RecvTimeoutError, Sender, unbounded};
use kv_proto::{DigestsReply, Error, Header, Reply as ProtoReply};
use kv_store::{Position, Store, StoreError};
use raft_core::{Entries, Entry, Index, Payload, ReadLog};

use crate::backups::{Backups, Work};
use crate::checkpoints::Checkpoints;
use crate::clients::{Replies, Reply, reply_bytes};
use crate::event_loop::Clock;
use crate::replica::{ApplyWork, ClientTag, Patience};
use crate::server::halt;
use crate::snapshots::{Courier, write_members};

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
        let worker = Worker {
            store,
            identity,
            clock,
            replies,
            read_log: Box::new(read_log),
            stored: Box::new(stored),
            told_stored: Index::ZERO,
            batch: Vec::new(),
            batch_bytes: 0,
            backups,
            checkpoints: Checkpoints::default(),
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
    store: Store,
    identity: Header,
    clock: Clock,
    replies: Replies,
    read_log: Box<dyn Fn(ReadLog) + Send>,
    stored: Box<dyn Fn(Index) + Send>,
    /// What `stored` heard last.
    told_stored: Index,
    batch: Vec<Reply>,
    /// Of its answers to reads.
    batch_bytes: usize,
    backups: Backups,
    checkpoints: Checkpoints,
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
        // The store first: a backup that waits for room in its file waits no longer then.
        let Self { store, backups, .. } = self;
        drop(store);
        backups.stop();
    }

    /// Waits for work; `None` when no more will come. Where nothing happens, the loop hears in the
    /// end of all that was stored, and then this thread sleeps.
    fn next(&mut self, work: &Receiver<ApplyWork>) -> Option<ApplyWork> {
        while self.told_stored.get() < self.store.applied_index() {
            match work.recv_timeout(STORED_PAUSE) {
                Ok(next) => return Some(next),
                Err(RecvTimeoutError::Timeout) => {
                    or_halt(self.store.check());
                    self.tell_stored(1);
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        work.recv().ok()
    }

    /// Tells the loop up to where the state is stored, if that is so many entries on.
    fn tell_stored(&mut self, step: u64) {
        let stored = Index::new(self.store.durable().index);
        if stored.get() - self.told_stored.get() >= step {
            self.told_stored = stored;
            (self.stored)(stored);
        }
    }

    fn send_replies(&mut self) {
        // A read that failed has only told its client.
        or_halt(self.store.check());
        self.batch_bytes = 0;
        self.replies.send(std::mem::take(&mut self.batch));
    }

    fn carry_out(&mut self, work: ApplyWork) {
        match work {
            ApplyWork::Entries { entries, waiters } => self.apply_all(&entries, &waiters),
            ApplyWork::Read { client, range, term, patience } => {
                let found = self.may_read(patience).and_then(|()| self.store.range(&range));
                let header = self.header(term);
                let result = found.map(|range| (header, ProtoReply::Range(range)));
                let reply = Reply { client, result };
                self.batch_bytes += reply_bytes(&reply);
                self.batch.push(reply);
            }
            ApplyWork::Status { client, mut status } => {
                let (applied_index, state_digest) = self.store.digest();
                status.node.applied_index = applied_index;
                status.node.state_digest = state_digest;
                let header = self.header(status.node.term);
                let result = Ok((header, ProtoReply::Status(*status)));
                self.batch.push(Reply { client, result });
            }
            ApplyWork::Backup { client, piece, term, patience } => {
                let snapshots = if piece == 0 { self.store.snapshots() } else { None };
                let header = self.header(term);
                self.backups.submit(Work { client, piece, header, patience, snapshots });
            }
            ApplyWork::Digests { client, term, difference } => {
                let told = self.checkpoints.reply(self.store.digest());
                let reply = ProtoReply::Digests(DigestsReply { difference, ..told });
                self.batch.push(Reply { client, result: Ok((self.header(term), reply)) });
            }
            ApplyWork::ReadLog(read) => (self.read_log)(read),
            ApplyWork::SendSnapshot(request) => self.courier.send(&request, &self.store),
            ApplyWork::CancelSnapshots => self.courier.cancel(),
            ApplyWork::InstallSnapshot(snapshot) => {
                or_halt(self.courier.install(&mut self.store, &snapshot));
                self.told_stored = Index::new(self.store.durable().index);
                self.checkpoints = Checkpoints::default();
            }
        }
    }

    /// Whether a read is carried out that waited for its turn so patiently.
    fn may_read(&self, patience: Patience) -> Result<(), Error> {
        patience.check_read(self.clock.now())?;
        if self.replies.is_full() { Err(Error::Busy) } else { Ok(()) }
    }

    fn header(&self, term: u64) -> Header {
        Header { revision: self.store.revision(), term, ..self.identity }
    }

    fn apply_all(&mut self, entries: &Entries, waiters: &[(Index, ClientTag)]) {
        let mut waiters = waiters.iter().peekable();
        for entry in entries.iter() {
            let waiter = waiters.next_if(|(index, _)| *index == entry.at.index);
            self.apply(entry, waiter.map(|(_, client)| *client));
            self.checkpoints.note(self.store.digest());
        }
    }

    fn apply(&mut self, entry: &Entry, waiter: Option<ClientTag>) {
        let at = Position { term: entry.at.term.get(), index: entry.at.index.get() };
        let command = match &entry.payload {
            Payload::Command(command) => command,
            Payload::Noop => return or_halt(self.store.skip(at)),
            Payload::Config(cluster) => {
                return or_halt(self.store.set_members(at, &write_members(cluster)));
            }
        };
        let applied = or_halt(self.store.apply(at, command));
        if let Some(client) = waiter {
            let term = entry.at.term.get();
            let header = Header { revision: applied.revision, term, ..self.identity };
            let result = applied.result.map(|reply| (header, reply));
            self.batch.push(Reply { client, result });
        }
    }
}

/// The state cannot be kept or read. What the store holds in memory may be half of an entry, so
/// nothing may be said or done any more. The log has everything.
fn or_halt<T>(outcome: Result<T, StoreError>) -> T {
    outcome.unwrap_or_else(|error| halt(&format_args!("this node stops at once: {error}")))
}
