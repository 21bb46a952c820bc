//! `cargo xtask torture`: real processes, real kills, and every promise checked.
//!
//! A round, on a cluster that keeps its data from round to round:
//!
//! 1. Writers write all the time, each key once, and note what every write was told (`ledger`,
//!    `writers`).
//! 2. The leader is killed; how long until the next write is accepted is measured.
//! 3. The killed node returns and catches up, while writing goes on.
//! 4. Everything told is compared with linearizable reads, and the nodes with each other.
//! 5. All nodes are killed at once under the writers, and started again. Everything told is
//!    compared once more, before anybody writes.
//!
//! It fails if an acknowledged write is missing, if one that was "not applied" is there, if a
//! value is another, if replicas differ, or if the cluster does not come back. How fast it comes
//! back is printed, not judged: that depends on what else the machine does.
//!
//! What this does not do: cut the network, damage disks, stop clocks. Killing a process does not
//! lose what it handed to the operating system, so nothing here tests `fdatasync`.

mod fleet;
mod ledger;
mod writers;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use flags::whole;

use crate::failure::{Context, Failure};
use crate::members::MAX_NODES;
use fleet::{Fleet, PATIENCE};
use ledger::{Ledger, Tally};
use writers::Writers;

/// How many write at the same time.
const WRITERS: usize = 4;

/// Acknowledged writes that are waited for before something is killed, and before a killed node
/// returns: there has to be something to lose, and something to catch up with.
const WRITES_BETWEEN_EVENTS: u64 = 500;

/// From the leader's end to the next accepted write, with the `fast` preset.
const FAILOVER_BUDGET: Duration = Duration::from_millis(500);

/// Broken promises that are printed one by one.
const MAX_SHOWN: usize = 10;

/// What `cargo xtask torture` is told.
#[derive(Args, Clone, Copy, Debug)]
pub struct Options {
    /// How often leader and cluster are killed
    #[arg(long, default_value_t = 20, value_parser = whole(0..=u32::MAX))]
    pub rounds: u32,
    /// How many nodes the cluster has, 3 to 9
    #[arg(long, default_value_t = 3, value_parser = whole(3..=MAX_NODES))]
    pub nodes: u16,
}

/// Runs the rounds against the `kv-server` at `server`; prints a line for each, and a summary.
///
/// # Errors
///
/// The first broken promise, or what kept the rounds from going on. The data and logs of every
/// node are kept then, and the failure says where.
pub fn run(server: &Path, options: Options) -> Result<(), Failure> {
    if !(3..=MAX_NODES).contains(&options.nodes) {
        return Err(Failure::new(format!(
            "--nodes {} cannot lose its leader and go on: give 3 to {MAX_NODES}",
            options.nodes
        )));
    }
    let folder = tempfile::Builder::new().prefix("kv-torture-").tempdir();
    let folder = folder.context(|| "cannot make a temporary folder".into())?;
    match run_in(folder.path(), server, options) {
        Ok(()) => Ok(()),
        Err(failure) => {
            let kept = folder.keep();
            let kept = kept.display();
            Err(Failure::new(format!("{failure}\nthe nodes' data and logs are kept in {kept}")))
        }
    }
}

/// The nodes are gone when this returns.
fn run_in(folder: &Path, server: &Path, options: Options) -> Result<(), Failure> {
    let mut torture = Torture {
        fleet: Fleet::start(server, folder, options.nodes)?,
        ledgers: (0..WRITERS).map(Ledger::new).collect(),
    };
    let mut failovers = Vec::new();
    for number in 1..=options.rounds {
        let round = torture.round().map_err(|failure| torture.fleet.explain(&failure));
        let round = round.context(|| format!("round {number}"))?;
        println!("round {number:>3}: {round}");
        failovers.push(round.failover);
    }
    println!("{}", summary(&torture.tally(), &mut failovers));
    Ok(())
}

struct Torture {
    fleet: Fleet,
    /// With no writer while nobody writes.
    ledgers: Vec<Ledger>,
}

/// What one round has shown.
struct Round {
    killed: u16,
    /// From the leader's end to the next accepted write.
    failover: Duration,
    /// From the killed node's start to its having applied all.
    caught_up: Duration,
    /// From the start of all nodes to the first linearizable read.
    returned: Duration,
    tally: Tally,
}

