//! The order of many keys, found at once.
//!
//! To compare two keys is to fetch both from wherever they are in memory, and to guess wrong every
//! other time. So numbers are sorted: of each key the eight bytes behind what all of them begin
//! with, and its place. Only keys of which those bytes are equal are compared themselves.

use crate::index::KeyId;
use crate::key::Key;

/// The places of these keys in the order of the keys; those of equal keys in their own.
///
/// # Panics
///
/// If there are 2^32 of them.
pub(crate) fn order(keys: &[Key]) -> Vec<KeyId> {
    let shared_bytes = shared_bytes(keys);
    let place = |place| KeyId::at(place);
    let mut numbers: Vec<u128> =
        keys.iter().enumerate().map(|(at, key)| number(key, shared_bytes, place(at))).collect();
    numbers.sort_unstable();
    for alike in numbers.chunk_by_mut(|left, right| left >> 64 == right >> 64) {
        let key = |number: &u128| &keys[place_of(*number).place()];
        alike.sort_by(|left, right| key(left).cmp(key(right)));
    }
    numbers.into_iter().map(place_of).collect()
}

/// How many bytes all of them begin with.
fn shared_bytes(keys: &[Key]) -> usize {
    let Some((first, others)) = keys.split_first() else { return 0 };
    let first = first.as_slice();
    others.iter().fold(first.len(), |shared, key| {
        if key.as_slice().starts_with(&first[..shared]) {
            return shared;
        }
        first.iter().zip(key.as_slice()).take_while(|(left, right)| left == right).count()
    })
}

/// The bytes behind the shared ones, and below them the place. What is missing counts as zeros.
fn number(key: &Key, shared_bytes: usize, place: KeyId) -> u128 {
    let rest = key.as_slice().get(shared_bytes..).unwrap_or_default();
    let mut head = [0; 8];
    match rest.first_chunk() {
        Some(eight) => head = *eight,
        None => head[..rest.len()].copy_from_slice(rest),
    }
    u128::from(u64::from_be_bytes(head)) << 64 | place.place() as u128
}

fn place_of(number: u128) -> KeyId {
    // It went in as one.
    KeyId::at(usize::try_from(number & u128::from(u64::MAX)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()];
        let end = proptest::collection::vec(byte, 1..4);
        let start = prop_oneof![Just(""), Just("a"), Just("alike for more than eight bytes")];
        (start, end).prop_map(|(start, end)| [start.as_bytes(), &end].concat())
    }

    proptest! {
        #[test]
        fn keys_come_in_order_and_equal_ones_in_that_of_their_places(
            shared in prop_oneof![Just(""), Just("one"), Just("all of them begin with this")],
            keys in proptest::collection::vec(key(), 0..60),
        ) {
            let keys: Vec<_> = keys.iter().map(|key| [shared.as_bytes(), key].concat()).collect();
            let mut expected: Vec<_> = (0..keys.len()).collect();
            expected.sort_by_key(|place| (&keys[*place], *place));
            let keys: Vec<_> = keys.iter().map(|key| Key::from(key.as_slice())).collect();
            let places: Vec<_> = order(&keys).into_iter().map(KeyId::place).collect();
            prop_assert_eq!(places, expected);
        }
    }
}
