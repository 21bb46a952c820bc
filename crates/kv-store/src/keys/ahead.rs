//! Looking for many keys side by side.
//!
//! Looking for one among a million waits for memory again and again, because each step learns where
//! to look only from the one before it. But a processor can wait for a dozen places at once. So the
//! keys of commands that came together are looked for together, each step for all of them before
//! the next one. What was found is remembered as a [`Spot`]: looking there later is one comparison,
//! of what is in the processor's cache by then.
//!
//! Invariant: a spot is a guess. Whoever has an old or a wrong one finds there the key that they
//! look for, or nothing; never another one.

use std::hint::black_box;

use super::{Keys, Leaf, Level};
use crate::index::KeyId;
use crate::key::{Key, Needle};

/// Where a key was seen, or where it would belong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    node: usize,
    leaf: usize,
    /// Its entry in that leaf, and its place, if it was there.
    seen: Option<(usize, KeyId)>,
}

impl Spot {
    /// The place that the key had.
    pub(crate) fn id(self) -> Option<KeyId> {
        self.seen.map(|(_, id)| id)
    }
}

impl Keys {
    /// Where each of these keys is or belongs, in their order. None at all if there is no key here.
    pub(crate) fn spots(&self, keys: &[&[u8]]) -> Vec<Spot> {
        if self.nodes.children.is_empty() {
            return Vec::new();
        }
        let needles: Vec<_> = keys.iter().map(|key| Needle::new(key)).collect();
        let nodes = places(needles.iter().map(|needle| (&self.nodes, needle)));
        let node = |place: &usize| &self.nodes.children[*place];
        let leaves = places(nodes.iter().map(node).zip(&needles));
        let leaf = |(at, place): (&usize, &usize)| &node(at).children[*place];
        let sought: Vec<_> = nodes.iter().zip(&leaves).map(leaf).zip(&needles).collect();
        touch(sought.iter().map(|(leaf, _)| (leaf.tags, leaf.entries.len())));
        touch(sought.iter().map(|(leaf, needle)| leaf.compare_first_hit(needle)));
        let spot = |((node, leaf), (here, needle)): ((usize, usize), (&Leaf, &Needle<'_>))| {
            let seen = here.find(needle).map(|entry| (entry, here.entries[entry].id));
            Spot { node, leaf, seen }
        };
        nodes.into_iter().zip(leaves).zip(sought).map(spot).collect()
    }

    /// The place of a key, if the key is at this spot.
    pub(super) fn get_at(&self, spot: Spot, key: &[u8]) -> Option<KeyId> {
        let leaf = self.nodes.children.get(spot.node)?.children.get(spot.leaf)?;
        let entry = leaf.entries.get(spot.seen?.0)?;
        (entry.key.as_slice() == key).then_some(entry.id)
    }

    /// The places of node and leaf at this spot, if a key belongs there.
    pub(super) fn way_to(&self, spot: Spot, needle: &Needle<'_>) -> Option<(usize, usize)> {
        let Spot { node, leaf, .. } = spot;
        let leaves = self.nodes.children.get(node)?;
        let belongs = self.nodes.covers(node, needle) && leaves.covers(leaf, needle);
        belongs.then_some((node, leaf))
    }
}

impl<T> Level<T> {
    /// Whether a key belongs into the child at this place: as [`place`](Level::place) says, but
    /// told at once.
    fn covers(&self, place: usize, needle: &Needle<'_>) -> bool {
        let begins = |at| self.bounds.get(at).is_some_and(|bound| needle.is_at_or_after(bound));
        place < self.children.len() && (place == 0 || begins(place)) && !begins(place + 1)
    }
}

/// For each level and needle the place of the child in which it belongs, as [`Level::place`].
fn places<'a, T: 'a>(searches: impl Iterator<Item = (&'a Level<T>, &'a Needle<'a>)>) -> Vec<usize> {
    let mut searches: Vec<_> =
        searches.map(|(level, needle)| Search { place: 0, among: &level.bounds, needle }).collect();
    // All of them, in every round.
    while searches.iter_mut().map(Search::halve).filter(|was_halved| *was_halved).count() > 0 {}
    searches.into_iter().map(|search| search.place).collect()
}

/// Looking for the last bound at or before a needle.
struct Search<'a> {
    /// That of the first of the bounds that are left.
    place: usize,
    /// The bounds that are left.
    among: &'a [Key],
    needle: &'a Needle<'a>,
}

impl Search<'_> {
    /// Leaves half of the bounds; returns whether more than one was left.
    fn halve(&mut self) -> bool {
        let (lower, upper) = self.among.split_at(self.among.len() / 2);
        if lower.is_empty() {
            return false;
        }
        if self.needle.is_at_or_after(&upper[0]) {
            self.place += lower.len();
            self.among = upper;
        } else {
            self.among = lower;
        }
        true
    }
}

