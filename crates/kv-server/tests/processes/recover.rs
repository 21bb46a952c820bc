//! A survivor becomes a cluster of its own when the others will not come back.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use kv_client::{Client, Options};
use kv_proto::{Range, Revision};

use crate::node::{Cluster, PATIENCE, ready, refused, run, server, terminate};

fn recover(dir: &Path, more: &[&str]) -> Command {
    let mut command = server();
    command.args(["recover", "--data-dir"]).arg(dir).args(more);
    command
}

/// Starts what was recovered, with the command that it was told.
fn start(said: &str, client_address: &str) -> Child {
    let line = said.lines().find_map(|line| line.strip_prefix("start it with: kv-server "));
    let words = line.unwrap_or_else(|| panic!("it says how to start it: {said}")).split(' ');
    ready(server().args(words).args(["--client-bind", client_address])).0
}

/// A client of node 3.
fn client_of(cluster: &Cluster) -> Client {
    Client::new([cluster.client_address(3)], Options { timeout: PATIENCE }).unwrap()
}

/// Three nodes, of which two are lost. The third has every write that was acknowledged.
fn survivor() -> Cluster {
    let mut cluster = Cluster::start(3);
    let mut client = cluster.client();
    for number in 0..20_u64 {
        client.put(format!("key/{number}").as_bytes(), b"value").unwrap();
    }
    // So that node 3 is sure to have them: it is one of the two that are left.
    let doomed = if cluster.leader() == 2 { 1 } else { 2 };
    cluster.kill(doomed);
    client.put(b"last", b"acknowledged by node 3").unwrap();
    cluster.kill_all();
    cluster
}

#[test]
fn a_survivor_has_everything_that_it_acknowledged_and_goes_on_alone() {
    let cluster = survivor();
    let dir = cluster.data(3);
    let (code, out, err) = run(&mut recover(&dir, &["--yes"]));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("holds node 3") && out.contains("is lost"), "{out}");
    for file in ["meta", "peers"] {
        assert!(dir.join("before-recovery-1").join(file).exists(), "the old files are kept");
    }
    assert!(!dir.join("peers").exists(), "the new cluster has met nobody");

    let mut child = start(&out, &cluster.client_address(3));
    let mut client = client_of(&cluster);
    let found = client.get(b"last").unwrap().reply.map(|kv| kv.value.to_vec());
    assert_eq!(found.as_deref(), Some(b"acknowledged by node 3".as_slice()));
    client.put(b"new", b"life").unwrap();
    terminate(&mut child, "-TERM");

    // Once more, over what was recovered.
    let (code, out, _) = run(&mut recover(&dir, &["--yes"]));
    assert_eq!(code, Some(0), "{out}");
    assert!(dir.join("before-recovery-2").join("meta").exists());
    let mut child = start(&out, &cluster.client_address(3));
    // The one from before refuses to talk to another cluster under the same address.
    let mut client = client_of(&cluster);
    assert!(client.get(b"new").unwrap().reply.is_some());
    terminate(&mut child, "-TERM");
}

#[test]
fn nothing_is_changed_unless_a_person_agrees() {
    let mut cluster = survivor();
    let dir = cluster.data(3);
    for answer in ["", "no\n", "y\n"] {
        let mut child = recover(&dir, &[])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{answer:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("nothing was changed"));
    }
    cluster.start_all();
    assert!(cluster.client().get(b"last").unwrap().reply.is_some());
}

/// The log of the survivor is damaged as well. What lies before the damage, and what the state file
/// has, is better than nothing; but it has to be said.
#[test]
fn of_a_damaged_survivor_what_is_intact_is_recovered_and_the_loss_is_named() {
    let cluster = survivor();
    let dir = cluster.data(3);
    let log = dir.join("00000001.log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[4 * 512 + 100] ^= 1;
    fs::write(&log, bytes).unwrap();
    let (code, out, err) = run(&mut recover(&dir, &["--yes"]));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("behind the damage is lost") && out.contains("00000001.log"), "{out}");
    let mut child = start(&out, &cluster.client_address(3));
    client_of(&cluster).put(b"new", b"life").unwrap();
    terminate(&mut child, "-TERM");
}

