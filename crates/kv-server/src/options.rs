//! The flags of `kv-server`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser};
use flags::{Size, whole};
use kv_store::Retention;

use crate::commands::Command;
use crate::log_keep::LogKeep;
use crate::members::{Address, Members};
use crate::timing::{Span, TimingMode};

/// A node of a replicated key-value store.
///
/// With no flags it is a cluster of one node that keeps its data in ./kv-data. Give every node of a
/// larger cluster the same --cluster, and each its own --node-id and --data-dir.
///
/// Ctrl-C, or SIGTERM, stops it in order; a second one ends it at once.
#[derive(Clone, Debug, Parser)]
#[command(name = "kv-server", version, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    /// What to do other than serve.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The flags of a node that serves.
    #[command(flatten)]
    pub node: NodeOptions,
}

/// The flags of a node that serves.
#[derive(Clone, Debug, Args)]
pub struct NodeOptions {
    /// Which node it is, and of which cluster.
    #[command(flatten)]
    pub member: MemberOptions,

    /// The cluster's id, of one that was restored or recovered: as 'kv-server restore' told it.
    /// Only for a data directory that does not know it, because it is new [default: made of
    /// --cluster]
    #[arg(long, value_name = "HEX", value_parser = cluster_id)]
    pub cluster_id: Option<u64>,

    /// Where to listen for clients [default: the host of --bind, at the Raft port plus
    /// --client-port-offset]
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "client_port_offset")]
    pub client_bind: Option<Address>,

    /// How far the port for clients is from the Raft port
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = whole(1..=u16::MAX))]
    pub client_port_offset: u16,

    /// This node was a member and lost its data directory: it gets everything from the others, who
    /// all have to run, and does not vote until it has it
    #[arg(long)]
    pub rejoin: bool,

    /// How much of the past can be read.
    #[command(flatten)]
    pub past: PastOptions,

    /// How much of the log is kept, and how fast snapshots go.
    #[command(flatten)]
    pub log: LogOptions,

    /// How the node's clock ticks.
    #[command(flatten)]
    pub timing: TimingOptions,

    /// Tell what happens inside; RUST_LOG, if set, has the last word
    #[arg(short, long)]
    pub verbose: bool,
}

/// Which node it is, and of which cluster.
#[derive(Clone, Debug, Args)]
pub struct MemberOptions {
    /// Which member of the cluster this node is
    #[arg(long, value_name = "ID", default_value_t = 1)]
    #[arg(value_parser = whole(1..=u64::MAX))]
    pub node_id: u64,

    /// Where to listen for the other nodes [default: this node's address in --cluster, or
    /// 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    pub bind: Option<Address>,

    /// Every member and its Raft address; bare addresses are numbered from 1 [default: only this
    /// node]
    #[arg(long, value_name = "1=HOST:PORT,2=...")]
    pub cluster: Option<Members>,

    /// Where the node keeps its data
    #[arg(long, value_name = "DIR", default_value = "kv-data")]
    pub data_dir: PathBuf,
}

/// How much of the past can be read: the stricter of the two bounds counts. The current value of a
/// key is not the past; it always stays.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Old revisions (give every node the same)")]
pub struct PastOptions {
    /// How many revisions before the current one can be read
    #[arg(long, value_name = "N", default_value_t = Retention::default().revisions)]
    #[arg(value_parser = whole(0..=u64::MAX))]
    pub keep_revisions: u64,

    /// How long a revision can be read after it was superseded; 0 for no such limit
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub keep_time: Span,
}

/// How much of the log is kept for nodes that are behind, and how fast they are sent snapshots.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Log (sizes: 64KiB, 32MiB, 1GiB; a bare number is bytes)")]
pub struct LogOptions {
    /// How many committed entries stay in the log for nodes that are behind
    #[arg(long, value_name = "N", default_value_t = LogKeep::default().entries)]
    #[arg(value_parser = whole(0..=u64::MAX))]
    pub log_keep_entries: u64,

    /// The most of the log that stays for nodes that are behind and catching up
    #[arg(long, value_name = "SIZE", default_value_t = Size(LogKeep::default().bytes))]
    pub log_keep_size: Size,

    /// The size of a file of the log: whole files are removed
    #[arg(long, value_name = "SIZE", hide = true)]
    #[arg(default_value_t = Size(raft_storage::Options::DEFAULT_SEGMENT_BYTES))]
    pub log_segment_size: Size,

    /// How much room is set aside for the day on which the disk is full: for votes, and for what
    /// is under way then; 0 for none
    #[arg(long, value_name = "SIZE")]
    #[arg(default_value_t = Size(raft_storage::Options::DEFAULT_RESERVE_BYTES))]
    pub log_reserve: Size,

    /// The most that a snapshot for another node takes of the network in a second; 0 for no limit
    #[arg(long, value_name = "SIZE", default_value_t = Size(32 << 20))]
    pub snapshot_rate: Size,
}

/// How the node's clock ticks. Durations are written 50ms or 2s; a bare number is milliseconds.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Timing (durations: 50ms, 2s; a bare number is milliseconds)")]
pub struct TimingOptions {
    /// A preset; the flags below change single values of it
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    pub timing_mode: TimingMode,

    /// Short for --timing-mode fast
    #[arg(long, action = ArgAction::SetTrue)]
    #[arg(conflicts_with_all = ["timing_mode", "debug_mode", "demo_mode"])]
    pub fast_mode: bool,

    /// Short for --timing-mode debug
    #[arg(long, action = ArgAction::SetTrue, conflicts_with_all = ["timing_mode", "demo_mode"])]
    pub debug_mode: bool,

    /// Short for --timing-mode demo
    #[arg(long, action = ArgAction::SetTrue, conflicts_with = "timing_mode")]
    pub demo_mode: bool,

    /// The longest idle wait of the event loop; debug and demo also pace themselves to it
    #[arg(long, value_name = "TIME")]
    pub event_loop_delay: Option<Span>,

    /// Time between a leader's heartbeats; below half of --election-timeout-min
    #[arg(long, value_name = "TIME")]
    pub heartbeat_interval: Option<Span>,

    /// The shortest time without a leader before an election
    #[arg(long, value_name = "TIME")]
    pub election_timeout_min: Option<Span>,

    /// The longest such time; each wait is drawn between the two
    #[arg(long, value_name = "TIME")]
    pub election_timeout_max: Option<Span>,

    /// Holds back every message to another node for so long
    #[arg(long, value_name = "TIME", default_value = "0")]
    pub network_delay: Span,

    /// Holds back every reply to a client for so long
    #[arg(long, value_name = "TIME", default_value = "0")]
    pub client_delay: Span,
}

/// Parses the id of a cluster, which people see in hexadecimal.
fn cluster_id(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16)
        .map_err(|_| "write 1 to 16 hexadecimal digits, as in e900992eade5f14f".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_flag_says_what_to_write_instead_of_a_wrong_number() {
        assert_eq!(flags::unhelpful(&Options::command()), Vec::<String>::new());
    }
}
