//! One run of one workload.

use std::time::{Duration, Instant, SystemTime};

use kv_client::kv_proto::{ExitCode, Limits};
use kv_client::{ClusterStatus, Connection, ConnectionError, Deadline};

use crate::args::Format;
use crate::bench::args::{BenchArgs, DEFAULT_TOTAL, Distribution, Workload};
use crate::bench::keys::Keys;
use crate::bench::nodes::{self, Asked};
use crate::bench::pace::{Extent, Schedule};
use crate::bench::tally::Tally;
use crate::bench::threads;
use crate::failure::Failure;

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
    /// Which nodes are asked.
    pub(crate) asked: Asked,
    pub(crate) cluster_id: u64,
    /// The client addresses of all nodes.
    pub(crate) endpoints: Vec<String>,
    /// Where the first connections go, in turn.
    first: Vec<String>,
    leader: Vec<String>,
    up: Vec<String>,
}

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// How long it took, without the warm-up.
    pub(crate) elapsed: Duration,
    /// When that began, by the clock on the wall.
    pub(crate) measured_from: SystemTime,
    /// Why it ended early, if it did: for so long there was no connection.
    pub(crate) gave_up: Option<String>,
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
            asked: Asked::new(args),
            cluster_id: cluster.cluster_id,
            endpoints: nodes::known(cluster),
            first: Asked::new(args).addresses(cluster)?,
            leader: Asked::Leader.addresses(cluster)?,
            up: nodes::up(cluster),
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
        Self {
            workload: Workload::Put,
            connections,
            in_flight,
            threads: 1,
            extent: Extent::Total(self.keys.count()),
            warm_up: Duration::ZERO,
            rate: None,
            distribution: Distribution::Sequential,
            asked: Asked::Leader,
            first: self.leader.clone(),
            ..self.clone()
        }
    }

    /// Connects everything, then starts the clock and all threads.
    pub(crate) fn run(&self, format: Format) -> Result<Outcome, Failure> {
        let mut shares: Vec<Vec<Connection>> = (0..self.threads).map(|_| Vec::new()).collect();
        for (number, connection) in self.connect(self.connections, &self.first).enumerate() {
            let connection = connection?;
            self.check_sizes(&connection.welcome().limits)?;
            shares[number % self.threads as usize].push(connection);
        }
        let schedule = Schedule::new(Instant::now(), self.warm_up, self.extent, self.rate);
        let (mut tally, gave_up) = threads::drive(self, &schedule, shares, format)?;
        if let never_sent @ 1.. = schedule.left() {
            tally.count_errors("never sent: no connection was left".into(), never_sent);
        }
        let measured_from = schedule.measured_from();
        let ended = tally.ended.unwrap_or_else(Instant::now);
        // The time at the end in which there was no answer belongs to the run.
        let least = schedule.duration().min(measured_from.elapsed());
        let elapsed = ended.saturating_duration_since(measured_from).max(least);
        let measured_from = SystemTime::now().checked_sub(measured_from.elapsed());
        let measured_from = measured_from.unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(Outcome { tally, elapsed, measured_from, gave_up })
    }

    /// Opens the connections that ask nothing.
    pub(crate) fn open_idle(&self) -> Result<Idle, Failure> {
        Ok(Idle(self.connect(self.idle, &self.up).collect::<Result<_, _>>()?))
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

    /// What is too large is refused each time: that is nothing to measure.
    fn check_sizes(&self, limits: &Limits) -> Result<(), Failure> {
        let sizes = [
            ("--key-size", self.keys.key(0).len(), limits.max_key_bytes),
            ("--value-size", self.keys.value_size(), limits.max_value_bytes),
        ];
        match sizes.iter().find(|(_, size, limit)| *size > *limit as usize) {
            None => Ok(()),
            Some((flag, size, limit)) => Err(Failure::Usage(format!(
                "{flag} {size} is above the limit of the server, {limit} bytes: give a smaller one"
            ))),
        }
    }

    /// A connection that was there cannot be used.
    pub(crate) fn refused(&self, error: &ConnectionError) -> Failure {
        unavailable(format!("one of {} connections failed: {error}", self.connections))
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

fn unavailable(sentence: String) -> Failure {
    Failure::Bench(sentence, ExitCode::Unavailable)
}
