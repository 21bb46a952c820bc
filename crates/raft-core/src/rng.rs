//! A small seeded generator for election timeouts: the core has no source of randomness of its
//! own, so the same inputs give the same actions.

use core::time::Duration;

/// SplitMix64: one addition and three xor-shifts a number, every seed as good as another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A duration from `min` up to, but not including, `max`; `min` if that is no range.
    pub(crate) fn between(&mut self, min: Duration, max: Duration) -> Duration {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let width = nanos(max.saturating_sub(min));
        match width {
            0 => min,
            _ => min + Duration::from_nanos(self.next() % width),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_lie_in_their_range_and_differ_between_seeds() {
        let (min, max) = (Duration::from_millis(150), Duration::from_millis(300));
        let draw = |seed| Rng::new(seed).between(min, max);
        for seed in 0..1000 {
            assert!((min..max).contains(&draw(seed)), "seed {seed} drew {:?}", draw(seed));
        }
        assert_ne!(draw(1), draw(2));
        assert_eq!(Rng::new(1).between(min, min), min);
    }
}
