//! Nanoseconds a command, of both.

use std::io;
use std::process::ExitCode;

use bench_core::Case;
use bench_core::documented::Documented;
use bench_core::options::Options;
use bench_core::peer::RaftRs;
use bench_core::report::{self, Row};
use bench_core::rounds::{self, Pair};

/// The name of a column, and what stands in it.
type Differs = (&'static str, fn(&Case) -> String);

fn main() -> ExitCode {
    let options = match Options::from_args(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("speed: {why}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("speed: cannot write {:?}: {why}", options.json);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    println!(
        "Medians of {} interleaved rounds of {:?} each; the ratio is the median of the rounds'.",
        options.rounds, options.slice
    );
    let depths = [1, 16, 256].map(Case::at_depth);
    let differs: Differs = ("depth", |case| case.depth.to_string());
    let title = "Three nodes, 16 bytes, raft-rs driven as its documentation does";
    let pairs = rounds::compare::<Documented>(&depths, options);
    show("depth-documented", title, differs, &pairs, options)?;
    let title = "Three nodes, 16 bytes, raft-rs driven as fast as we know how, here and below";
    let pairs = rounds::compare::<RaftRs>(&depths, options);
    show("depth", title, differs, &pairs, options)?;

    let differs: Differs = ("nodes, depth", |case| format!("{}, {}", case.nodes, case.depth));
    for depth in [1, 256] {
        let cases = [1, 3, 5, 7].map(|nodes| Case { nodes, ..Case::at_depth(depth) });
        let pairs = rounds::compare::<RaftRs>(&cases, options);
        show("nodes", "By the size of the cluster, 16 bytes", differs, &pairs, options)?;
    }

    let sizes = [16, 256, 4 << 10, 64 << 10];
    let cases = sizes.map(|command_bytes| Case { command_bytes, ..Case::at_depth(16) });
    let differs: Differs = ("bytes a command", |case| case.command_bytes.to_string());
    let pairs = rounds::compare::<RaftRs>(&cases, options);
    show("bytes", "By the size of a command, depth 16", differs, &pairs, options)?;

    let differs: Differs =
        ("entries before, depth", |case| format!("{}, {}", case.log_entries, case.depth));
    let pairs = rounds::compare_along_the_log::<RaftRs>(&[1, 256], options);
    show("log", "By the length of the log, 16 bytes", differs, &pairs, options)
}

fn show(
    section: &str,
    title: &str,
    differs: Differs,
    pairs: &[Pair],
    options: &Options,
) -> io::Result<()> {
    let rows: Vec<_> = pairs.iter().map(Row::from).collect();
    report::print(title, differs, &rows);
    match &options.json {
        Some(path) => report::append_json(path, section, &rows),
        None => Ok(()),
    }
}
