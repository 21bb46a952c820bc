//! How long to wait before the next attempt to connect.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double from attempt to attempt, each shortened by up to a half at random, so that
/// nodes that lost a peer together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    random: RandomState,
    drawn: u64,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            next: min,
            // The standard library's only door to randomness: keys drawn from the system.
            random: RandomState::new(),
            drawn: 0,
        }
    }

    /// The wait before the coming attempt.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.max);
        self.drawn += 1;
        let random = self.random.hash_one(self.drawn) % 1024;
        let off = u32::try_from(random).unwrap_or(0);
        wait.saturating_sub(wait / 2 * off / 1024)
    }

    /// The last attempt went well: the next wait is a short one.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }

    /// Haste would not help: the next wait is the longest.
    pub(crate) fn be_patient(&mut self) {
        self.next = self.max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(20), ms(1000));
        for full in [20, 40, 80, 160, 320, 640, 1000, 1000] {
            let wait = backoff.next_wait();
            assert!(wait > ms(full) / 2 && wait <= ms(full), "{wait:?} of {full}");
        }
        backoff.reset();
        assert!(backoff.next_wait() <= ms(20));
        backoff.be_patient();
        assert!(backoff.next_wait() > ms(500));
    }

    #[test]
    fn two_nodes_do_not_wait_equally_long() {
        let waits = |mut backoff: Backoff| -> Vec<Duration> {
            (0..8).map(|_| backoff.next_wait()).collect()
        };
        let new = || Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        assert_ne!(waits(new()), waits(new()));
    }
}
