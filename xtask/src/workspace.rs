//! What cargo knows of the workspace: its members, its root, and the programs it builds.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cargo_metadata::{Message, Metadata, MetadataCommand};

use crate::failure::{Context, Failure};

/// How programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Optimised: for people and for measuring.
    Release,
    /// As the tests are built, with the same packages and features, so that `cargo test
    /// --workspace` has already done the work.
    Test,
}

/// The programs that a cluster needs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `kv-server`.
    pub server: PathBuf,
    /// `kv-cli`.
    pub cli: PathBuf,
}

/// Asks cargo for the workspace's members and their dependencies; nothing is downloaded.
///
/// # Errors
///
/// If cargo cannot read a manifest.
pub fn metadata() -> Result<Metadata, Failure> {
    MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
        .no_deps()
        .exec()
        .context(|| "cargo cannot describe the workspace".into())
}

/// A cargo command that runs at the root of the workspace.
pub fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(args);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}

/// Runs a command to its end; what it prints is seen as it comes.
///
/// # Errors
///
/// If it cannot be run, or does not end with success: it is shown as the shell would have it.
pub fn succeed(command: &mut Command) -> Result<(), Failure> {
    let shown = format!("{command:?}");
    let status = command.status().context(|| format!("cannot run {shown}"))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("{shown} ended with {status}")))
}

/// Builds `kv-server` and `kv-cli`; cargo's own messages go to standard error.
///
/// # Errors
///
/// If they do not compile, or cargo does not say where it put them.
pub fn build_programs(profile: Profile) -> Result<Programs, Failure> {
    let selection: &[&str] = match profile {
        Profile::Release => &["--release", "-p", "kv-server", "-p", "kv-cli"],
        Profile::Test => &["--workspace", "--bins", "--tests"],
    };
    let output = cargo(&["build", "--message-format=json-render-diagnostics"])
        .args(selection)
        .stderr(Stdio::inherit())
        .output()
        .context(|| "cannot run cargo build".into())?;
    if !output.status.success() {
        return Err(Failure::new("kv-server and kv-cli do not build"));
    }
    let built = Built::from_messages(&output.stdout)?;
    Ok(Programs { server: built.program("kv-server")?, cli: built.program("kv-cli")? })
}

/// The programs that cargo's messages name, with where they are.
struct Built(Vec<(String, PathBuf)>);

impl Built {
    fn from_messages(messages: &[u8]) -> Result<Self, Failure> {
        let mut programs = Vec::new();
        for message in Message::parse_stream(messages) {
            let message = message.context(|| "cannot read what cargo build printed".into())?;
            let Message::CompilerArtifact(artifact) = message else {
                continue;
            };
            let is_test = artifact.profile.test;
            if let (Some(path), false) = (artifact.executable, is_test) {
                programs.push((artifact.target.name, path.into_std_path_buf()));
            }
        }
        Ok(Self(programs))
    }

    fn program(&self, name: &str) -> Result<PathBuf, Failure> {
        let found = self.0.iter().find(|(built, _)| built == name);
        found
            .map(|(_, path)| path.clone())
            .ok_or_else(|| Failure::new(format!("cargo built no program called {name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_shown_with_its_status() {
        assert_eq!(succeed(&mut Command::new("true")), Ok(()));
        let failure = succeed(&mut Command::new("false")).expect_err("it ends with 1");
        assert_eq!(failure.to_string(), "\"false\" ended with exit status: 1");
        let failure = succeed(&mut Command::new("no-such-program")).expect_err("nothing to run");
        assert!(failure.to_string().starts_with("cannot run \"no-such-program\""));
    }
}
