//! `raft-sim`: runs seeds, replays one, and shrinks what fails. `cargo xtask sim` builds it with
//! optimisation and with every assertion.

mod servers;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use flags::whole;
use raft_sim::campaign::{Campaign, Summary};
use raft_sim::coverage::Mark;
use raft_sim::faults::Faults;
use raft_sim::planted::Mistake;
use raft_sim::scenario::{MediumKind, Overrides, Scenario};
use raft_sim::server;
use raft_sim::shrink::shrink;
use raft_sim::{Violation, run};

/// How many runs the shrinker may take.
const MAX_SHRINK_RUNS: u32 = 500;

/// How many lines of a failing run are shown unasked.
const SHOWN_LINES: usize = 60;

/// How many runs pass between two signs of life.
const RUNS_PER_SIGN: u64 = 1000;

/// Run Raft clusters in simulation, one per seed, until one breaks a rule
#[derive(Parser, Debug)]
#[command(bin_name = "cargo xtask sim")]
struct Arguments {
    /// Replay this seed and show all that happens
    #[arg(long, conflicts_with_all = ["seeds", "from", "minutes", "jobs"])]
    #[arg(value_parser = whole(0..=u64::MAX))]
    seed: Option<u64>,
    /// How many seeds to run, unless the minutes are over before [default: 1000]
    #[arg(long, value_parser = whole(1..=u64::MAX))]
    seeds: Option<u64>,
    /// The first of them
    #[arg(long, default_value_t = 0, value_parser = whole(0..=u64::MAX))]
    from: u64,
    /// Begin no run after so many minutes
    #[arg(long, value_parser = whole(1..=u64::MAX))]
    minutes: Option<u64>,
    /// How many runs at a time [default: one per core]
    #[arg(long, value_parser = whole(1..=1024_usize))]
    jobs: Option<usize>,
    /// Clusters founded by so many nodes, from 1 to 8
    #[arg(long, value_parser = whole(1_u8..=8))]
    nodes: Option<u8>,
    /// So many more nodes, up to 8 in all, that may be added
    #[arg(long, value_parser = whole(0_u8..=7))]
    spares: Option<u8>,
    /// So many events before the faults end
    #[arg(long, value_parser = whole(0..=u64::MAX))]
    steps: Option<u64>,
    /// So many client operations at most
    #[arg(long, value_parser = whole(0..=usize::MAX))]
    operations: Option<usize>,
    /// Only these faults, by their names with commas between, or none
    #[arg(long)]
    faults: Option<Faults>,
    /// Keep the logs in memory, or as real logs on simulated disks
    #[arg(long, value_parser = ["memory", "disk"])]
    medium: Option<String>,
    /// No cramped limits, and no long commands
    #[arg(long)]
    roomy: bool,
    /// Make one mistake after the other, and tell how many seeds it takes until each is found
    /// [default: 10000 seeds at most]
    #[arg(long, conflicts_with_all = ["seed", "plant"])]
    planted: bool,
    /// Make this mistake, to see it found
    #[arg(long, value_name = "MISTAKE")]
    plant: Option<String>,
    /// Clusters of whole servers, with their stores, and with disks that are full
    #[arg(long, conflicts_with_all = [
        "nodes", "spares", "steps", "operations", "faults", "medium", "roomy",
    ])]
    server: bool,
}

impl Arguments {
    fn overrides(&self) -> Result<Overrides, String> {
        Ok(Overrides {
            nodes: self.nodes.map(usize::from),
            spares: self.spares.map(usize::from),
            steps: self.steps,
            operations: self.operations,
            faults: self.faults,
            medium: self.medium.as_deref().map(|name| match name {
                "disk" => MediumKind::Disk,
                _ => MediumKind::Memory,
            }),
            is_roomy: self.roomy,
            planted: self.plant.as_deref().map(mistake).transpose()?,
        })
    }

    fn campaign(&self) -> Result<Campaign, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let unbounded = match (self.minutes, self.planted) {
            (Some(_), _) => u64::MAX,
            (None, true) => 10_000,
            (None, false) if self.server => 200,
            (None, false) => 1000,
        };
        let minutes = self.minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)));
        Ok(Campaign {
            from: self.from,
            seeds: self.seeds.unwrap_or(unbounded),
            time: minutes.unwrap_or(Duration::MAX),
            jobs: self.jobs.unwrap_or(cores),
            overrides: if self.server { Overrides::default() } else { self.overrides()? },
        })
    }

    /// Runs what is asked for; whether everything is right.
    fn run(&self) -> Result<bool, String> {
        let campaign = self.campaign()?;
        if self.server {
            let planted = self.plant.as_deref().map(mistake_of_server).transpose()?;
            let Campaign { from, seeds, time, jobs, .. } = campaign;
            let campaign = server::campaign::Campaign { from, seeds, time, jobs, planted };
            return Ok(match self.seed {
                Some(seed) => servers::replay(seed, planted),
                None if self.planted => servers::hunt(&campaign),
                None => servers::explore(&campaign),
            });
        }
        Ok(match self.seed {
            Some(seed) => replay(seed, &campaign.overrides),
            None if self.planted => {
                let find = |mistake| campaign.hunting(mistake).run(|_| {}).failure;
                hunt(&Mistake::all(), Mistake::what, campaign.from, find)
            }
            None => explore(&campaign),
        })
    }
}

