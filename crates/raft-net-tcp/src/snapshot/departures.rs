//! Which snapshots are on their way to others: a thread for each.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use raft_core::{Body, Message, NodeId, Position};

use super::SnapshotSource;
use super::outgoing::travel;
use crate::event::NetEvent;
use crate::link::{Link, Plug, Shared, lock};
use crate::stats::{Counter, SnapshotProgress};

/// The snapshot that is on its way to a peer.
#[derive(Debug, Default)]
pub(crate) struct Departures(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_stopped: bool,
    latest: Option<(Arc<Trip>, JoinHandle<()>)>,
}

/// What other threads may know of a snapshot on its way, and do to it.
#[derive(Debug, Default)]
pub(super) struct Trip {
    is_cancelled: Mutex<bool>,
    cancelled: Condvar,
    pub(super) plug: Plug,
    pub(super) pieces: Counter,
    pub(super) bytes: Counter,
}

impl Trip {
    fn cancel(&self) {
        *lock(&self.is_cancelled) = true;
        self.cancelled.notify_all();
        self.plug.pull();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        *lock(&self.is_cancelled)
    }

    /// Waits, but not for a trip that is over; returns whether it goes on.
    pub(super) fn pause(&self, wait: Duration) -> bool {
        let guard = lock(&self.is_cancelled);
        let waited = self.cancelled.wait_timeout_while(guard, wait, |is_cancelled| !*is_cancelled);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Departures {
    /// Gives up what is on its way. Its outcome is told all the same.
    pub(crate) fn cancel(&self) {
        if let Some((trip, _)) = &lock(&self.0).latest {
            trip.cancel();
        }
    }

    /// Gives up what is on its way, and lets nothing more go.
    pub(crate) fn stop(&self) {
        lock(&self.0).is_stopped = true;
        self.cancel();
    }

    /// Waits for the last thread to end. Only after [`stop`](Self::stop).
    pub(crate) fn join(&self) {
        let latest = lock(&self.0).latest.take();
        if let Some((_, thread)) = latest {
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
    }

    /// How far the snapshot has come that is on its way; `None` if none is.
    pub(crate) fn progress(&self) -> Option<SnapshotProgress> {
        let state = lock(&self.0);
        let (trip, _) = state.latest.as_ref().filter(|(_, thread)| !thread.is_finished())?;
        Some(SnapshotProgress { pieces: trip.pieces.get(), bytes: trip.bytes.get() })
    }
}

/// Begins to send a snapshot. One that is on its way to the same peer is given up first.
fn begin(shared: &Arc<Shared>, message: Message, source: Box<dyn SnapshotSource>) {
    let (to, at) = (message.to, position(&message));
    let refused = match (shared.links.get(&to), at) {
        (Some(link), Some(at)) if message.from == shared.me.node_id => {
            depart(shared, link, message, at, source)
        }
        _ => Err("it is not of this node, not for a peer, or no snapshot".to_owned()),
    };
    if let Err(why) = refused {
        log::error!("a snapshot for {to} cannot be sent: {why}");
        shared.emit(NetEvent::SnapshotSent { to, arrived: None });
    }
}

fn position(message: &Message) -> Option<Position> {
    match &message.body {
        Body::Snapshot(snapshot) => Some(snapshot.at),
        _ => None,
    }
}

fn depart(
    shared: &Arc<Shared>,
    link: &Link,
    message: Message,
    at: Position,
    source: Box<dyn SnapshotSource>,
) -> Result<(), String> {
    let mut state = lock(&link.departures.0);
    if state.is_stopped {
        return Ok(());
    }
    let before = state.latest.take().map(|(trip, thread)| {
        trip.cancel();
        thread
    });
    let trip = Arc::new(Trip::default());
    let (theirs, own) = (Arc::clone(shared), Arc::clone(&trip));
    let run = move || {
        if let Some(before) = before {
            // A panic has been reported by the thread itself.
            let _ = before.join();
        }
        travel(&theirs, &own, &message, at, source);
    };
    let started = thread::Builder::new().name(format!("raft-snap-{}", link.peer)).spawn(run);
    state.latest = Some((trip, started.map_err(|error| error.to_string())?));
    Ok(())
}

/// Sends snapshots: a handle that any thread may hold, also beyond the life of the network.
#[derive(Clone)]
pub struct SnapshotSender(Arc<Shared>);

impl SnapshotSender {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Begins to send a snapshot, and never blocks. `message` is what
    /// [`SendSnapshot::message`](raft_core::SendSnapshot::message) makes; its sender is this node.
    /// The outcome comes as [`NetEvent::SnapshotSent`], unless the network is shut down before.
    ///
    /// If a snapshot is on its way to the same peer, that one is given up; its outcome comes first.
    pub fn send(&self, message: Message, source: impl SnapshotSource + 'static) {
        begin(&self.0, message, Box::new(source));
    }

    /// Gives up the snapshots that are on their way to anybody: this node does not lead any more.
    /// Their outcomes come as ever.
    pub fn cancel_all(&self) {
        for link in self.0.links.values() {
            link.departures.cancel();
        }
    }

    /// How far the snapshot for this peer has come; `None` if none is on its way.
    pub fn progress(&self, peer: NodeId) -> Option<SnapshotProgress> {
        self.0.links.get(&peer)?.departures.progress()
    }
}

impl fmt::Debug for SnapshotSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SnapshotSender").field(&self.0.me.node_id).finish()
    }
}
