//! What a node may still do when its state was found to differ from that of others.
//!
//! A node that is outvoted goes on as a member: it keeps its log, votes and acknowledges, because
//! its log is sound as far as anybody knows. But it answers no client from its state, and if it
//! leads, it asks another node to, again and again.

use std::time::Duration;

use kv_proto::{BackupRequest, Consistency, Difference, Error};
use raft_core::Time;

use crate::replica::Call;

/// How long an outvoted leader waits until it asks again to be relieved.
const YIELD_PAUSE: Duration = Duration::from_secs(1);

/// What is known of this node's state.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    node: u64,
    difference: Option<Difference>,
    yield_at: Time,
}

impl Standing {
    /// Nothing is known against this node.
    pub(crate) fn new(node: u64) -> Self {
        Self { node, difference: None, yield_at: Time::ZERO }
    }

    /// The state was found to differ so, or to be equal to all others again.
    pub(crate) fn learn(&mut self, difference: Option<Difference>) {
        self.difference = difference;
    }

    /// In what the state differs, if it does.
    pub(crate) fn difference(&self) -> Option<Difference> {
        self.difference.clone()
    }

    fn outvoted_at(&self) -> Option<u64> {
        self.difference.as_ref().filter(|it| it.is_outvoted).map(|it| it.index)
    }

    /// Whether a node with this state may do what a client asks. A backup that was asked for with
    /// [`Consistency::Stale`] is for those who want to look at a state whatever it is.
    pub(crate) fn check(&self, call: &Call) -> Result<(), Error> {
        let Some(index) = self.outvoted_at() else { return Ok(()) };
        match call {
            Call::Status
            | Call::Digests
            | Call::Backup(
                BackupRequest { piece: 1.., .. }
                | BackupRequest { consistency: Consistency::Stale, .. },
            ) => Ok(()),
            _ => Err(Error::Diverged { node: self.node, index }),
        }
    }

    /// Whether this node has to give up its leadership now, if it has it.
    pub(crate) fn must_yield(&mut self, now: Time) -> bool {
        if self.outvoted_at().is_none() || now < self.yield_at {
            return false;
        }
        self.yield_at = now + YIELD_PAUSE;
        true
    }
}
