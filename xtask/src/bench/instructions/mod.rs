//! `cargo xtask bench instructions`: how many instructions a put and a get need, piece by piece,
//! counted by callgrind, beside the figures that are stored.
//!
//! Time on a machine that does other things as well is good for ratios. A count is the same each
//! time, so it shows a hot path that has become a few percent longer. What it leaves out: that
//! some instructions take much longer than others, atomic ones and those that wait for memory, and
//! everything that the system does.
//!
//! The paths are in `xtask/hot-paths`, a program of its own; `figures` are what they needed when
//! somebody last looked, `callgrind` counts, `peers` sets raft-core beside raft-rs.

mod callgrind;
mod figures;
mod peers;

use std::path::{Path, PathBuf};

use self::callgrind::Callgrind;
use self::figures::Figures;
use crate::failure::{Context, Failure};
use crate::workspace::{self, succeed};

/// How far a count may be above the stored one, in percent. Another compiler alone makes a percent
/// or two.
const TOLERANCE_PERCENT: f64 = 5.0;

/// What stores the figures.
const STORE: &str = "cargo xtask bench instructions --store";

/// What is counted within `xtask/hot-paths`: one function, and all that it calls.
const COUNTED: &str = "*hot_paths*counted*";

/// What to count, and what to do with it.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Options {
    /// Store what is counted, to be compared with from now on
    #[arg(long, conflicts_with = "peers")]
    pub store: bool,
    /// Count raft-core beside raft-rs, and beside nodes that decide nothing
    #[arg(long)]
    pub peers: bool,
}

/// Counts every path and compares it with its stored figure. Where valgrind is not installed, it
/// says so and is content.
///
/// # Errors
///
/// If the programs do not build or run, or if a path needs more instructions than are stored.
pub fn run(options: Options) -> Result<(), Failure> {
    let Some(callgrind) = Callgrind::find()? else {
        println!("valgrind is not installed: no instructions were counted");
        return Ok(());
    };
    if options.peers {
        return peers::run(&callgrind);
    }
    let file = figures_file();
    let stored = Figures::read(&file)?;
    let program = build()?;
    let mut counted = Figures::default();
    println!("{:<14} {:>9} {:>9} {:>9}  what it is", "path", "stored", "measured", "change");
    for path in list(&program)? {
        let all = callgrind.count(&program, &[&path.name], Some(COUNTED))?;
        let count = all.div_ceil(u64::from(path.steps));
        println!("{}", row(&path, stored.of(&path.name), count));
        counted.note(&path.name, count);
    }
    if options.store {
        return counted.write(&file);
    }
    if !cfg!(target_arch = "x86_64") {
        println!("the stored figures are those of x86-64: nothing is compared here");
        return Ok(());
    }
    judge(&stored, &counted)
}

/// Where the stored figures are.
fn figures_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hot-paths/figures.txt")
}

/// Builds the paths; returns the program. Always in the same way: a build in increments is another
/// one.
fn build() -> Result<PathBuf, Failure> {
    let mut build = workspace::cargo(&["build", "--release", "--locked", "--package", "hot-paths"]);
    succeed(build.env("CARGO_INCREMENTAL", "0"))?;
    let target = workspace::metadata()?.target_directory.into_std_path_buf();
    Ok(target.join("release/hot-paths"))
}

/// A path as `xtask/hot-paths` lists it.
#[derive(Debug, PartialEq, Eq)]
struct HotPath {
    name: String,
    /// How many steps are counted.
    steps: u32,
    /// What one step is.
    meaning: String,
}

impl HotPath {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let name = words.next()?.to_owned();
        let steps = words.next()?.parse().ok().filter(|steps| *steps > 0)?;
        Some(Self { name, steps, meaning: words.next()?.to_owned() })
    }
}

/// All paths of `program`.
fn list(program: &Path) -> Result<Vec<HotPath>, Failure> {
    let listed = std::process::Command::new(program).output();
    let listed = listed.context(|| format!("cannot run {}", program.display()))?;
    let paths = String::from_utf8_lossy(&listed.stdout);
    let paths: Option<Vec<_>> = paths.lines().map(HotPath::parse).collect();
    let paths = paths.filter(|paths| !paths.is_empty());
    paths.ok_or_else(|| Failure::new(format!("{} does not list its paths", program.display())))
}

fn row(path: &HotPath, stored: Option<u64>, count: u64) -> String {
    let HotPath { name, meaning, .. } = path;
    let (stored, change) = match stored {
        Some(stored) => (stored.to_string(), format!("{:+.1} %", change_percent(stored, count))),
        None => ("-".to_owned(), "-".to_owned()),
    };
    format!("{name:<14} {stored:>9} {count:>9} {change:>9}  {meaning}")
}

#[expect(clippy::cast_precision_loss, reason = "a rounded figure is what is wanted")]
fn change_percent(stored: u64, counted: u64) -> f64 {
    (counted as f64 / stored as f64 - 1.0) * 100.0
}

/// Fails if a path has become clearly longer, or has no figure. One that has become clearly
/// shorter is no failure, but its figure should be stored, so that what was gained is not lost
/// again unseen.
fn judge(stored: &Figures, counted: &Figures) -> Result<(), Failure> {
    let mut complaints = Vec::new();
    for (name, count) in counted.all() {
        let Some(stored) = stored.of(name) else {
            complaints.push(format!("`{name}` has no stored figure"));
            continue;
        };
        let change = change_percent(stored, count);
        if change > TOLERANCE_PERCENT {
            complaints.push(format!(
                "`{name}` takes {count} instructions, {change:.1} % more than the stored {stored}"
            ));
        } else if change < -TOLERANCE_PERCENT {
            println!("`{name}` has become shorter: store its figure with `{STORE}`");
        }
    }
    if complaints.is_empty() {
        return Ok(());
    }
    let what = complaints.join("; ");
    Err(Failure::new(format!(
        "{what}: find out why, or run `{STORE}` and say in the commit what they are good for"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(count: u64) -> Figures {
        let mut figures = Figures::default();
        figures.note("core-1", count);
        figures
    }

    #[test]
    fn a_path_that_became_clearly_longer_is_a_failure_and_no_other() {
        let stored = figures(1000);
        assert_eq!(judge(&stored, &figures(1049)), Ok(()));
        assert_eq!(judge(&stored, &figures(500)), Ok(()));
        let failure = judge(&stored, &figures(1100)).expect_err("a tenth more");
        let said = "`core-1` takes 1100 instructions, 10.0 % more than the stored 1000: find out";
        assert!(failure.to_string().starts_with(said), "{failure}");
    }

    #[test]
    fn a_path_without_a_figure_is_a_failure() {
        let failure = judge(&Figures::default(), &figures(1)).expect_err("nothing is stored");
        assert!(failure.to_string().starts_with("`core-1` has no stored figure: find out"));
    }

    #[test]
    fn a_path_is_listed_with_its_steps_and_its_meaning() {
        let path = HotPath::parse("core-1 200 one command, three nodes").expect("a path");
        assert_eq!((path.name.as_str(), path.steps), ("core-1", 200));
        assert_eq!(path.meaning, "one command, three nodes");
        assert_eq!(HotPath::parse("core-1 0 of nothing"), None);
        assert_eq!(HotPath::parse("core-1"), None);
    }
}
