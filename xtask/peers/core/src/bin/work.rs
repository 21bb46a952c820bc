//! A fixed amount of work, for programs that count instructions: `work OF DEPTH BATCHES`, where OF
//! is `raft-core`, `raft-rs` or `documented` (`raft-rs`, as its documentation drives it).

use std::process::ExitCode;

use bench_core::Cluster;
use bench_core::documented::Documented;
use bench_core::ours::RaftCore;
use bench_core::peer::RaftRs;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let numbers: Option<Vec<usize>> = args.iter().skip(1).map(|arg| arg.parse().ok()).collect();
    match (args.first().map(String::as_str), numbers.as_deref()) {
        (Some("raft-core"), Some(&[depth, batches])) => work::<RaftCore>(depth, batches),
        (Some("raft-rs"), Some(&[depth, batches])) => work::<RaftRs>(depth, batches),
        (Some("documented"), Some(&[depth, batches])) => work::<Documented>(depth, batches),
        _ => {
            eprintln!(
                "work: say raft-core, raft-rs or documented, then a depth and a number of batches"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn work<C: Cluster>(depth: usize, batches: usize) {
    let mut cluster = C::start(3, 16);
    (0..batches).for_each(|_| cluster.commit(depth));
}
