//! How fast a snapshot goes: no faster than the owner allows.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// The most that is written at once, in bytes: so the flow is even, and stops soon.
const MAX_SLICE_BYTES: usize = 64 << 10;

/// The least, so that a slow flow does not go byte by byte.
const MIN_SLICE_BYTES: usize = 1 << 10;

/// How many slices a second there are at least, if they are not the smallest.
const SLICES_PER_SECOND: u64 = 20;

/// Paces a flow of bytes.
///
/// Invariant: in any span of time, no more is let through than the rate allows for it, and one
/// slice more. What was not used is not saved up.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: Option<NonZeroU64>,
    /// When the next slice may go.
    next: Instant,
}

impl Pace {
    /// A pace of so many bytes a second; `None` for no limit.
    pub(crate) fn new(bytes_per_second: Option<NonZeroU64>, now: Instant) -> Self {
        Self { bytes_per_second, next: now }
    }

    /// How many bytes go at once.
    pub(crate) fn slice_bytes(&self) -> usize {
        let Some(rate) = self.bytes_per_second else { return MAX_SLICE_BYTES };
        let slice = usize::try_from(rate.get() / SLICES_PER_SECOND).unwrap_or(usize::MAX);
        slice.clamp(MIN_SLICE_BYTES, MAX_SLICE_BYTES)
    }

    /// How long to wait before the next slice.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// A slice of so many bytes goes.
    pub(crate) fn goes(&mut self, bytes: usize, now: Instant) {
        if let Some(rate) = self.bytes_per_second {
            let nanos = bytes as u128 * 1_000_000_000 / u128::from(rate.get());
            let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            self.next = self.next.max(now) + takes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// How many bytes go within `span`, of a flow that always has more.
    fn bytes_in(rate: Option<u64>, span: Duration) -> usize {
        let start = Instant::now();
        let mut pace = Pace::new(rate.and_then(NonZeroU64::new), start);
        let (mut now, mut bytes) = (start, 0);
        while now < start + span && bytes < 1 << 30 {
            pace.goes(pace.slice_bytes(), now);
            bytes += pace.slice_bytes();
            now += pace.wait(now);
        }
        bytes
    }

    #[test]
    fn no_more_goes_than_the_rate_allows_and_a_slice() {
        for rate in [1 << 10, 100_000, MIB, 64 * MIB] {
            let bytes = bytes_in(Some(rate), Duration::from_secs(10)) as u64;
            assert!(bytes <= 10 * rate + MAX_SLICE_BYTES as u64, "{bytes} at {rate}");
            assert!(bytes + MAX_SLICE_BYTES as u64 >= 10 * rate, "{bytes} at {rate}");
        }
        assert_eq!(bytes_in(None, Duration::from_secs(10)), 1 << 30, "no limit");
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let start = Instant::now();
        let mut pace = Pace::new(NonZeroU64::new(MIB), start);
        let later = start + Duration::from_hours(1);
        pace.goes(pace.slice_bytes(), later);
        assert!(pace.wait(later) > Duration::ZERO);
    }
}
