//! `cargo xtask ci`: everything that has to be right before a change is merged.
//!
//! The steps go from quick to slow, so that a small mistake is told at once, and they share what
//! they build: lints and documents use the checked dependencies, tests and the torture round the
//! compiled ones.

use std::time::{Duration, Instant};

use crate::bench::instructions;
use crate::failure::{Context, Failure};
use crate::torture;
use crate::workspace::{self, Profile, succeed};

/// The nodes and rounds of the torture step: enough to see a leader fall and a cluster go dark
/// and come back. `cargo xtask torture` does more.
const TORTURE: torture::Options = torture::Options { rounds: 1, nodes: 3 };

/// As many seeds as there are minutes for: `cargo xtask sim` runs as many as one likes.
const SIMULATION: [&str; 4] = ["--seeds", "20000", "--minutes", "2"];

/// The same of whole servers: some twenty-five seconds of two cores.
const SERVERS: [&str; 5] = ["--server", "--seeds", "700", "--minutes", "1"];

type Step = (&'static str, fn() -> Result<(), Failure>);

const STEPS: [Step; 11] = [
    ("format", || succeed(&mut workspace::cargo(&["fmt", "--all", "--", "--check"]))),
    ("clippy", || {
        let mut clippy = workspace::cargo(&["clippy", "--workspace", "--all-targets", "--locked"]);
        clippy.args(["--", "-D", "warnings"]);
        succeed(&mut clippy)
    }),
    ("tidy", crate::tidy::run),
    ("tests", || succeed(&mut workspace::cargo(&["test", "--workspace", "--locked"]))),
    ("features", || {
        let core = ["-p", "raft-core", "--features", "serde", "--test", "serde_feature"];
        let mut clippy = workspace::cargo(&["clippy", "--lib", "--locked"]);
        clippy.args(core).args(["--", "-D", "warnings"]);
        succeed(&mut clippy)?;
        let mut test = workspace::cargo(&["test", "--locked"]);
        test.args(core);
        succeed(&mut test)
    }),
    ("packages", || {
        // What they need was fetched by the steps before.
        let mut package = workspace::cargo(&["package", "--no-verify", "--allow-dirty"]);
        package.args(["--offline", "-p", "wire", "-p", "handoff", "-p", "raft-core"]);
        package.args(["-p", "raft-storage", "-p", "raft-net-tcp"]);
        succeed(&mut package)
    }),
    ("planted", || {
        let mut test = workspace::cargo(&["test", "--package", "raft-sim", "--locked"]);
        test.args(["--features", "planted-bugs", "--test", "planted", "--test", "servers"]);
        succeed(&mut test)?;
        let mut test = workspace::cargo(&["test", "--package", "raft-storage", "--locked"]);
        test.args(["--features", "planted-bugs", "--test", "fuzz"]);
        succeed(&mut test)
    }),
    ("simulation", || {
        crate::sim::run(&SIMULATION.map(String::from))?;
        crate::sim::run(&SERVERS.map(String::from))
    }),
    ("docs", || {
        let mut doc = workspace::cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        succeed(&mut doc)
    }),
    ("instructions", || instructions::run(instructions::Options::default())),
    ("torture", || {
        let programs = workspace::build_programs(Profile::Test)?;
        torture::run(&programs.server, TORTURE)
    }),
];

/// Runs every step; prints each with its time, and all times at the end.
///
/// # Errors
///
/// The first step that fails; those after it are not run.
pub fn run() -> Result<(), Failure> {
    let mut times = Vec::new();
    for (name, step) in STEPS {
        println!("\n=== {name}");
        let start = Instant::now();
        step().context(|| format!("ci stops at step `{name}`"))?;
        times.push((name, start.elapsed()));
    }
    println!("\n{}", summary(&times));
    Ok(())
}

fn summary(times: &[(&str, Duration)]) -> String {
    let all: Duration = times.iter().map(|(_, time)| *time).sum();
    let rows = times.iter().copied().chain([("all of it", all)]);
    let rows = rows.map(|(name, time)| format!("{name:<12} {:>6.1} s", time.as_secs_f64()));
    format!("{}\nci: everything is right", rows.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_adds_up() {
        let times = [("format", Duration::from_millis(500)), ("clippy", Duration::from_secs(90))];
        let expected = "format          0.5 s\nclippy         90.0 s\nall of it      90.5 s\n\
                        ci: everything is right";
        assert_eq!(summary(&times), expected);
    }
}
