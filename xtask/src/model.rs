//! `cargo xtask model`: every state of a small cluster. All of the work is in `raft-model`; this
//! builds it the way it is fastest and strictest, and hands the arguments on.

use crate::failure::{Context, Failure};
use crate::workspace;

/// Runs `raft-model` with these arguments: `--help` tells which there are.
///
/// # Errors
///
/// If it does not build, or if a state breaks a rule.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let mut model =
        workspace::cargo(&["run", "--quiet", "--profile", "sim", "--package", "raft-model"]);
    let status = model.arg("--").args(arguments).status();
    let status = status.context(|| "cannot run the model checker".into())?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new("the model checker did not end well: see above"))
}
