//! A load generator: small, and honest about what it measures.
//!
//! Every connection is a loop of its own that keeps a number of requests in flight and sends the
//! next one when an answer comes (a *closed loop*): a slow server is asked less often, so the
//! percentiles say how long requests took, not how long an outside world that does not wait would
//! have waited. A latency runs from when a request is queued to when its answer has been read.
//! Nothing is repeated: what fails counts as an error.
//!
//! At the end, a sample of the writes that were acknowledged is read back.

mod report;
mod verify;
mod worker;

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use kv_client::kv_proto::ExitCode;
use kv_client::{Client, ClusterStatus, Connection, Deadline};

use crate::args::Format;
use crate::bench::report::Report;
use crate::bench::worker::{Tally, Worker};
use crate::failure::Failure;
use crate::status;

/// The flags of `bench`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// Write values, or read them linearizably
    #[arg(long, value_enum, default_value = "put")]
    workload: Workload,
    /// How many connections
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// How many requests each connection keeps waiting
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    in_flight: u32,
    /// How many requests in all
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    total: u64,
    /// The size of each value, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    value_size: usize,
    /// The size of each key, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 16)]
    key_size: usize,
    /// How many different keys; they begin with "bench/". For gets they are written first
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Which nodes to read from: the leader alone, or all that are up. Puts go to the leader
    #[arg(long, value_enum, default_value = "leader")]
    target: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    Put,
    Get,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    Leader,
    All,
}

/// One run of one workload.
struct Plan {
    workload: Workload,
    connections: u32,
    in_flight: usize,
    total: u64,
    keys: Keys,
    timeout: Duration,
    /// Where connections go, in turn.
    addresses: Vec<String>,
    /// The number of the next request.
    next: AtomicU64,
}

/// The keys and values of a run. The value at a key is always the same, so that a read can tell
/// whether it is the right one.
#[derive(Clone, Copy, Debug)]
struct Keys {
    count: u64,
    key_size: usize,
    value_size: usize,
}

/// The stack of a connection's thread: it goes a few calls deep.
const STACK_BYTES: usize = 256 << 10;

/// What every key begins with.
const KEY_PREFIX: &str = "bench/";

impl Keys {
    fn key(&self, index: u64) -> Vec<u8> {
        let width = self.key_size.saturating_sub(KEY_PREFIX.len());
        format!("{KEY_PREFIX}{index:0width$}").into_bytes()
    }

    fn value(&self, index: u64) -> Vec<u8> {
        let mut value = format!("{index:016x}").into_bytes();
        value.resize(self.value_size, b'.');
        value
    }

    /// The key of request `number`: all of them are used, in no order a cache would like.
    fn index_of(&self, number: u64) -> u64 {
        let mixed = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)) % self.count
    }
}

/// Runs the bench and prints its report.
pub(crate) fn run(
    args: &BenchArgs,
    client: &mut Client,
    format: Format,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let keys = args.keys()?;
    let addresses = args.addresses(&client.cluster_status()?)?;
    if args.workload == Workload::Get {
        fill(args, keys, client)?;
    }
    let plan = Plan {
        workload: args.workload,
        connections: args.connections,
        in_flight: args.in_flight as usize,
        total: args.total,
        keys,
        timeout: client.options().timeout,
        addresses,
        next: AtomicU64::new(0),
    };
    let (tally, elapsed) = plan.run()?;
    let verified = verify::read_back(&tally.sample, keys, client)?;
    let report = Report::new(&plan, &tally, elapsed, verified);
    report.print(out, format).map_err(Failure::Output)?;
    out.flush().map_err(Failure::Output)?;
    report.judge(&tally)
}

impl BenchArgs {
    fn keys(&self) -> Result<Keys, Failure> {
        let digits = (self.keys - 1).to_string().len();
        let least = KEY_PREFIX.len() + digits;
        if self.key_size < least {
            return Err(Failure::Usage(format!(
                "{} keys need {least} bytes each: give a larger --key-size than {}, or fewer \
                 --keys",
                self.keys, self.key_size
            )));
        }
        Ok(Keys { count: self.keys, key_size: self.key_size, value_size: self.value_size })
    }

