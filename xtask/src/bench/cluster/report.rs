//! The table, and the file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bench::cluster::shape::{Shape, Workload};
use crate::bench::cluster::system::{Figures, System};
use crate::failure::{Context, Failure};

/// Everything that was measured so far.
pub(super) struct Report {
    rounds: u32,
    systems: Vec<&'static str>,
    /// What the programs of others say that they are.
    versions: Vec<String>,
    /// Each round of a shape on a system.
    runs: BTreeMap<(&'static str, &'static str), Vec<Run>>,
    has_header: bool,
}

/// One round.
struct Run {
    /// What a sync took just before.
    sync_micros: u64,
    figures: Figures,
}

impl Run {
    /// The median, in syncs.
    fn syncs(&self) -> f64 {
        self.figures.p50_us / count(self.sync_micros.max(1))
    }
}

impl Report {
    /// Nothing yet, and who is measured.
    ///
    /// # Errors
    ///
    /// If a program does not say which version it is.
    pub(super) fn new(rounds: u32, systems: &[Box<dyn System>]) -> Result<Self, Failure> {
        let versions: Result<Vec<Option<String>>, Failure> =
            systems.iter().map(|system| system.version()).collect();
        Ok(Self {
            rounds,
            systems: systems.iter().map(|system| system.name()).collect(),
            versions: versions?.into_iter().flatten().collect(),
            runs: BTreeMap::new(),
            has_header: false,
        })
    }

    /// Remembers one run, and what a sync took just before.
    pub(super) fn add(
        &mut self,
        system: &'static str,
        shape: &Shape,
        sync_micros: u64,
        figures: Figures,
    ) {
        let rounds = self.runs.entry((shape.name, system)).or_default();
        rounds.push(Run { sync_micros, figures });
    }

    /// A line for each system that did this shape, and how ours compares with the others.
    pub(super) fn print(&mut self, shape: &Shape) {
        self.print_header();
        let rows: Vec<(&str, &[Run], Figures)> = self
            .systems
            .iter()
            .filter_map(|system| {
                let rounds = self.runs.get(&(shape.name, *system))?;
                Some((*system, &rounds[..], Figures::median(rounds.iter().map(|it| &it.figures))))
            })
            .collect();
        for (system, _, it) in &rows {
            println!(
                "{:<16} {system:<6} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>7.1} {:>8.1}  {}",
                shape.name,
                it.ops_per_s,
                it.slowest_second,
                it.p50_us,
                it.p99_us,
                it.max_us,
                it.cpu_us_per_op,
                it.largest_mb,
                it.by_process()
            );
        }
        let Some(((_, _, ours), others)) = rows.split_first() else { return };
        for (system, _, other) in others {
            println!(
                "{:<16} {:<6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>8}",
                "",
                format!("/{system}"),
                ratio(ours.ops_per_s, other.ops_per_s),
                ratio(ours.slowest_second, other.slowest_second),
                ratio(ours.p50_us, other.p50_us),
                ratio(ours.p99_us, other.p99_us),
                ratio(ours.max_us, other.max_us),
                ratio(ours.cpu_us_per_op, other.cpu_us_per_op),
                ratio(ours.largest_mb, other.largest_mb)
            );
        }
        for (system, rounds, median) in &rows {
            print_notes(shape, system, rounds, median);
        }
    }

    fn print_header(&mut self) {
        if std::mem::replace(&mut self.has_header, true) {
            return;
        }
        for version in &self.versions {
            println!("beside {version}");
        }
        println!(
            "medians of {} rounds; processor time in us of all nodes, then of each process",
            self.rounds
        );
        println!(
            "{:<16} {:<6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>8}  each",
            "shape", "", "ops/s", "slowest", "p50 us", "p99 us", "max us", "cpu/op", "MB"
        );
    }

    /// What the disk could do beside all of it.
    pub(super) fn print_machine(&self) {
        let mut micros: Vec<u64> = self.runs.values().flatten().map(|it| it.sync_micros).collect();
        micros.sort_unstable();
        if let (Some(best), Some(worst)) = (micros.first(), micros.last()) {
            let median = micros[micros.len() / 2];
            println!("\n4 KiB and fdatasync before each run, median, best and worst in us:");
            println!("{median} {best} {worst}");
        }
    }

    /// Writes every figure.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let runs: Vec<Value> = self
            .runs
            .iter()
            .flat_map(|((shape, system), rounds)| {
                rounds.iter().map(move |it| {
                    let mut run = it.figures.to_json();
                    run["shape"] = json!(shape);
                    run["system"] = json!(system);
                    run["sync_us"] = json!(it.sync_micros);
                    run
                })
            })
            .collect();
        let all = json!({ "beside": self.versions, "runs": runs });
        let text = format!("{all:#}\n");
        fs::write(path, text).context(|| format!("cannot write {}", path.display()))
    }
}

/// Nothing is compared with nothing: the bare disk has no nodes that take memory.
fn ratio(ours: f64, other: f64) -> String {
    if other > 0.0 { format!("{:.2}x", ours / other) } else { "-".into() }
}

