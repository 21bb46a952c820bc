//! One run of one workload.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kv_client::kv_proto::ExitCode;
use kv_client::{ClusterStatus, Connection, ConnectionError, Deadline};
use mio::Waker;

use crate::args::Format;
use crate::bench::args::{BenchArgs, DEFAULT_TOTAL, Distribution, Target, Workload};
use crate::bench::driver::Driver;
use crate::bench::keys::Keys;
use crate::bench::pace::{Extent, Schedule};
use crate::bench::progress::{Counter, Progress};
use crate::bench::tally::{Tally, broken};
use crate::failure::Failure;
use crate::status;

/// How often an open loop looks for requests that are due, at most.
const SHORTEST_TICK: Duration = Duration::from_micros(100);

/// The connections that write the keys which are then to be read, and the requests on each.
const FILLING: (u32, usize) = (4, 64);

/// One run of one workload.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    pub(crate) reads_percent: u32,
    pub(crate) connections: u32,
    pub(crate) in_flight: usize,
    pub(crate) idle: u32,
    pub(crate) threads: u32,
    pub(crate) extent: Extent,
    pub(crate) warm_up: Duration,
    pub(crate) rate: Option<u32>,
    pub(crate) keys: Keys,
    pub(crate) distribution: Distribution,
    pub(crate) timeout: Duration,
    nodes: Nodes,
}

/// Where connections go, in turn.
#[derive(Clone, Debug)]
struct Nodes {
    leader: String,
    asked: Vec<String>,
    up: Vec<String>,
}

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// How long it took, without the warm-up.
    pub(crate) elapsed: Duration,
}

impl Plan {
    /// What the flags amount to in a cluster that is like this.
    pub(crate) fn new(
        args: &BenchArgs,
        keys: Keys,
        cluster: &ClusterStatus,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let extent = match (args.duration, args.total) {
            (Some(duration), _) => Extent::For(duration),
            (None, total) => Extent::Total(total.unwrap_or(DEFAULT_TOTAL)),
        };
        Ok(Self {
            workload: args.workload,
            reads_percent: args.reads,
            connections: args.connections,
            in_flight: args.in_flight as usize,
            idle: args.idle,
            threads: args.threads.min(args.connections),
            extent,
            warm_up: args.warm_up.unwrap_or_default(),
            rate: args.rate,
            keys,
            distribution: args.distribution,
            timeout,
            nodes: Nodes::new(args, cluster)?,
        })
    }

    /// Whether there must be something to read.
    pub(crate) fn reads(&self) -> bool {
        self.workload != Workload::Put
    }

    /// How many keys this run writes.
    pub(crate) fn keys_written(&self) -> u64 {
        match self.workload {
            Workload::Put | Workload::Mixed => self.keys.count(),
            Workload::Get | Workload::GetStale => 0,
        }
    }

    /// The run before this one, which writes every key once.
    pub(crate) fn filling(&self) -> Self {
        let (connections, in_flight) = FILLING;
        let asked = vec![self.nodes.leader.clone()];
        Self {
            workload: Workload::Put,
            connections,
            in_flight,
            threads: 1,
            extent: Extent::Total(self.keys.count()),
            warm_up: Duration::ZERO,
            rate: None,
            distribution: Distribution::Sequential,
            nodes: Nodes { asked, ..self.nodes.clone() },
            ..self.clone()
        }
    }

    /// Connects everything, then starts the clock and all threads.
    pub(crate) fn run(&self, format: Format) -> Result<Outcome, Failure> {
        let mut shares: Vec<Vec<Connection>> = (0..self.threads).map(|_| Vec::new()).collect();
        for (number, connection) in self.connect(self.connections, &self.nodes.asked).enumerate() {
            shares[number % self.threads as usize].push(connection?);
        }
        let schedule = Schedule::new(Instant::now(), self.warm_up, self.extent, self.rate);
        let counter = Counter::default();
        let mut drivers = Vec::new();
        for (thread, share) in (0..).zip(shares) {
            drivers.push(Driver::new(self, &schedule, &counter, share, thread)?);
        }
        let mut tally = drive(drivers, self.rate, &Progress::new(self, &counter, format))?;
        if let never_sent @ 1.. = schedule.left() {
            tally.count_errors("never sent: no connection was left".into(), never_sent);
        }
        let ended = tally.ended.unwrap_or_else(Instant::now);
        let elapsed = ended.saturating_duration_since(schedule.measured_from());
        Ok(Outcome { tally, elapsed })
    }

