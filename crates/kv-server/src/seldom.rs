//! Saying the same thing again only after a while, whoever causes it how often.

use std::time::{Duration, Instant};

/// Grants at most one in each `pause`.
#[derive(Debug)]
pub(crate) struct Seldom {
    pause: Duration,
    next: Option<Instant>,
}

impl Seldom {
    pub(crate) fn new(pause: Duration) -> Self {
        Self { pause, next: None }
    }

    /// Whether it is time again; if so, the next time is a pause later.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.next.is_none_or(|next| now >= next);
        if is_due {
            self.next = Some(now + self.pause);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_granted_and_the_next_after_the_pause() {
        let (start, pause) = (Instant::now(), Duration::from_mins(1));
        let mut seldom = Seldom::new(pause);
        assert!(seldom.is_due(start));
        assert!(!seldom.is_due(start));
        assert!(!seldom.is_due(start + pause / 2));
        assert!(seldom.is_due(start + pause));
        assert!(!seldom.is_due(start + pause));
    }
}
