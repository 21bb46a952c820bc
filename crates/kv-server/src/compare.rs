//! Whether the nodes of a cluster have the same state: arithmetic over what each says of itself.
//!
//! Two states that differ at one index differ at all later ones, because a digest never forgets a
//! difference. So for each other node, the last index at which both digests are known decides.
//!
//! Rules:
//! 1. A node is *outvoted* if a majority of all members, none of them itself, has one and the same
//!    digest at an index where it has another. Two that agree are a majority of three.
//! 2. A node is never outvoted by one other, be it the leader: who of two is right, nobody knows.
//! 3. Who says nothing counts for nobody.

use std::collections::BTreeMap;

use kv_proto::{Difference, DigestsReply, StateDigest};

/// Whether the state of node `own` differs from that of others, in a cluster of so many members;
/// `said` is what each of them has told, itself included.
pub fn compare(own: u64, members: usize, said: &BTreeMap<u64, DigestsReply>) -> Option<Difference> {
    let mine = digests(said.get(&own)?);
    let others: BTreeMap<u64, BTreeMap<u64, u64>> =
        said.iter().filter(|(id, _)| **id != own).map(|(id, it)| (*id, digests(it))).collect();
    let last_shared = |theirs: &BTreeMap<u64, u64>| {
        mine.iter().rev().find(|(index, _)| theirs.contains_key(index)).map(|(index, _)| *index)
    };
    let differing: Vec<(u64, u64)> = others
        .iter()
        .filter_map(|(id, theirs)| Some((*id, last_shared(theirs)?)))
        .filter(|(id, index)| mine.get(index) != others[id].get(index))
        .collect();
    let latest = differing.iter().map(|(_, index)| *index).max()?;
    let outvoted_at = mine.iter().rev().find(|(index, digest)| {
        let theirs = || others.values().filter_map(|theirs| theirs.get(index));
        theirs().any(|other| {
            other != *digest && theirs().filter(|it| *it == other).count() > members / 2
        })
    });
    Some(Difference {
        index: outvoted_at.map_or(latest, |(index, _)| *index),
        others: differing.into_iter().map(|(id, _)| id).collect(),
        is_outvoted: outvoted_at.is_some(),
    })
}

fn digests(reply: &DigestsReply) -> BTreeMap<u64, u64> {
    let known = reply.checkpoints.iter().chain([&reply.applied]);
    known.map(|StateDigest { index, digest }| (*index, *digest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the nodes 1, 2, ... say: `(applied index, digest there)`, and that at checkpoint 64.
    fn said(nodes: &[((u64, u64), u64)]) -> BTreeMap<u64, DigestsReply> {
        let digest = |(index, digest)| StateDigest { index, digest };
        let reply = |(applied, at_64): &((u64, u64), u64)| DigestsReply {
            applied: digest(*applied),
            checkpoints: vec![digest((64, *at_64))],
            difference: None,
        };
        (1..).zip(nodes.iter().map(reply)).collect()
    }

    #[test]
    fn equal_states_at_different_indexes_do_not_differ() {
        let all = said(&[((70, 5), 1), ((90, 6), 1), ((90, 6), 1)]);
        for own in 1..=3 {
            assert_eq!(compare(own, 3, &all), None);
        }
    }

    #[test]
    fn the_one_that_differs_from_two_that_agree_is_outvoted_and_the_two_are_not() {
        let all = said(&[((70, 5), 1), ((80, 6), 1), ((90, 7), 2)]);
        let odd = Difference { index: 64, others: vec![1, 2], is_outvoted: true };
        assert_eq!(compare(3, 3, &all), Some(odd));
        for own in 1..=2 {
            let sound = Difference { index: 64, others: vec![3], is_outvoted: false };
            assert_eq!(compare(own, 3, &all), Some(sound));
        }
    }

    /// If one node's word counted, a leader whose own state is wrong could take the cluster down.
    #[test]
    fn nobody_is_outvoted_by_one_other_node() {
        let mut all = said(&[((70, 5), 1), ((80, 6), 2), ((90, 7), 3)]);
        for own in 1..=3 {
            assert!(!compare(own, 3, &all).unwrap().is_outvoted, "three states, no two alike");
        }
        all.remove(&3);
        for own in 1..=2 {
            assert!(!compare(own, 3, &all).unwrap().is_outvoted, "the third says nothing");
            assert!(!compare(own, 2, &all).unwrap().is_outvoted, "a cluster of two");
        }
    }

    #[test]
    fn what_cannot_be_compared_does_not_differ() {
        let mut all = said(&[((70, 5), 1), ((90, 6), 1)]);
        all.get_mut(&2).unwrap().checkpoints.clear();
        assert_eq!(compare(1, 3, &all), None, "no index in common");
        all.remove(&1);
        assert_eq!(compare(1, 3, &all), None, "nothing is known of this node itself");
        assert_eq!(compare(2, 3, &all), None, "nobody else says anything");
    }

    #[test]
    fn at_rest_the_last_index_is_enough() {
        let mut all = said(&[((50, 1), 0), ((50, 1), 0), ((50, 2), 0)]);
        for reply in all.values_mut() {
            reply.checkpoints.clear();
        }
        let odd = Difference { index: 50, others: vec![1, 2], is_outvoted: true };
        assert_eq!(compare(3, 3, &all), Some(odd));
    }
}
