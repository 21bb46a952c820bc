//! Moments in which somebody waited for too long, and whether the machine stood still in them.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};

use super::timeline::Timeline;
use super::witness::{Part, Standstill};

/// What counts as too long.
const LIMIT_US: u64 = 50_000;

/// What came of looking for them: the longest wait that ended in each tenth of a second with one
/// that was too long, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stalls {
    /// Tenths of a second that were looked at.
    tenths: usize,
    /// Those in which the machine ran.
    ours_us: Vec<u64>,
    /// Those that would not have been too long, had the machine not stood still.
    explained_us: Vec<u64>,
    /// How long it did, each time.
    machine_us: Vec<(Part, u64)>,
}

impl Stalls {
    /// Looks for them where the load is half of what can be done.
    pub(super) fn at_half(timeline: &Timeline, standstills: &[Standstill]) -> Self {
        let mut stalls = Self::default();
        for (tenth, slowest) in timeline.tenths() {
            stalls.tenths += 1;
            if slowest <= LIMIT_US {
                continue;
            }
            // The one that took longest may have begun so early.
            let waited = tenth.start.saturating_sub(slowest)..tenth.end;
            if slowest.saturating_sub(stood_still_us(standstills, &waited)) <= LIMIT_US {
                stalls.explained_us.push(slowest);
            } else {
                stalls.ours_us.push(slowest);
            }
        }
        stalls.machine_us = standstills.iter().map(|it| (it.of, it.took_us())).collect();
        stalls
    }

    /// All of them together.
    pub(super) fn of_all<'a>(rounds: impl Iterator<Item = &'a Self>) -> Self {
        rounds.fold(Self::default(), |mut all, it| {
            all.tenths += it.tenths;
            all.ours_us.extend(&it.ours_us);
            all.explained_us.extend(&it.explained_us);
            all.machine_us.extend(&it.machine_us);
            all
        })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "tenths": self.tenths, "ours_us": self.ours_us, "explained_us": self.explained_us,
            "processor_us": self.processors_us(), "disk_us": self.disk_us(),
        })
    }

    fn processors_us(&self) -> Vec<u64> {
        self.machine_us.iter().filter(|it| it.0 != Part::Disk).map(|it| it.1).collect()
    }

    fn disk_us(&self) -> Vec<u64> {
        self.machine_us.iter().filter(|it| it.0 == Part::Disk).map(|it| it.1).collect()
    }

    /// Two lines for people.
    pub(crate) fn lines(&self) -> [String; 2] {
        let (processors, disk) = (self.processors_us(), self.disk_us());
        let longest_ms = |micros: &[u64]| micros.iter().max().copied().unwrap_or_default() / 1000;
        [
            format!(
                "{} of {} tenths of a second had a request that waited longer than {} ms: {} of \
                 them while the machine ran",
                self.ours_us.len() + self.explained_us.len(),
                self.tenths,
                LIMIT_US / 1000,
                self.ours_us.len()
            ),
            format!(
                "the machine: a processor stood still {} times, at most for {} ms; the disk {} \
                 times, at most for {} ms",
                processors.len(),
                longest_ms(&processors),
                disk.len(),
                longest_ms(&disk)
            ),
        ]
    }
}

/// For how long, together, the part of the machine that stood still the longest did so while
/// somebody waited.
fn stood_still_us(standstills: &[Standstill], waited: &Range<u64>) -> u64 {
    let mut by_part: BTreeMap<Part, u64> = BTreeMap::new();
    for it in standstills {
        // What piled up meanwhile takes as long again, at half of the load.
        let until = it.span.end + it.took_us();
        if it.span.start < waited.end && waited.start < until {
            *by_part.entry(it.of).or_default() += it.took_us();
        }
    }
    by_part.into_values().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tenths that began a second after 1970, the slowest of each in milliseconds.
    fn timeline(slowest_ms: &[u64]) -> Timeline {
        let slowest: Vec<u64> = slowest_ms.iter().map(|ms| ms * 1000).collect();
        Timeline::new(
            &json!({ "measured_from_unix_us": 1_000_000, "slowest_us_each_tenth": slowest }),
        )
    }

    /// From and until, in milliseconds after the first tenth began.
    fn standstill(from: u64, until: u64) -> Standstill {
        Standstill { span: 1_000_000 + from * 1000..1_000_000 + until * 1000, of: Part::Disk }
    }

    fn counts(slowest_ms: &[u64], standstills: &[Standstill]) -> (usize, usize) {
        let stalls = Stalls::at_half(&timeline(slowest_ms), standstills);
        assert_eq!(stalls.tenths, slowest_ms.len());
        (stalls.ours_us.len() + stalls.explained_us.len(), stalls.explained_us.len())
    }

    #[test]
    fn what_waits_for_up_to_fifty_milliseconds_is_no_stall() {
        assert_eq!(counts(&[50, 7, 50], &[standstill(0, 300)]), (0, 0));
        assert_eq!(counts(&[50, 51, 50], &[]), (1, 0));
    }

    #[test]
    fn a_standstill_explains_what_waited_in_it_and_as_long_behind_it() {
        let slow = [10, 10, 130, 10];
        assert_eq!(counts(&slow, &[standstill(120, 220)]), (1, 1));
        assert_eq!(counts(&slow, &[standstill(150, 190)]), (1, 0), "90 ms are left");
        assert_eq!(counts(&slow, &[standstill(301, 400)]), (1, 0), "it came later");
        // What ends at 200 with 130 ms began at 70, at the earliest.
        assert_eq!(counts(&slow, &[standstill(0, 80)]), (1, 1));
        assert_eq!(counts(&[10, 10, 10, 60], &[standstill(0, 100)]), (1, 0), "it was over");
        assert_eq!(counts(&[10, 10, 10, 60], &[standstill(20, 141)]), (1, 1), "it caught up");
    }

    #[test]
    fn standstills_of_one_part_add_up_and_those_of_two_do_not() {
        let of = |of: Part, from, until| Standstill { of, ..standstill(from, until) };
        let slow = [10, 10, 70, 10];
        let one = of(Part::Processor(0), 210, 222);
        let next = of(Part::Processor(0), 240, 248);
        let other = of(Part::Processor(1), 240, 248);
        assert_eq!(counts(&slow, &[one.clone(), next]), (1, 1));
        assert_eq!(counts(&slow, &[one, other]), (1, 0), "perhaps at the same time");
    }

    #[test]
    fn rounds_are_counted_together() {
        let one = Stalls::at_half(&timeline(&[60, 10]), &[standstill(0, 40)]);
        let other = Stalls::at_half(&timeline(&[70]), &[]);
        let all = Stalls::of_all([&one, &other].into_iter());
        let [slow, machine] = all.lines();
        assert!(slow.starts_with("2 of 3 tenths"), "{slow}");
        assert!(slow.ends_with(": 1 of them while the machine ran"), "{slow}");
        assert!(machine.ends_with("the disk 1 times, at most for 40 ms"), "{machine}");
        assert_eq!(all.to_json()["disk_us"], json!([40_000]));
    }
}