    /// Opens the connections that ask nothing.
    pub(crate) fn open_idle(&self) -> Result<Idle, Failure> {
        Ok(Idle(self.connect(self.idle, &self.nodes.up).collect::<Result<_, _>>()?))
    }

    fn connect<'a>(
        &'a self,
        count: u32,
        addresses: &'a [String],
    ) -> impl Iterator<Item = Result<Connection, Failure>> {
        let in_turn = (0..count).zip(addresses.iter().cycle());
        in_turn.map(|(number, address)| {
            Connection::open(address, &Deadline::after(self.timeout)).map_err(|error| {
                unavailable(format!("connection {number}, to {address}, failed: {error}"))
            })
        })
    }

    /// A connection that was there cannot be used.
    pub(crate) fn refused(&self, error: &ConnectionError) -> Failure {
        unavailable(format!("one of {} connections failed: {error}", self.connections))
    }
}

impl Nodes {
    fn new(args: &BenchArgs, cluster: &ClusterStatus) -> Result<Self, Failure> {
        let leader = status::leader(cluster).map(|(id, _)| id);
        let up = cluster.nodes.iter().filter(|row| row.status.is_ok()).filter_map(|row| {
            let address = row.member.client_address.clone()?;
            Some((row.member.id, address))
        });
        let up: Vec<(u64, String)> = up.collect();
        let Some((_, leader)) = up.iter().find(|(id, _)| Some(*id) == leader).cloned() else {
            let sentence = "no node leads at the moment: wait for an election, and see status";
            return Err(unavailable(sentence.into()));
        };
        let up: Vec<String> = up.into_iter().map(|(_, address)| address).collect();
        let asked = match (args.workload, args.target) {
            (Workload::Get | Workload::GetStale, Target::All) => up.clone(),
            _ => vec![leader.clone()],
        };
        Ok(Self { leader, asked, up })
    }
}

impl Outcome {
    /// Nothing may be missing before reads are measured.
    pub(crate) fn expect_whole(&self) -> Result<(), Failure> {
        match self.tally.errors.first_key_value() {
            None => Ok(()),
            Some((why, _)) => {
                Err(unavailable(format!("the keys to read could not all be written first: {why}")))
            }
        }
    }
}

/// Connections that ask nothing, and are to be there all the same.
pub(crate) struct Idle(Vec<Connection>);

impl Idle {
    /// Closes them; returns how many the servers had closed before.
    pub(crate) fn close(self) -> u64 {
        let lost = self.0.into_iter().filter_map(|mut connection| {
            let is_open = connection.set_nonblocking().and_then(|()| connection.try_receive());
            is_open.err()
        });
        lost.count() as u64
    }
}

/// Runs the drivers, each on a thread of its own, while this one shows how it goes.
fn drive(
    drivers: Vec<Driver<'_>>,
    rate: Option<u32>,
    progress: &Progress<'_>,
) -> Result<Tally, Failure> {
    let is_over = AtomicBool::new(false);
    let alarms: Vec<Waker> = drivers.iter().map(Driver::alarm).collect::<Result<_, _>>()?;
    thread::scope(|scope| {
        let mut running = Vec::new();
        for driver in drivers {
            let spawned = thread::Builder::new().spawn_scoped(scope, move || driver.run());
            running.push(spawned.map_err(|error| no_thread(&error))?);
        }
        if let Some(rate) = rate {
            let (is_over, alarms) = (&is_over, &alarms);
            let ring = move || ring(alarms, rate, is_over);
            thread::Builder::new().spawn_scoped(scope, ring).map_err(|error| no_thread(&error))?;
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
        Ok(tally)
    })
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
    unavailable(format!("no thread for more connections ({error}): use fewer --threads"))
}

fn unavailable(sentence: String) -> Failure {
    Failure::Bench(sentence, ExitCode::Unavailable)
}