    /// Where the connections go.
    fn addresses(&self, cluster: &ClusterStatus) -> Result<Vec<String>, Failure> {
        let leader = status::leader(cluster).map(|(id, _)| id);
        let is_wanted = |id: u64| match (self.workload, self.target) {
            (Workload::Get, Target::All) => true,
            _ => Some(id) == leader,
        };
        let wanted: Vec<String> = cluster
            .nodes
            .iter()
            .filter(|row| row.status.is_ok() && is_wanted(row.member.id))
            .filter_map(|row| row.member.client_address.clone())
            .collect();
        if wanted.is_empty() {
            let sentence = "no node leads at the moment: wait for an election, and see status";
            return Err(Failure::Bench(sentence.into(), ExitCode::Unavailable));
        }
        Ok(wanted)
    }
}

/// Writes every key once, so that there is something to read.
fn fill(args: &BenchArgs, keys: Keys, client: &mut Client) -> Result<(), Failure> {
    let leader_only = BenchArgs { workload: Workload::Put, ..args.clone() };
    let plan = Plan {
        workload: Workload::Put,
        connections: args.connections.min(10),
        in_flight: args.in_flight as usize,
        total: keys.count,
        keys,
        timeout: client.options().timeout,
        addresses: leader_only.addresses(&client.cluster_status()?)?,
        next: AtomicU64::new(0),
    };
    let (tally, _) = plan.run_in_order()?;
    if tally.done() < keys.count {
        let why = tally.first_error.as_deref().unwrap_or("no reason was given");
        let sentence = format!("the keys to read could not all be written first: {why}");
        return Err(Failure::Bench(sentence, ExitCode::Unavailable));
    }
    Ok(())
}

impl Plan {
    /// The run itself: requests spread over the keys.
    fn run(&self) -> Result<(Tally, Duration), Failure> {
        self.run_with(Keys::index_of)
    }

    /// Every key once, if the total is the number of keys.
    fn run_in_order(&self) -> Result<(Tally, Duration), Failure> {
        self.run_with(|_, number| number)
    }

    /// Connects everything, then starts the clock and all connections.
    fn run_with(&self, index: fn(&Keys, u64) -> u64) -> Result<(Tally, Duration), Failure> {
        let connections = self.connect()?;
        let began = Instant::now();
        thread::scope(|scope| {
            let mut workers = Vec::new();
            for connection in connections {
                let worker = Worker::new(self, index);
                let spawned = thread::Builder::new()
                    .stack_size(STACK_BYTES)
                    .spawn_scoped(scope, move || worker.run(connection));
                match spawned {
                    Ok(worker) => workers.push(worker),
                    Err(error) => {
                        // Those that run already find nothing left to do.
                        self.next.store(self.total, Ordering::Relaxed);
                        return Err(no_thread(&error));
                    }
                }
            }
            let mut tally = Tally::new()?;
            for worker in workers {
                tally.add(worker.join().unwrap_or_else(|_| Err(worker::broken()))?)?;
            }
            Ok((tally, began.elapsed()))
        })
    }

    fn connect(&self) -> Result<Vec<Connection>, Failure> {
        let in_turn = (0..self.connections).zip(self.addresses.iter().cycle());
        let opened = in_turn.map(|(number, address)| {
            Connection::open(address, &Deadline::after(self.timeout)).map_err(|error| {
                let sentence = format!("connection {number}, to {address}, failed: {error}");
                Failure::Bench(sentence, ExitCode::Unavailable)
            })
        });
        opened.collect()
    }
}

fn no_thread(error: &io::Error) -> Failure {
    let sentence = format!("no thread for another connection ({error}): use fewer --connections");
    Failure::Bench(sentence, ExitCode::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys = Keys { count: 1_000, key_size: 16, value_size: 40 };

    #[test]
    fn keys_and_values_have_the_size_asked_for() {
        assert_eq!(KEYS.key(7), b"bench/0000000007");
        assert_eq!(KEYS.value(7).len(), 40);
        assert_ne!(KEYS.value(7), KEYS.value(8));
    }

    #[test]
    fn requests_reach_most_keys_and_no_others() {
        let mut hit = vec![false; 1_000];
        for number in 0..10_000 {
            hit[usize::try_from(KEYS.index_of(number)).expect("below a thousand")] = true;
        }
        assert!(hit.iter().filter(|hit| **hit).count() > 990);
    }
}
