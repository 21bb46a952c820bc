//! `cargo xtask bench`: figures taken side by side, in one run on one machine.
//!
//! [`cluster`] compares the whole store with others, [`core`] raft-core with raft-rs, and
//! [`instructions`] counts what the two do. [`storage`] compares the log with the bare disk, and
//! says what the store costs.

pub mod cluster;
pub mod core;
pub mod instructions;
pub mod storage;

use std::process::Command;

use crate::failure::{Context, Failure};

fn succeed(command: &mut Command) -> Result<(), Failure> {
    let shown = format!("{command:?}");
    let status = command.status().context(|| format!("cannot run {shown}"))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("{shown} ended with {status}")))
}
