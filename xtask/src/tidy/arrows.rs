//! Who may know whom: the arrows between the crates, and the few dependencies with a fence.

use cargo_metadata::{DependencyKind, Metadata, Package};

use super::Finding;

/// For every crate, the crates of this workspace that it may depend on. Dependencies for tests
/// are free.
const ARROWS: [(&str, &[&str]); 16] = [
    ("wire", &[]),
    ("handoff", &[]),
    ("flags", &[]),
    ("raft-core", &[]),
    ("raft-storage", &["raft-core", "wire", "handoff"]),
    ("raft-net-tcp", &["raft-core", "wire"]),
    ("durable-counter", &["raft-core", "raft-storage", "raft-net-tcp"]),
    ("kv-proto", &["wire"]),
    ("kv-store", &["kv-proto"]),
    ("kv-client", &["kv-proto"]),
    (
        "kv-server",
        &[
            "wire",
            "handoff",
            "flags",
            "raft-core",
            "raft-storage",
            "raft-net-tcp",
            "kv-proto",
            "kv-store",
            "kv-client",
        ],
    ),
    // For its checks of snapshots: what is saved is verified on the way.
    ("kv-cli", &["kv-client", "kv-store", "flags"]),
    ("raft-sim", &["raft-core", "raft-storage", "kv-proto", "kv-store", "kv-server", "flags"]),
    ("raft-model", &["raft-core", "flags"]),
    ("xtask", &["kv-client", "flags"]),
    ("hot-paths", &["raft-core", "raft-storage", "raft-net-tcp", "kv-proto", "kv-store"]),
];

/// The one crate that may name `bincode`: its project has ended, so it stays behind a wall.
const BINCODE_HOME: &str = "wire";

/// What a reader of the rules needs of one dependency.
#[derive(Clone, Copy, Debug)]
struct Arrow<'a> {
    from: &'a str,
    to: &'a str,
    is_for_tests: bool,
    is_optional: bool,
}

/// Every arrow that should not be there.
pub(crate) fn check(metadata: &Metadata) -> Vec<Finding> {
    let packages = metadata.workspace_packages();
    let members: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in &packages {
        let manifest = package.manifest_path.strip_prefix(&metadata.workspace_root);
        let manifest = manifest.unwrap_or(&package.manifest_path).as_str();
        let mut complain = |what| findings.push(Finding::new(manifest, 1, what));
        if let Err(what) = listed(&package.name) {
            complain(what);
            continue;
        }
        let broken = arrows(package).filter_map(|arrow| broken_rule(arrow, &members));
        broken.for_each(&mut complain);
    }
    findings
}

fn arrows(package: &Package) -> impl Iterator<Item = Arrow<'_>> {
    package.dependencies.iter().map(|dependency| Arrow {
        from: &package.name,
        to: &dependency.name,
        is_for_tests: dependency.kind == DependencyKind::Development,
        is_optional: dependency.optional,
    })
}

/// The crates that `name` may know.
fn listed(name: &str) -> Result<&'static [&'static str], String> {
    let row = ARROWS.iter().find(|(from, _)| *from == name);
    row.map(|(_, to)| *to).ok_or_else(|| {
        format!("`{name}` is a new crate: say in xtask/src/tidy/arrows.rs whom it may know")
    })
}

/// The rule that this arrow breaks, if it breaks one.
fn broken_rule(arrow: Arrow<'_>, members: &[&str]) -> Option<String> {
    let Arrow { from, to, .. } = arrow;
    if to == "bincode" && from != BINCODE_HOME {
        return Some(format!("`{from}` names bincode, which only `{BINCODE_HOME}` may"));
    }
    if arrow.is_for_tests {
        return None;
    }
    if from == "raft-core" && !(arrow.is_optional && to == "serde") {
        return Some(format!("`raft-core` depends on `{to}`, and may depend on nothing"));
    }
    let allowed = listed(from).unwrap_or_default();
    let is_broken = members.contains(&to) && !allowed.contains(&to);
    is_broken.then(|| format!("`{from}` must not know `{to}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: [&str; 6] =
        ["wire", "raft-core", "raft-storage", "kv-store", "raft-sim", "raft-model"];

    fn rule(from: &str, to: &str, kind: &str) -> Option<String> {
        let arrow =
            Arrow { from, to, is_for_tests: kind == "tests", is_optional: kind == "optional" };
        broken_rule(arrow, &MEMBERS)
    }

    #[test]
    fn the_arrows_of_the_design_are_allowed_and_no_others() {
        assert_eq!(rule("raft-storage", "raft-core", ""), None);
        assert!(rule("kv-store", "raft-core", "").is_some());
        assert!(rule("raft-storage", "raft-storage", "optional").is_some());
        assert_eq!(rule("kv-store", "redb", ""), None);
        assert_eq!(rule("kv-store", "raft-core", "tests"), None);
    }

    #[test]
    fn the_core_depends_on_nothing() {
        assert!(rule("raft-core", "log", "").is_some());
        assert!(rule("raft-core", "log", "optional").is_some());
        assert!(rule("raft-core", "serde", "").is_some());
        assert_eq!(rule("raft-core", "serde", "optional"), None);
        assert_eq!(rule("raft-core", "proptest", "tests"), None);
    }

    #[test]
    fn bincode_stays_behind_its_wall_even_in_tests() {
        assert_eq!(rule("wire", "bincode", ""), None);
        assert!(rule("kv-store", "bincode", "").is_some());
        assert!(rule("kv-store", "bincode", "tests").is_some());
    }

    #[test]
    fn only_tests_know_the_simulator_and_the_model() {
        assert!(rule("kv-store", "raft-sim", "").is_some());
        assert!(rule("kv-server", "raft-model", "").is_some());
        assert_eq!(rule("kv-store", "raft-sim", "tests"), None);
    }

    #[test]
    fn a_crate_that_nobody_placed_is_an_error() {
        assert_eq!(listed("kv-store"), Ok(["kv-proto"].as_slice()));
        assert!(listed("kv-new").is_err());
    }

    #[test]
    fn this_workspace_is_read_as_it_is() {
        let metadata = crate::workspace::metadata().expect("cargo metadata");
        let arrows = metadata.workspace_packages().into_iter().flat_map(arrows);
        let seen: Vec<_> = arrows.map(|arrow| (arrow.from, arrow.to)).collect();
        assert!(seen.contains(&("wire", "bincode")) && seen.contains(&("xtask", "kv-client")));
    }
}
