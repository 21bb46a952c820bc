//! The keys in order, each with the place of its history.
//!
//! Looking for one of a million keys is waiting for memory: in the tree of the standard library it
//! leads through seven levels, of which the lower ones are in no cache. Here it leads through
//! three, and the upper two are small enough to stay in one:
//!
//! ```text
//!   Keys: bounds of nodes  ->  Level: bounds of leaves  ->  Leaf: dozens of keys
//! ```
//!
//! Invariants:
//! 1. The keys of a leaf rise, and so do the bounds of a level.
//! 2. What is in a child lies at or above its bound, and below the bound of the next. The first
//!    bound of a level is not looked at: what lies below every other belongs there.
//! 3. Nothing is empty but the whole.
//! 4. A leaf has at most [`LEAF_KEYS`] keys, a node at most [`NODE_LEAVES`] leaves. Where keys were
//!    removed, two neighbouring leaves of a node have more than a quarter of that together.

mod ahead;

use crate::index::KeyId;
use crate::key::{Key, Needle};

pub(crate) use ahead::{Spot, touch};

/// The most keys of a leaf: what is moved when one is added stays below two kilobytes.
const LEAF_KEYS: usize = 64;

/// The most leaves of a node.
const NODE_LEAVES: usize = 512;

/// Leaves made of keys in order are filled to three quarters: so many more can be added before they
/// have to be split.
const BUILT_KEYS: usize = LEAF_KEYS / 4 * 3;

/// An ordered map.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    nodes: Level<Level<Leaf>>,
}

impl Keys {
    /// The place of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<KeyId> {
        self.get_pair(key).map(|(_, id)| id)
    }

    /// The key as it stands here, and its place.
    pub(crate) fn get_pair(&self, key: &[u8]) -> Option<(&Key, KeyId)> {
        let needle = Needle::new(key);
        let (node, leaf) = self.way(&needle)?;
        let leaf = &self.nodes.children[node].children[leaf];
        leaf.find(&needle).map(|at| leaf.entries[at].pair())
    }

    /// The place of a key, which most likely is or belongs at `spot`. If it has none, it gets the
    /// one that `place` makes.
    pub(crate) fn get_or_insert(
        &mut self,
        key: &[u8],
        spot: Option<Spot>,
        place: impl FnOnce() -> KeyId,
    ) -> KeyId {
        if let Some(id) = spot.and_then(|spot| self.get_at(spot, key)) {
            return id;
        }
        let needle = Needle::new(key);
        let way = spot.and_then(|spot| self.way_to(spot, &needle));
        let Some((node_at, leaf_at)) = way.or_else(|| self.way(&needle)) else {
            let id = place();
            let leaf = Leaf::of(&needle, Entry { key: key.into(), id });
            self.nodes = Level::of(key.into(), Level::of(key.into(), leaf));
            return id;
        };
        let node = &mut self.nodes.children[node_at];
        let leaf = &mut node.children[leaf_at];
        if let Some(at) = leaf.find(&needle) {
            return leaf.entries[at].id;
        }
        let id = place();
        if let Some((bound, upper)) = leaf.insert(&needle, Entry { key: key.into(), id }) {
            node.insert(leaf_at + 1, bound, upper);
            if node.children.len() > NODE_LEAVES {
                let (bound, upper) = node.split();
                self.nodes.insert(node_at + 1, bound, upper);
            }
        }
        id
    }

    /// The places of the node and of its leaf in which a key belongs, if there is any.
    fn way(&self, needle: &Needle<'_>) -> Option<(usize, usize)> {
        let place = self.nodes.place(needle);
        self.nodes.children.get(place).map(|node| (place, node.place(needle)))
    }

    /// Removes a key, if it is here.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        let needle = Needle::new(key);
        let Some((node_at, leaf_at)) = self.way(&needle) else { return };
        let node = &mut self.nodes.children[node_at];
        let leaf = &mut node.children[leaf_at];
        let Some(at) = leaf.find(&needle) else { return };
        leaf.remove(at);
        if leaf.entries.is_empty() {
            node.remove(leaf_at);
            if node.children.is_empty() {
                self.nodes.remove(node_at);
            }
        } else if leaf.entries.len() <= LEAF_KEYS / 4 {
            node.unite(leaf_at);
            node.unite(leaf_at.saturating_sub(1));
        }
    }

    /// The keys from `start` on, up to `end` without it if there is one, in order.
    pub(crate) fn range<'a>(
        &'a self,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&'a Key, KeyId)> {
        let ends = (Needle::new(start), end.map(Needle::new));
        let nodes = self.nodes.between(ends).iter();
        let leaves = nodes.flat_map(move |node| node.between(ends));
        leaves.flat_map(move |leaf| leaf.between(ends)).map(Entry::pair)
    }
}

