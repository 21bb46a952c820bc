//! The figures that counts are compared with: a file of one path a line.

use std::fs;
use std::path::Path;

use crate::failure::{Context, Failure};

const HEAD: &str = "\
# Instructions a step of each path in xtask/hot-paths, on x86-64: the program lists what a step is.
# Counted and written by `cargo xtask bench instructions --store`, and compared by `cargo xtask ci`.
";

/// Instructions a step, and of which path, in the order of the program that lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures(Vec<(String, u64)>);

impl Figures {
    /// Reads the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let text =
            fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).context(|| format!("cannot read {}", path.display()))
    }

    /// Writes the file at `path` anew.
    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        fs::write(path, self.show()).context(|| format!("cannot write {}", path.display()))
    }

    /// The figure of a path, if there is one.
    pub(super) fn of(&self, name: &str) -> Option<u64> {
        self.all().find(|(known, _)| *known == name).map(|(_, count)| count)
    }

    /// Notes the figure of one more path.
    pub(super) fn note(&mut self, name: &str, count: u64) {
        self.0.push((name.to_owned(), count));
    }

    /// All of them, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let figures: Result<_, _> = lines.map(|line| parse_line(line).ok_or(line)).collect();
        figures.map(Self).map_err(|line| format!("`{line}` is no path with its figure"))
    }

    fn show(&self) -> String {
        let rows = self.all().map(|(name, count)| format!("{name:<14} {count:>9}\n"));
        HEAD.to_owned() + &rows.collect::<String>()
    }
}

fn parse_line(line: &str) -> Option<(String, u64)> {
    let (name, count) = line.split_once(' ')?;
    let count = count.trim().parse().ok().filter(|count| *count > 0)?;
    Some((name.to_owned(), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let mut figures = Figures::default();
        figures.note("core-1", 5815);
        figures.note("append-read", 20);
        assert_eq!(Figures::parse(&figures.show()), Ok(figures));
    }

    #[test]
    fn a_line_that_is_no_figure_is_named() {
        for line in ["core-1", "core-1 many", "core-1 0"] {
            let said = Figures::parse(line).expect_err("no figure");
            assert_eq!(said, format!("`{line}` is no path with its figure"));
        }
    }
}
