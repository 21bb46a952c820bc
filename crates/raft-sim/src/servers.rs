//! `cargo xtask sim --server`: seeds of whole servers.

use raft_sim::server::campaign::{Campaign, Summary};
use raft_sim::server::{Mistake, Plan, run};

use super::show;

/// Shows all that happens in one run; whether it breaks no rule.
pub(super) fn replay(seed: u64, planted: Option<Mistake>) -> bool {
    let plan = Plan { planted, ..Plan::draw(seed) };
    show(&format!("{plan:#?}"));
    let report = run(&plan, true);
    report.trace.iter().for_each(|line| show(line));
    show(&format!("\n{}", report.tally));
    show(&match &report.result {
        Ok(()) => format!("seed {seed}: every rule holds in {} steps", report.steps),
        Err(violation) => format!("seed {seed}: step {}: {violation}", report.steps),
    });
    report.result.is_ok()
}

/// Runs many seeds; whether none of them breaks a rule.
pub(super) fn explore(campaign: &Campaign) -> bool {
    let summary = campaign.run();
    show(&summary.tally.to_string());
    show(&figures(&summary, campaign.jobs));
    let Some((seed, violation)) = summary.failure else { return true };
    show(&format!("\nseed {seed} breaks a rule: {violation}\n\nall of it:"));
    let plant = campaign.planted.map_or_else(String::new, |it| format!(" --plant {it}"));
    show(&format!("cargo xtask sim --server --seed {seed}{plant}"));
    false
}

/// Makes every mistake there is; whether each was found.
pub(super) fn hunt(campaign: &Campaign) -> bool {
    let find = |mistake| Campaign { planted: Some(mistake), ..*campaign }.run().failure;
    super::hunt(&Mistake::all(), Mistake::what, campaign.from, find)
}

fn figures(summary: &Summary, jobs: usize) -> String {
    let Summary { runs, steps, requests, elapsed, .. } = summary;
    let micros = elapsed.as_micros().max(1) * jobs as u128;
    let per_core = u128::from(*runs) * 1_000_000 / micros;
    format!(
        "{runs} runs, {steps} steps, {requests} requests in {elapsed:.1?} on {jobs} threads: \
         {per_core} runs a second and thread"
    )
}