impl Keys {
    /// How many keys there are from `start` on, up to `end` without it if there is one; `end` does
    /// not lie before `start`.
    ///
    /// It looks at every leaf between them, but not into it.
    pub(crate) fn count(&self, start: &[u8], end: Option<&[u8]>) -> usize {
        let ends = (Needle::new(start), end.map(Needle::new));
        let nodes = self.nodes.between(ends).iter();
        let mut leaves = nodes.flat_map(move |node| node.between(ends));
        let whole: usize = leaves.clone().map(|leaf| leaf.entries.len()).sum();
        let before = leaves.clone().next().map_or(0, |leaf| leaf.place(&ends.0));
        let last = ends.1.zip(leaves.next_back());
        let after = last.map_or(0, |(end, leaf)| leaf.entries.len() - leaf.place(&end));
        whole.saturating_sub(before + after)
    }
}

/// Makes the map of keys that come in order.
#[derive(Debug, Default)]
pub(crate) struct KeysBuilder {
    keys: Keys,
    node: Level<Leaf>,
    leaf: Option<Leaf>,
}

impl KeysBuilder {
    /// The last key, and its place.
    pub(crate) fn last(&self) -> Option<(&Key, KeyId)> {
        self.leaf.as_ref()?.entries.last().map(Entry::pair)
    }

    /// Adds a key that follows every other.
    pub(crate) fn push(&mut self, key: Key, id: KeyId) {
        if self.leaf.as_ref().is_some_and(|leaf| leaf.entries.len() >= BUILT_KEYS) {
            self.end_leaf();
        }
        let leaf = self.leaf.get_or_insert_with(Leaf::with_room);
        leaf.tags[leaf.entries.len()] = Needle::new(key.as_slice()).tag();
        leaf.entries.push(Entry { key, id });
    }

    fn end_leaf(&mut self) {
        if self.node.children.len() >= NODE_LEAVES / 4 * 3 {
            self.end_node();
        }
        if let Some(leaf) = self.leaf.take() {
            self.node.push(leaf.entries[0].key.clone(), leaf);
        }
    }

    fn end_node(&mut self) {
        let node = std::mem::take(&mut self.node);
        if let Some(bound) = node.bounds.first().cloned() {
            self.keys.nodes.push(bound, node);
        }
    }

    /// The map.
    pub(crate) fn finish(mut self) -> Keys {
        self.end_leaf();
        self.end_node();
        self.keys
    }
}

/// From this key on, up to that one.
type Ends<'a> = (Needle<'a>, Option<Needle<'a>>);

/// Children side by side, and from which key on each holds what is there.
#[derive(Debug)]
struct Level<T> {
    bounds: Vec<Key>,
    children: Vec<T>,
}

impl<T> Default for Level<T> {
    fn default() -> Self {
        Self { bounds: Vec::new(), children: Vec::new() }
    }
}

impl<T> Level<T> {
    fn of(bound: Key, child: T) -> Self {
        Self { bounds: vec![bound], children: vec![child] }
    }

