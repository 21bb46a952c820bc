//! The flags.

use std::time::Duration;

use clap::{Parser, ValueEnum};

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

/// Parses `5s`, `500ms`, `2m`, `1h`, or a bare number of milliseconds; not zero.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| "write a whole number and a unit, such as 5s or 500ms".to_owned())?;
    let millis = match &text[digits.len()..] {
        "" | "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        unit => return Err(format!("there is no unit {unit:?}: use ms, s, m or h")),
    };
    match millis {
        Some(0) => Err("it leaves no time at all: give at least 1ms".into()),
        Some(millis) => Ok(Duration::from_millis(millis)),
        None => Err("it is longer than can be counted in milliseconds".into()),
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
    fn durations_have_units_and_bare_numbers_are_milliseconds() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("50"), Ok(Duration::from_millis(50)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(duration("3h"), Ok(Duration::from_hours(3)));
        for bad in ["", "s", "0", "0s", "-1s", "1.5s", "5d", "5 s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(duration("18446744073709551615s").is_err());
    }
}
