//! The threads of a run.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use kv_client::Connection;
use kv_client::kv_proto::ExitCode;
use mio::Waker;

use crate::args::Format;
use crate::bench::driver::{Driver, Exchange};
use crate::bench::pace::Schedule;
use crate::bench::plan::Plan;
use crate::bench::progress::{Counter, Progress};
use crate::bench::reconnect::{Door, Reconnector};
use crate::bench::tally::{Tally, broken};
use crate::failure::Failure;

/// How often an open loop looks for requests that are due, at most.
const SHORTEST_TICK: Duration = Duration::from_micros(100);

/// Runs one driver for each share of the connections, on a thread of its own, and one thread more
/// that finds new connections, while this one shows how it goes. Returns why no connection was
/// found any more, if that ended the run.
pub(crate) fn drive(
    plan: &Plan,
    schedule: &Schedule,
    shares: Vec<Vec<Connection>>,
    format: Format,
) -> Result<(Tally, Option<String>), Failure> {
    let counter = Counter::default();
    let (lost, told) = mpsc::channel();
    let (mut drivers, mut senders) = (Vec::new(), Vec::new());
    for (thread, share) in (0..).zip(shares) {
        let (found, arriving) = mpsc::channel();
        let exchange = Exchange { lost: lost.clone(), found: arriving };
        drivers.push(Driver::new(plan, schedule, &counter, share, thread, exchange)?);
        senders.push(found);
    }
    // From here on only drivers hold it: the reconnector ends when they do.
    drop(lost);
    let alarms: Vec<Waker> = drivers.iter().map(Driver::alarm).collect::<Result<_, _>>()?;
    let doors = senders.into_iter().zip(&alarms).map(|(found, alarm)| Door { found, alarm });
    let reconnector = Reconnector::new(plan, told, doors.collect())?;
    let progress = Progress::new(plan, &counter, format);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut running = Vec::new();
        for driver in drivers {
            running.push(spawn(scope, move || driver.run())?);
        }
        let reconnecting = spawn(scope, move || reconnector.run())?;
        if let Some(rate) = plan.rate {
            let (is_over, alarms) = (&is_over, &alarms);
            spawn(scope, move || ring(alarms, rate, is_over))?;
        }
        while running.iter().any(|thread| !thread.is_finished()) {
            progress.show_and_wait();
        }
        progress.clear();
        is_over.store(true, Ordering::Relaxed);
        let mut tallies =
            running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(broken())));
        let mut tally = tallies.next().unwrap_or_else(|| Err(broken()))?;
        tallies.try_for_each(|other| tally.add(other?))?;
        Ok((tally, reconnecting.join().map_err(|_| broken())?))
    })
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    body: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Failure> {
    thread::Builder::new().spawn_scoped(scope, body).map_err(|error| no_thread(&error))
}

/// Wakes the drivers of an open loop when a request is due: they themselves could only sleep for
/// whole milliseconds.
fn ring(alarms: &[Waker], rate: u32, is_over: &AtomicBool) {
    let tick = (Duration::from_secs(1) / rate).max(SHORTEST_TICK);
    let mut next = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        for alarm in alarms {
            // A driver that cannot be woken looks around by itself, only more seldom.
            let _ = alarm.wake();
        }
        next += tick;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn no_thread(error: &io::Error) -> Failure {
    let sentence = format!("no thread for more connections ({error}): use fewer --threads");
    Failure::Bench(sentence, ExitCode::Unavailable)
}
