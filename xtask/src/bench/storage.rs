//! `cargo xtask bench storage`: what the log costs beside the bare disk, and what the store costs.
//!
//! Each part is measured by an example of the crate that it is about, which can be run by itself
//! as well. This builds them for release, and runs them on one directory, one after the other.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;

use crate::failure::{Context, Failure};
use crate::workspace::{self, succeed};

/// What to measure, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which part
    #[arg(value_enum, default_value_t = Part::All)]
    pub part: Part,
    /// A directory on the disk to measure; what is made there is removed again [default: the
    /// target folder]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// A part of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// All of them
    All,
    /// The log: appends beside writing and syncing the same bytes, and recovery
    Log,
    /// The store: puts, reads, scans, memory, restart, snapshots, and how long single puts wait
    Store,
}

/// A program that measures one part: an example of a package. Its one argument is the directory.
struct Program {
    part: Part,
    package: &'static str,
    example: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program { part: Part::Log, package: "raft-storage", example: "sync_cost" },
    Program { part: Part::Store, package: "kv-store", example: "measure" },
];

/// Builds the programs, and runs them.
///
/// # Errors
///
/// If one does not build, or fails.
pub fn run(options: &Options) -> Result<(), Failure> {
    let target = workspace::metadata()?.target_directory.into_std_path_buf();
    let directory = options.directory.clone().unwrap_or_else(|| target.clone());
    let chosen =
        |program: &&Program| matches!(options.part, Part::All) || options.part == program.part;
    for program in PROGRAMS.iter().filter(chosen) {
        measure(program, &target, &directory)?;
    }
    Ok(())
}

fn measure(program: &Program, target: &Path, directory: &Path) -> Result<(), Failure> {
    let mut build = workspace::cargo(&["build", "--release", "--locked"]);
    build.args(["--package", program.package, "--example", program.example]);
    succeed(&mut build)?;
    let folder = tempfile::tempdir_in(directory)
        .context(|| format!("cannot make a folder in {}", directory.display()))?;
    println!("\n=== {} ({})", program.example, program.package);
    let mut run = Command::new(target.join("release/examples").join(program.example));
    succeed(run.arg(folder.path()))
}
