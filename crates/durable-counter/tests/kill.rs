//! The example is killed in the middle of counting, and loses nothing.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// How many lines the run that is killed tells before.
const LINES: usize = 8;

/// Runs the example until it ends, or until it has told `lines` lines: then it is killed. Says all
/// that it told, those lines included that came before the end was felt.
fn run(dir: &Path, args: &[&str], lines: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_durable-counter"));
    let mut child = command.arg(dir).args(args).stdout(Stdio::piped()).spawn()?;
    let mut output = BufReader::new(child.stdout.take().ok_or("it has an output")?).lines();
    let mut told: Vec<String> = output.by_ref().take(lines).collect::<Result<_, _>>()?;
    if told.len() == lines {
        child.kill()?; // SIGKILL: it cannot tidy up
        child.wait()?;
        for line in output {
            told.push(line?);
        }
    } else if !child.wait()?.success() {
        return Err("the example failed; what it said about it is above".into());
    }
    Ok(told)
}

/// The number at the end of a line.
fn count(line: Option<&String>) -> u64 {
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a line ends in a count")
}

#[test]
fn the_count_goes_on_after_the_whole_cluster_was_killed() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let told = run(dir.path(), &[], LINES)?;
    assert_eq!(told[0], "the count is 0");
    let acknowledged = count(told.last());
    assert!(acknowledged >= 7, "{told:?}");

    let told = run(dir.path(), &["3"], usize::MAX)?;
    // The one that was under way when it was killed may or may not have been counted.
    let found = count(told.first());
    assert!((acknowledged..=acknowledged + 1).contains(&found), "{acknowledged}, then {told:?}");
    assert_eq!(count(told.last()), found + 3, "{told:?}");

    let told = run(dir.path(), &["0"], usize::MAX)?;
    assert_eq!(told, [format!("the count is {}", found + 3)]);
    Ok(())
}

/// A flag was once taken for the directory, and made.
#[test]
fn what_is_no_directory_and_no_number_is_refused_in_a_sentence() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let place = dir.path().join("nodes");
    let place = place.to_str().ok_or("it is text")?;
    for args in [&["--help"][..], &[place, "many"], &[place, "1", "1", "2", "99999"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_durable-counter"));
        let output = command.args(args).current_dir(dir.path()).output()?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("durable-counter DIR [COUNT"), "{said}");
        assert_eq!(dir.path().read_dir()?.count(), 0, "nothing was made");
    }
    Ok(())
}
