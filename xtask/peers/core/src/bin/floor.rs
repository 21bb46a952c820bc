//! As `work`, of nodes that decide nothing: `floor DEPTH BATCHES`. A program of its own, so that
//! the driver is compiled for each of the two as if there were no other.

use std::process::ExitCode;

use bench_core::Cluster;
use bench_core::floor::Floor;

fn main() -> ExitCode {
    let numbers: Option<Vec<usize>> =
        std::env::args().skip(1).map(|arg| arg.parse().ok()).collect();
    let Some(&[depth, batches]) = numbers.as_deref() else {
        eprintln!("floor: say a depth and a number of batches");
        return ExitCode::from(2);
    };
    let mut cluster = Floor::start(3, 16);
    (0..batches).for_each(|_| cluster.commit(depth));
    ExitCode::SUCCESS
}
