//! The moment by which something must be over.

use std::time::{Duration, Instant};

/// Longer than anybody waits, short enough for every clock.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// What [`Deadline::part`] leaves for one attempt.
const SHORTEST_PART: Duration = Duration::from_millis(100);

/// The moment by which something must be over, and when the waiting began.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    began: Instant,
    allowed: Duration,
}

impl Deadline {
    /// So long from now, a year at most.
    pub fn after(allowed: Duration) -> Self {
        Self { began: Instant::now(), allowed: allowed.min(LONGEST) }
    }

    /// How long is left; `None` once it has passed, never zero.
    pub fn remaining(&self) -> Option<Duration> {
        self.allowed.checked_sub(self.began.elapsed()).filter(|left| !left.is_zero())
    }

    /// How long is left in whole milliseconds, rounded up, as a request tells it.
    pub fn remaining_millis(&self) -> u32 {
        let left = self.remaining().unwrap_or_default();
        u32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
    }

    /// A deadline after a part of what is left, so that there is time for another attempt; but
    /// not so early that nothing could be done by then, unless this one is as early.
    #[must_use]
    pub fn part(&self, parts: u32) -> Self {
        let left = self.remaining().unwrap_or_default();
        Self::after((left / parts.max(1)).max(SHORTEST_PART).min(left))
    }

    /// How long was allowed in all.
    pub fn allowed(&self) -> Duration {
        self.allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_beyond_every_clock_is_a_year_away() {
        let deadline = Deadline::after(Duration::MAX);
        assert_eq!(deadline.allowed(), LONGEST);
        assert_eq!(deadline.remaining_millis(), u32::MAX);
    }

    #[test]
    fn a_deadline_that_has_passed_leaves_nothing() {
        let deadline = Deadline::after(Duration::ZERO);
        assert_eq!(deadline.remaining(), None);
        assert_eq!(deadline.remaining_millis(), 0);
        assert_eq!(deadline.part(3).allowed(), Duration::ZERO);
    }

    #[test]
    fn a_part_is_never_too_short_for_an_attempt() {
        assert_eq!(Deadline::after(Duration::from_millis(150)).part(3).allowed(), SHORTEST_PART);
        assert!(Deadline::after(Duration::from_mins(1)).part(3).allowed() > SHORTEST_PART);
    }
}
