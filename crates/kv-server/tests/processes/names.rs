//! Files and their names. What a node asks of the system, in order, as `strace` tells it: no file
//! may be relied upon whose name a loss of power could still take away. Where it is missing or not
//! allowed, these tests say so and do nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::crashes::put_all;
use crate::node::{Cluster, wait_for};
use crate::snapshots::{MANY, SHORT_LOG, installs, is_log_cut, put_many, wait_until_equal};

/// The calls that make, rename, write and sync files.
const CALLS: &str = "trace=/^(mkdir|open|rename|fsync|fdatasync|write$|pwrite)";

/// A call that was not refused, where it began.
#[derive(Debug)]
struct Call {
    name: String,
    /// The file that it is about, or the two of a renaming.
    paths: Vec<PathBuf>,
    line: String,
}

impl Call {
    fn is(&self, name: &str, path: &Path) -> bool {
        self.name == name && self.paths.last().is_some_and(|it| it == path)
    }
}

/// A command that runs another one, and tells its calls to the file `told`.
fn strace(told: &Path) -> Command {
    let mut command = Command::new("strace");
    // The tracer goes into the background, so that the child of the test is the other one.
    command.args(["--daemonize", "--follow-forks", "--decode-fds=path", "--string-limit=300"]);
    command.args(["-e", CALLS]).arg("-o").arg(told);
    command
}

/// Node `id` as a command whose calls are told to the file `told`.
fn traced(cluster: &Cluster, id: usize, told: &Path) -> Option<Command> {
    let is_possible = strace(Path::new("/dev/null")).arg("true").status();
    if !is_possible.is_ok_and(|status| status.success()) {
        eprintln!("skipped: strace does not run here, is too old, or may not trace processes");
        return None;
    }
    Some(cluster.command_under(id, strace(told)))
}

fn calls(told: &Path) -> Vec<Call> {
    let text = String::from_utf8_lossy(&fs::read(told).unwrap()).into_owned();
    let lines = text.lines().filter(|line| !line.contains(" = -1 ") && !line.contains("resumed>"));
    let call = |line: &str| {
        let (_, call) = line.split_once(' ')?;
        let (name, arguments) = call.trim_start().split_once('(')?;
        // With a descriptor comes what it stands for.
        let of_descriptor = arguments.starts_with(|first: char| first.is_ascii_digit());
        let paths: Vec<PathBuf> = if of_descriptor {
            vec![arguments.split_once('<')?.1.split_once('>')?.0.into()]
        } else {
            arguments.split('"').skip(1).step_by(2).map(PathBuf::from).collect()
        };
        Some(Call { name: name.to_owned(), paths, line: line.to_owned() })
    };
    lines.filter_map(call).collect()
}

/// Every name below `dir` that was given in these calls, and those of them that a loss of power may
/// take away at the end: their directory was not synced since.
fn names(calls: &[Call], dir: &Path) -> (BTreeSet<PathBuf>, BTreeSet<PathBuf>) {
    let (mut given, mut unsynced) = (BTreeSet::new(), BTreeSet::<PathBuf>::new());
    for Call { name, paths, line } in calls {
        let Some(last) = paths.last() else { continue };
        let makes = match name.as_str() {
            "openat" => line.contains("O_CREAT"),
            name => name.starts_with("mkdir") || name.starts_with("rename"),
        };
        if name == "fsync" {
            unsynced.retain(|name| name.parent() != Some(last));
        } else if makes && last.starts_with(dir) {
            // What was renamed has its old name no more.
            paths[..paths.len() - 1].iter().for_each(|before| _ = unsynced.remove(before));
            given.insert(last.clone());
            unsynced.insert(last.clone());
        }
    }
    (given, unsynced)
}

fn find(calls: &[Call], what: &str, is_meant: impl Fn(&Call) -> bool) -> usize {
    let found = calls.iter().position(is_meant);
    found.unwrap_or_else(|| panic!("there is no {what} in {calls:#?}"))
}

#[test]
fn every_name_is_durable_before_a_new_node_says_that_it_is_ready() {
    let mut cluster = Cluster::unstarted(1);
    let (data, told) = (cluster.data(1), cluster.folder().join("calls"));
    let Some(command) = traced(&cluster, 1, &told) else { return };
    cluster.restart_as(1, command);
    put_all(&cluster, 0, 5);
    cluster.stop(1);
    let calls = calls(&told);
    let ready = find(&calls, "line that says ready", |call| call.line.contains("ready: raft"));
    let (given, mut unsynced) = names(&calls[..ready], cluster.folder());
    for file in ["meta", "witness", "00000001.log", "state.redb"] {
        assert!(given.contains(&data.join(file)), "{file} was made before: {given:?}");
    }
    assert!(given.contains(&data), "{given:?}");
    // Nobody relies on these; the last two are made in the background, and may be under way.
    for file in ["lock", "reserve.tmp", "reserve"] {
        unsynced.remove(&data.join(file));
    }
    assert_eq!(unsynced, BTreeSet::new(), "{calls:#?}");
}

#[test]
fn a_snapshot_is_durable_before_its_name_and_its_name_before_it_is_told_as_installed() {
    let mut cluster = Cluster::unstarted(3).with_flags(&SHORT_LOG);
    let (data, told) = (cluster.data(3), cluster.folder().join("calls"));
    let Some(command) = traced(&cluster, 3, &told) else { return };
    cluster.restart(1);
    cluster.restart(2);
    put_many(&cluster, 0, MANY);
    let leader = cluster.leader();
    wait_for("the log to be cut", || is_log_cut(&cluster, leader).then_some(()));
    cluster.restart_as(3, command);
    wait_for("the snapshot", || (installs(&cluster, 3) > 0).then_some(()));
    wait_until_equal(&cluster, 3);
    cluster.stop(3);

    let calls = calls(&told);
    let (draft, state) = (data.join("state.redb.snapshot"), data.join("state.redb"));
    let renamed = find(&calls, "renaming of the draft", |call| {
        call.name.starts_with("rename") && call.paths == [draft.clone(), state.clone()]
    });
    let last = |what: &str, is_meant: &dyn Fn(&Call) -> bool| {
        let found = calls[..renamed].iter().rposition(is_meant);
        found.unwrap_or_else(|| panic!("there is no {what} before it in {calls:#?}"))
    };
    let written = last("write to the draft", &|call| call.is("pwrite64", &draft));
    let synced = last("sync of the draft", &|call| call.is("fdatasync", &draft));
    assert!(written < synced, "{:?}, then {:?}", calls[synced], calls[written]);
    let behind = &calls[renamed..];
    let named = find(behind, "sync of its directory", |call| call.is("fsync", &data));
    let said = find(behind, "line that says so", |call| call.line.contains("has installed"));
    assert!(named < said, "{:?}, then {:?}", behind[said], behind[named]);
}

#[test]
fn nobody_else_may_read_what_a_node_keeps() {
    let mut cluster = Cluster::start_with(3, &SHORT_LOG);
    put_many(&cluster, 0, 500);
    for id in 1..=3 {
        let data = cluster.data(id);
        wait_for("its peers to be noted", || data.join("peers").exists().then_some(()));
        cluster.stop(id);
        let files = fs::read_dir(&data).unwrap().map(|item| item.unwrap().path());
        let files: Vec<PathBuf> = files.chain([data]).collect();
        assert!(files.len() > 6, "{files:?}");
        for path in files {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        }
        cluster.restart(id);
    }
}
