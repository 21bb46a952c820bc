//! What the command line asks for.

use std::path::PathBuf;
use std::time::Duration;

/// How thoroughly to measure, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How often each figure is taken; the median counts.
    pub rounds: usize,
    /// How long each of these takes.
    pub slice: Duration,
    /// The longest log to look at, in entries.
    pub longest_log: u64,
    /// Where to add every figure as a line of JSON.
    pub json: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        let slice = Duration::from_millis(150);
        Self { rounds: 9, slice, longest_log: 10_000_000, json: None }
    }
}

impl Options {
    /// Reads the arguments of this program.
    ///
    /// # Errors
    ///
    /// A sentence that names the argument at fault.
    pub fn from_args(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.into_iter();
        while let Some(name) = args.next() {
            let mut value = || args.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--rounds" => options.rounds = number(&name, &value()?)?,
                "--slice-ms" => {
                    let millis = number(&name, &value()?)?;
                    options.slice = Duration::from_millis(millis.try_into().unwrap_or(u64::MAX));
                }
                "--longest-log" => {
                    let entries = number(&name, &value()?)?;
                    options.longest_log = entries.try_into().unwrap_or(u64::MAX);
                }
                "--json" => options.json = Some(value()?.into()),
                _ => return Err(format!("unknown argument {name}: see `cargo xtask bench core`")),
            }
        }
        Ok(options)
    }
}

/// A number of at least one.
fn number(name: &str, value: &str) -> Result<usize, String> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or(format!("{name} is {value}: give it a number from 1 on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Options, String> {
        Options::from_args(args.iter().map(ToString::to_string))
    }

    #[test]
    fn arguments_are_read_and_wrong_ones_are_named() {
        let options = read(&["--rounds", "3", "--slice-ms", "20", "--json", "out"]).unwrap();
        assert_eq!((options.rounds, options.slice), (3, Duration::from_millis(20)));
        assert_eq!(options.json, Some("out".into()));
        assert_eq!(
            read(&["--rounds", "0"]).unwrap_err(),
            "--rounds is 0: give it a number from 1 on"
        );
        assert_eq!(read(&["--json"]).unwrap_err(), "--json needs a value");
        assert!(read(&["--fast"]).unwrap_err().starts_with("unknown argument --fast"));
    }
}
