//! What must hold of each change of the members, at the moment when its entry is made (paper §6,
//! thesis §4.1 to §4.3).
//!
//! 1. It is one step: one voter more or less, or into a joint configuration with the old voters
//!    outgoing, or out of that with the same voters. So the majorities before and after overlap.
//! 2. The configuration before it is committed.
//! 3. Who is given a vote has everything that was committed before.
//! 4. An entry of its own term is committed; or it leaves a joint configuration, where all leaders
//!    would make the same one.

use std::sync::Arc;

use raft_core::{ClusterConfig, Index, NodeId, Position};

use super::Oracle;
use crate::node::{Node, seat};
use crate::violation::{Checked, check};

/// The entry at `at`, which is the first to say that the cluster is `new`, in a log where the entry
/// at `old_at` says that it is `old`.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) at: Position,
    pub(super) old_at: Index,
    pub(super) old: Arc<ClusterConfig>,
    pub(super) new: Arc<ClusterConfig>,
}

impl Oracle {
    /// A leader has made this change. (It may find the one before it committed, and go on to this
    /// one, in a single step.)
    pub(super) fn check_change(&self, change: &Change) -> Checked {
        let Change { at, old_at, old, new } = change;
        check(
            is_one_step(old, new),
            "majorities overlap from one configuration to the next",
            || format!("{at} goes from {old:?} to {new:?}"),
        )?;
        check(
            *old_at <= self.commit(),
            "a change waits until the one before is committed",
            || format!("{at} changes what {old_at} says, and {} is committed", self.commit()),
        )?;
        let has_committed = old.outgoing.is_some() || self.ledger.has_committed_in(at.term);
        check(has_committed, "a change waits for a commit in its own term", || {
            format!("{at} is made, and nothing of that term is committed")
        })
    }

    /// Nobody is given a vote before it has caught up.
    pub(super) fn check_promoted(&self, nodes: &[Node], leader: &Node, change: &Change) -> Checked {
        let Some(committed) = self.committed(leader.seen.commit) else { return Ok(()) };
        let mut promoted = change.new.voters.iter().filter(|id| !change.old.is_voter(**id));
        let has_caught_up = |id: &NodeId| {
            let node = &nodes[seat(*id)];
            node.has_durably(committed) || node.is_recovering()
        };
        check(promoted.all(has_caught_up), "who is given a vote has caught up", || {
            format!("{change:?} when {committed} was committed")
        })
    }

    /// The members as of the last committed change, and where that is.
    pub(crate) fn cluster(&self) -> (Index, &Arc<ClusterConfig>) {
        (self.cluster.0, &self.cluster.1)
    }

    /// Every configuration that may be in force on some node, now or later: the committed one, and
    /// those that are not committed but might be. Of an entry whose term is over among those
    /// committed, nothing comes any more.
    pub(crate) fn possible_clusters(&self) -> Vec<&ClusterConfig> {
        let latest = self.ledger.committed().last().copied().unwrap_or_default();
        let open = self.ledger.configs().filter(|(at, _)| *at > latest);
        std::iter::once(&*self.cluster.1).chain(open.map(|(_, cluster)| cluster)).collect()
    }
}

/// Whether a majority of the voters, or of both sets of them, is among these.
pub(crate) fn is_quorum(cluster: &ClusterConfig, is_in: impl Fn(NodeId) -> bool) -> bool {
    let voters = std::iter::once(&cluster.voters).chain(&cluster.outgoing);
    let mut counts = voters.map(|all| (all.iter().filter(|id| is_in(**id)).count(), all.len()));
    counts.all(|(count, all)| 2 * count > all)
}

fn is_one_step(old: &ClusterConfig, new: &ClusterConfig) -> bool {
    match (&old.outgoing, &new.outgoing) {
        (None, None) => old.voters.symmetric_difference(&new.voters).count() <= 1,
        (None, Some(outgoing)) => *outgoing == old.voters,
        (Some(_), None) => old.voters == new.voters,
        (Some(_), Some(_)) => false,
    }
}
