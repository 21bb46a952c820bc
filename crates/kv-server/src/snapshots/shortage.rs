//! A disk on which a snapshot had no room: others are not let in for a while.
//!
//! A leader offers the next one at once. Each would take what room there is until it fails as well,
//! from the log and the state of this node, and the network's time with it.

use std::time::{Duration, Instant};

/// The first pause, and the longest: so much later at most it is noticed that there is room again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// How long snapshots are refused, and why. Each failure in a row doubles the pause.
#[derive(Debug, Default)]
pub struct Shortage(Option<Short>);

#[derive(Debug)]
struct Short {
    until: Instant,
    pause: Duration,
    why: String,
}

impl Shortage {
    /// Another one had no room, for this reason: a sentence.
    pub fn noticed(&mut self, now: Instant, why: String) {
        let longer = |short: &Short| (short.pause * 2).min(PAUSES.1);
        let pause = self.0.as_ref().map_or(PAUSES.0, longer);
        self.0 = Some(Short { until: now + pause, pause, why });
    }

    /// One had room.
    pub fn is_over(&mut self) {
        self.0 = None;
    }

    /// Why no snapshot is let in now, if none is.
    pub fn refusal(&self, now: Instant) -> Option<&str> {
        self.0.as_ref().filter(|short| now < short.until).map(|short| short.why.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_up_to_a_bound_and_begin_anew_when_one_had_room() {
        let mut now = Instant::now();
        let mut shortage = Shortage::default();
        assert_eq!(shortage.refusal(now), None);
        for seconds in [1, 2, 4, 8, 10, 10] {
            shortage.noticed(now, "it is full".to_owned());
            let almost = now + Duration::from_millis(seconds * 1000 - 1);
            assert_eq!(shortage.refusal(almost), Some("it is full"), "{seconds}");
            now += Duration::from_secs(seconds);
            assert_eq!(shortage.refusal(now), None, "{seconds}");
        }
        shortage.is_over();
        shortage.noticed(now, "again".to_owned());
        assert_eq!(shortage.refusal(now + Duration::from_secs(1)), None);
    }
}
