//! `cargo xtask tidy`: the rules that no compiler checks.
//!
//! 1. Crates know each other only as the design allows (`arrows`).
//! 2. Functions, lines and files keep to their sizes; nothing unfinished and no path of
//!    somebody's machine stays behind; a crate opens with what it is for (`source`).
//! 3. Links between documents lead somewhere (`links`).
//!
//! Every rule is a pure function from text to findings, with a bad sample beside it that it has
//! to find. The files are read off the disk, not out of git, so that a mistake is found before it
//! is committed.

mod arrows;
mod links;
mod marks;
mod mask;
mod outline;
mod source;

use std::fmt;
use std::fs;
use std::path::Path;

use cargo_metadata::Metadata;

use crate::failure::{Context, Failure};
use crate::workspace;

/// Folders that hold nothing written by a person.
const SKIPPED_FOLDERS: [&str; 2] = ["target", "kv-data"];

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Relative to the root of the workspace.
    path: String,
    /// Counted from 1.
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: String) -> Self {
        let path = path.into();
        Self { path, line, what }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what } = self;
        write!(f, "{path}:{line}: {what}")
    }
}

/// Checks the workspace; prints each finding with its place, and how much was looked at.
///
/// # Errors
///
/// If a rule is broken, or a file cannot be read.
pub fn run() -> Result<(), Failure> {
    let metadata = workspace::metadata()?;
    let root = metadata.workspace_root.as_std_path();
    let paths = files(root)?;
    let mut findings = arrows::check(&metadata);
    for path in &paths {
        let text = fs::read_to_string(root.join(path)).context(|| format!("cannot read {path}"))?;
        findings.extend(if is_rust(path) {
            source::check(path, &text, kind_of(path, &metadata))
        } else {
            links::check(root, path, &text)
        });
    }
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => {
            println!("tidy: {} files, nothing to complain about", paths.len());
            Ok(())
        }
        1 => Err(Failure::new("tidy: 1 finding, listed above")),
        count => Err(Failure::new(format!("tidy: {count} findings, listed above"))),
    }
}

/// All Rust and Markdown files below `root`, as paths relative to it, in order.
fn files(root: &Path) -> Result<Vec<String>, Failure> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let cannot_list = || format!("cannot list {}", folder.display());
        for entry in fs::read_dir(&folder).context(cannot_list)? {
            let entry = entry.context(cannot_list)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().context(cannot_list)?;
            let is_hidden = name.starts_with('.');
            let path = entry.path();
            if kind.is_dir() && !is_hidden && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                folders.push(path);
            } else if kind.is_file() && (is_rust(&name) || is_markdown(&name)) {
                let path = path.strip_prefix(root).unwrap_or(&path);
                files.push(path.to_string_lossy().into_owned());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|ext| ext == "rs")
}

fn is_markdown(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|ext| ext == "md")
}

fn kind_of(path: &str, metadata: &Metadata) -> source::Kind {
    let packages = metadata.workspace_packages();
    let mut targets = packages.iter().flat_map(|package| &package.targets);
    let place = metadata.workspace_root.join(path);
    source::Kind {
        is_crate_root: targets.any(|target| target.src_path == place),
        is_test: Path::new(path)
            .iter()
            .any(|part| part == "tests" || part == "tests.rs" || part == "benches"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_and_documents_are_found_and_what_was_built_is_not() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for path in ["b.md", "a/src/lib.rs", "a/x.txt", "target/t.rs", ".git/g.md", "kv-data/k.md"]
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder is made");
            fs::write(path, "").expect("a file is written");
        }
        assert_eq!(files(root.path()), Ok(vec!["a/src/lib.rs".into(), "b.md".into()]));
    }

    #[test]
    fn crate_roots_and_tests_are_told_from_other_files() {
        let metadata = workspace::metadata().expect("cargo metadata");
        let root = kind_of("crates/wire/src/lib.rs", &metadata);
        assert!(root.is_crate_root && !root.is_test);
        let inner = kind_of("crates/wire/src/frame.rs", &metadata);
        assert!(!inner.is_crate_root && !inner.is_test);
        assert!(kind_of("crates/wire/tests/some.rs", &metadata).is_test);
        assert!(kind_of("crates/wire/src/frame/tests.rs", &metadata).is_test);
    }
}
