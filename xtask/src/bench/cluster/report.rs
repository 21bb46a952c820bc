//! The table, and the file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bench::cluster::shape::Shape;
use crate::bench::cluster::system::Figures;
use crate::failure::{Context, Failure};

/// Everything that was measured so far.
pub(super) struct Report {
    rounds: u32,
    systems: Vec<&'static str>,
    /// What each system did in each round of a shape.
    figures: BTreeMap<(&'static str, &'static str), Vec<Figures>>,
    sync_micros: Vec<u64>,
    floor_micros: Vec<u64>,
    has_header: bool,
}

impl Report {
    pub(super) fn new(rounds: u32, systems: impl Iterator<Item = &'static str>) -> Self {
        Self {
            rounds,
            systems: systems.collect(),
            figures: BTreeMap::new(),
            sync_micros: Vec::new(),
            floor_micros: Vec::new(),
            has_header: false,
        }
    }

    /// Remembers what the machine could do at the moment: a sync, and the floor of a put.
    pub(super) fn machine(&mut self, sync_micros: u64, floor_micros: u64) {
        self.sync_micros.push(sync_micros);
        self.floor_micros.push(floor_micros);
    }

    /// Remembers one run.
    pub(super) fn add(&mut self, system: &'static str, shape: &Shape, figures: Figures) {
        self.figures.entry((shape.name, system)).or_default().push(figures);
    }

    /// A line for each system that did this shape, and how ours compares with the other.
    pub(super) fn print(&mut self, shape: &Shape) {
        if !self.has_header {
            self.has_header = true;
            println!(
                "medians of {} rounds; processor time in us of all nodes, then of each process",
                self.rounds
            );
            println!(
                "{:<16} {:<6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>8}  each",
                "shape", "", "ops/s", "slowest", "p50 us", "p99 us", "max us", "cpu/op", "MB"
            );
        }
        let rows: Vec<(&str, Figures)> = self
            .systems
            .iter()
            .filter_map(|system| {
                let rounds = self.figures.get(&(shape.name, *system))?;
                Some((*system, Figures::median(rounds)))
            })
            .collect();
        for (system, it) in &rows {
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
        if let [(_, ours), (_, other)] = &rows[..] {
            println!(
                "{:<16} {:<6} {:>8.2}x {:>8.2}x {:>8.2}x {:>8.2}x {:>8.2}x {:>6.2}x {:>7.2}x",
                "",
                "ratio",
                ours.ops_per_s / other.ops_per_s,
                ours.slowest_second / other.slowest_second,
                ours.p50_us / other.p50_us,
                ours.p99_us / other.p99_us,
                ours.max_us / other.max_us,
                ours.cpu_us_per_op / other.cpu_us_per_op,
                ours.largest_mb / other.largest_mb
            );
        }
    }

    /// What the machine could do beside all of it.
    pub(super) fn print_machine(&self) {
        println!("\nbefore each run, median, best and worst in us:");
        let put = "a put that only waits";
        for (what, micros) in
            [("4 KiB and fdatasync", &self.sync_micros), (put, &self.floor_micros)]
        {
            let mut micros = micros.clone();
            micros.sort_unstable();
            if let (Some(best), Some(worst)) = (micros.first(), micros.last()) {
                println!("{what:<22} {:>6} {best:>6} {worst:>6}", micros[micros.len() / 2]);
            }
        }
    }

    /// Writes every figure.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        let runs: Vec<Value> = self
            .figures
            .iter()
            .flat_map(|((shape, system), rounds)| {
                rounds.iter().map(move |figures| {
                    let mut run = figures.to_json();
                    run["shape"] = json!(shape);
                    run["system"] = json!(system);
                    run
                })
            })
            .collect();
        let all = json!({
            "sync_us": self.sync_micros,
            "floor_us": self.floor_micros,
            "runs": runs,
        });
        let text = format!("{all:#}\n");
        fs::write(path, text).context(|| format!("cannot write {}", path.display()))
    }
}
