//! Puts the load of `kv-cli bench` on etcd, and prints the same figures.
//!
//! A closed loop: so many connections, each with so many requests in flight, each of which is
//! asked again when it is answered. Puts and linearizable reads go to the leader, which is where
//! they are fastest. The time before the measured one is not counted.

mod member;
mod messages;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::member::Member;
use crate::messages::{PutRequest, RangeRequest};

/// Puts the load of kv-cli bench on etcd
#[derive(Clone, Debug, Parser)]
struct Flags {
    /// The members, HOST:PORT, separated by commas
    #[arg(long, value_delimiter = ',')]
    endpoints: Vec<String>,
    #[arg(long, value_enum)]
    workload: Workload,
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Requests that each connection keeps waiting
    #[arg(long, default_value_t = 10)]
    in_flight: usize,
    /// How many requests to measure, instead of --seconds
    #[arg(long)]
    total: Option<u64>,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    #[arg(long, default_value_t = 1)]
    warm_up_seconds: u64,
    #[arg(long, default_value_t = 256)]
    value_size: usize,
    #[arg(long, default_value_t = 10_000)]
    keys: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    Put,
    Get,
    GetStale,
}

/// What one of the requests that are always in flight has to do.
struct Share {
    number: u64,
    member: Member,
    flags: Arc<Flags>,
    template: Arc<Vec<u8>>,
    starts: Instant,
    ends: Instant,
    /// Requests to measure, if not the clock ends it.
    total: Option<u64>,
}

struct Tally {
    latencies: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
    seconds: Vec<u64>,
    ended: Instant,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(flags)),
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("peers-etcd: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<serde_json::Value, String> {
    let flags = Arc::new(flags);
    let leader = leader(&flags.endpoints).await?;
    if flags.workload != Workload::Put {
        fill(&leader, &flags).await?;
    }
    let mut members = Vec::new();
    for _ in 0..flags.connections {
        members.push(Member::connect(&leader).await?);
    }
    let starts = Instant::now() + Duration::from_secs(flags.warm_up_seconds);
    let ends = starts + Duration::from_secs(flags.seconds);
    let clients = (flags.connections * flags.in_flight) as u64;
    let template = Arc::new(template(flags.value_size));
    let mut running = Vec::new();
    for number in 0..clients {
        let member = members[usize::try_from(number).unwrap_or(0) % members.len()].clone();
        let total = flags.total.map(|total| total / clients + u64::from(number < total % clients));
        let (flags, template) = (Arc::clone(&flags), Arc::clone(&template));
        let share = Share { number, member, flags, template, starts, ends, total };
        running.push(tokio::spawn(work(share)));
    }
    let mut all = Tally::new(starts);
    for share in running {
        all.add(&share.await.map_err(|error| error.to_string())?);
    }
    Ok(all.figures(&flags, starts))
}

async fn leader(endpoints: &[String]) -> Result<String, String> {
    for address in endpoints {
        let mut member = Member::connect(address).await?;
        if member.leads().await.map_err(|status| status.to_string())? {
            return Ok(address.clone());
        }
    }
    Err("no member leads".into())
}

/// Writes every key once, so that there is something to read.
async fn fill(leader: &str, flags: &Flags) -> Result<(), String> {
    const AT_A_TIME: usize = 64;
    let member = Member::connect(leader).await?;
    let template = Arc::new(template(flags.value_size));
    let mut running = Vec::new();
    for first in 0..AT_A_TIME as u64 {
        let (mut member, template) = (member.clone(), Arc::clone(&template));
        let keys = flags.keys;
        running.push(tokio::spawn(async move {
            for number in (first..keys).step_by(AT_A_TIME) {
                member.put(put(number, &template)).await?;
            }
            Ok::<_, tonic::Status>(())
        }));
    }
    for writer in running {
        let written = writer.await.map_err(|error| error.to_string())?;
        written.map_err(|status| status.to_string())?;
    }
    Ok(())
}

