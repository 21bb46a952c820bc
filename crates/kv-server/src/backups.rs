//! Backups while the node serves: pieces of snapshots, made on a thread of their own.
//!
//! Clients pull: each piece is asked for, so one who does not fetch gets none. The apply thread
//! only says of which moment a backup is, and passes the request on.
//!
//! Invariants:
//! 1. Neither the loop nor the apply thread waits for anything here: their queue never blocks.
//! 2. At most [`MAX_BACKUPS`] are under way, one for each connection; one more is told "busy".
//! 3. A backup holds the state file back from reusing room. So it ends when nothing was asked for
//!    within [`IDLE_PATIENCE`], and everything that it held is free again.
//! 4. Pieces are made in the order of their numbers; every request is answered once.
//! 5. Nobody is waited for longer than the client waits: not for a disk without room either.
//! 6. All backups together take at most half of one processor: after each piece the thread rests
//!    for as long as it took. The clients who write meanwhile are the ones who would wait.

use std::collections::BTreeMap;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use kv_proto::{BackupPiece, Error, Header, Reply as ProtoReply};
use kv_store::StoreError;
use kv_store::snapshot::{Snapshot, Snapshots};
use log::{error, info};

use crate::clients::{Replies, Reply};
use crate::event_loop::Clock;
use crate::replica::{ClientTag, Patience};

/// The most backups at once.
pub const MAX_BACKUPS: usize = 4;

/// How long a backup waits for its client to ask for the next piece.
pub const IDLE_PATIENCE: Duration = Duration::from_secs(30);

/// The longest rest: a piece that a slow disk held up says nothing of the processor.
const MAX_REST: Duration = Duration::from_millis(50);

/// A request for a piece.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) client: ClientTag,
    pub(crate) piece: u64,
    /// The header of the answer.
    pub(crate) header: Header,
    pub(crate) patience: Patience,
    /// With the first piece: what the backup is to show. `None` for a store without a file.
    pub(crate) snapshots: Option<Snapshots>,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Backups {
    queue: Sender<Work>,
    thread: JoinHandle<()>,
}

impl Backups {
    /// Starts it. Answers go to `replies`; `clock` is the one by which the replica measures how
    /// long clients wait.
    pub(crate) fn start(replies: Replies, clock: Clock) -> io::Result<Self> {
        let (queue, work) = unbounded();
        let worker = Worker { open: BTreeMap::new(), replies, clock, rest: Duration::ZERO };
        let thread =
            thread::Builder::new().name("backups".into()).spawn(move || worker.run(&work))?;
        Ok(Self { queue, thread })
    }

    /// Adds work. The queue is bounded by what feeds it: each connection has only so many requests
    /// in flight, and is not read while it leaves too many answers unfetched.
    pub(crate) fn submit(&self, work: Work) {
        // The thread ends only after this sender is gone.
        let _ = self.queue.send(work);
    }

    /// Lets everything in the queue be done, and waits for the thread.
    pub(crate) fn stop(self) {
        drop(self.queue);
        if self.thread.join().is_err() {
            error!("the thread that makes backups had panicked");
        }
    }
}

struct Worker {
    /// By the connection that fetches it. Ordered only to be the same on every run.
    open: BTreeMap<u64, Open>,
    replies: Replies,
    clock: Clock,
    /// How long to rest after what was done last.
    rest: Duration,
}

/// A backup that is under way.
struct Open {
    snapshot: Snapshot,
    asked_at: Instant,
}

impl Worker {
    fn run(mut self, work: &Receiver<Work>) {
        loop {
            match work.recv_timeout(self.time_until_idle()) {
                Ok(work) => {
                    let (client, header) = (work.client, work.header);
                    let result = self.answer(work).map(|piece| (header, ProtoReply::Backup(piece)));
                    self.replies.send(vec![Reply { client, result }]);
                    thread::sleep(std::mem::take(&mut self.rest));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.close_the_idle();
        }
    }

    fn answer(&mut self, work: Work) -> Result<BackupPiece, Error> {
        work.patience.check_read(self.clock.now())?;
        let connection = work.client.connection;
        if work.piece == 0 {
            self.begin(connection, work.snapshots, work.patience)?;
        }
        let Some(open) = self.open.get_mut(&connection) else {
            return Err(none_under_way(work.piece));
        };
        let due = open.snapshot.next_number();
        if due != work.piece {
            return Err(out_of_order(work.piece, due));
        }
        open.asked_at = Instant::now();
        let made = open.snapshot.next_piece().map_err(|error| cannot_be_read(&error));
        self.rest = open.asked_at.elapsed().min(MAX_REST);
        let (done, total) = open.snapshot.progress();
        let is_last = open.snapshot.is_over();
        if is_last || made.is_err() {
            self.open.remove(&connection);
        }
        let bytes = made?.ok_or_else(|| none_under_way(work.piece))?;
        Ok(BackupPiece { bytes: bytes.into(), is_last, done, total })
    }

    fn begin(
        &mut self,
        connection: u64,
        snapshots: Option<Snapshots>,
        patience: Patience,
    ) -> Result<(), Error> {
        self.open.remove(&connection);
        if self.open.len() >= MAX_BACKUPS {
            return Err(Error::Busy);
        }
        let Some(snapshots) = snapshots else { return Err(no_file()) };
        let rest = patience.deadline.since(self.clock.now());
        let taken = snapshots.take_within(rest).map_err(|error| cannot_be_read(&error))?;
        let Some(snapshot) = taken else {
            return Err(patience.read_timed_out(self.clock.now()));
        };
        info!("a client backs up the state at index {}", snapshot.position().index);
        self.open.insert(connection, Open { snapshot, asked_at: Instant::now() });
        Ok(())
    }

    fn time_until_idle(&self) -> Duration {
        let oldest = self.open.values().map(|open| open.asked_at).min();
        oldest.map_or(IDLE_PATIENCE, |at| (at + IDLE_PATIENCE).duration_since(Instant::now()))
    }

    fn close_the_idle(&mut self) {
        self.open.retain(|_, open| open.asked_at.elapsed() < IDLE_PATIENCE);
    }
}

fn none_under_way(piece: u64) -> Error {
    Error::InvalidOptions {
        reason: format!(
            "piece {piece} of a backup was asked for, and none is under way on this connection \
             (it ends when nothing was asked for within {} s): begin again with piece 0",
            IDLE_PATIENCE.as_secs()
        ),
    }
}

fn out_of_order(came: u64, due: u64) -> Error {
    Error::InvalidOptions {
        reason: format!("piece {came} of a backup was asked for where {due} is due: ask in order"),
    }
}

fn no_file() -> Error {
    Error::InvalidOptions {
        reason: "this node keeps its state in memory only, which cannot be backed up".to_owned(),
    }
}

fn cannot_be_read(error: &StoreError) -> Error {
    error!("a backup failed: {error}");
    Error::Internal { reason: error.to_string() }
}
