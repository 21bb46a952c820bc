//! Measuring in interleaved rounds.
//!
//! Time is the processor time of this thread: what other programs take of the machine does not
//! count. They still share its caches and cores, which makes it now faster, now slower. So the two
//! clusters take turns in short slices, and the one that begins changes from round to round. What
//! one round says of the ratio between them is true even when the machine was slow for all of it;
//! the median over the rounds passes over those in which it became slow in the middle.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::options::Options;
use crate::ours::RaftCore;
use crate::{Case, Cluster};

/// What was measured of both: one value for each round, nanoseconds a command.
#[derive(Clone, Debug)]
pub struct Pair {
    /// What it is about.
    pub case: Case,
    /// Of `raft-core`.
    pub ours: Vec<f64>,
    /// Of `raft-rs`.
    pub peer: Vec<f64>,
}

impl Pair {
    fn new(case: Case) -> Self {
        Self { case, ours: Vec::new(), peer: Vec::new() }
    }

    /// How many times faster `raft-core` is: the median of the rounds' own ratios.
    pub fn ratio(&self) -> f64 {
        median(self.ours.iter().zip(&self.peer).map(|(ours, peer)| peer / ours))
    }
}

/// The middle one of the values; the mean of the two in the middle.
///
/// # Panics
///
/// If there are none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

/// Measures each case in every round, beside a peer driven in one of the two ways, on clusters that
/// live through all rounds: after the first slices, their queues and caches are as full as they
/// become.
pub fn compare<P: Cluster>(cases: &[Case], options: &Options) -> Vec<Pair> {
    let mut clusters: Vec<_> = cases.iter().map(|case| Both::<P>::start(*case)).collect();
    let mut pairs: Vec<_> = cases.iter().copied().map(Pair::new).collect();
    for round in 0..=options.rounds {
        for (both, pair) in clusters.iter_mut().zip(&mut pairs) {
            let (ours, peer) = both.measure(round, pair.case.depth, Extent::Time(options.slice));
            // The first round warms up.
            if round > 0 {
                pair.ours.push(ours);
                pair.peer.push(peer);
            }
        }
    }
    pairs
}

/// Measures at these depths after the log has grown to 10^3 entries, 10^4, and so on.
pub fn compare_along_the_log<P: Cluster>(depths: &[usize], options: &Options) -> Vec<Pair> {
    /// How the log is filled up between the measurements.
    const FILL_DEPTH: usize = 256;
    let mut both = Both::<P>::start(Case::at_depth(FILL_DEPTH));
    let (mut pairs, mut entries) = (Vec::new(), 0);
    let lengths = (3..).map(|power| 10_u64.pow(power)).take_while(|n| *n <= options.longest_log);
    for log_entries in lengths {
        both.measure(0, FILL_DEPTH, Extent::Commands(log_entries.saturating_sub(entries)));
        entries = log_entries;
        for depth in depths {
            let mut pair = Pair::new(Case { log_entries, ..Case::at_depth(*depth) });
            // Together no more than the log had already, else it would soon be much longer.
            let share = log_entries / (options.rounds * depths.len()) as u64;
            for round in 0..options.rounds {
                let (ours, peer) =
                    both.measure(round, *depth, Extent::Commands(share.min(100_000)));
                pair.ours.push(ours);
                pair.peer.push(peer);
                entries += share.min(100_000);
            }
            pairs.push(pair);
        }
    }
    pairs
}

struct Both<P> {
    ours: RaftCore,
    peer: P,
}

/// How much is measured at a time.
#[derive(Clone, Copy)]
enum Extent {
    Time(Duration),
    Commands(u64),
}

impl<P: Cluster> Both<P> {
    fn start(case: Case) -> Self {
        let Case { nodes, command_bytes, .. } = case;
        let (ours, peer) =
            (Cluster::start(nodes, command_bytes), Cluster::start(nodes, command_bytes));
        Self { ours, peer }
    }

    /// One slice of each; they take turns at being first.
    fn measure(&mut self, round: usize, depth: usize, extent: Extent) -> (f64, f64) {
        if round.is_multiple_of(2) {
            let ours = nanos_a_command(&mut self.ours, depth, extent);
            (ours, nanos_a_command(&mut self.peer, depth, extent))
        } else {
            let peer = nanos_a_command(&mut self.peer, depth, extent);
            (nanos_a_command(&mut self.ours, depth, extent), peer)
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rounded figure is what is wanted")]
fn nanos_a_command(cluster: &mut impl Cluster, depth: usize, extent: Extent) -> f64 {
    /// Batches between two looks at the clock, which is not free.
    const BETWEEN_LOOKS: u64 = 32;
    let start = processor_time();
    let mut batches = 0_u64;
    loop {
        let is_over = match extent {
            Extent::Time(slice) => processor_time().saturating_sub(start) >= slice,
            Extent::Commands(count) => batches * depth as u64 >= count,
        };
        if is_over && batches > 0 {
            let commands = batches * depth as u64;
            return processor_time().saturating_sub(start).as_nanos() as f64 / commands as f64;
        }
        for _ in 0..BETWEEN_LOOKS {
            cluster.commit(depth);
        }
        batches += BETWEEN_LOOKS;
    }
}

/// How long this thread has been at work.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("no thread has worked for less than no time")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documented::Documented;
    use crate::peer::RaftRs;

    #[test]
    fn the_median_passes_over_outliers() {
        assert!((median([3.0, 900.0, 1.0]) - 3.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 900.0]) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn both_clusters_commit_at_every_size_and_depth() {
        for nodes in [1, 2, 3, 5] {
            commit_with_both(Both::<RaftRs>::start(Case { nodes, ..Case::at_depth(1) }));
            commit_with_both(Both::<Documented>::start(Case { nodes, ..Case::at_depth(1) }));
        }
    }

    fn commit_with_both(mut both: Both<impl Cluster>) {
        for depth in [1, 16, 256, 1] {
            both.ours.commit(depth);
            both.peer.commit(depth);
        }
    }

    /// It is cut each time so many entries are applied: nothing may be asked for that is gone.
    #[test]
    fn the_log_of_the_manual_is_cut_while_it_is_used() {
        let mut cluster = Documented::start(3, 16);
        (0..400).for_each(|_| cluster.commit(64));
    }
}
