//! raft-core beside raft-rs, and beside nodes that decide nothing: what of its instructions is
//! left to be saved.

use std::path::Path;

use super::callgrind::Callgrind;
use crate::bench::core;
use crate::failure::Failure;

/// What is counted: three nodes, and commands of 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// How many commands are proposed at once.
    depth: u32,
    /// How often, at first. The same again is what counts: by then all queues have their size.
    batches: u32,
}

const CASES: [Case; 3] = [
    Case { depth: 1, batches: 10_000 },
    Case { depth: 16, batches: 2_000 },
    Case { depth: 256, batches: 200 },
];

/// Counts every case and prints the table.
pub(super) fn run(callgrind: &Callgrind) -> Result<(), Failure> {
    let folder = core::build()?;
    println!("Instructions a command, three nodes, 16 bytes\n");
    println!("{:>8} {:>12} {:>12} {:>12}", "depth", "raft-core", "raft-rs", "floor");
    for case in CASES {
        let count = |program, of| count(callgrind, &folder.join(program), of, case);
        let (ours, peer) = (count("work", Some("raft-core"))?, count("work", Some("raft-rs"))?);
        let (floor, depth) = (count("floor", None)?, case.depth);
        println!("{depth:>8} {ours:>12} {peer:>12} {floor:>12}");
    }
    Ok(())
}

/// Instructions a command, once queues and caches are as full as they become.
fn count(
    callgrind: &Callgrind,
    program: &Path,
    library: Option<&str>,
    Case { depth, batches }: Case,
) -> Result<u64, Failure> {
    let collected = |batches: u32| {
        let numbers = [depth, batches].map(|number| number.to_string());
        let numbers = numbers.iter().map(String::as_str);
        let arguments: Vec<_> = library.into_iter().chain(numbers).collect();
        callgrind.count(program, &arguments, None)
    };
    let (first, both) = (collected(batches)?, collected(2 * batches)?);
    Ok(both.saturating_sub(first) / u64::from(batches * depth))
}