    /// The place of the child in which a key belongs; 0 if there is none.
    fn place(&self, needle: &Needle<'_>) -> usize {
        self.bounds.partition_point(|bound| needle.is_at_or_after(bound)).saturating_sub(1)
    }

    /// The children in which there may be keys between the ends.
    fn between(&self, (start, end): Ends<'_>) -> &[T] {
        let end = end.map_or(self.children.len(), |end| self.place(&end) + 1);
        self.children.get(self.place(&start)..end).unwrap_or_default()
    }

    fn push(&mut self, bound: Key, child: T) {
        self.bounds.push(bound);
        self.children.push(child);
    }

    fn insert(&mut self, at: usize, bound: Key, child: T) {
        self.bounds.insert(at, bound);
        self.children.insert(at, child);
    }

    fn remove(&mut self, at: usize) -> T {
        self.bounds.remove(at);
        self.children.remove(at)
    }

    /// Parts with its upper half: that, and the bound from which on it is.
    fn split(&mut self) -> (Key, Self) {
        let middle = self.children.len() / 2;
        let (bounds, children) = (self.bounds.split_off(middle), self.children.split_off(middle));
        (bounds[0].clone(), Self { bounds, children })
    }
}

impl Level<Leaf> {
    /// Makes one of this leaf and the next, if both are small.
    fn unite(&mut self, at: usize) {
        let (Some(leaf), Some(next)) = (self.children.get(at), self.children.get(at + 1)) else {
            return;
        };
        if leaf.entries.len() + next.entries.len() <= LEAF_KEYS / 4 {
            let next = self.remove(at + 1);
            self.children[at].append(next);
        }
    }
}

/// Some keys that follow each other.
///
/// Beside them stands a tag for each, a byte made of the key: looking for one reads all tags, which
/// are a line of the processor's cache, and then most often one key. Halving the keys would read
/// a line for each step, one after the other.
#[derive(Debug)]
struct Leaf {
    /// At most [`LEAF_KEYS`].
    entries: Vec<Entry>,
    /// Those of `entries`, and behind them whatever was there before.
    tags: [u8; LEAF_KEYS],
}

#[derive(Debug)]
struct Entry {
    key: Key,
    id: KeyId,
}

impl Leaf {
    fn of(needle: &Needle<'_>, entry: Entry) -> Self {
        let mut tags = [0; LEAF_KEYS];
        tags[0] = needle.tag();
        Self { entries: vec![entry], tags }
    }

    /// An empty one, which need not grow.
    fn with_room() -> Self {
        Self { entries: Vec::with_capacity(LEAF_KEYS), tags: [0; LEAF_KEYS] }
    }

    /// Where a key is.
    fn find(&self, needle: &Needle<'_>) -> Option<usize> {
        let mut hits = self.hits(needle).take_while(|at| *at < self.entries.len());
        hits.find(|at| needle.cmp_to(&self.entries[*at].key).is_eq())
    }

    /// The places whose tags are that of a key, and perhaps a few more, in order.
    fn hits(&self, needle: &Needle<'_>) -> impl Iterator<Item = usize> + use<> {
        let tag = u64::from_le_bytes([needle.tag(); 8]);
        let eights = self.tags.as_chunks::<8>().0.iter().rev();
        let hits = eights.map(|tags| zero_bytes(u64::from_le_bytes(*tags) ^ tag));
        bits(hits.fold(0, |all, hits| all << 8 | hits))
    }

    /// Where a key is, or else where it belongs.
    fn place(&self, needle: &Needle<'_>) -> usize {
        self.entries.partition_point(|entry| needle.cmp_to(&entry.key).is_gt())
    }

