//! What a bench says at its end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::SystemTime;

use clap::ValueEnum;
use kv_client::kv_proto::ExitCode;
use serde::Serialize;

use crate::args::Format;
use crate::bench::plan::{Outcome, Plan};
use crate::bench::verify::Verified;
use crate::failure::Failure;
use crate::output;

/// The figures of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    workload: String,
    connections: u32,
    in_flight: usize,
    /// Requests a second that were asked for; without it, each answer made the next request.
    rate: Option<u32>,
    keys: u64,
    key_size: usize,
    value_size: usize,
    done: u64,
    /// Requests that were not done, for whatever reason.
    errors: u64,
    errors_by_reason: BTreeMap<String, u64>,
    /// Writes among them of which nobody knows whether they were done.
    unknown_writes: u64,
    seconds: f64,
    ops_per_s: f64,
    /// The fewest in any whole second.
    slowest_second: u64,
    each_second: Vec<u64>,
    /// The slowest that ended in each tenth of a second, from `measured_from_unix_us` on.
    slowest_us_each_tenth: Vec<u64>,
    measured_from_unix_us: u64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    idle_connections: u32,
    idle_connections_lost: u64,
    /// Connections that took the place of lost ones.
    reconnects: u64,
    /// Why the run ended before its time.
    gave_up: Option<String>,
    verified: u64,
    missing: u64,
    /// Keys with an acknowledged write that could not be read back.
    unverified: u64,
}

impl Report {
    pub(crate) fn new(plan: &Plan, outcome: &Outcome, lost_idle: u64, verified: Verified) -> Self {
        let tally = &outcome.tally;
        let done = tally.done();
        let seconds = outcome.elapsed.as_secs_f64();
        let at = |quantile| tally.latencies.value_at_quantile(quantile);
        let workload = plan.workload.to_possible_value();
        // The last second is cut short.
        let whole = tally.seconds.split_last().map_or(&[][..], |(_, whole)| whole);
        Self {
            workload: workload.map_or_else(String::new, |value| value.get_name().to_owned()),
            connections: plan.connections,
            in_flight: plan.in_flight,
            rate: plan.rate,
            keys: plan.keys.count(),
            key_size: plan.keys.key(0).len(),
            value_size: plan.keys.value_size(),
            done,
            errors: tally.failed(),
            errors_by_reason: tally.errors.clone(),
            unknown_writes: tally.unknown_writes,
            seconds,
            ops_per_s: per_second(done, seconds),
            slowest_second: whole.iter().copied().min().unwrap_or(done),
            each_second: tally.seconds.clone(),
            slowest_us_each_tenth: tally.slowest.clone(),
            measured_from_unix_us: unix_micros(outcome.measured_from),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: tally.latencies.max(),
            idle_connections: plan.idle,
            idle_connections_lost: lost_idle,
            reconnects: tally.reconnects,
            gave_up: outcome.gave_up.clone(),
            verified: verified.present,
            missing: verified.missing,
            unverified: verified.unread,
        }
    }

    pub(crate) fn print(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        if format == Format::Json {
            return output::json(out, self);
        }
        writeln!(
            out,
            "{}: {} in {:.2} s over {} connections with {} in flight each: {:.0} a second",
            self.workload,
            self.done,
            self.seconds,
            self.connections,
            self.in_flight,
            self.ops_per_s
        )?;
        if self.each_second.len() > 2 {
            writeln!(out, "slowest second: {}", self.slowest_second)?;
        }
        writeln!(
            out,
            "latency in us: p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            self.p50_us, self.p90_us, self.p99_us, self.p999_us, self.max_us
        )?;
        if self.idle_connections > 0 {
            let (idle, lost) = (self.idle_connections, self.idle_connections_lost);
            writeln!(out, "idle connections: {idle}, of which the servers closed {lost}")?;
        }
        writeln!(out, "errors: {}", self.errors)?;
        for (why, times) in &self.errors_by_reason {
            writeln!(out, "  {times} x {why}")?;
        }
        if self.unknown_writes > 0 {
            writeln!(out, "  {} of them are writes whose outcome is unknown", self.unknown_writes)?;
        }
        if self.reconnects > 0 {
            writeln!(out, "connections opened again: {}", self.reconnects)?;
        }
        if self.verified + self.missing > 0 {
            writeln!(
                out,
                "acknowledged writes read back: {} keys there, {} missing",
                self.verified, self.missing
            )?;
        }
        if self.unverified > 0 {
            writeln!(out, "acknowledged writes not read back: {} keys", self.unverified)?;
        }
        Ok(())
    }

    /// Whether the run was what it should be: all done, and nothing lost. `unread` says why
    /// acknowledged writes could not be read back.
    pub(crate) fn judge(&self, unread: Option<&Failure>) -> Result<(), Failure> {
        if self.missing > 0 {
            let sentence = format!(
                "{} acknowledged writes are missing: data was lost, keep the servers' directories",
                self.missing
            );
            return Err(Failure::Bench(sentence, ExitCode::NotFound));
        }
        let mut sentences = Vec::new();
        if let Some(why) = &self.gave_up {
            sentences.push(format!("the run ended early: {why}"));
        }
        if let Some((why, _)) = self.errors_by_reason.iter().max_by_key(|(_, times)| **times) {
            sentences.push(format!("{} requests were not done; most of them: {why}", self.errors));
        }
        if let Some(why) = unread {
            sentences.push(format!("acknowledged writes could not be read back: {why}"));
        }
        if sentences.is_empty() {
            return Ok(());
        }
        let is_unknown = self.unknown_writes > 0;
        let code = if is_unknown { ExitCode::Unknown } else { ExitCode::Unavailable };
        Err(Failure::Bench(sentences.join("\nkv-cli: "), code))
    }
}

fn unix_micros(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
fn per_second(done: u64, seconds: f64) -> f64 {
    // A tenth is as much as any two runs agree on.
    (done as f64 / seconds.max(1e-9) * 10.0).round() / 10.0
}
