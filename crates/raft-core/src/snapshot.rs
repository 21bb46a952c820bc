//! Snapshots in the place of the log's beginning (paper §7, thesis §5).
//!
//! The core never sees a snapshot's content. It knows where a snapshot ends, and which members the
//! cluster has there ([`Snapshot`]). The rules:
//!
//! 1. The log is cut only where the state machine durably holds what is cut off, and has been
//!    handed all of it.
//! 2. A follower that needs what was cut off is sent a snapshot instead. Until the outcome is
//!    known, or the follower turns out to have caught up, nothing else is sent to it, and nothing
//!    is cut, so that it can go on from there.
//! 3. A snapshot is installed only where it brings news: what it covers is committed, so a log
//!    that holds its last position holds all of it, and needs nothing but that knowledge.
//! 4. From the order to install until the answer, the node stores and hands out nothing, commits
//!    nothing and does not campaign. So there is one moment at which the log is replaced.
//! 5. That moment is when the state machine has been replaced durably. If power fails before the
//!    log is emptied on disk, the node starts with a state machine that its log does not reach, and
//!    [`Log::restore`](crate::log::Log::restore) empties it then.
//! 6. The configuration travels with the snapshot, joint or not.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::api::{Action, DropReason, Event};
use crate::config::ClusterConfig;
use crate::message::{Body, Message};
use crate::node::Raft;
use crate::planted::Bug;
use crate::role::Role;
use crate::types::{Index, NodeId, Position, Term};

/// What Raft needs to know of a snapshot of the state machine (paper §7). The content is the
/// driver's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Snapshot {
    /// The last entry that was applied to it.
    pub at: Position,
    /// The members of the cluster as of that entry: of the latest
    /// [`Payload::Config`](crate::Payload::Config) applied, or the founders.
    pub cluster: Arc<ClusterConfig>,
}

/// A request to send a snapshot (paper §7, InstallSnapshot).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SendSnapshot {
    /// This node, the leader.
    pub from: NodeId,
    /// Who needs it.
    pub to: NodeId,
    /// The leader's term.
    pub term: Term,
    /// The snapshot must reach at least up to here, or it would be of no use.
    pub at_least: Index,
}

impl SendSnapshot {
    /// The message to send along with the content of `snapshot`.
    pub fn message(&self, snapshot: Snapshot) -> Message {
        let Self { from, to, term, .. } = *self;
        Message { from, to, term, body: Body::Snapshot(snapshot) }
    }
}

/// At whoever has a log: cutting it.
impl Raft {
    pub(crate) fn on_compact(&mut self, upto: Index, keep: u64, out: &mut Vec<Action>) {
        if !self.sending_snapshots.is_empty() {
            return;
        }
        let kept_from = Index::new(self.commit.get().saturating_sub(keep));
        let is_too_far = self.planted.has(Bug::CutTooFar);
        let allowed = if is_too_far { self.log.durable().min(self.commit) } else { upto };
        let upto = allowed.min(self.handed_out).min(kept_from);
        if upto > self.log.start().index {
            self.log.compact(upto);
            out.push(Action::Compact(upto));
        }
    }
}

/// At the leader.
impl Raft {
    /// The peer with this number needs what the log no longer holds.
    pub(crate) fn need_snapshot(&mut self, at: usize, out: &mut Vec<Action>) {
        let Role::Leader(leader) = &mut self.role else { return };
        let peer = &mut leader.peers[at];
        peer.await_snapshot();
        let (to, next) = (peer.id, peer.next);
        if self.sending_snapshots.insert(to) {
            out.push(Action::Trace(Event::SnapshotNeeded { peer: to, next }));
            let (from, term, at_least) = (self.config.id, self.term(), self.log.start().index);
            out.push(Action::SendSnapshot(SendSnapshot { from, to, term, at_least }));
        }
    }

    /// A snapshot arrived at a follower or did not. What arrived is tried out with an append right
    /// behind it; what did not is asked for again after the next heartbeat.
    pub(crate) fn on_snapshot_sent(
        &mut self,
        to: NodeId,
        arrived: Option<Position>,
        out: &mut Vec<Action>,
    ) {
        if !self.sending_snapshots.remove(&to) {
            return;
        }
        let Some(at) = self.peer_number(to) else { return };
        let arrived = arrived.filter(|at| self.log.holds(*at));
        let Role::Leader(leader) = &mut self.role else { return };
        let peer = &mut leader.peers[at];
        if !peer.awaits_snapshot() {
            return;
        }
        peer.probe_at(arrived.map_or(peer.next, |at| at.index.next()));
        if arrived.is_some() {
            self.probe(at, out);
        }
    }
}

/// At a follower.
impl Raft {
    pub(crate) fn on_snapshot(&mut self, from: NodeId, snapshot: Snapshot, out: &mut Vec<Action>) {
        if !self.follow(from, out) {
            return;
        }
        let at = snapshot.at;
        let is_possible = at.index.leaves_room() && at.term > Term::ZERO;
        if !is_possible || at.term > self.term() || snapshot.cluster.voters.is_empty() {
            return self.drop_message(from, DropReason::MalformedSnapshot, out);
        }
        if self.installing.is_some() {
            return;
        }
        let is_old = at.index <= self.commit || self.log.holds(at);
        if is_old && !self.planted.has(Bug::OldSnapshotInstalled) {
            self.advance_commit(at.index, out);
            return self.acknowledge(from, at.index, out);
        }
        self.installing = Some(snapshot.clone());
        out.push(Action::InstallSnapshot(snapshot));
    }

    pub(crate) fn on_snapshot_installed(&mut self, is_done: bool, out: &mut Vec<Action>) {
        let Some(Snapshot { at, cluster }) = self.installing.take().filter(|_| is_done) else {
            return;
        };
        out.push(Action::Trace(Event::SnapshotInstalled { at }));
        self.proposals.displace(Index::ZERO);
        self.log.reset(at, cluster);
        self.held.forget_acknowledged(at.index.next());
        self.handed_out = at.index;
        self.advance_commit(at.index, out);
        if let Role::Follower(follower) = &self.role
            && let Some(leader) = follower.leader
        {
            self.acknowledge(leader, at.index, out);
        }
    }
}
