//! [`Dice`]: everything random in a run, from its seed alone.

use std::time::Duration;

/// A small generator of numbers (SplitMix64). Every topic has dice of its own, so that a fault
/// that is switched off leaves everything else as it was drawn: that is what makes a failing seed
/// shrink.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The dice that `seed` has for `topic`.
    pub(crate) fn new(seed: u64, topic: &str) -> Self {
        // FNV-1a, then one draw: seeds that follow each other have nothing in common.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let name = topic.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
        let mut dice = Self(seed ^ name);
        Self(dice.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, but not including, `end`; 0 if there is none.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(end);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A place in something of this length.
    pub(crate) fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// True so many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// One of these; there must be one.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.place(choices.len())]
    }

    /// A duration from `min` up to `max`.
    pub(crate) fn between(&mut self, min: Duration, max: Duration) -> Duration {
        min + Duration::from_nanos(self.below(nanos(max.saturating_sub(min))))
    }

    /// A duration that is `mean` on average: from nothing to twice as much.
    pub(crate) fn around(&mut self, mean: Duration) -> Duration {
        self.between(Duration::ZERO, 2 * mean)
    }
}

/// A duration in nanoseconds; the longest that can be told if it is longer.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_one_seed_and_seeds_of_one_topic_differ() {
        let draw = |seed, topic| Dice::new(seed, topic).next();
        assert_eq!(draw(1, "network"), draw(1, "network"));
        assert_ne!(draw(1, "network"), draw(1, "disk"));
        assert_ne!(draw(1, "network"), draw(2, "network"));
    }

    #[test]
    fn draws_stay_in_their_range_and_reach_all_of_it() {
        let mut dice = Dice::new(7, "test");
        let mut seen = [false; 6];
        (0..200).for_each(|_| seen[dice.place(6)] = true);
        assert_eq!(seen, [true; 6]);
        assert_eq!(dice.below(0), 0);
        assert!((0..200).all(|_| !dice.chance(0) && dice.chance(1000)));
    }
}
