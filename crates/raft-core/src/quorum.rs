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

/// The voters of a configuration, in a form that is made once and quickly walked along: a leader
/// asks for a quorum with every acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Voters {
    incoming: Vec<NodeId>,
    outgoing: Option<Vec<NodeId>>,
}

impl Voters {
    pub(crate) fn of(cluster: &ClusterConfig) -> Self {
        let list = |voters: &BTreeSet<NodeId>| voters.iter().copied().collect();
        Self { incoming: list(&cluster.voters), outgoing: cluster.outgoing.as_ref().map(list) }
    }

    /// Whether this node votes, in whichever configuration.
    pub(crate) fn contains(&self, id: NodeId) -> bool {
        self.incoming.contains(&id) || self.outgoing.as_ref().is_some_and(|old| old.contains(&id))
    }

    /// The largest value that a quorum has reached, where `value` tells what a voter has reached.
    /// A set without voters has reached nothing: `T::default()`.
    #[inline]
    pub(crate) fn reached<T: Ord + Copy + Default>(&self, value: impl Fn(NodeId) -> T) -> T {
        match (&self.incoming[..], &self.outgoing) {
            // Most clusters have three voters, and are asked all the time.
            ([a, b, c], None) => {
                let (a, b, c) = (value(*a), value(*b), value(*c));
                a.min(b).max(a.max(b).min(c))
            }
            (incoming, None) => reached_by_majority(incoming, &value),
            (incoming, Some(outgoing)) => reached_by_both(incoming, outgoing, &value),
        }
    }

    /// Counts the votes of an election; `vote` tells what a voter said, if it did.
    pub(crate) fn tally(&self, vote: impl Fn(NodeId) -> Option<bool>) -> Tally {
        // A yes counts 2, silence 1, a no 0: the quorum has reached yes, or may still, or cannot.
        let score = |id| vote(id).map_or(1_u8, |yes| if yes { 2 } else { 0 });
        match self.reached(score) {
            2 => Tally::Won,
            1 => Tally::Open,
            _ => Tally::Lost,
        }
    }
}

/// Up to so many voters need no memory of their own. Clusters are smaller.
const FEW: usize = 9;

/// What both majorities have reached.
#[cold]
fn reached_by_both<T: Ord + Copy + Default>(
    incoming: &[NodeId],
    outgoing: &[NodeId],
    value: &impl Fn(NodeId) -> T,
) -> T {
    reached_by_majority(incoming, value).min(reached_by_majority(outgoing, value))
}

/// The value in the middle: of four voters, the second from below, for three have reached it.
fn reached_by_majority<T: Ord + Copy + Default>(
    voters: &[NodeId],
    value: &impl Fn(NodeId) -> T,
) -> T {
    match voters {
        [] => T::default(),
        [only] => value(*only),
        _ => middle_of(voters, value),
    }
}

/// The value in the middle of any number of voters, if there are any.
#[cold]
fn middle_of<T: Ord + Copy + Default>(voters: &[NodeId], value: &impl Fn(NodeId) -> T) -> T {
    let middle = (voters.len() - 1) / 2;
    if voters.len() > FEW {
        let mut values: Vec<_> = voters.iter().map(|id| value(*id)).collect();
        return *values.select_nth_unstable(middle).1;
    }
    // An insertion sort, on the stack.
    let mut values = [T::default(); FEW];
    for (count, id) in voters.iter().enumerate() {
        let (value, mut at) = (value(*id), count);
        while at > 0 && values[at - 1] > value {
            values[at] = values[at - 1];
            at -= 1;
        }
        values[at] = value;
    }
    values[middle]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId::new).collect()
    }

    fn voters(voters: &[u64], outgoing: Option<&[u64]>) -> Voters {
        Voters::of(&ClusterConfig {
            voters: ids(voters),
            outgoing: outgoing.map(ids),
            learners: BTreeSet::new(),
        })
    }

    #[test]
    fn a_quorum_is_a_majority() {
        let identity = |id: NodeId| id.get();
        assert_eq!(voters(&[], None).reached(identity), 0);
        assert_eq!(voters(&[7], None).reached(identity), 7);
        assert_eq!(voters(&[3, 9], None).reached(identity), 3);
        assert_eq!(voters(&[1, 5, 9], None).reached(identity), 5);
        assert_eq!(voters(&[1, 5, 7, 9], None).reached(identity), 5);
        assert_eq!(voters(&[1, 2, 5, 7, 9], None).reached(identity), 5);
        assert_eq!(voters(&[1, 5, 9], None).reached(|_| 4), 4, "equal values");
    }

    #[test]
    fn it_is_a_majority_in_clusters_of_every_size_and_any_order() {
        for size in 1..=2 * FEW as u64 {
            let ids: Vec<_> = (1..=size).collect();
            // 7 and 19 have no factor in common, so this visits the values 1 to 18 in disorder.
            let value = |id: NodeId| id.get() * 7 % 19;
            let found = voters(&ids, None).reached(value);
            let at_least = |floor: u64| {
                ids.iter().filter(|id| value(NodeId::new(**id)) >= floor).count() as u64
            };
            assert!(at_least(found) > size / 2, "{found} of {size}");
            assert!(at_least(found + 1) <= size / 2, "{found} of {size}");
        }
    }

    #[test]
    fn between_configurations_both_majorities_are_needed() {
        let identity = |id: NodeId| id.get();
        assert_eq!(voters(&[7, 8, 9], Some(&[1, 2, 3])).reached(identity), 2);
        assert_eq!(voters(&[1, 2, 3], Some(&[7, 8, 9])).reached(identity), 2);
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
        let three = voters(&[1, 2, 3], None);
        assert_eq!(three.tally(vote(&[1, 2], &[])), Tally::Won);
        assert_eq!(three.tally(vote(&[1], &[2])), Tally::Open);
        assert_eq!(three.tally(vote(&[1], &[2, 3])), Tally::Lost);
        let four = voters(&[1, 2, 3, 4], None);
        assert_eq!(four.tally(vote(&[1, 2], &[3, 4])), Tally::Lost, "half is no majority");
        let joint = voters(&[1, 2, 3], Some(&[3, 4, 5]));
        assert_eq!(joint.tally(vote(&[1, 2], &[])), Tally::Open);
        assert_eq!(joint.tally(vote(&[1, 2], &[4, 5])), Tally::Lost);
        assert_eq!(joint.tally(vote(&[1, 2, 4, 5], &[3])), Tally::Won);
    }
}
