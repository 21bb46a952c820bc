//! Where snapshots of other nodes arrive: one at a time, in a file beside the state.

use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kv_store::snapshot::{Restore, Restored, SnapshotError, remove_draft};
use log::warn;
use raft_core::{Body, ClusterConfig, Message, Position, Snapshot, Term};
use raft_net_tcp::SnapshotSink;

use super::shortage::Shortage;
use super::{check_arrival, position};
use crate::replica::Event;

/// How often one that waits to be installed looks whether this node stops.
const LOOKS_UP_AFTER: Duration = Duration::from_millis(50);

/// The place where a snapshot is put together, verified, and waits to be installed.
///
/// Invariants:
/// 1. There is one draft at a time. A later offer replaces an unfinished one, unless that comes
///    from a leader of a later term; one that is being verified or installed is left alone.
/// 2. Whoever waits for the end of a snapshot hears it, also if that is forgotten: from then on
///    its channel has no other end. Nobody waits in a node that stops, but for what is just being
///    installed.
/// 3. One that had no room is removed, and none is let in for a while (`Shortage`) after it.
pub struct Desk {
    path: PathBuf,
    founders: ClusterConfig,
    tell: Box<dyn Fn(Event) + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts the offers.
    turn: u64,
    stage: Stage,
    shortage: Shortage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// Pieces come.
    Receiving { term: Term, restore: Box<Restore> },
    /// All came: they are read back; or the draft is being put in its place, or removed.
    Busy,
    /// It is whole, and waits for the order to install it.
    Arrived(Arrived),
}

/// A snapshot that is whole, beside the state that it is to replace.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) restored: Restored,
    pub(crate) tell: Ending,
}

/// Tells the one who waits how it ended. Dropped, it says that nobody will install it.
#[derive(Debug)]
pub(crate) struct Ending(SyncSender<Result<(), String>>);

impl Ending {
    pub(crate) fn tell(&self, outcome: Result<(), String>) {
        // There is room for it; whoever does not wait any more needs no answer.
        let _ = self.0.try_send(outcome);
    }
}

impl Desk {
    /// A desk for the state file at `path`. `tell` brings what has arrived to the loop; states that
    /// were never told of members have these `founders`.
    pub fn new(
        path: PathBuf,
        founders: ClusterConfig,
        tell: impl Fn(Event) + Send + Sync + 'static,
    ) -> Self {
        Self { path, founders, tell: Box::new(tell), state: Mutex::default() }
    }

    /// Makes room for the snapshot that is offered with this message.
    ///
    /// # Errors
    ///
    /// If there is none: a sentence.
    pub fn open(self: &Arc<Self>, message: Message) -> Result<Box<dyn SnapshotSink>, String> {
        let Body::Snapshot(snapshot) = message.body.clone() else {
            return Err("this is not a snapshot".to_owned());
        };
        let (term, mut state) = (message.term, self.lock());
        match &state.stage {
            Stage::Busy | Stage::Arrived(_) => {
                return Err("another snapshot is being installed: try again".to_owned());
            }
            Stage::Receiving { term: other, .. } if *other > term => {
                return Err(format!("a snapshot of the leader of term {other} is on its way"));
            }
            Stage::Receiving { .. } | Stage::Idle => {}
        }
        if let Some(why) = state.shortage.refusal(Instant::now()) {
            return Err(why.to_owned());
        }
        state.stage = Stage::Idle;
        let restore = match Restore::begin(&self.path) {
            Ok(restore) => restore,
            Err(error) => {
                self.remove_draft();
                return Err(self.refuse(state, error));
            }
        };
        state.stage = Stage::Receiving { term, restore: Box::new(restore) };
        state.turn += 1;
        let (desk, turn) = (Arc::clone(self), state.turn);
        Ok(Box::new(Sink { desk, turn, due: 0, message, snapshot }))
    }

    /// What is to be installed, if it ends there.
    pub(crate) fn take_arrived(&self, at: Position) -> Option<Arrived> {
        match self.take() {
            Some(arrived) if position(arrived.restored.position()) == at => Some(arrived),
            _ => None,
        }
    }

    /// What has arrived. Its draft is left alone until the receiving thread has heard the outcome.
    fn take(&self) -> Option<Arrived> {
        let mut state = self.lock();
        match std::mem::take(&mut state.stage) {
            Stage::Arrived(arrived) => {
                state.stage = Stage::Busy;
                Some(arrived)
            }
            other => {
                state.stage = other;
                None
            }
        }
    }

    /// What has arrived will not be installed: it brings no news, or its leader leads no more.
    pub fn discard_arrived(&self) {
        if let Some(arrived) = self.take() {
            arrived.tell.tell(Err("it is not needed here any more".to_owned()));
        }
    }

    /// The receiving thread is done with this offer: what is left of it goes.
    fn leave(&self, turn: u64) {
        let mut state = self.lock();
        if state.turn == turn {
            state.stage = Stage::Idle;
            // Nothing is left of one that was installed.
            self.remove_draft();
        }
    }

    fn remove_draft(&self) {
        if let Err(error) = remove_draft(&self.path) {
            warn!("what was left of a snapshot stays where it is: {error}");
        }
    }

