//! The arithmetic of majorities, apart from everything that uses it.
//!
//! Every decision of Raft is the same question: what is the best value that a majority has
//! reached? For the commit index the values are indexes, for a read they are heartbeat rounds,
//! for check-quorum they are times. Between two configurations, the majorities of both must have
//! reached it (paper §6).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::config::ClusterConfig;
use crate::types::NodeId;

/// The largest value that a quorum of `cluster` has reached, where `value` tells what a voter has
/// reached. A set without voters has reached nothing: `T::default()`.
pub(crate) fn reached<T: Ord + Copy + Default>(
    cluster: &ClusterConfig,
    value: impl Fn(NodeId) -> T,
) -> T {
    let incoming = reached_by_majority(&cluster.voters, &value);
    match &cluster.outgoing {
        None => incoming,
        Some(outgoing) => incoming.min(reached_by_majority(outgoing, &value)),
    }
}

/// Up to so many voters need no memory of their own. Clusters are smaller.
const FEW: usize = 9;

/// The value in the middle: of four voters, the second from below, for three have reached it.
fn reached_by_majority<T: Ord + Copy + Default>(
    voters: &BTreeSet<NodeId>,
    value: &impl Fn(NodeId) -> T,
) -> T {
    let (mut few, mut many) = ([T::default(); FEW], Vec::new());
    let values = if voters.len() <= FEW {
        &mut few[..voters.len()]
    } else {
        many.resize(voters.len(), T::default());
        &mut many[..]
    };
    for (slot, id) in values.iter_mut().zip(voters) {
        *slot = value(*id);
    }
    values.sort_unstable();
    values.get(voters.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// How an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tally {
    /// A quorum said yes.
    Won,
    /// A quorum can no longer say yes.
    Lost,
    /// It is still open.
    Open,
}

/// Counts the votes of an election; `vote` tells what a voter said, if it did.
pub(crate) fn tally(cluster: &ClusterConfig, vote: impl Fn(NodeId) -> Option<bool>) -> Tally {
    // A yes counts 2, silence 1, a no 0: the quorum has reached yes, or may still, or cannot.
    let score = |id| vote(id).map_or(1_u8, |yes| if yes { 2 } else { 0 });
    match reached(cluster, score) {
        2 => Tally::Won,
        1 => Tally::Open,
        _ => Tally::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    fn cluster(voters: &[u64], outgoing: Option<&[u64]>) -> ClusterConfig {
        ClusterConfig {
            voters: ids(voters),
            outgoing: outgoing.map(ids),
            learners: BTreeSet::new(),
        }
    }

    #[test]
    fn a_quorum_is_a_majority() {
        let identity = |id: NodeId| id.get();
        assert_eq!(reached(&cluster(&[], None), identity), 0);
        assert_eq!(reached(&cluster(&[7], None), identity), 7);
        assert_eq!(reached(&cluster(&[3, 9], None), identity), 3);
        assert_eq!(reached(&cluster(&[1, 5, 9], None), identity), 5);
        assert_eq!(reached(&cluster(&[1, 5, 7, 9], None), identity), 5);
        assert_eq!(reached(&cluster(&[1, 2, 5, 7, 9], None), identity), 5);
        assert_eq!(reached(&cluster(&[1, 5, 9], None), |_| 4), 4, "equal values");
    }

    #[test]
    fn it_is_a_majority_in_clusters_of_every_size_and_any_order() {
        for size in 1..=2 * FEW as u64 {
            let voters: Vec<_> = (1..=size).collect();
            // 7 and 19 have no factor in common, so this visits the values 1 to 18 in disorder.
            let value = |id: NodeId| id.get() * 7 % 19;
            let found = reached(&cluster(&voters, None), value);
            let at_least = |floor: u64| {
                voters.iter().filter(|id| value(NodeId::new(**id)) >= floor).count() as u64
            };
            assert!(at_least(found) > size / 2, "{found} of {size}");
            assert!(at_least(found + 1) <= size / 2, "{found} of {size}");
        }
    }

    #[test]
    fn between_configurations_both_majorities_are_needed() {
        let identity = |id: NodeId| id.get();
        assert_eq!(reached(&cluster(&[7, 8, 9], Some(&[1, 2, 3])), identity), 2);
        assert_eq!(reached(&cluster(&[1, 2, 3], Some(&[7, 8, 9])), identity), 2);
    }

    #[test]
    fn an_election_is_won_lost_or_open() {
        let vote = |yes: &'static [u64], no: &'static [u64]| {
            move |id: NodeId| match id.get() {
                id if yes.contains(&id) => Some(true),
                id if no.contains(&id) => Some(false),
                _ => None,
            }
        };
        let three = cluster(&[1, 2, 3], None);
        assert_eq!(tally(&three, vote(&[1, 2], &[])), Tally::Won);
        assert_eq!(tally(&three, vote(&[1], &[2])), Tally::Open);
        assert_eq!(tally(&three, vote(&[1], &[2, 3])), Tally::Lost);
        let four = cluster(&[1, 2, 3, 4], None);
        assert_eq!(tally(&four, vote(&[1, 2], &[3, 4])), Tally::Lost, "half is no majority");
        let joint = cluster(&[1, 2, 3], Some(&[3, 4, 5]));
        assert_eq!(tally(&joint, vote(&[1, 2], &[])), Tally::Open);
        assert_eq!(tally(&joint, vote(&[1, 2], &[4, 5])), Tally::Lost);
        assert_eq!(tally(&joint, vote(&[1, 2, 4, 5], &[3])), Tally::Won);
    }
}
