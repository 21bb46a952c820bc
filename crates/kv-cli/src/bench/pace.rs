//! When requests are due, and when there are no more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many requests there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Total(u64),
    For(Duration),
}

/// The clock of a run, which all of its threads share.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// When the first request is sent.
    start: Instant,
    /// Requests due before are asked, but not measured.
    measured_from: Instant,
    extent: Extent,
    /// Requests a second; `None` in a closed loop.
    rate: Option<u32>,
    /// How many were taken, in an open loop; those of the warm-up count only there.
    taken: AtomicU64,
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Yes, and from when on it was due.
    Due(Instant),
    /// Not before then.
    At(Instant),
    /// There are no more.
    Over,
}

impl Schedule {
    /// A schedule that begins at `start`.
    pub(crate) fn new(
        start: Instant,
        warm_up: Duration,
        extent: Extent,
        rate: Option<u32>,
    ) -> Self {
        Self { start, measured_from: start + warm_up, extent, rate, taken: AtomicU64::new(0) }
    }

    /// From when on requests count.
    pub(crate) fn measured_from(&self) -> Instant {
        self.measured_from
    }

    /// Takes the next request, if one is due.
    pub(crate) fn take(&self, now: Instant) -> Turn {
        match self.rate {
            None => self.take_closed(now),
            Some(rate) => self.take_open(now, rate),
        }
    }

    /// Whether no request will be due any more.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        let taken = self.taken.load(Ordering::Relaxed);
        match (self.rate, self.extent) {
            (Some(rate), _) => self.is_behind_the_end(taken, self.due(taken, rate), rate),
            (None, Extent::Total(total)) => now >= self.measured_from && taken >= total,
            (None, Extent::For(duration)) => now >= self.measured_from + duration,
        }
    }

    /// How long a run lasts at least, if it was not given up.
    pub(crate) fn duration(&self) -> Duration {
        match self.extent {
            Extent::Total(_) => Duration::ZERO,
            Extent::For(duration) => duration,
        }
    }

    /// How many of the total were never taken.
    pub(crate) fn left(&self) -> u64 {
        let Extent::Total(total) = self.extent else { return 0 };
        let all = total + self.rate.map_or(0, |rate| self.warm_up_requests(rate));
        all.saturating_sub(self.taken.load(Ordering::Relaxed))
    }

    fn take_closed(&self, now: Instant) -> Turn {
        match self.extent {
            _ if now < self.measured_from => Turn::Due(now),
            Extent::For(duration) if now - self.measured_from >= duration => Turn::Over,
            Extent::For(_) => Turn::Due(now),
            Extent::Total(total) => {
                let is_over = self.taken.fetch_add(1, Ordering::Relaxed) >= total;
                if is_over { Turn::Over } else { Turn::Due(now) }
            }
        }
    }

    fn take_open(&self, now: Instant, rate: u32) -> Turn {
        let mut number = self.taken.load(Ordering::Relaxed);
        loop {
            let due = self.due(number, rate);
            if self.is_behind_the_end(number, due, rate) {
                return Turn::Over;
            }
            if due > now {
                return Turn::At(due);
            }
            let next = number + 1;
            let order = Ordering::Relaxed;
            match self.taken.compare_exchange_weak(number, next, order, order) {
                Ok(_) => return Turn::Due(due),
                Err(other) => number = other,
            }
        }
    }

    fn is_behind_the_end(&self, number: u64, due: Instant, rate: u32) -> bool {
        match self.extent {
            Extent::For(duration) => due >= self.measured_from + duration,
            Extent::Total(total) => number >= total + self.warm_up_requests(rate),
        }
    }

    /// How many are due before anything is measured.
    fn warm_up_requests(&self, rate: u32) -> u64 {
        let warm_up = (self.measured_from - self.start).as_nanos() * u128::from(rate);
        u64::try_from(warm_up.div_ceil(NANOS)).unwrap_or(u64::MAX / 2)
    }

    fn due(&self, number: u64, rate: u32) -> Instant {
        let nanos = u128::from(number) * NANOS / u128::from(rate);
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    /// Everything that is due up to `until`, and what comes then.
    fn drain(schedule: &Schedule, until: Instant) -> (Vec<Instant>, Turn) {
        let mut due = Vec::new();
        loop {
            match schedule.take(until) {
                Turn::Due(at) => due.push(at),
                other => return (due, other),
            }
        }
    }

    #[test]
    fn an_open_loop_is_due_at_fixed_moments_however_late_it_is_asked() {
        let start = Instant::now();
        let schedule = Schedule::new(start, Duration::ZERO, Extent::Total(4), Some(1_000));
        let (due, then) = drain(&schedule, after(start, 2));
        assert_eq!(due, [start, after(start, 1), after(start, 2)]);
        assert_eq!(then, Turn::At(after(start, 3)));
        assert_eq!(drain(&schedule, after(start, 99)), (vec![after(start, 3)], Turn::Over));
    }

    #[test]
    fn the_total_counts_what_is_measured_and_not_the_warm_up() {
        let start = Instant::now();
        let warm_up = Duration::from_millis(5);
        let schedule = Schedule::new(start, warm_up, Extent::Total(10), Some(1_000));
        let (due, then) = drain(&schedule, after(start, 1_000));
        assert_eq!((due.len(), then), (15, Turn::Over));
        assert_eq!(due.iter().filter(|at| **at >= schedule.measured_from()).count(), 10);

        let closed = Schedule::new(start, warm_up, Extent::Total(10), None);
        assert_eq!(closed.take(after(start, 4)), Turn::Due(after(start, 4)));
        assert_eq!(drain(&closed, after(start, 5)).0.len(), 10);
        assert!(closed.is_over(after(start, 5)) && schedule.is_over(start));
    }

    #[test]
    fn a_duration_ends_both_kinds_of_loop() {
        let start = Instant::now();
        let second = Extent::For(Duration::from_secs(1));
        let open = Schedule::new(start, Duration::ZERO, second, Some(100));
        let (due, then) = drain(&open, after(start, 5_000));
        assert_eq!((due.len(), then), (100, Turn::Over));
        let closed = Schedule::new(start, Duration::ZERO, second, None);
        assert_eq!(closed.take(after(start, 999)), Turn::Due(after(start, 999)));
        assert_eq!(closed.take(after(start, 1_000)), Turn::Over);
        assert!(!closed.is_over(after(start, 999)) && closed.is_over(after(start, 1_000)));
    }

    /// Nobody could be asked from the middle of the run to its end, and for longer: what was due
    /// meanwhile is still to be asked.
    #[test]
    fn an_open_loop_is_not_over_before_everything_that_was_due_was_asked() {
        let start = Instant::now();
        let second = Extent::For(Duration::from_secs(1));
        let schedule = Schedule::new(start, Duration::ZERO, second, Some(100));
        assert_eq!(drain(&schedule, after(start, 500)).0.len(), 51);
        assert!(!schedule.is_over(after(start, 3_000)));
        assert_eq!(drain(&schedule, after(start, 3_000)).0.len(), 49);
        assert!(schedule.is_over(after(start, 3_000)));
    }
}
