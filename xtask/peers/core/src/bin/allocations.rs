//! Allocations a command, of both: how many, and of how many bytes. Reallocations count as well.
//!
//! A program of its own: counting takes time, so what is timed is not counted. What a driver has to
//! allocate to propose a batch is included for both, the bytes of the commands are not.

use std::alloc::System;
use std::process::ExitCode;

use bench_core::options::Options;
use bench_core::ours::RaftCore;
use bench_core::peer::RaftRs;
use bench_core::report::{self, Row};
use bench_core::{Case, Cluster};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let options = match Options::from_args(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("allocations: {why}");
            return ExitCode::from(2);
        }
    };
    let rows = [1, 16, 256].map(|depth| row(Case::at_depth(depth)));
    let differs: (_, fn(&Case) -> String) = ("depth", |case| case.depth.to_string());
    report::print("Allocations a command, three nodes, 16 bytes", differs, &rows);
    let Some(path) = &options.json else {
        return ExitCode::SUCCESS;
    };
    match report::append_json(path, "allocations", &rows) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("allocations: cannot write {}: {why}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn row(case: Case) -> Row {
    let (ours, peer) = (count::<RaftCore>(case), count::<RaftRs>(case));
    let figures = vec![
        ("raft_core_allocs", ours.0),
        ("raft_core_bytes", ours.1),
        ("raft_rs_allocs", peer.0),
        ("raft_rs_bytes", peer.1),
    ];
    Row { case, figures }
}

/// Allocations and bytes for each command, in a cluster whose queues have grown to their size.
#[expect(clippy::cast_precision_loss, reason = "a rounded figure is what is wanted")]
fn count<C: Cluster>(case: Case) -> (f64, f64) {
    const COMMANDS: usize = 1 << 20;
    let mut cluster = C::start(case.nodes, case.command_bytes);
    let batches = COMMANDS / case.depth;
    (0..batches).for_each(|_| cluster.commit(case.depth));
    let region = Region::new(COUNTING);
    (0..batches).for_each(|_| cluster.commit(case.depth));
    let change = region.change();
    let per_command = |count: usize| count as f64 / (batches * case.depth) as f64;
    let bytes = change.bytes_allocated;
    (per_command(change.allocations + change.reallocations), per_command(bytes))
}
