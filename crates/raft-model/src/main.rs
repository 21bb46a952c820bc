//! `raft-model`: explores one scenario. `cargo xtask model` builds it with optimisation and with
//! every assertion.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use flags::whole;
use raft_model::{ClusterModel, Limits, Mischief, Report, Rule, Scenario, explore};

/// Look at every state that a small Raft cluster can reach
#[derive(Parser, Debug)]
#[command(bin_name = "cargo xtask model")]
struct Arguments {
    /// Which cluster; without one, they are listed
    scenario: Option<String>,
    /// Stop after so many states, those that are met again included
    #[arg(long, value_parser = whole(1..=usize::MAX))]
    states: Option<usize>,
    /// Stop after so many minutes
    #[arg(long, value_parser = whole(1..=u64::MAX))]
    minutes: Option<u64>,
    /// How many threads explore
    #[arg(long, default_value_t = 1, value_parser = whole(1..=1024_usize))]
    threads: usize,
    #[command(flatten)]
    bounds: Bounds,
    /// Let every driver make this mistake, to see what comes of it
    #[arg(long, value_parser = Mischief::ALL.map(Mischief::name))]
    mischief: Option<String>,
}

/// Other bounds than the scenario's own
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Bounds")]
struct Bounds {
    /// No node enters a later term
    #[arg(long, value_parser = whole(0..=u64::MAX))]
    max_term: Option<u64>,
    /// Commands proposed, at most 16
    #[arg(long, value_parser = whole(0_u8..=16))]
    proposals: Option<u8>,
    /// Nodes that lose power
    #[arg(long, value_parser = whole(0..=u8::MAX))]
    crashes: Option<u8>,
    /// Nodes that lose power, and the end of their logs
    #[arg(long, value_parser = whole(0..=u8::MAX))]
    damages: Option<u8>,
    /// Messages that arrive twice
    #[arg(long, value_parser = whole(0..=u8::MAX))]
    repeats: Option<u8>,
    /// Heartbeats that fall due
    #[arg(long, value_parser = whole(0..=u8::MAX))]
    heartbeats: Option<u8>,
    /// Leaders that have not heard of a quorum for long
    #[arg(long, value_parser = whole(0..=u8::MAX))]
    step_downs: Option<u8>,
    /// Let disks take their time
    #[arg(long)]
    slow_disks: bool,
    /// Let pre-votes travel like all other messages
    #[arg(long)]
    slow_pre_votes: bool,
    /// Let an append carry one entry at most
    #[arg(long)]
    small_appends: bool,
}

impl Bounds {
    fn apply(&self, mut scenario: Scenario) -> Scenario {
        let budget = &mut scenario.budget;
        scenario.max_term = self.max_term.unwrap_or(scenario.max_term);
        budget.proposals = self.proposals.unwrap_or(budget.proposals);
        budget.crashes = self.crashes.unwrap_or(budget.crashes);
        budget.damages = self.damages.unwrap_or(budget.damages);
        budget.repeats = self.repeats.unwrap_or(budget.repeats);
        budget.heartbeats = self.heartbeats.unwrap_or(budget.heartbeats);
        budget.step_downs = self.step_downs.unwrap_or(budget.step_downs);
        scenario.has_slow_disks |= self.slow_disks;
        scenario.has_slow_pre_votes |= self.slow_pre_votes;
        scenario.has_small_appends |= self.small_appends;
        scenario
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(name) = &arguments.scenario else {
        return list();
    };
    let Some(scenario) = Scenario::named(name) else {
        eprintln!("raft-model: there is no scenario {name}: without one, they are listed");
        return ExitCode::from(2);
    };
    let scenario = arguments.bounds.apply(scenario);
    let mischief = arguments.mischief.as_deref().and_then(Mischief::named);
    let model = ClusterModel::with(scenario, mischief, Rule::ALL.to_vec());
    let limits = Limits {
        states: arguments.states,
        time: arguments.minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60))),
        threads: arguments.threads,
    };
    tell(&explore(model, limits))
}

fn list() -> ExitCode {
    for Scenario { name, about, .. } in Scenario::all() {
        println!("{name:12} {about}");
    }
    ExitCode::SUCCESS
}

fn tell(report: &Report) -> ExitCode {
    let Report { states, unique_states, depth, elapsed, .. } = report;
    let end = if report.is_complete { "all there are" } else { "not all there are" };
    println!("{unique_states} states, {end}, met {states} times");
    println!("depth {depth}, in {:.1} s", elapsed.as_secs_f64());
    for what in &report.missing {
        println!("never: {what}");
    }
    match &report.counterexample {
        Some((rule, transcript)) => {
            println!("this does not hold: {}\n{transcript}", rule.name());
            ExitCode::FAILURE
        }
        None if report.is_complete && !report.missing.is_empty() => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_flag_says_what_to_write_instead_of_a_wrong_number() {
        assert_eq!(flags::unhelpful(&Arguments::command()), Vec::<String>::new());
    }
}