    /// Why a snapshot is not taken in: a sentence for both logs. Tells the loop if it is for lack
    /// of room: after the lock is released, because whoever tells it may have to take its turn.
    fn refuse(&self, mut state: MutexGuard<'_, State>, error: SnapshotError) -> String {
        let SnapshotError::NoRoom { file, source } = error else { return error.to_string() };
        let why = format!(
            "there is no room for it in {}: {source}; make some, and it is sent again by itself; \
             what was there stays as it is",
            file.display()
        );
        state.shortage.noticed(Instant::now(), why.clone());
        drop(state);
        (self.tell)(Event::SnapshotHasNoRoom);
        why
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One snapshot on its way in.
struct Sink {
    desk: Arc<Desk>,
    turn: u64,
    due: u64,
    message: Message,
    snapshot: Snapshot,
}

impl SnapshotSink for Sink {
    fn next_piece(&self) -> u64 {
        self.due
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), String> {
        let mut state = self.desk.lock();
        let is_current = state.turn == self.turn;
        let taken = match &mut state.stage {
            Stage::Receiving { restore, .. } if is_current => {
                restore.take(piece).map(|()| restore.next_piece())
            }
            _ => return Err("a later snapshot has taken its place".to_owned()),
        };
        self.due = taken.map_err(|error| self.desk.refuse(state, error))?;
        Ok(())
    }

    fn finish(self: Box<Self>, is_stopping: &(dyn Fn() -> bool + Sync)) -> Result<(), String> {
        let outcome = self.verify()?;
        (self.desk.tell)(Event::SnapshotArrived(self.message.clone()));
        loop {
            match outcome.recv_timeout(LOOKS_UP_AFTER) {
                Ok(outcome) => return outcome,
                Err(RecvTimeoutError::Disconnected) => return Err("it was set aside".to_owned()),
                // If the loop is gone, nobody will order to install it. What is being installed
                // comes to its end: that is waited for.
                Err(RecvTimeoutError::Timeout) if is_stopping() => self.desk.discard_arrived(),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

impl Sink {
    /// Reads back what came. While it waits to be installed, the end of it is told to the receiver
    /// that this returns.
    fn verify(&self) -> Result<Receiver<Result<(), String>>, String> {
        let mut state = self.desk.lock();
        if state.turn != self.turn || !matches!(state.stage, Stage::Receiving { .. }) {
            return Err("a later snapshot has taken its place".to_owned());
        }
        let before = std::mem::replace(&mut state.stage, Stage::Busy);
        drop(state);
        let Stage::Receiving { restore, .. } = before else {
            return Err("it is not being received".to_owned());
        };
        let restored = self.read_back(*restore)?;
        let (tell, outcome) = sync_channel(1);
        let mut state = self.desk.lock();
        state.shortage.is_over();
        state.stage = Stage::Arrived(Arrived { restored, tell: Ending(tell) });
        Ok(outcome)
    }

    fn read_back(&self, restore: Restore) -> Result<Restored, String> {
        let finished = restore.finish();
        let restored = finished.map_err(|error| self.desk.refuse(self.desk.lock(), error))?;
        check_arrival(&restored, &self.snapshot, &self.desk.founders)?;
        Ok(restored)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.desk.leave(self.turn);
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;

    use kv_store::{Options, Store};
    use raft_core::NodeId;

    use super::super::members::write_members;
    use super::*;

    /// A state after one entry, which named the members.
    fn pieces(path: &std::path::Path, members: &ClusterConfig) -> (Position, Vec<Vec<u8>>) {
        let mut store = Store::open(path, &Options::default()).expect("a new one");
        let at = kv_store::Position { term: 1, index: 1 };
        store.set_members(at, &write_members(members)).expect("the disk works");
        store.flush().expect("the disk works");
        let mut content = store.snapshot().expect("it can be read").expect("it has a file");
        let next = || content.next_piece().expect("it can be read");
        (position(at), std::iter::from_fn(next).collect())
    }

    /// A node that was asked to stop while it read back a snapshot never stopped: the order to
    /// install it, which the receiving thread waited for, came from a loop that was gone, and the
    /// network waited for that thread.
    #[test]
    fn nobody_waits_for_the_order_to_install_in_a_node_that_stops() {
        let dir = tempfile::tempdir().expect("a directory for tests");
        let members = ClusterConfig::of_voters([1, 2].map(NodeId::new));
        let (at, pieces) = pieces(&dir.path().join("leader"), &members);
        let (announce, announced) = channel();
        let tell = move |event| _ = announce.send(event);
        let desk = Arc::new(Desk::new(dir.path().join("follower"), members.clone(), tell));
        let snapshot = Snapshot { at, cluster: Arc::new(members) };
        let (from, to) = (NodeId::new(1), NodeId::new(2));
        let body = Body::Snapshot(snapshot);
        let offer = Message { from, to, term: Term::new(1), body };
        let mut sink = desk.open(offer.clone()).expect("there is room");
        for piece in &pieces {
            sink.take(piece).expect("it is whole");
        }
        let is_stopping = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            let receiving = scope.spawn(|| sink.finish(&|| is_stopping.load(Ordering::SeqCst)));
            // The loop hears of it, and does nothing any more.
            announced.recv().expect("it is told");
            is_stopping.store(true, Ordering::SeqCst);
            receiving.join().expect("it does not panic")
        });
        outcome.expect_err("nobody has installed it");
        assert!(desk.take_arrived(at).is_none());
        desk.open(offer).expect("the place is free again");
    }
}