    /// Adds a key that is not here. What is too much then is returned, with its bound: half of what
    /// is here, or only the new key if it follows every other, as keys that come in order do.
    fn insert(&mut self, needle: &Needle<'_>, entry: Entry) -> Option<(Key, Self)> {
        let at = self.place(needle);
        if self.entries.len() < LEAF_KEYS {
            self.insert_at(at, needle, entry);
            return None;
        }
        if at == LEAF_KEYS {
            return Some((entry.key.clone(), Self::of(needle, entry)));
        }
        let mut upper = self.split();
        match at.checked_sub(LEAF_KEYS / 2) {
            Some(at) if at > 0 => upper.insert_at(at, needle, entry),
            _ => self.insert_at(at, needle, entry),
        }
        Some((upper.entries[0].key.clone(), upper))
    }

    fn insert_at(&mut self, at: usize, needle: &Needle<'_>, entry: Entry) {
        self.tags.copy_within(at..LEAF_KEYS - 1, at + 1);
        self.tags[at] = needle.tag();
        self.entries.insert(at, entry);
    }

    fn remove(&mut self, at: usize) {
        self.tags.copy_within(at + 1.., at);
        self.entries.remove(at);
    }

    /// Parts with its upper half.
    fn split(&mut self) -> Self {
        let mut tags = [0; LEAF_KEYS];
        tags[..LEAF_KEYS / 2].copy_from_slice(&self.tags[LEAF_KEYS / 2..]);
        Self { entries: self.entries.split_off(LEAF_KEYS / 2), tags }
    }

    /// Adds the next leaf; there must be room.
    fn append(&mut self, mut next: Self) {
        let (here, there) = (self.entries.len(), next.entries.len());
        self.tags[here..here + there].copy_from_slice(&next.tags[..there]);
        self.entries.append(&mut next.entries);
    }

    fn between(&self, (start, end): Ends<'_>) -> &[Entry] {
        let end = end.map_or(self.entries.len(), |end| self.place(&end));
        self.entries.get(self.place(&start)..end).unwrap_or_default()
    }
}

/// A bit for each byte that is zero, from the lowest on; perhaps also one for a byte that is one
/// and follows such a byte.
fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = u64::from_le_bytes([1; 8]);
    // Adds up the bits, each moved to a place of its own in the highest byte.
    const TO_HIGHEST_BYTE: u64 = 0x0102_0408_1020_4080;
    let highest_bits = word.wrapping_sub(LOW) & !word & (LOW << 7);
    (highest_bits >> 7).wrapping_mul(TO_HIGHEST_BYTE) >> 56
}

/// The places of the bits that are set, from the lowest on.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = (word != 0).then_some(word.trailing_zeros() as usize);
        word &= word.wrapping_sub(1);
        at
    })
}

