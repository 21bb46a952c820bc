//! What a bench says at its end.

use std::io::{self, Write};
use std::time::Duration;

use clap::ValueEnum;
use kv_client::kv_proto::ExitCode;
use serde::Serialize;

use crate::args::Format;
use crate::bench::Plan;
use crate::bench::verify::Verified;
use crate::bench::worker::Tally;
use crate::failure::Failure;
use crate::output;

/// The figures of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    workload: String,
    connections: u32,
    in_flight: usize,
    done: u64,
    /// Requests that were not done, for whatever reason.
    errors: u64,
    seconds: f64,
    ops_per_s: f64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    verified: u64,
    missing: u64,
}

impl Report {
    pub(crate) fn new(plan: &Plan, tally: &Tally, elapsed: Duration, verified: Verified) -> Self {
        let done = tally.done();
        let seconds = elapsed.as_secs_f64();
        let at = |quantile| tally.latencies.value_at_quantile(quantile);
        let workload = plan.workload.to_possible_value();
        Self {
            workload: workload.map_or_else(String::new, |value| value.get_name().to_owned()),
            connections: plan.connections,
            in_flight: plan.in_flight,
            done,
            errors: plan.total - done,
            seconds,
            ops_per_s: per_second(done, seconds),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: tally.latencies.max(),
            verified: verified.present,
            missing: verified.missing,
        }
    }

    pub(crate) fn print(&self, out: &mut impl Write, format: Format) -> io::Result<()> {
        if format == Format::Json {
            return output::json(out, self);
        }
        writeln!(
            out,
            "{} {}s in {:.2} s over {} connections with {} in flight each: {:.0} a second",
            self.done,
            self.workload,
            self.seconds,
            self.connections,
            self.in_flight,
            self.ops_per_s
        )?;
        writeln!(
            out,
            "latency in us: p50 {}, p90 {}, p99 {}, p99.9 {}, max {}",
            self.p50_us, self.p90_us, self.p99_us, self.p999_us, self.max_us
        )?;
        writeln!(
            out,
            "errors: {}; acknowledged writes read back: {} there, {} missing",
            self.errors, self.verified, self.missing
        )
    }

    /// Whether the run was what it should be: all done, and nothing lost.
    pub(crate) fn judge(&self, tally: &Tally) -> Result<(), Failure> {
        if self.missing > 0 {
            let sentence = format!(
                "{} acknowledged writes are missing: data was lost, keep the servers' directories",
                self.missing
            );
            return Err(Failure::Bench(sentence, ExitCode::NotFound));
        }
        if self.errors > 0 {
            let why = tally.first_error.as_deref().unwrap_or("no reason was given");
            let sentence = format!("{} requests were not done; the first: {why}", self.errors);
            return Err(Failure::Bench(sentence, ExitCode::Unavailable));
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
fn per_second(done: u64, seconds: f64) -> f64 {
    // A tenth is as much as any two runs agree on.
    (done as f64 / seconds.max(1e-9) * 10.0).round() / 10.0
}