async fn work(mut share: Share) -> Tally {
    let mut tally = Tally::new(share.starts);
    let mut left = share.total.unwrap_or(u64::MAX);
    let mut draws = 0;
    loop {
        let since = Instant::now();
        let is_over = if share.total.is_some() { left == 0 } else { since >= share.ends };
        if is_over {
            return tally;
        }
        draws += 1;
        let key = scattered(share.number << 32 | draws) % share.flags.keys;
        let outcome = share.ask(key).await;
        if since >= share.starts {
            left = left.saturating_sub(1);
            tally.count(outcome, since, share.starts);
        }
    }
}

impl Share {
    async fn ask(&mut self, key: u64) -> Result<(), String> {
        match self.flags.workload {
            Workload::Put => {
                let answer = self.member.put(put(key, &self.template)).await;
                answer.map(drop).map_err(|status| status.to_string())
            }
            Workload::Get | Workload::GetStale => {
                let serializable = self.flags.workload == Workload::GetStale;
                let range = RangeRequest { key: name(key), serializable };
                let answer = self.member.range(range).await;
                match answer.map_err(|status| status.to_string())?.kvs.first() {
                    Some(pair) if pair.value.len() == self.template.len() => Ok(()),
                    _ => Err("a key that was written is missing".into()),
                }
            }
        }
    }
}

fn name(key: u64) -> Vec<u8> {
    format!("bench/{key:010}").into_bytes()
}

/// Letters that hardly compress. The first of them become the key's number.
fn template(value_size: usize) -> Vec<u8> {
    let letter = |place| b'0' + u8::try_from(scattered(place) % 64).unwrap_or(0);
    (0..).map(letter).take(value_size).collect()
}

fn put(key: u64, template: &[u8]) -> PutRequest {
    let mut value = template.to_vec();
    for (place, digit) in value.iter_mut().zip(format!("{key:016x}").into_bytes()) {
        *place = digit;
    }
    PutRequest { key: name(key), value }
}

/// The same number for the same one, and no order among them (the finisher of SplitMix64).
fn scattered(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Tally {
    fn new(starts: Instant) -> Self {
        let latencies = Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds in order");
        Self { latencies, errors: 0, first_error: None, seconds: Vec::new(), ended: starts }
    }

    fn count(&mut self, outcome: Result<(), String>, since: Instant, starts: Instant) {
        if let Err(why) = outcome {
            self.errors += 1;
            self.first_error.get_or_insert(why);
            return;
        }
        self.ended = Instant::now();
        let micros = u64::try_from((self.ended - since).as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros.max(1));
        let second = usize::try_from((self.ended - starts).as_secs()).unwrap_or(usize::MAX);
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, 0);
        }
        self.seconds[second] += 1;
    }

    fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("the same bounds");
        self.errors += other.errors;
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
        self.seconds.resize(self.seconds.len().max(other.seconds.len()), 0);
        for (second, more) in self.seconds.iter_mut().zip(&other.seconds) {
            *second += more;
        }
        self.ended = self.ended.max(other.ended);
    }

    fn figures(&self, flags: &Flags, starts: Instant) -> serde_json::Value {
        let seconds = (self.ended - starts).as_secs_f64();
        let done = self.latencies.len();
        let at = |quantile| self.latencies.value_at_quantile(quantile);
        let whole = self.seconds.split_last().map_or(&[][..], |(_, whole)| whole);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let ops_per_s = done as f64 / seconds.max(1e-9);
        json!({
            "done": done, "errors": self.errors, "first_error": self.first_error,
            "seconds": seconds, "ops_per_s": ops_per_s,
            "slowest_second": whole.iter().min().copied().unwrap_or(done),
            "p50_us": at(0.5), "p90_us": at(0.9), "p99_us": at(0.99), "p999_us": at(0.999),
            "max_us": self.latencies.max(),
            "connections": flags.connections, "in_flight": flags.in_flight,
            "value_size": flags.value_size,
        })
    }
}
