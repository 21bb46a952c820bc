//! The flags.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use flags::whole;

use crate::addresses;
use crate::command::Action;
use crate::failure::Failure;

/// Where a node started without flags serves its clients.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:9080";

/// Paragraphs on one line each: clap breaks them where the terminal ends.
const AFTER_HELP: &str = concat!(
    "Without a COMMAND, a terminal gets a prompt; otherwise commands are read from standard ",
    "input, one on each line. Words are separated by spaces and may be quoted: 'as it is', or ",
    r#""with \" \\ \n \t \x00". "#,
    "Empty lines, and those that begin with #, are skipped. A command that fails does not stop ",
    "those after it; the exit code is that of the last one that failed.\n\n",
    "A key or a value that begins with - goes behind --, as in: put -- -key -value\n\n",
    "Exit codes: 0 done, 1 not found, 2 wrong usage, 3 comparison failed, 4 unavailable (and ",
    "nothing was changed), 5 outcome of a write unknown, 6 not permitted.",
);

/// Under what the flags stand that go with every command.
const COMMON: &str = "Options of every command";

/// Reads and writes a replicated key-value store.
#[derive(Debug, Parser)]
#[command(name = "kv-cli", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Args {
    /// The servers' Raft addresses, as given to the servers: HOST:PORT or ID=HOST:PORT, separated
    /// by commas. Clients are served at each port plus the offset
    #[arg(long, value_name = "RAFT_ADDRESSES", conflicts_with = "endpoints")]
    #[arg(global = true, help_heading = COMMON)]
    cluster: Option<String>,

    /// The servers' client addresses: HOST:PORT, separated by commas. They are used exactly as
    /// given [default: 127.0.0.1:9080]
    #[arg(long, value_name = "CLIENT_ADDRESSES", global = true, help_heading = COMMON)]
    endpoints: Option<String>,

    /// How far the client port lies above the Raft port, with --cluster
    #[arg(long, value_name = "PORTS", default_value_t = 1000, global = true, help_heading = COMMON)]
    #[arg(value_parser = whole(0..=u16::MAX))]
    client_port_offset: u16,

    /// The longest that one request takes, with everything that is tried: 5s, 500ms, 1m; a bare
    /// number is milliseconds
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    #[arg(global = true, help_heading = COMMON)]
    pub(crate) timeout: Duration,

    /// How to print results
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    #[arg(global = true, help_heading = COMMON)]
    pub(crate) output: Format,

    #[command(subcommand)]
    pub(crate) action: Option<Action>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // For people, and for shells. (A doc comment would make the help three times as long.)
    Text,
    // One JSON object for each command.
    Json,
}

impl Args {
    /// The client addresses that the flags mean.
    pub(crate) fn endpoints(&self) -> Result<Vec<String>, Failure> {
        let endpoints = match (&self.cluster, &self.endpoints) {
            (Some(cluster), _) => addresses::of_cluster(cluster, self.client_port_offset),
            (None, Some(endpoints)) => addresses::of_endpoints(endpoints),
            (None, None) => Ok(vec![DEFAULT_ENDPOINT.into()]),
        };
        endpoints.map_err(Failure::Usage)
    }
}

/// Reads a duration that leaves some time.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match flags::duration(text)? {
        Duration::ZERO => Err("it leaves no time at all: give at least 1ms".into()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_says_what_to_write_instead_of_a_wrong_number() {
        assert_eq!(flags::unhelpful(&Args::command()), Vec::<String>::new());
    }

    #[test]
    fn a_duration_leaves_some_time() {
        assert_eq!(duration("1"), Ok(Duration::from_millis(1)));
        for none in ["0", "0s", "5d"] {
            assert!(duration(none).is_err(), "{none}");
        }
    }
}
