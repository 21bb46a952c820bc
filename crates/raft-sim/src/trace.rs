//! [`Trace`]: what happened, line by line, for a person.

use std::collections::VecDeque;

use raft_core::Time;

/// More lines than this are forgotten, oldest first.
const MAX_LINES: usize = 200_000;

/// The lines of a run; nothing, and at no cost, if nobody wants to know.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: Option<VecDeque<String>>,
}

impl Trace {
    pub(crate) fn new(is_wanted: bool) -> Self {
        Self { lines: is_wanted.then(VecDeque::new) }
    }

    pub(crate) fn note(&mut self, now: Time, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == MAX_LINES {
                lines.pop_front();
            }
            let micros = now.as_nanos() / 1000;
            lines.push_back(format!(
                "{:>4}.{:06} {}",
                micros / 1_000_000,
                micros % 1_000_000,
                line()
            ));
        }
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default().into()
    }
}
