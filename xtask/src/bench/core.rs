//! `cargo xtask bench core`: raft-core beside raft-rs. All of the work is in `xtask/peers/core`, a
//! workspace of its own, so that the other library is built by those who measure and by nobody
//! else. This builds it and runs its two programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flags::whole;

use crate::failure::{Context, Failure};
use crate::workspace::{self, succeed};

/// The workspace of the comparison, below the root.
const MANIFEST: &str = "xtask/peers/core/Cargo.toml";

/// Where it is built: beside the project's own, and not mixed with it.
const TARGET_FOLDER: &str = "peers-core";

/// What is run: first what takes time, then what counts.
const PROGRAMS: [&str; 2] = ["speed", "allocations"];

/// What to measure and how thoroughly.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How often each figure is taken; the median counts
    #[arg(long, default_value_t = 9, value_parser = whole(1..=u32::MAX))]
    pub rounds: u32,
    /// How long each of these takes, in milliseconds
    #[arg(long, default_value_t = 150, value_parser = whole(1..=u32::MAX))]
    pub slice_ms: u32,
    /// The longest log to look at, in entries
    #[arg(long, default_value_t = 10_000_000, value_parser = whole(1..=u64::MAX))]
    pub longest_log: u64,
    /// Write every figure to this file, each as a line of JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Builds the comparison and runs it.
///
/// # Errors
///
/// If it does not build, if the file cannot be written, or if a program fails.
pub fn run(options: &Options) -> Result<(), Failure> {
    let programs = build()?;
    let json = options.json.as_deref().map(start_file).transpose()?;
    for program in PROGRAMS {
        let mut run = Command::new(programs.join(program));
        run.arg("--rounds").arg(options.rounds.to_string());
        run.arg("--slice-ms").arg(options.slice_ms.to_string());
        run.arg("--longest-log").arg(options.longest_log.to_string());
        if let Some(json) = &json {
            run.arg("--json").arg(json);
        }
        succeed(&mut run)?;
    }
    Ok(())
}

/// Builds the comparison; returns the folder of its programs.
pub(super) fn build() -> Result<PathBuf, Failure> {
    let target = workspace::metadata()?.target_directory.into_std_path_buf().join(TARGET_FOLDER);
    let mut build = workspace::cargo(&["build", "--release", "--manifest-path"]);
    build.arg(MANIFEST).arg("--target-dir").arg(&target);
    succeed(&mut build)?;
    Ok(target.join("release"))
}

/// Empties the file that the programs add to.
fn start_file(path: &Path) -> Result<PathBuf, Failure> {
    fs::write(path, "").context(|| format!("cannot write {}", path.display()))?;
    std::path::absolute(path).context(|| format!("cannot find {}", path.display()))
}
