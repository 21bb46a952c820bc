//! Snapshots that are fetched from a cluster while it is measured.

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::timeline::now_us;
use crate::failure::{Context, Failure};

/// Does `work` while `save` is run, again and again; returns when each of these began and ended, in
/// microseconds since 1970: at least one.
///
/// # Errors
///
/// If either fails.
pub(super) fn beside<T>(
    mut save: Command,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<(T, Vec<Range<u64>>), Failure> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut saves = Vec::new();
            loop {
                let began = now_us();
                run(&mut save)?;
                saves.push(began..now_us());
                if is_over.load(Ordering::Relaxed) {
                    return Ok(saves);
                }
            }
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        let saves: Result<Vec<Range<u64>>, Failure> =
            client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((done?, saves?))
    })
}

/// `kv-cli snapshot save`, to this file each time.
pub(super) fn save(cli: &Path, endpoints: &str, file: &Path) -> Command {
    let mut save = Command::new(cli);
    save.args(["--endpoints", endpoints, "--timeout", "30s", "snapshot", "save", "--force"]);
    save.arg(file);
    save
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ran = command.output().context(|| format!("cannot run {program}"))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(Failure::new(format!("{program} ended with {}: {}", ran.status, said.trim())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn snapshots_follow_each_other_until_the_work_is_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        let mut save = Command::new("sh");
        save.args(["-c", "echo >> \"$0\""]).arg(&file);
        let lines = || std::fs::read(&file).map_or(0, |bytes| bytes.len());
        let work = || {
            until(|| lines() >= 3);
            Ok("done")
        };
        let (done, saves) = beside(save, work).expect("both are fine");
        assert_eq!((done, saves.len()), ("done", lines()));
        assert!(saves.is_sorted_by(|one, next| one.end <= next.start), "{saves:?}");
    }

    #[test]
    fn a_snapshot_that_fails_is_a_failure() {
        let failed = beside(Command::new("false"), || Ok(())).expect_err("it fails at once");
        assert!(failed.to_string().contains("false ended with"), "{failed}");
    }
}
