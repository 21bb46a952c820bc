//! The election timer (paper §5.2), and the small seeded generator behind it: the core has no
//! source of randomness of its own, so the same inputs give the same actions.
//!
//! A follower sets its timer with every message of its leader, and hardly ever does it go off. So
//! to set it is to note the moment; when that makes it due is worked out when somebody asks.

use core::time::Duration;

use crate::config::Config;
use crate::types::Time;

/// When a node that hears of no leader campaigns: after a time drawn afresh whenever it is set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ElectionTimer {
    /// Where the random numbers begin.
    seed: u64,
    /// How often it was set: each time counts on to the next number.
    draws: u64,
    set_at: Time,
}

impl ElectionTimer {
    /// A timer that was never set: it is due at once.
    pub(crate) fn due_at(now: Time, seed: u64) -> Self {
        Self { seed, draws: 0, set_at: now }
    }

    /// It starts to run now.
    pub(crate) fn set(&mut self, now: Time) {
        self.draws += 1;
        self.set_at = now;
    }

    /// When it goes off.
    pub(crate) fn due(&self, config: &Config) -> Time {
        if self.draws == 0 {
            return self.set_at;
        }
        let number = number(self.seed, self.draws);
        let (min, max) = (config.election_timeout_min, config.election_timeout_max);
        self.set_at + between(min, max, number) + config.campaign_delay
    }

    /// As it is when it has just been set for the first time, at the origin of time.
    pub(crate) fn normalise(&mut self) {
        (self.draws, self.set_at) = (1, Time::ZERO);
    }
}

/// The random number that `seed` has in this place. SplitMix64: every seed is as good as another,
/// and no number needs the one before it.
fn number(seed: u64, place: u64) -> u64 {
    let mut z = seed.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The duration from `min` up to, but not including, `max` that `number` picks; `min` if that is no
/// range.
fn between(min: Duration, max: Duration, number: u64) -> Duration {
    let width = max.saturating_sub(min).as_nanos();
    match u64::try_from(width).unwrap_or(u64::MAX) {
        0 => min,
        width => min + Duration::from_nanos(number % width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeId;

    #[test]
    fn timeouts_lie_in_their_range_and_differ_between_seeds_and_draws() {
        let config = Config::new(NodeId::new(1));
        let (min, max) = (config.election_timeout_min, config.election_timeout_max);
        let now = Time::from_millis(1000);
        let draw = |seed, draws| {
            let mut timer = ElectionTimer::due_at(Time::ZERO, seed);
            (0..draws).for_each(|_| timer.set(now));
            timer.due(&config).since(now)
        };
        for (seed, draws) in (0..1000).map(|n| (n, n % 7 + 1)) {
            let drawn = draw(seed, draws);
            assert!((min..max).contains(&drawn), "seed {seed} drew {drawn:?}");
        }
        assert_ne!(draw(1, 1), draw(2, 1));
        assert_ne!(draw(1, 1), draw(1, 2));
        assert_eq!(between(min, min, 77), min);
    }

    #[test]
    fn one_that_was_never_set_is_due_at_once() {
        let config = Config::new(NodeId::new(1));
        let now = Time::from_millis(5);
        assert_eq!(ElectionTimer::due_at(now, 3).due(&config), now);
    }
}