impl Entry {
    fn pair(&self) -> (&Key, KeyId) {
        (&self.key, self.id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Keys {
        /// Panics unless the invariants hold.
        fn check(&self) {
            let mut last: Option<&Key> = None;
            for (node_at, node) in self.nodes.children.iter().enumerate() {
                assert!((1..=NODE_LEAVES).contains(&node.children.len()));
                for (leaf_at, leaf) in node.children.iter().enumerate() {
                    assert!((1..=LEAF_KEYS).contains(&leaf.entries.len()));
                    if leaf_at > 0 {
                        let bound = &node.bounds[leaf_at];
                        assert!(
                            last.is_none_or(|last| last < bound) && bound <= &leaf.entries[0].key
                        );
                    } else if node_at > 0 {
                        let bound = &self.nodes.bounds[node_at];
                        assert!(
                            last.is_none_or(|last| last < bound) && bound <= &leaf.entries[0].key
                        );
                    }
                    for entry in &leaf.entries {
                        assert!(last.is_none_or(|last| last < &entry.key));
                        last = Some(&entry.key);
                    }
                }
            }
        }
    }

    fn assert_same(keys: &Keys, model: &BTreeMap<Vec<u8>, KeyId>, start: &[u8], end: &[u8]) {
        let pair = |(key, id): (&Key, KeyId)| (key.as_slice().to_vec(), id);
        let between = model.range(start.to_vec()..end.to_vec()).map(|(key, id)| (key.clone(), *id));
        assert!(keys.range(start, Some(end)).map(pair).eq(between.clone()));
        assert!(keys.range(start, Some(end)).rev().map(pair).eq(between.rev()));
        let after = model.range(start.to_vec()..).map(|(key, id)| (key.clone(), *id));
        assert!(keys.range(start, None).map(pair).eq(after));
        assert_eq!(keys.count(start, Some(end)), model.range(start.to_vec()..end.to_vec()).count());
        assert_eq!(keys.count(start, None), model.range(start.to_vec()..).count());
        assert_eq!(keys.get(start), model.get(start).copied());
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let short = proptest::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 1..4);
        prop_oneof![
            9 => short.clone(),
            1 => short.prop_map(|end| [b"a prefix that is longer than most", &*end].concat()),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map(
            steps in proptest::collection::vec((key(), proptest::bool::weighted(0.7)), 1..2_000),
            mut ends in (key(), key()),
        ) {
            let (mut keys, mut model) = (Keys::default(), BTreeMap::new());
            if ends.0 > ends.1 {
                std::mem::swap(&mut ends.0, &mut ends.1);
            }
            for (number, (key, is_insert)) in (0..).zip(&steps) {
                if *is_insert {
                    let id = *model.entry(key.clone()).or_insert(KeyId::new(number));
                    prop_assert_eq!(keys.get_or_insert(key, None, || KeyId::new(number)), id);
                } else {
                    keys.remove(key);
                    model.remove(key);
                }
            }
            keys.check();
            assert_same(&keys, &model, &ends.0, &ends.1);
            for key in model.into_keys() {
                keys.remove(&key);
                prop_assert_eq!(keys.get(&key), None);
            }
            prop_assert!(keys.nodes.children.is_empty(), "nothing is left of nothing");
        }
    }

    #[test]
    fn made_of_keys_in_order_it_is_the_map_of_them() {
        for count in [0, 1, BUILT_KEYS, BUILT_KEYS + 1, 100_000] {
            let mut builder = KeysBuilder::default();
            for number in 0..u32::try_from(count).expect("a few") {
                builder.push(Key::from(&number.to_be_bytes()[..]), KeyId::new(number));
                let last = builder.last().map(|(key, id)| (key.as_slice().to_vec(), id));
                assert_eq!(last, Some((number.to_be_bytes().to_vec(), KeyId::new(number))));
            }
            let mut keys = builder.finish();
            keys.check();
            assert_eq!(keys.range(b"", None).count(), count);
            for number in 0..u32::try_from(count).expect("a few") {
                assert_eq!(keys.get(&number.to_be_bytes()), Some(KeyId::new(number)));
                keys.get_or_insert(&[&number.to_be_bytes()[..], b"+"].concat(), None, || {
                    KeyId::new(0)
                });
            }
            keys.check();
            assert_eq!(keys.range(b"", None).count(), 2 * count);
        }
    }

    #[test]
    fn it_grows_and_shrinks_through_every_level() {
        let scatter = |number: u32| number.wrapping_mul(0x9e37_79b9).to_be_bytes();
        let ascending = |number: u32| number.to_be_bytes();
        for name in [&scatter as &dyn Fn(u32) -> [u8; 4], &ascending] {
            const COUNT: u32 = 100_000;
            let mut keys = Keys::default();
            for number in 0..COUNT {
                keys.get_or_insert(&name(number), None, || KeyId::new(number));
            }
            keys.check();
            assert!(keys.nodes.children.len() > 1, "there is more than one node");
            assert!((0..COUNT).all(|number| keys.get(&name(number)) == Some(KeyId::new(number))));
            for number in (0..COUNT).filter(|number| number % 16 > 0) {
                keys.remove(&name(number));
            }
            keys.check();
            assert_eq!(keys.range(b"", None).count(), COUNT as usize / 16);
            let leaves: usize = keys.nodes.children.iter().map(|node| node.children.len()).sum();
            assert!(leaves < COUNT as usize / 16 / 8 + 10, "{leaves} leaves are left");
        }
    }
}
