//! Counts instructions with valgrind's callgrind.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use crate::failure::{Context, Failure};

/// The program, as the shell would find it.
const VALGRIND: &str = "valgrind";

/// A valgrind that is there.
#[derive(Debug)]
pub(super) struct Callgrind {
    program: &'static str,
}

impl Callgrind {
    /// Looks for it; `None` if it is not installed.
    pub(super) fn find() -> Result<Option<Self>, Failure> {
        match Command::new(VALGRIND).arg("--version").output() {
            Ok(_) => Ok(Some(Self { program: VALGRIND })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| format!("cannot run {VALGRIND}")),
        }
    }

    /// The instructions that `program` takes: all of them, or those of the thread that is within
    /// the function whose name matches `within`. None at all is an error: then there is no such
    /// function.
    pub(super) fn count(
        &self,
        program: &Path,
        arguments: &[&str],
        within: Option<&str>,
    ) -> Result<u64, Failure> {
        let mut run = Command::new(self.program);
        run.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        run.args(within.map(|function| format!("--toggle-collect={function}")));
        run.arg(program).args(arguments);
        let shown = format!("{run:?}");
        let output = run.output().context(|| format!("cannot run {shown}"))?;
        let report = String::from_utf8_lossy(&output.stderr);
        let count = read_count(&report).filter(|count| output.status.success() && *count > 0);
        count.ok_or_else(|| Failure::new(format!("{shown} counted nothing: {report}")))
    }
}

/// The figure in callgrind's own words.
fn read_count(report: &str) -> Option<u64> {
    let (_, count) = report.split_once("Collected :")?;
    count.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_what_callgrind_says() {
        let report = "==1== Events    : Ir\n==1== Collected : 722499533\n==1== \n==1== I refs:";
        assert_eq!(read_count(report), Some(722_499_533));
        assert_eq!(read_count("valgrind: work: No such file or directory"), None);
    }
}
