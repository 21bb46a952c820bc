//! How long to wait before another attempt: longer each time, and never the same for two clients.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The first pause is drawn from up to this long.
const FIRST: Duration = Duration::from_millis(10);

/// An election of the fast preset takes a few hundred milliseconds; waiting longer than this
/// between attempts would only add to it.
const LONGEST: Duration = Duration::from_millis(100);

/// The pauses of one call.
#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling: Duration,
    /// The state of a small generator, xorshift64*: it only has to differ between clients.
    random: u64,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        let seed = RandomState::new().build_hasher().finish();
        Self { ceiling: FIRST, random: seed | 1 }
    }

    /// The next pause: between half and all of a ceiling that doubles up to its limit.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let half = self.ceiling / 2;
        let pause = half + half.mul_f64(self.next_fraction());
        self.ceiling = (self.ceiling * 2).min(LONGEST);
        pause
    }

    fn next_fraction(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let word = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        f64::from(u32::try_from(word).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_stay_within_it() {
        let mut backoff = Backoff::new();
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.next_pause()).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST);
        assert!(pauses[10..].iter().all(|pause| *pause >= LONGEST / 2 && *pause <= LONGEST));
    }

    #[test]
    fn two_clients_do_not_pause_alike() {
        let (mut one, mut other) = (Backoff::new(), Backoff::new());
        assert!((0..20).any(|_| one.next_pause() != other.next_pause()));
    }
}
