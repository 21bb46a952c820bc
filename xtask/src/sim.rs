//! `cargo xtask sim`: whole clusters in simulation, one per seed. All of the work is in `raft-sim`;
//! this builds it the way it is fastest and strictest, and hands the arguments on.

use crate::failure::{Context, Failure};
use crate::workspace;

/// Runs `raft-sim` with these arguments: `--help` tells which there are.
///
/// # Errors
///
/// If it does not build, or if a seed breaks a rule.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let mut sim =
        workspace::cargo(&["run", "--quiet", "--profile", "sim", "--package", "raft-sim"]);
    // Only where a mistake is wanted is there any in what is run.
    if arguments.iter().any(|argument| argument.starts_with("--plant")) {
        sim.args(["--features", "planted-bugs"]);
    }
    let status = sim.arg("--").args(arguments).status();
    let status = status.context(|| "cannot run the simulation".into())?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new("the simulation did not end well: see above"))
}
