//! `cargo xtask bench`: the whole store, three real processes with synced logs, under shapes of
//! load that can be compared with what others do.
//!
//! 1. Every shape begins with fresh nodes in an empty folder, and the system that is not measured
//!    does not run. With a peer, the two take turns shape by shape, so that both meet the same
//!    machine: compare the ratios, not the figures.
//! 2. Before each run the disk itself is measured, in the same folder: 4 KiB and `fdatasync`.
//! 3. Processor time is that of the servers, from the first request of the run to the last,
//!    warm-up and the writing of keys that are read included.
//! 4. A figure of ours counts only if every request was done and every acknowledged write was read
//!    back: `kv-cli bench` fails otherwise, and so does this.
//!
//! Reading order: `shape` says what is asked, `system` who is asked; `usage` is what the processes
//! took, `disk` the disk itself, `floor` nodes that decide nothing, `report` the table.

mod disk;
pub mod floor;
mod report;
mod shape;
mod system;
mod usage;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use flags::whole;
use tempfile::TempDir;

use crate::failure::{Context, Failure};
use crate::workspace::{self, Profile};
use report::Report;
use shape::{SHAPES, Shape};
use system::{Etcd, Floor, Ours, Redis, System};

/// What to measure, and beside whom.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only these shapes; `--list` shows all
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub shapes: Vec<String>,
    /// Show the shapes, and do nothing
    #[arg(long)]
    pub list: bool,
    /// How long each run is measured, in seconds; one more is for warming up
    #[arg(long, default_value_t = 10, value_parser = whole(1_u64..=3600))]
    pub seconds: u64,
    /// How often every shape is run; medians count
    #[arg(long, default_value_t = 1, value_parser = whole(1_u32..=100))]
    pub rounds: u32,
    /// Run the same shapes against somebody else
    #[arg(long, value_enum)]
    pub peer: Option<Peer>,
    /// Run this etcd or redis-server instead of the installed one
    #[arg(long, value_name = "PROGRAM", requires = "peer")]
    pub peer_program: Option<PathBuf>,
    /// Where the nodes keep their data meanwhile [default: the target folder]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Write every figure to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Run this kv-server instead of building one
    #[arg(long, value_name = "PROGRAM")]
    pub server: Option<PathBuf>,
}

/// Somebody to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// As many members as we have; `etcd` has to be installed
    Etcd,
    /// One node, not replicated, its append-only file always synced
    Redis,
    /// The bare disk, and three nodes that only move the bytes: what nobody can be faster than
    Floor,
}

/// Runs every shape, and prints the table.
///
/// # Errors
///
/// If a system cannot be started, or a run of ours was not perfect.
pub fn run(options: &Options) -> Result<(), Failure> {
    if options.list {
        for shape in &SHAPES {
            println!("{:<16} {}", shape.name, shape.meaning);
        }
        return Ok(());
    }
    let shapes = chosen(&options.shapes)?;
    let mut programs = workspace::build_programs(Profile::Release)?;
    if let Some(server) = &options.server {
        programs.server.clone_from(server);
    }
    let mut systems: Vec<Box<dyn System>> = vec![Box::new(Ours { programs })];
    match options.peer {
        None => {}
        Some(Peer::Etcd) => systems.push(Box::new(Etcd::build(options.peer_program.as_deref())?)),
        Some(Peer::Redis) => systems.push(Box::new(Redis::find(options.peer_program.as_deref())?)),
        Some(Peer::Floor) => {
            for floor in Floor::all()? {
                systems.push(Box::new(floor));
            }
        }
    }
    let directory = match &options.directory {
        Some(directory) => directory.clone(),
        None => workspace::metadata()?.target_directory.into_std_path_buf(),
    };
    let mut report = Report::new(options.rounds, &systems)?;
    for shape in shapes {
        for _ in 0..options.rounds {
            for system in &systems {
                measure(system.as_ref(), shape, options.seconds, &directory, &mut report)?;
            }
        }
        report.print(shape);
    }
    report.print_machine();
    options.json.as_deref().map_or(Ok(()), |path| report.write(path))
}

/// One shape on one system, if it can be asked that way.
fn measure(
    system: &dyn System,
    shape: &Shape,
    seconds: u64,
    directory: &Path,
    report: &mut Report,
) -> Result<(), Failure> {
    if !system.understands(shape) {
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("kv-bench-").tempdir_in(directory);
    let folder = folder.context(|| format!("cannot make a folder in {}", directory.display()))?;
    // What the run before left to the system is not to be written during this one.
    rustix::fs::sync();
    let sync_micros = disk::sync_micros(folder.path())?;
    let figures = system.run(shape, seconds, folder.path());
    // What the nodes said is there to be looked at.
    let doing = |kept: &Path| {
        format!("{}, {}; its folder is kept: {}", system.name(), shape.name, kept.display())
    };
    let figures = or_keep(figures, folder, doing)?;
    report.add(system.name(), shape, sync_micros, figures);
    Ok(())
}

/// What came of something that was done in `folder`, which stays if it failed, and goes otherwise.
fn or_keep<T>(
    outcome: Result<T, Failure>,
    folder: TempDir,
    doing: impl FnOnce(&Path) -> String,
) -> Result<T, Failure> {
    match outcome {
        Ok(done) => Ok(done),
        failed => failed.context(|| doing(&folder.keep())),
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Shape>, Failure> {
    if names.is_empty() {
        return Ok(SHAPES.iter().collect());
    }
    let find = |name: &String| {
        SHAPES.iter().find(|shape| shape.name == name).ok_or_else(|| {
            Failure::new(format!("there is no shape {name:?}: see cargo xtask bench --list"))
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A leader lost its place under a load, and why it did was gone with the folder.
    #[test]
    fn the_folder_of_a_run_stays_if_the_run_failed() {
        let home = tempfile::tempdir().expect("a folder");
        let inside = || TempDir::new_in(home.path()).expect("a folder");
        let left = || std::fs::read_dir(home.path()).expect("a folder").count();
        let doing = |kept: &Path| format!("kept: {}", kept.display());
        or_keep(Ok(()), inside(), doing).expect("it was fine");
        assert_eq!(left(), 0);
        let failed = or_keep::<()>(Err(Failure::new("no leader")), inside(), doing);
        let failed = failed.expect_err("it failed").to_string();
        assert!(failed.contains(&home.path().display().to_string()), "{failed}");
        assert!(failed.ends_with("no leader"), "{failed}");
        assert_eq!(left(), 1);
    }
}