impl Torture {
    fn round(&mut self) -> Result<Round, Failure> {
        let (killed, failover, caught_up) = self.lose_the_leader()?;
        self.check_promises().context(|| format!("after the loss of leader n{killed}"))?;
        self.fleet.compare_states()?;
        let returned = self.lose_everybody()?;
        self.check_promises().context(|| "after the loss of all nodes".into())?;
        let tally = self.tally();
        Ok(Round { killed, failover, caught_up, returned, tally })
    }

    fn lose_the_leader(&mut self) -> Result<(u16, Duration, Duration), Failure> {
        self.fleet.leader()?;
        let writers = self.write()?;
        writers.wait_for_more(WRITES_BETWEEN_EVENTS, PATIENCE)?;
        let leader = self.fleet.leader()?;
        let alarm = Instant::now();
        self.fleet.kill(leader)?;
        let dead = Instant::now();
        let failover = writers.next_write(dead, PATIENCE)? - alarm;
        writers.wait_for_more(WRITES_BETWEEN_EVENTS, PATIENCE)?;
        let start = Instant::now();
        self.fleet.start_all()?;
        self.fleet.wait_until_caught_up(leader)?;
        let caught_up = start.elapsed();
        self.ledgers = writers.stop()?;
        Ok((leader, failover, caught_up))
    }

    fn lose_everybody(&mut self) -> Result<Duration, Failure> {
        let writers = self.write()?;
        writers.wait_for_more(WRITES_BETWEEN_EVENTS, PATIENCE)?;
        self.fleet.kill_all()?;
        self.ledgers = writers.stop()?;
        let start = Instant::now();
        self.fleet.start_all()?;
        self.fleet.leader()?;
        let read = self.fleet.client()?.get(b"torture");
        read.context(|| "nothing can be read after the loss of all nodes".into())?;
        Ok(start.elapsed())
    }

    fn write(&mut self) -> Result<Writers, Failure> {
        Writers::start(&self.fleet.client_addresses(), std::mem::take(&mut self.ledgers))
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.ledgers.iter().for_each(|ledger| ledger.count(&mut tally));
        tally
    }

    /// Compares all that was ever told with linearizable reads.
    fn check_promises(&self) -> Result<(), Failure> {
        let mut client = self.fleet.client()?;
        let mut violations = Vec::new();
        for ledger in &self.ledgers {
            let mut found = Vec::new();
            for page in client.list(ledger.prefix().as_bytes()) {
                found.extend(page.context(|| "cannot read back".into())?.reply.kvs);
            }
            violations.extend(ledger.judge(found.iter().map(|kv| (&*kv.key, &*kv.value))));
        }
        if violations.is_empty() {
            return Ok(());
        }
        let shown = violations.iter().take(MAX_SHOWN).map(|violation| format!("\n  {violation}"));
        let shown: String = shown.collect();
        Err(Failure::new(format!("{} promises were broken, such as:{shown}", violations.len())))
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { killed, failover, caught_up, returned, tally } = self;
        write!(
            f,
            "leader n{killed} killed, next write after {failover:.0?}, caught up in \
             {caught_up:.0?}; all killed, back in {returned:.0?}; {tally}: all there"
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, not_applied, unknown } = self;
        write!(
            f,
            "{acknowledged} writes acknowledged, {not_applied} not applied, {unknown} unknown"
        )
    }
}

fn summary(tally: &Tally, failovers: &mut [Duration]) -> String {
    failovers.sort();
    let (Some(median), Some(max)) = (failovers.get(failovers.len() / 2), failovers.last()) else {
        return "no round was asked for".into();
    };
    let over = failovers.iter().filter(|failover| **failover > FAILOVER_BUDGET).count();
    let rounds = failovers.len();
    format!(
        "{rounds} rounds, {tally}: nothing lost, nothing there that should not be\n\
         leader killed to next accepted write: median {median:.0?}, longest {max:.0?}; {over} of \
         {rounds} above the budget of {FAILOVER_BUDGET:?}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_too_small_to_lose_its_leader_is_refused() {
        let options = Options { rounds: 1, nodes: 2 };
        let failure = run(Path::new("kv-server"), options).expect_err("two are too few");
        assert!(failure.to_string().contains("give 3 to 9"), "{failure}");
    }

    #[test]
    fn the_summary_tells_the_middle_the_longest_and_the_budget() {
        let mut failovers = [300, 700, 200].map(Duration::from_millis);
        let text = summary(&Tally::default(), &mut failovers);
        let expected = "median 300ms, longest 700ms; 1 of 3 above the budget of 500ms";
        assert!(text.ends_with(expected), "{text}");
        assert_eq!(summary(&Tally::default(), &mut []), "no round was asked for");
    }
}
