//! [`Clock`]: what time a node believes it is.

use std::time::Duration;

use raft_core::Time;

use crate::dice::nanos;

/// How fast a clock runs, in hundredths of the true speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speed(u64);

impl Speed {
    pub(crate) const TRUE: Self = Self(100);

    /// The speeds that broken clocks have: from a tenth to ten times.
    pub(crate) const BROKEN: [Self; 6] =
        [Self(10), Self(50), Self(90), Self(110), Self(200), Self(1000)];

    /// The speeds that sound clocks have: two of them differ by less than a third.
    pub(crate) const SOUND: [Self; 3] = [Self::SLOWEST_SOUND, Self::TRUE, Self::FASTEST_SOUND];
    pub(crate) const SLOWEST_SOUND: Self = Self(87);
    pub(crate) const FASTEST_SOUND: Self = Self(115);

    pub(crate) const fn percent(self) -> u64 {
        self.0
    }
}

/// A clock that shows `shown` at the true time `since`, and runs on from there at its speed.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    since: Time,
    shown: Time,
    speed: Speed,
    /// The latest time that anybody has read from it.
    latest: Time,
}

impl Clock {
    /// A clock with this origin.
    pub(crate) fn showing(shown: Time, speed: Speed) -> Self {
        Self { since: Time::ZERO, shown, speed, latest: shown }
    }

    /// What it shows at the true time `now`.
    pub(crate) fn read(&mut self, now: Time) -> Time {
        let shown = self.at(now);
        self.latest = self.latest.max(shown);
        shown
    }

    fn at(&self, now: Time) -> Time {
        let passed = nanos(now.since(self.since));
        self.shown + Duration::from_nanos(passed * self.speed.0 / Speed::TRUE.0)
    }

    /// The first true time, not before `now`, at which it shows `target` or later.
    pub(crate) fn reaches(&self, target: Time, now: Time) -> Time {
        let ahead = nanos(target.since(self.at(now)));
        now + Duration::from_nanos(ahead.saturating_mul(Speed::TRUE.0).div_ceil(self.speed.0))
    }

    pub(crate) fn set_speed(&mut self, speed: Speed, now: Time) {
        *self = Self { since: now, shown: self.at(now), speed, latest: self.latest };
    }

    pub(crate) fn jump(&mut self, is_forward: bool, by: Duration, now: Time) {
        let shown = self.at(now);
        self.shown = if is_forward { shown + by } else { shown - by };
        self.since = now;
    }

    /// Makes it a true clock again that never goes back behind what it has shown.
    pub(crate) fn mend(&mut self, now: Time) {
        self.shown = self.at(now).max(self.latest);
        self.since = now;
        self.speed = Speed::TRUE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_when_the_clock_shows_it_and_not_before() {
        let now = Time::from_millis(1000);
        for speed in Speed::BROKEN {
            let mut clock = Clock::showing(Time::from_millis(50), Speed::TRUE);
            clock.set_speed(speed, now);
            let target = clock.read(now) + Duration::from_nanos(12_345_677);
            let due = clock.reaches(target, now);
            assert!(clock.read(due) >= target, "{speed:?}");
            assert!(clock.read(due - Duration::from_nanos(20)) < target, "{speed:?}");
            assert_eq!(clock.reaches(Time::ZERO, now), now, "what is past is due now");
        }
    }

    #[test]
    fn a_mended_clock_never_goes_back() {
        let mut clock = Clock::showing(Time::from_millis(90_000_000), Speed::TRUE);
        clock.jump(true, Duration::from_hours(24), Time::ZERO);
        let shown = clock.read(Time::ZERO);
        clock.jump(false, Duration::from_hours(24), Time::ZERO);
        assert!(clock.read(Time::from_millis(1)) < shown);
        clock.mend(Time::from_millis(1));
        assert_eq!(clock.read(Time::from_millis(1)), shown);
    }
}
