//! How a run is going, for whoever watches it.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::Format;
use crate::bench::pace::Extent;
use crate::bench::plan::Plan;

/// How often a finished run is noticed, and every how many of these the line is written anew.
const PAUSE_MILLIS: u64 = 20;
const PAUSES_PER_LINE: u64 = 25;

/// What all threads have done so far.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    done: AtomicU64,
    failed: AtomicU64,
    /// Connections that are lost at the moment.
    lost: AtomicU64,
}

impl Counter {
    pub(crate) fn done(&self, times: u64) {
        self.done.fetch_add(times, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, times: u64) {
        self.failed.fetch_add(times, Ordering::Relaxed);
    }

    /// A connection is lost.
    pub(crate) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// There is one in its place.
    pub(crate) fn found(&self) {
        self.lost.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One line on a terminal, written again and again. Where standard error is no terminal, or
/// machines read the result, there is none.
pub(crate) struct Progress<'a> {
    counter: &'a Counter,
    extent: Extent,
    began: Instant,
    is_shown: bool,
    pauses: AtomicU64,
    /// How many were done when the line was written last.
    shown_done: AtomicU64,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(plan: &Plan, counter: &'a Counter, format: Format) -> Self {
        Self {
            counter,
            extent: plan.extent,
            began: Instant::now(),
            is_shown: format == Format::Text && io::stderr().is_terminal(),
            pauses: AtomicU64::new(0),
            shown_done: AtomicU64::new(0),
        }
    }

    /// Writes the line now and then, and waits a moment.
    pub(crate) fn show_and_wait(&self) {
        thread::sleep(Duration::from_millis(PAUSE_MILLIS));
        let pauses = self.pauses.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_shown && pauses.is_multiple_of(PAUSES_PER_LINE) {
            let done = self.counter.done.load(Ordering::Relaxed);
            let before = self.shown_done.swap(done, Ordering::Relaxed);
            let per_second = (done - before) * 1000 / (PAUSE_MILLIS * PAUSES_PER_LINE);
            let failed = self.counter.failed.load(Ordering::Relaxed);
            let of = match self.extent {
                Extent::Total(total) => format!(" of {total}"),
                Extent::For(duration) => format!(" in {} of {duration:?}", self.seconds()),
            };
            let lost = match self.counter.lost.load(Ordering::Relaxed) {
                0 => String::new(),
                lost => format!(", {lost} connections look for a leader"),
            };
            write(&format!("{done} done{of}, {per_second} a second, {failed} errors{lost}"));
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if self.is_shown {
            write("");
        }
    }

    fn seconds(&self) -> String {
        format!("{} s", self.began.elapsed().as_secs())
    }
}

/// Writes over the line. Nobody needs it, so nobody hears if that fails.
fn write(line: &str) {
    let mut terminal = io::stderr().lock();
    let _ = write!(terminal, "\r\x1b[2K{line}").and_then(|()| terminal.flush());
}
