//! The programs of others: where they are, and which version they say that they are.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Context, Failure};

/// Somebody may run it.
const EXECUTABLE: u32 = 0o111;

/// The program that somebody named.
///
/// # Errors
///
/// If it is no file that can be run.
pub(super) fn named(path: &Path) -> Result<PathBuf, Failure> {
    let metadata = path.metadata();
    let metadata = metadata.context(|| format!("--peer-program {}", path.display()))?;
    if !metadata.is_file() || metadata.permissions().mode() & EXECUTABLE == 0 {
        return Err(Failure::new(format!(
            "--peer-program {} is no program: give the path of a file that can be run",
            path.display()
        )));
    }
    path.canonicalize().context(|| format!("--peer-program {}", path.display()))
}

/// Where a program is installed.
///
/// # Errors
///
/// If it is not, with the package that has it.
pub(super) fn installed(program: &str, package: &str) -> Result<PathBuf, Failure> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(program));
    found.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Failure::new(format!(
            "{program} is not installed: install Debian's package {package}, put it on the PATH, \
             or give the server's path with --peer-program"
        ))
    })
}

/// The first line of what it prints with `--version`.
///
/// # Errors
///
/// If it cannot be run, or prints nothing.
pub(super) fn version(program: &Path) -> Result<String, Failure> {
    let output = Command::new(program).arg("--version").output();
    let output = output.context(|| format!("cannot run {} --version", program.display()))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    match printed.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().to_owned()),
        _ => Err(Failure::new(format!(
            "{} --version does not say which version it is, and ended with {}",
            program.display(),
            output.status
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_named_has_to_be_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let nothing = named(&folder.path().join("etcd")).expect_err("it is not there");
        assert!(nothing.to_string().contains("etcd: No such file"), "{nothing}");
        let text = folder.path().join("text");
        std::fs::write(&text, "no program").expect("it is written");
        for path in [text.as_path(), folder.path()] {
            let refused = named(path).expect_err("it cannot be run").to_string();
            assert!(refused.contains(&path.display().to_string()), "{refused}");
            assert!(refused.contains("give the path of a file that can be run"), "{refused}");
        }
        assert!(named(Path::new("/bin/sh")).expect("it is there").is_file());
    }

    #[test]
    fn a_program_that_does_not_say_its_version_is_named() {
        let why = version(Path::new("/bin/false")).expect_err("it says nothing").to_string();
        assert!(why.starts_with("/bin/false --version does not say"), "{why}");
    }
}
