//! How slow requests were in the course of a run.

use std::ops::Range;
use std::time::SystemTime;

use serde_json::Value;

/// How much of the run each figure stands for.
const TENTH_US: u64 = 100_000;

/// The slowest request that ended in each tenth of a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    /// When the first tenth began, in microseconds since 1970.
    from_us: u64,
    /// In microseconds.
    slowest: Vec<u64>,
}

impl Timeline {
    /// What a load generator printed; empty if it does not say.
    pub(super) fn new(printed: &Value) -> Self {
        let slowest = printed["slowest_us_each_tenth"].as_array();
        Self {
            from_us: printed["measured_from_unix_us"].as_u64().unwrap_or_default(),
            slowest: slowest.into_iter().flatten().filter_map(Value::as_u64).collect(),
        }
    }

    /// When each tenth began and ended, in microseconds since 1970, and the slowest of it.
    pub(super) fn tenths(&self) -> impl Iterator<Item = (Range<u64>, u64)> {
        let starts = (0_u64..).map(|tenth| self.from_us + tenth * TENTH_US);
        starts.map(|start| start..start + TENTH_US).zip(self.slowest.iter().copied())
    }

    /// The slowest while something went on; nothing for what began or ended outside of the run.
    /// The tenths in which it began and ended count whole.
    pub(super) fn during(&self, span: &Range<u64>) -> Option<u64> {
        let first = span.start.checked_sub(self.from_us)? / TENTH_US;
        let last = span.end.checked_sub(self.from_us)? / TENTH_US;
        let (first, last) = (usize::try_from(first).ok()?, usize::try_from(last).ok()?);
        self.slowest.get(first..=last)?.iter().max().copied()
    }

    /// The slowest in each stretch that lasts as long as the middle one of these.
    pub(super) fn in_stretches(&self, like: &[Range<u64>]) -> Vec<u64> {
        let mut lengths: Vec<u64> =
            like.iter().map(|span| span.end.saturating_sub(span.start)).collect();
        lengths.sort_unstable();
        let Some(length) = lengths.get(lengths.len() / 2) else { return Vec::new() };
        // As many tenths as it touches, on the average.
        let tenths = usize::try_from(length / TENTH_US + 1).unwrap_or(usize::MAX);
        self.slowest
            .chunks_exact(tenths)
            .filter_map(|tenths| tenths.iter().max().copied())
            .collect()
    }
}

/// Now, in microseconds since 1970: two processes compare it.
pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Half a second.
    fn timeline() -> Timeline {
        Timeline::new(&json!({
            "measured_from_unix_us": 5_000_000, "slowest_us_each_tenth": [1, 7, 3, 4, 9],
        }))
    }

    #[test]
    fn what_began_or_ended_outside_of_the_run_does_not_count() {
        let timeline = timeline();
        assert_eq!(timeline.during(&(5_000_000..5_050_000)), Some(1));
        assert_eq!(timeline.during(&(5_210_000..5_390_000)), Some(4));
        assert_eq!(timeline.during(&(5_190_000..5_210_000)), Some(7), "both tenths count whole");
        assert_eq!(timeline.during(&(4_999_999..5_300_000)), None);
        assert_eq!(timeline.during(&(5_300_000..5_500_000)), None);
        assert_eq!(Timeline::new(&json!({})).during(&(0..1)), None);
    }

    #[test]
    fn stretches_are_as_long_as_the_middle_one() {
        let like = [0..900_000, 0..150_000, 0..20_000];
        assert_eq!(timeline().in_stretches(&like), [7, 4], "the last tenth is too short for one");
        assert_eq!(timeline().in_stretches(&[]), [0; 0]);
    }
}
