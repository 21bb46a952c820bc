//! Disks that fail and disks that are slow, by way of `strace`, which puts itself between a process
//! and the system. Where it is missing or not allowed, these tests say so and do nothing.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kv_proto::DiskState;

use crate::crashes::{assert_all_there, put_all};
use crate::node::{Cluster, send_signal, wait_for};

/// A tracer at work. It lets go when it is dropped.
struct Tracer(Child);

impl Tracer {
    /// From now on the calls of node `id` that `injection` names are changed as it says.
    fn attach(cluster: &Cluster, id: usize, injection: &str) -> Option<Self> {
        let pid = cluster.pid(id);
        let mut command = Command::new("strace");
        command.args(["--follow-forks", "--output=/dev/null", "--inject", injection]);
        command.args(["--attach", &pid.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                eprintln!("skipped: strace does not run here: {error}");
                return None;
            }
        };
        let mut tracer = Self(child);
        // Every thread of the process has to be traced.
        let is_traced = wait_for("strace to attach itself, or to end", || {
            if tracer.0.try_wait().unwrap().is_some() {
                return Some(false);
            }
            is_traced(pid).then_some(true)
        });
        if is_traced {
            return Some(tracer);
        }
        eprintln!("skipped: strace may not trace processes here");
        None
    }
}

impl Tracer {
    /// Lets go of a process that has ended: asked in the usual way, strace would wait for ever for
    /// threads whose calls it holds up.
    fn abandon(mut self) {
        self.0.kill().unwrap();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Asked in this way it detaches; killed it would take the process along.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

fn is_traced(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    })
}

/// Whether only the exit code is left of a process.
fn has_ended(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.contains("State:\tZ")
}

#[test]
fn a_node_whose_sync_fails_stops_at_once_has_promised_nothing_and_starts_again() {
    for nth in [1, 2, 7, 40] {
        let mut cluster = Cluster::start(1);
        put_all(&cluster, 0, 5);
        let injection = format!("fdatasync:error=EIO:when={nth}+");
        let Some(tracer) = Tracer::attach(&cluster, 1, &injection) else { return };
        let mut client = cluster.impatient_client(Duration::from_secs(2));
        let mut acknowledged = 5;
        while client.put(key(acknowledged).as_bytes(), value(acknowledged).as_bytes()).is_ok() {
            acknowledged += 1;
            assert!(acknowledged < 1000, "no sync ever failed");
        }
        let ended = cluster.wait_for_end(1);
        assert_eq!(ended.code(), Some(1), "it stops by itself");
        drop(tracer);
        assert!(acknowledged - 5 <= nth, "{acknowledged} acknowledged, sync {nth} failed");
        cluster.restart(1);
        assert_all_there(&cluster, acknowledged);
        put_all(&cluster, acknowledged, acknowledged + 5);
        assert_all_there(&cluster, acknowledged + 5);
    }
}

/// As [`put_all`] writes them.
fn key(number: u32) -> String {
    format!("key-{number:05}")
}

fn value(number: u32) -> String {
    format!("value {number}")
}

#[test]
fn a_follower_whose_sync_fails_stops_and_the_others_go_on() {
    let mut cluster = Cluster::start(3);
    put_all(&cluster, 0, 5);
    let victim = cluster.leader() % 3 + 1;
    let Some(tracer) = Tracer::attach(&cluster, victim, "fdatasync:error=EIO:when=3+") else {
        return;
    };
    put_all(&cluster, 5, 60);
    assert_eq!(cluster.wait_for_end(victim).code(), Some(1));
    drop(tracer);
    assert_all_there(&cluster, 60);
    cluster.restart(victim);
    let leader = cluster.leader();
    wait_for("the node to catch up", || {
        (cluster.applied(victim)? == cluster.applied(leader)?).then_some(())
    });
    assert_all_there(&cluster, 60);
}

#[test]
fn a_leader_whose_disk_is_slow_hands_over_once_and_leadership_stays_there() {
    let cluster = Cluster::start(3);
    put_all(&cluster, 0, 5);
    let slow = cluster.leader();
    // One and a half seconds for each sync, where an election takes at most 0.3.
    let Some(tracer) = Tracer::attach(&cluster, slow, "fdatasync:delay_enter=1500000") else {
        return;
    };
    let begun = Instant::now();
    // Whoever leads in the end acknowledges these; the slow one alone would need half a minute.
    put_all(&cluster, 5, 25);
    let leader = cluster.leader();
    assert_ne!(leader, slow);
    wait_for("the slow disk to be known as slow", || {
        let status = cluster.client().status(&cluster.client_address(slow)).ok()?;
        (status.reply.node.disk == DiskState::Slow).then_some(())
    });
    let term =
        |id| Some(cluster.client().status(&cluster.client_address(id)).ok()?.reply.node.term);
    let before = wait_for("a term", || term(leader));
    while begun.elapsed() < Duration::from_secs(8) {
        put_all(&cluster, 5, 6);
        std::thread::sleep(Duration::from_millis(100));
    }
    let now = wait_for("a term", || term(cluster.leader()));
    assert!(now - before <= 1, "terms went from {before} to {now}");
    drop(tracer);
    wait_for("the slow node to catch up", || {
        (cluster.applied(slow)? == cluster.applied(cluster.leader())?).then_some(())
    });
    assert_all_there(&cluster, 25);
}

/// A second signal was once ignored, as if the person who sent it had not been heard: a node whose
/// disk hung while it stopped could only be killed.
#[test]
fn a_second_signal_ends_a_node_that_waits_for_its_disk_while_it_stops() {
    // With a flag of its own it tells what it does.
    let mut cluster = Cluster::start_with(1, &["--timing-mode", "fast"]);
    put_all(&cluster, 0, 5);
    let Some(tracer) = Tracer::attach(&cluster, 1, "fdatasync:delay_enter=3600000000") else {
        return;
    };
    let pid = cluster.pid(1);
    let mut client = cluster.impatient_client(Duration::from_millis(200));
    assert!(client.put(key(5).as_bytes(), b"on its way").is_err(), "the disk hangs");
    send_signal(pid, "-TERM");
    wait_for("the node to say that it stops", || {
        cluster.said(1).contains("SIGTERM: this node finishes").then_some(())
    });
    assert!(cluster.is_running(1));
    send_signal(pid, "-INT");
    wait_for("the node to end", || has_ended(pid).then_some(()));
    // Until the tracer lets go of it, nobody else can learn how it ended.
    tracer.abandon();
    assert_eq!(cluster.wait_for_end(1).code(), Some(1), "it was not in order");
    let said = cluster.said(1);
    assert!(said.contains("Ctrl-C again: this node ends at once"), "{said}");
    cluster.restart(1);
    assert_all_there(&cluster, 5);
}