/// What the table has no column for.
fn print_notes(shape: &Shape, system: &str, rounds: &[Run], median: &Figures) {
    let what = match shape.workload {
        Workload::Put if shape.connections * shape.in_flight == 1 => {
            let [low, middle, high] = quartiles(rounds.iter().map(Run::syncs));
            format!("p50 in syncs, by quartiles: {low:.2} {middle:.2} {high:.2}")
        }
        Workload::Put => {
            let values = median.ops_per_s * count(shape.value_size as u64);
            let slowest = slowest(rounds.iter().map(|it| &it.figures));
            format!("{:.0} MB/s of values; {slowest}", values / 1e6)
        }
        Workload::Get | Workload::GetStale => return,
    };
    println!("{:<16} {system:<6} {what}", "");
    for line in sequel(rounds, median) {
        println!("{:<16} {system:<6} {line}", "");
    }
}

/// What came of the load by itself, and what is to be told of what followed.
fn sequel(rounds: &[Run], median: &Figures) -> Vec<String> {
    let Some(before) = &median.before else { return Vec::new() };
    let slowest = slowest(rounds.iter().filter_map(|it| it.figures.before.as_deref()));
    let before = format!(
        "before, by itself: {:.0} ops/s, p50 {:.0}, p99 {:.0}, max {:.0}; {slowest}",
        before.ops_per_s, before.p50_us, before.p99_us, before.max_us
    );
    let during = match &median.stalls {
        Some(stalls) => stalls.lines(),
        None => during_each(rounds),
    };
    std::iter::once(before).chain(during).collect()
}

/// How slow the slowest request was while each snapshot was sent, and without.
fn during_each(rounds: &[Run]) -> [String; 2] {
    let figures = rounds.iter().map(|it| &it.figures);
    let (mut during, mut without) = (Vec::new(), Vec::new());
    for (figures, before) in
        figures.filter_map(|it| it.before.as_deref().map(|before| (it, before)))
    {
        during.extend(figures.slowest_each_in_medians(before));
        without.extend(before.slowest_each_in_medians(before));
    }
    [(during, "during each of", "snapshots"), (without, "before, in each of", "stretches as long")]
        .map(|(slowest, of, what)| {
            let (number, worst) = (slowest.len(), slowest.iter().copied().fold(0.0, f64::max));
            let [low, middle, high] = quartiles(slowest.into_iter());
            format!(
                "{of} {number} {what}: max in p50s of before, by quartiles: {low:.1} {middle:.1} \
                 {high:.1}; of all: {worst:.1}"
            )
        })
}

/// How much slower than the median the slowest request was.
fn slowest<'a>(rounds: impl Iterator<Item = &'a Figures>) -> String {
    let [low, middle, high] = quartiles(rounds.map(Figures::slowest_in_medians));
    format!("max in p50s, by quartiles: {low:.1} {middle:.1} {high:.1}")
}

/// A quarter of them is below the first, half below the second, a quarter above the third.
fn quartiles(figures: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| figures.get(figures.len() * quarter / 4).copied().unwrap_or_default())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_rounds_is_below_the_first_quartile_and_above_the_last() {
        let rounds = (1..=20_u32).rev().map(f64::from);
        assert_eq!(quartiles(rounds).map(|it| it.to_string()), ["6", "11", "16"]);
        assert_eq!(quartiles([7.5].into_iter()).map(|it| it.to_string()), ["7.5"; 3]);
    }

    #[test]
    fn the_slowest_beside_snapshots_is_compared_with_the_median_before_them() {
        let before = Figures { p50_us: 10.0, max_us: 25.0, ..Figures::default() };
        let figures = Figures { p50_us: 20.0, max_us: 40.0, ..Figures::default() };
        assert!(slowest([&figures].into_iter()).ends_with(" 2.0 2.0 2.0"));
        let figures = Figures { before: Some(Box::new(before)), ..figures };
        assert!(slowest([&figures].into_iter()).ends_with(" 4.0 4.0 4.0"));
        let median = Figures::median([&figures].into_iter());
        let before = median.before.expect("there was one");
        assert!(slowest([&*before].into_iter()).ends_with(" 2.5 2.5 2.5"));
    }

    /// The slowest of a dozen snapshots is not what one of them does to who waits meanwhile.
    #[test]
    fn every_snapshot_counts_by_itself_beside_the_median_of_its_own_round() {
        let round = |p50_us: f64, slowest_us: Vec<u64>| {
            let before = Figures { p50_us, slowest_us: vec![30], ..Figures::default() };
            let before = Some(Box::new(before));
            Run { sync_micros: 60, figures: Figures { before, slowest_us, ..Figures::default() } }
        };
        let rounds = [round(10.0, vec![20, 25, 90]), round(20.0, vec![80])];
        let [during, without] = during_each(&rounds);
        assert!(during.starts_with("during each of 4 snapshots: "), "{during}");
        assert!(during.ends_with(" 2.5 4.0 9.0; of all: 9.0"), "{during}");
        assert!(without.starts_with("before, in each of 2 stretches as long: "), "{without}");
        assert!(without.ends_with(" 1.5 3.0 3.0; of all: 3.0"), "{without}");
    }

    #[test]
    fn a_run_is_compared_with_the_sync_before_it() {
        let figures = Figures { p50_us: 150.0, ..Figures::default() };
        let run = Run { sync_micros: 60, figures };
        assert!((run.syncs() - 2.5).abs() < 1e-9);
    }
}
