//! The flags of `bench`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use flags::{Size, whole};
use kv_client::kv_proto::limits::MAX_FRAME_BYTES;

use crate::args::duration;

/// The flags of `bench`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// Write values; read them linearizably, or as one node has them; or write and read
    #[arg(long, value_enum, default_value = "put")]
    pub(crate) workload: Workload,
    /// With --workload mixed: how many of 100 requests are reads
    #[arg(long, value_name = "PERCENT", default_value_t = 50)]
    #[arg(value_parser = whole(0_u32..=100))]
    pub(crate) reads: u32,
    /// How many connections
    #[arg(long, default_value_t = 100, value_parser = whole(1_u32..=10_000))]
    pub(crate) connections: u32,
    /// How many requests each connection keeps waiting
    #[arg(long, default_value_t = 10, value_parser = whole(1_u32..=1_024))]
    pub(crate) in_flight: u32,
    /// How many requests in all [default: 100000, unless there is a --duration]
    #[arg(long, value_parser = whole(1..=u64::MAX), conflicts_with = "duration")]
    pub(crate) total: Option<u64>,
    /// For how long, instead of --total: 30s, 5m
    #[arg(long, value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// For how long to ask before anything is measured
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) warm_up: Option<Duration>,
    /// Ask so often a second, whether answers come or not; latencies run from when a request was
    /// due. Without it, each answer makes the next request
    #[arg(long, value_name = "PER_SECOND", value_parser = whole(1_u32..=10_000_000))]
    pub(crate) rate: Option<u32>,
    /// The size of each key: 64, 1KiB; a bare number is bytes
    #[arg(long, value_name = "SIZE", default_value = "16", value_parser = size)]
    pub(crate) key_size: usize,
    /// The size of each value: 256, 4KiB, 1MiB
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = size)]
    pub(crate) value_size: usize,
    /// How many different keys; they begin with "bench/". Those to be read are written first
    #[arg(long, default_value_t = 10_000, value_parser = whole(1_u64..=100_000_000))]
    pub(crate) keys: u64,
    /// Which keys are asked for: all alike, some far more often than others, or one after the other
    #[arg(long, value_enum, default_value = "uniform")]
    pub(crate) distribution: Distribution,
    /// Which nodes to read from: the leader alone, or all that are up. Puts go to the leader
    #[arg(long, value_enum, default_value = "leader")]
    pub(crate) target: Target,
    /// Connections that are open meanwhile, over all nodes that are up, and ask nothing
    #[arg(long, value_name = "CONNECTIONS", default_value_t = 0)]
    #[arg(value_parser = whole(0_u32..=60_000))]
    pub(crate) idle: u32,
    /// How many threads share the connections
    #[arg(long, default_value_t = 1, value_parser = whole(1_u32..=64))]
    pub(crate) threads: u32,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    Put,
    Get,
    GetStale,
    Mixed,
}

/// Which keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Distribution {
    Uniform,
    Zipf,
    Sequential,
}

/// Which nodes are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    Leader,
    All,
}

/// How many requests there are where nothing is said.
pub(crate) const DEFAULT_TOTAL: u64 = 100_000;

/// Reads a size that some server might take, in bytes.
fn size(text: &str) -> Result<usize, String> {
    let Size(bytes) = text.parse()?;
    let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= MAX_FRAME_BYTES);
    bytes.ok_or_else(|| {
        format!("no server takes so much: give at most {}", Size(MAX_FRAME_BYTES as u64))
    })
}