/// The past was once cut down to what a server keeps by default, whatever this one had been told.
#[test]
fn old_revisions_are_as_old_as_the_server_kept_them() {
    const KEPT: [&str; 2] = ["--keep-revisions", "100000"];
    let mut cluster = Cluster::start_with(3, &KEPT);
    cluster.leader();
    std::thread::scope(|scope| {
        for _ in 0..24 {
            let mut client = cluster.client();
            let put = move || (0..450).for_each(|_| drop(client.put(b"same", b"value").unwrap()));
            scope.spawn(put);
        }
    });
    let before = cluster.client().get(b"same").unwrap().header.revision;
    assert!(before > Revision::new(10_100), "more than is kept by default");
    cluster.kill_all();
    let dir = cluster.data(3);
    let (code, out, err) = run(&mut recover(&dir, &["--yes"]));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let told = out.lines().find(|line| line.starts_with("start it with")).unwrap();
    let mut child = start(&format!("{told} {}", KEPT.join(" ")), &cluster.client_address(3));
    let mut oldest = Range::key(b"same");
    oldest.options.revision = Some(Revision::new(2));
    let found = client_of(&cluster).range(&oldest);
    terminate(&mut child, "-TERM");
    assert_eq!(found.unwrap().reply.kvs.len(), 1);
}

#[test]
fn a_node_that_runs_is_not_recovered() {
    let cluster = Cluster::start(1);
    cluster.leader();
    let (code, _, err) = run(&mut recover(&cluster.data(1), &["--yes"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("another process"), "{err}");
    assert!(cluster.client().put(b"a", b"1").is_ok());
}

/// The power may go between any two of the renames. Whatever is there then, no server starts on it,
/// and the next `recover` finishes the work.
#[test]
fn a_recovery_that_was_interrupted_is_finished_by_the_next_one() {
    let whole = survivor();
    run(&mut recover(&whole.data(3), &["--yes"]));
    let (dir, old) = (whole.data(3), whole.data(3).join("before-recovery-1"));
    let begun = |stage: &str| {
        let target = whole.folder().join(format!("interrupted-{stage}"));
        fs::create_dir_all(&target).unwrap();
        target
    };
    let copy = |from: &Path, to: &Path, meant: &dyn Fn(&str) -> bool| {
        fs::create_dir_all(to).unwrap();
        for item in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let name = item.file_name().into_string().unwrap();
            if item.path().is_file() && meant(&name) {
                fs::copy(item.path(), to.join(name)).unwrap();
            }
        }
    };
    let (all, meta, rest) =
        (|_: &str| true, |name: &str| name == "meta", |name: &str| name != "meta");
    // Nothing has moved yet.
    let first = begun("first");
    copy(&old, &first, &all);
    copy(&dir, &first.join("recovering"), &all);
    fs::create_dir(first.join("recovering/old")).unwrap();
    // Half of the old files have moved.
    let second = begun("second");
    copy(&old, &second, &rest);
    copy(&dir, &second.join("recovering"), &all);
    copy(&old, &second.join("recovering/old"), &meta);
    // Half of the new files have moved.
    let third = begun("third");
    copy(&dir, &third, &rest);
    copy(&dir, &third.join("recovered"), &meta);
    copy(&old, &third.join("before-recovery-1"), &all);
    for place in [first, second, third] {
        let said = refused(server().arg("--data-dir").arg(&place)).1;
        assert!(said.contains("begun and not finished"), "{said}");
        let (code, out, err) = run(&mut recover(&place, &[]));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        let mut child = start(&out, &whole.client_address(3));
        let options = Options { timeout: PATIENCE };
        let mut client = Client::new([whole.client_address(3)], options).unwrap();
        assert!(client.get(b"last").unwrap().reply.is_some(), "{}", place.display());
        terminate(&mut child, "-TERM");
        assert!(place.join("before-recovery-1/meta").exists());
    }
}