impl Leaf {
    /// Compares a key with the first entry that may be it.
    fn compare_first_hit(&self, needle: &Needle<'_>) -> bool {
        let first = self.hits(needle).next().and_then(|at| self.entries.get(at));
        first.is_some_and(|entry| needle.cmp_to(&entry.key).is_eq())
    }
}

/// Has all of this computed, without waiting for any of it.
pub(crate) fn touch<T>(values: impl Iterator<Item = T>) {
    for value in values {
        black_box(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![0..300_u32, 0..3_000_u32]
    }

    /// Some of them are too long to stand in the index.
    fn name(number: u32) -> Vec<u8> {
        let end = number.wrapping_mul(0x9e37_79b9).to_be_bytes();
        let start = if number.is_multiple_of(7) { "a key that is longer than most/" } else { "k" };
        [start.as_bytes(), &end[..2 + number as usize % 3]].concat()
    }

    fn ids(keys: &Keys, spots: &[Spot], names: &[&[u8]]) -> Vec<Option<KeyId>> {
        spots.iter().zip(names).map(|(spot, name)| keys.get_at(*spot, name)).collect()
    }

    fn assert_no_other(keys: &Keys, spots: &[Spot], names: &[&[u8]]) {
        for ((name, spot), id) in names.iter().zip(spots).zip(ids(keys, spots, names)) {
            let needle = Needle::new(name);
            assert!(id.is_none() || id == keys.get(name), "{}", name.escape_ascii());
            let way = keys.way_to(*spot, &needle);
            assert!(way.is_none() || way == keys.way(&needle), "{}", name.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn a_spot_leads_to_its_key_or_to_nothing_whatever_happened_since(
            there in vec(number(), 1..2_000),
            sought in vec(number(), 0..70),
            added in vec(number(), 0..200),
            removed in vec(number(), 0..200),
        ) {
            let mut keys = Keys::default();
            for number in there {
                keys.get_or_insert(&name(number), None, || KeyId::new(number));
            }
            let names: Vec<_> = sought.into_iter().map(name).collect();
            let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
            let mut spots = keys.spots(&names);
            let found: Vec<_> = names.iter().map(|name| keys.get(name)).collect();
            prop_assert_eq!(ids(&keys, &spots, &names), found.clone());
            prop_assert_eq!(spots.iter().map(|spot| spot.id()).collect::<Vec<_>>(), found);
            for (spot, name) in spots.iter().zip(&names) {
                let needle = Needle::new(name);
                prop_assert_eq!(keys.way_to(*spot, &needle), keys.way(&needle));
            }
            for number in added {
                keys.get_or_insert(&name(number), None, || KeyId::new(number));
            }
            for number in removed {
                keys.remove(&name(number));
            }
            assert_no_other(&keys, &spots, &names);
            // Another's spot is as good as an old one.
            spots.reverse();
            assert_no_other(&keys, &spots, &names);
        }
    }
}
