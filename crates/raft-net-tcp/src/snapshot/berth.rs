//! What is kept of a snapshot from one connection to the next.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::SnapshotSink;
use crate::link::lock;

/// The place of the one snapshot that comes from a peer.
///
/// Invariants:
/// 1. One connection has it at a time. A later one waits until the one before has let go.
/// 2. A sink stays here for its next connection only so long, and only as long as no other
///    snapshot is offered.
#[derive(Default)]
pub(crate) struct Berth {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_taken: bool,
    is_stopped: bool,
    /// Counts what was put here.
    turn: u64,
    kept: Option<(u64, Kept)>,
}

/// What is there of a snapshot that was offered before.
pub(crate) enum Kept {
    /// A part of it.
    Part(Box<dyn SnapshotSink>),
    /// It is done.
    Done,
}

/// The right to use a berth, until dropped.
pub(crate) struct Claim<'a>(&'a Berth);

impl Berth {
    /// Takes the berth for the snapshot `id`, and what is kept of that one. `None` if the
    /// connection before does not let go in time, or the network stops.
    pub(crate) fn claim(&self, id: u64, patience: Duration) -> Option<(Claim<'_>, Option<Kept>)> {
        let state = lock(&self.state);
        let busy = |state: &mut State| state.is_taken && !state.is_stopped;
        let mut state = self.wait(state, patience, busy);
        if state.is_taken || state.is_stopped {
            return None;
        }
        state.is_taken = true;
        let kept = state.kept.take();
        drop(state);
        // A part of another snapshot is dropped here, outside of the lock.
        Some((Claim(self), kept.filter(|(of, _)| *of == id).map(|(_, kept)| kept)))
    }

    /// Lets nobody in any more, and forgets what is kept.
    pub(crate) fn stop(&self) {
        let mut state = lock(&self.state);
        state.is_stopped = true;
        let kept = state.kept.take();
        drop(state);
        self.changed.notify_all();
        drop(kept);
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        patience: Duration,
        condition: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout_while(state, patience, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Claim<'_> {
    /// Lets go, and keeps a part of the snapshot `id` for its next connection. Returns when that
    /// has come, or `patience` is over.
    pub(crate) fn keep_part(self, id: u64, sink: Box<dyn SnapshotSink>, patience: Duration) {
        let berth = self.0;
        let turn = self.keep(id, Kept::Part(sink));
        let is_here = |state: &mut State| state.turn == turn && state.kept.is_some();
        let mut state = berth.wait(lock(&berth.state), patience, is_here);
        let kept = if is_here(&mut state) { state.kept.take() } else { None };
        drop(state);
        drop(kept);
    }

    /// Lets go, and remembers that the snapshot `id` is done.
    pub(crate) fn keep_done(self, id: u64) {
        self.keep(id, Kept::Done);
    }

    fn keep(self, id: u64, kept: Kept) -> u64 {
        let mut state = lock(&self.0.state);
        state.turn += 1;
        if !state.is_stopped {
            state.kept = Some((id, kept));
        }
        // Letting go comes with the drop of this, behind the lock.
        state.turn
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).is_taken = false;
        self.0.changed.notify_all();
    }
}

impl fmt::Debug for Berth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Berth")
            .field("is_taken", &lock(&self.state).is_taken)
            .finish_non_exhaustive()
    }
}