/// The mistake of this name that a server could make, or whoever drives it.
fn mistake_of_server(name: &str) -> Result<server::Mistake, String> {
    server::Mistake::named(name).ok_or_else(|| {
        let names: Vec<_> = server::Mistake::all().iter().map(ToString::to_string).collect();
        format!("there is no mistake of servers called {name:?}: give one of {}", names.join(", "))
    })
}

/// The mistake of this name.
fn mistake(name: &str) -> Result<Mistake, String> {
    Mistake::named(name).ok_or_else(|| {
        let names: Vec<_> = Mistake::all().iter().map(ToString::to_string).collect();
        format!("there is no mistake called {name:?}: give one of {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic in what is tested is reported like every other broken rule.
    std::panic::set_hook(Box::new(|_| {}));
    match arguments.run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => Arguments::command().error(ErrorKind::ValueValidation, why).exit(),
    }
}

/// Shows all that happens in one run; whether it breaks no rule.
fn replay(seed: u64, overrides: &Overrides) -> bool {
    let scenario = Scenario::draw(seed, overrides);
    show(&format!("{scenario:#?}"));
    let report = run(&scenario, true);
    report.trace.iter().for_each(|line| show(line));
    show(&format!("\n{}", report.coverage));
    show(&match &report.result {
        Ok(()) => format!("seed {seed}{overrides}: every rule holds in {} events", report.steps),
        Err(violation) => format!("seed {seed}{overrides}: event {}: {violation}", report.steps),
    });
    report.result.is_ok()
}

/// Runs many seeds; whether none of them breaks a rule.
fn explore(campaign: &Campaign) -> bool {
    let summary = campaign.run(|runs| {
        if runs.is_multiple_of(RUNS_PER_SIGN) {
            eprintln!("{runs} runs");
        }
    });
    show(&summary.coverage.to_string());
    let missing: Vec<_> = summary.coverage.missing().map(Mark::name).collect();
    if !missing.is_empty() {
        show(&format!("never reached: {}", missing.join(", ")));
    }
    show(&figures(&summary, campaign.jobs));
    match summary.failure {
        None => true,
        Some((seed, violation)) => {
            explain(seed, &campaign.overrides, &violation);
            false
        }
    }
}

/// Makes each of these mistakes; whether all were found. `find` says at which seed, and `what` what
/// each does.
fn hunt<M: Copy + Display>(
    mistakes: &[M],
    what: impl Fn(M) -> &'static str,
    from: u64,
    find: impl Fn(M) -> Option<(u64, Violation)>,
) -> bool {
    show("  seeds  mistake, and the rule that it breaks");
    let mut missed = 0;
    for mistake in mistakes.iter().copied() {
        let what = what(mistake);
        if let Some((seed, violation)) = find(mistake) {
            let seeds = seed - from + 1;
            show(&format!("{seeds:>7}  {mistake}: {what}\n{:>11}{}", "", violation.rule));
        } else {
            missed += 1;
            show(&format!("      -  {mistake}: {what}\n{:>11}not found", ""));
        }
    }
    show(&format!("{} of {} mistakes found", mistakes.len() - missed, mistakes.len()));
    missed == 0
}

fn figures(summary: &Summary, jobs: usize) -> String {
    let Summary { runs, steps, elapsed, .. } = summary;
    let per_core = |count: u64| {
        let micros = elapsed.as_micros().max(1) * jobs as u128;
        u128::from(count) * 1_000_000 / micros
    };
    format!(
        "{runs} runs, {steps} events in {elapsed:.1?} on {jobs} threads: {} runs and {} events a \
         second and thread",
        per_core(*runs),
        per_core(*steps)
    )
}

/// Says what is wrong in as few events as can be.
fn explain(seed: u64, overrides: &Overrides, violation: &Violation) {
    show(&format!("\nseed {seed}{overrides} breaks a rule: {violation}"));
    show("looking for the simplest run that does...");
    let Some(shrunk) = shrink(seed, overrides, MAX_SHRINK_RUNS) else {
        return show("run again, it breaks none: a run depends on more than its seed");
    };
    let report = run(&Scenario::draw(seed, &shrunk.overrides), true);
    let skipped = report.trace.len().saturating_sub(SHOWN_LINES);
    show(&format!("\n... {skipped} lines"));
    report.trace[skipped..].iter().for_each(|line| show(line));
    show(&format!("\n{}\n\nall of it ({} runs to find it):", shrunk.violation, shrunk.runs));
    show(&format!("cargo xtask sim --seed {seed}{}", shrunk.overrides));
}

/// Prints a line. Whoever closes the pipe has seen enough.
fn show(line: &str) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_says_what_to_write_instead_of_a_wrong_number() {
        assert_eq!(flags::unhelpful(&Arguments::command()), Vec::<String>::new());
    }
}
