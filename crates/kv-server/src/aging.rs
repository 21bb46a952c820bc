//! How old a revision is: which of them have been superseded for so long that they are forgotten.
//!
//! The store knows no clock, so that all replicas do the same. The leader's clock decides, and what
//! it decides goes through the log as a command that names a revision. Every node counts along, so
//! that a new leader goes on at once; one that was started anew has to wait a full time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kv_proto::Revision;

/// Into how many parts the time is divided: a revision is forgotten that much later at most.
const PARTS: u32 = 64;

/// Remembers which revision was the current one when.
#[derive(Debug)]
pub(crate) struct Aging {
    keep: Duration,
    /// At most [`PARTS`] and two, oldest first.
    samples: VecDeque<(Instant, Revision)>,
    /// The last revision that was given out.
    given: Revision,
}

impl Aging {
    /// Revisions may be forgotten that were superseded for longer than `keep`; with zero, none are.
    pub(crate) fn new(keep: Duration) -> Self {
        Self { keep, samples: VecDeque::new(), given: Revision::FRESH }
    }

    /// The current revision is this one now. Returns the oldest revision that has to be kept, if
    /// that is a later one than the last time.
    pub(crate) fn note(&mut self, now: Instant, current: Revision) -> Option<Revision> {
        if self.keep.is_zero() {
            return None;
        }
        let is_due = |(at, _): &(Instant, Revision)| now.duration_since(*at) >= self.keep / PARTS;
        if self.samples.back().is_none_or(is_due) {
            self.samples.push_back((now, current));
        }
        let mut oldest = None;
        while let Some((at, revision)) = self.samples.front().copied()
            && now.duration_since(at) >= self.keep
        {
            oldest = Some(revision);
            self.samples.pop_front();
        }
        let oldest = oldest.filter(|revision| *revision > self.given)?;
        self.given = oldest;
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_given_out_when_it_was_superseded_for_long_enough() {
        let (start, keep) = (Instant::now(), Duration::from_secs(64));
        let mut aging = Aging::new(keep);
        let at = |second| start + Duration::from_secs(second);
        for second in 0..64 {
            assert_eq!(aging.note(at(second), Revision::new(10 + second)), None, "{second}");
        }
        assert_eq!(aging.note(at(64), Revision::new(74)), None.or(Some(Revision::new(10))));
        assert_eq!(aging.note(at(65), Revision::new(75)), Some(Revision::new(11)));
        assert_eq!(aging.note(at(200), Revision::new(80)), Some(Revision::new(75)));
    }

    #[test]
    fn nothing_is_given_out_twice_and_nothing_at_rest() {
        let start = Instant::now();
        let mut aging = Aging::new(Duration::from_secs(64));
        let mut given = Vec::new();
        for second in 0..1000 {
            let current = Revision::new(5 + second.min(100) / 50);
            given.extend(aging.note(start + Duration::from_secs(second), current));
            assert!(aging.samples.len() <= PARTS as usize + 2);
        }
        assert_eq!(given, [5, 6, 7].map(Revision::new));
    }

    #[test]
    fn with_no_time_nothing_grows_old() {
        let (start, mut aging) = (Instant::now(), Aging::new(Duration::ZERO));
        assert_eq!(aging.note(start, Revision::new(5)), None);
        assert_eq!(aging.note(start + Duration::from_hours(1), Revision::new(9)), None);
    }
}
