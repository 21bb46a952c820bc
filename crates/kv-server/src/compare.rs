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
//! 4. What was found stays until it is disproved: until this node is equal to all of those again
//!    from which it differed, because a state was replaced.

use std::collections::BTreeMap;

use kv_proto::{Difference, DigestsReply, StateDigest};

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// In what this node differs from others.
    pub difference: Option<Difference>,
    /// The nodes whose states are equal to its own.
    pub equal: Vec<u64>,
}

impl Comparison {
    /// What is known after this comparison, of a node of which `known` was known before.
    pub fn after(self, known: Option<&Difference>) -> Option<Difference> {
        let stays = |known: &Difference| match &self.difference {
            None => !known.others.iter().all(|id| self.equal.contains(id)),
            Some(found) => known.is_outvoted && !found.is_outvoted,
        };
        known.filter(|known| stays(known)).cloned().or(self.difference)
    }
}

/// Compares the state of node `own` with that of the others, in a cluster of so many members;
/// `said` is what each of them has told, itself included.
pub fn compare(own: u64, members: usize, said: &BTreeMap<u64, DigestsReply>) -> Comparison {
    let Some(mine) = said.get(&own).map(digests) else { return Comparison::default() };
    let others: BTreeMap<u64, BTreeMap<u64, u64>> =
        said.iter().filter(|(id, _)| **id != own).map(|(id, it)| (*id, digests(it))).collect();
    let last_shared = |theirs: &BTreeMap<u64, u64>| {
        mine.iter().rev().find(|(index, _)| theirs.contains_key(index)).map(|(index, _)| *index)
    };
    let compared = others.iter().filter_map(|(id, theirs)| Some((*id, last_shared(theirs)?)));
    let (differing, equal): (Vec<_>, Vec<_>) =
        compared.partition(|(id, index)| mine.get(index) != others[id].get(index));
    let outvoted_at = mine.iter().rev().find(|(index, digest)| {
        let theirs = || others.values().filter_map(|theirs| theirs.get(index));
        theirs().any(|other| {
            other != *digest && theirs().filter(|it| *it == other).count() > members / 2
        })
    });
    let latest = differing.iter().map(|(_, index)| *index).max();
    let difference = latest.map(|latest| Difference {
        index: outvoted_at.map_or(latest, |(index, _)| *index),
        others: differing.into_iter().map(|(id, _)| id).collect(),
        is_outvoted: outvoted_at.is_some(),
    });
    Comparison { difference, equal: equal.into_iter().map(|(id, _)| id).collect() }
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

    fn outvoted(found: Comparison) -> bool {
        found.difference.expect("they differ").is_outvoted
    }

    fn differs_from(others: &[u64], is_outvoted: bool) -> Difference {
        Difference { index: 64, others: others.to_vec(), is_outvoted }
    }

    /// A node whose state was replaced must not be under suspicion for ever, and neither must those
    /// that had found it out; silence proves nothing.
    #[test]
    fn what_was_found_stays_until_the_states_are_equal_again() {
        let one = Some(differs_from(&[3], false));
        let two = Some(differs_from(&[1, 2], true));
        let silence = Comparison::default;
        assert_eq!(silence().after(None), None);
        assert_eq!(silence().after(one.as_ref()), one);
        let equal = |ids: &[u64]| Comparison { difference: None, equal: ids.to_vec() };
        assert_eq!(equal(&[2]).after(one.as_ref()), one, "node 3 is still to be compared");
        assert_eq!(equal(&[2, 3]).after(one.as_ref()), None);
        assert_eq!(equal(&[1]).after(two.as_ref()), two);
        assert_eq!(equal(&[1, 2]).after(two.as_ref()), None);
        // Once outvoted, and with fewer to ask now.
        let differs = |difference| Comparison { difference: Some(difference), equal: vec![] };
        let fewer = differs(differs_from(&[1], false));
        assert_eq!(fewer.clone().after(two.as_ref()), two);
        assert_eq!(fewer.clone().after(None), fewer.difference);
        assert_eq!(differs(differs_from(&[1, 2], true)).after(one.as_ref()), two);
    }

    #[test]
    fn equal_states_at_different_indexes_do_not_differ() {
        let all = said(&[((70, 5), 1), ((90, 6), 1), ((90, 6), 1)]);
        for own in 1..=3 {
            let found = compare(own, 3, &all);
            assert_eq!((found.difference, found.equal.len()), (None, 2));
        }
    }

    #[test]
    fn the_one_that_differs_from_two_that_agree_is_outvoted_and_the_two_are_not() {
        let all = said(&[((70, 5), 1), ((80, 6), 1), ((90, 7), 2)]);
        let odd = Difference { index: 64, others: vec![1, 2], is_outvoted: true };
        assert_eq!(compare(3, 3, &all).difference, Some(odd));
        for own in 1..=2 {
            let sound = Difference { index: 64, others: vec![3], is_outvoted: false };
            assert_eq!(compare(own, 3, &all).difference, Some(sound));
        }
    }

    /// If one node's word counted, a leader whose own state is wrong could take the cluster down.
    #[test]
    fn nobody_is_outvoted_by_one_other_node() {
        let mut all = said(&[((70, 5), 1), ((80, 6), 2), ((90, 7), 3)]);
        for own in 1..=3 {
            assert!(!outvoted(compare(own, 3, &all)), "three states, no two alike");
        }
        all.remove(&3);
        for own in 1..=2 {
            assert!(!outvoted(compare(own, 3, &all)), "the third says nothing");
            assert!(!outvoted(compare(own, 2, &all)), "a cluster of two");
        }
    }

    #[test]
    fn what_cannot_be_compared_does_not_differ() {
        let mut all = said(&[((70, 5), 1), ((90, 6), 1)]);
        all.get_mut(&2).unwrap().checkpoints.clear();
        assert_eq!(compare(1, 3, &all), Comparison::default(), "no index in common");
        all.remove(&1);
        assert_eq!(
            compare(1, 3, &all),
            Comparison::default(),
            "nothing is known of this node itself"
        );
        assert_eq!(compare(2, 3, &all), Comparison::default(), "nobody else says anything");
    }

    #[test]
    fn at_rest_the_last_index_is_enough() {
        let mut all = said(&[((50, 1), 0), ((50, 1), 0), ((50, 2), 0)]);
        for reply in all.values_mut() {
            reply.checkpoints.clear();
        }
        let odd = Difference { index: 50, others: vec![1, 2], is_outvoted: true };
        assert_eq!(compare(3, 3, &all).difference, Some(odd));
    }
}
