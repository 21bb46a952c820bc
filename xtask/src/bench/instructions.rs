//! `cargo xtask bench instructions`: how many instructions raft-core needs for a command, counted
//! by callgrind, beside the figure that is written down here.
//!
//! Time on a machine that does other things as well is good for ratios. A count is the same each
//! time, so it shows a hot path that has become a few percent longer. What it leaves out: that
//! some instructions take much longer than others, atomic ones and those that wait for memory.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use super::core;
use crate::failure::{Context, Failure};

/// What is counted: three nodes, and commands of 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// How many commands are proposed at once.
    depth: u32,
    /// How often, at first. The same again is what counts: by then all queues have their size.
    batches: u32,
    /// Instructions a command, the driver's among them, when they were last written down.
    stored: f64,
}

const CASES: [Case; 3] = [
    Case { depth: 1, batches: 10_000, stored: 5815.0 },
    Case { depth: 16, batches: 2_000, stored: 690.0 },
    Case { depth: 256, batches: 200, stored: 333.0 },
];

/// How far a count may be from the stored one. Another compiler alone makes a percent or two.
const TOLERANCE: f64 = 0.05;

/// Counts every case: of raft-core, of raft-rs, and of nodes that decide nothing. Where valgrind is
/// not installed, it says so and is content.
///
/// # Errors
///
/// If the programs do not build or run, or if raft-core needs more instructions than are stored.
pub fn run() -> Result<(), Failure> {
    if !is_valgrind_here()? {
        println!("valgrind is not installed: no instructions were counted");
        return Ok(());
    }
    let folder = core::build()?;
    let mut worse = Vec::new();
    println!("Instructions a command, three nodes, 16 bytes\n");
    println!(
        "{:>8} {:>12} {:>12} {:>12} {:>12}",
        "depth", "raft-core", "stored", "raft-rs", "floor"
    );
    for case in CASES {
        let count = |program, library| count(&folder.join(program), library, case);
        let (ours, peer) = (count("work", Some("raft-core"))?, count("work", Some("raft-rs"))?);
        let (floor, Case { depth, stored, .. }) = (count("floor", None)?, case);
        println!("{depth:>8} {ours:>12.0} {stored:>12.0} {peer:>12.0} {floor:>12.0}");
        worse.extend(complaint(case, ours));
    }
    if worse.is_empty() { Ok(()) } else { Err(Failure::new(worse.join("; "))) }
}

fn is_valgrind_here() -> Result<bool, Failure> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context(|| "cannot run valgrind".into()),
    }
}

/// Instructions a command, once queues and caches are as full as they become.
fn count(program: &Path, library: Option<&str>, case: Case) -> Result<f64, Failure> {
    let first = collected(program, library, case.depth, case.batches)?;
    let both = collected(program, library, case.depth, 2 * case.batches)?;
    Ok((both - first) / f64::from(case.batches * case.depth))
}

/// The instructions of one whole run.
fn collected(
    program: &Path,
    library: Option<&str>,
    depth: u32,
    batches: u32,
) -> Result<f64, Failure> {
    let mut run = Command::new("valgrind");
    run.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args(library);
    run.args([depth, batches].map(|number| number.to_string()));
    let shown = format!("{run:?}");
    let output = run.output().context(|| format!("cannot run {shown}"))?;
    let report = String::from_utf8_lossy(&output.stderr);
    let count = read_count(&report).filter(|_| output.status.success());
    count.ok_or_else(|| Failure::new(format!("{shown} counted nothing: {report}")))
}

/// The figure in callgrind's own words.
fn read_count(report: &str) -> Option<f64> {
    let (_, count) = report.split_once("Collected :")?;
    count.split_whitespace().next()?.parse().ok()
}

/// What is wrong with this count, if anything is. One that has become better is no failure.
fn complaint(case: Case, counted: f64) -> Option<String> {
    let Case { depth, stored, .. } = case;
    if counted < stored * (1.0 - TOLERANCE) {
        println!("depth {depth} has become better: store {counted:.0} in {}", file!());
    }
    (counted > stored * (1.0 + TOLERANCE)).then(|| {
        let percent = (counted / stored - 1.0) * 100.0;
        format!(
            "at depth {depth}, a command takes {counted:.0} instructions, {percent:.0} % more than \
             the stored {stored:.0}: find out why, or store the new figure in {}",
            file!()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_what_callgrind_says() {
        let report = "==1== Events    : Ir\n==1== Collected : 722499533\n==1== \n==1== I refs:";
        assert_eq!(read_count(report), Some(722_499_533.0));
        assert_eq!(read_count("valgrind: work: No such file or directory"), None);
    }

    #[test]
    fn only_what_became_clearly_worse_is_a_failure() {
        let case = Case { depth: 1, batches: 1, stored: 1000.0 };
        assert_eq!(complaint(case, 1049.0), None);
        assert_eq!(complaint(case, 500.0), None);
        let said = complaint(case, 1100.0).expect("a tenth more");
        assert!(said.starts_with("at depth 1, a command takes 1100 instructions, 10 % more"));
    }
}
