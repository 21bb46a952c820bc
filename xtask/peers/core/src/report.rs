//! Tables for people, and lines of JSON for programs.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use crate::Case;
use crate::rounds::{Pair, median};

/// What both needed for one command: a figure of each, and how many times better ours is.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is about.
    pub case: Case,
    /// The figures, by the names they have in JSON.
    pub figures: Vec<(&'static str, f64)>,
}

impl From<&Pair> for Row {
    fn from(pair: &Pair) -> Self {
        let (ours, peer) = (median(pair.ours.iter().copied()), median(pair.peer.iter().copied()));
        let figures = vec![
            ("raft_core_ns", ours),
            ("raft_core_per_s", 1e9 / ours),
            ("raft_rs_ns", peer),
            ("raft_rs_per_s", 1e9 / peer),
            ("ratio", pair.ratio()),
        ];
        Self { case: pair.case, figures }
    }
}

/// Prints the rows as a table under this title, whose first column is what differs between them.
pub fn print(title: &str, differs: (&str, fn(&Case) -> String), rows: &[Row]) {
    let (label, value) = differs;
    let names = rows.first().map_or(&[][..], |row| &row.figures);
    let heads = names.iter().map(|(name, _)| (*name).into()).collect();
    println!("\n{title}\n\n{}", line(label, heads));
    for row in rows {
        let figures = row.figures.iter().map(|(_, figure)| readable(*figure)).collect();
        println!("{}", line(&value(&row.case), figures));
    }
}

fn line(label: &str, cells: Vec<String>) -> String {
    cells.into_iter().fold(format!("{label:>22}"), |line, cell| format!("{line} {cell:>16}"))
}

/// Three digits or so: what a measurement is good for.
fn readable(figure: f64) -> String {
    match figure {
        figure if figure >= 1e6 => format!("{:.2} M", figure / 1e6),
        figure if figure >= 1e4 => format!("{:.0} k", figure / 1e3),
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure => format!("{figure:.2}"),
    }
}

/// Adds the rows to a file, each as one line of JSON.
///
/// # Errors
///
/// If the file cannot be written.
pub fn append_json(path: &Path, section: &str, rows: &[Row]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    for row in rows {
        writeln!(file, "{}", json(section, row))?;
    }
    Ok(())
}

fn json(section: &str, row: &Row) -> String {
    let Case { nodes, depth, command_bytes, log_entries } = row.case;
    let start = format!(
        "{{\"section\":\"{section}\",\"nodes\":{nodes},\"depth\":{depth},\
         \"command_bytes\":{command_bytes},\"log_entries\":{log_entries}"
    );
    let add = |line, (name, figure): &(_, f64)| format!("{line},\"{name}\":{figure:.3}");
    row.figures.iter().fold(start, add) + "}"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_of_json_with_medians_and_the_ratio_of_rounds() {
        let case = Case::at_depth(16);
        let pair = Pair { case, ours: vec![100.0, 200.0, 100.0], peer: vec![500.0, 1600.0, 600.0] };
        let expected = [
            r#"{"section":"depth","nodes":3,"depth":16,"command_bytes":16,"log_entries":0"#,
            r#""raft_core_ns":100.000,"raft_core_per_s":10000000.000"#,
            r#""raft_rs_ns":600.000,"raft_rs_per_s":1666666.667,"ratio":6.000}"#,
        ];
        assert_eq!(json("depth", &Row::from(&pair)), expected.join(","));
    }

    #[test]
    fn figures_are_as_long_as_a_measurement_is_good_for() {
        let shown = [2_345_678.0, 45_678.0, 456.7, 4.567].map(readable);
        assert_eq!(shown, ["2.35 M", "46 k", "457", "4.57"]);
    }
}
