//! Disks that fill up while a cluster serves, and have room again. Each node has a small file
//! system in memory, which takes the right to mount one: without it, these tests say so and do
//! nothing.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kv_proto::{DiskState, Outcome};

use crate::crashes::{assert_all_there, put_all, put_surely};
use crate::node::{Cluster, wait_for};
use crate::snapshots::{
    MANY, SHORT_LOG, assert_there, installs, is_log_cut, is_receiving, put_many, wait_until_equal,
};

/// Room for the log as it is made, which is 48 MiB, and for some more.
const DISK_MEGABYTES: usize = 64;

/// The usual reserve. A flag has the nodes keep what they say, which is shown if the test fails.
const TOLD: [&str; 2] = ["--log-reserve", "16MiB"];

/// How long a write is tried that is to be refused.
const BRIEFLY: Duration = Duration::from_secs(2);

/// A file system of its own, unmounted when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one at `path`; `None`, and says why, if that is not allowed.
    fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={DISK_MEGABYTES}m,mode=0700");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(path).output();
        match mount {
            Ok(done) if done.status.success() => Some(Self(path.to_owned())),
            Ok(done) => {
                let why = String::from_utf8_lossy(&done.stderr).into_owned();
                eprintln!("skipped: a small disk cannot be mounted here: {}", why.trim());
                None
            }
            Err(error) => {
                eprintln!("skipped: there is no `mount` here: {error}");
                None
            }
        }
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut ballast =
            fs::File::options().create(true).append(true).open(self.ballast()).unwrap();
        for chunk in [64 << 10, 4 << 10, 1] {
            let bytes = vec![1; chunk];
            let refused = loop {
                if let Err(error) = ballast.write_all(&bytes) {
                    break error;
                }
            };
            assert_eq!(refused.kind(), ErrorKind::StorageFull);
        }
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    /// Makes room for so many bytes.
    fn free_some(&self, bytes: u64) {
        let ballast = fs::File::options().write(true).open(self.ballast()).unwrap();
        ballast.set_len(ballast.metadata().unwrap().len() - bytes).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(&self.0).status();
    }
}

/// A cluster, each node on a disk of its own. The disks go last.
struct OnSmallDisks {
    cluster: Cluster,
    disks: Vec<SmallDisk>,
}

fn start(size: usize, flags: &[&str]) -> Option<OnSmallDisks> {
    let mut cluster = Cluster::unstarted(size).with_flags(flags);
    let disks: Option<Vec<_>> = (1..=size).map(|id| SmallDisk::mount(&cluster.data(id))).collect();
    let disks = disks?;
    cluster.start_all();
    // A disk that is full before that is full for more than was meant.
    for id in 1..=size {
        let reserve = cluster.data(id).join("reserve");
        wait_for("the log's reserve to be made", || reserve.exists().then_some(()));
    }
    Some(OnSmallDisks { cluster, disks })
}

fn disk_state(cluster: &Cluster, id: usize) -> Option<DiskState> {
    let answer = cluster.client().status(&cluster.client_address(id)).ok()?;
    Some(answer.reply.node.disk)
}

/// Writes until no write gets through for want of room; returns what a leader says of that, unless
/// it is the only one that has some left: then all there is to say is that the outcome is unknown.
///
/// The first write that failed was once taken for the end. But whoever notices first hands over to
/// a node that has not, and on a busy machine a write may also fail for want of time: then the next
/// one could get through, and the test failed.
fn put_until_refused(cluster: &Cluster) -> Option<String> {
    let mut client = cluster.impatient_client(BRIEFLY);
    let value = vec![7; 256 << 10];
    let mut count = 0;
    wait_for("the disks to be known as full", || {
        count += 1;
        // More than the disk could hold, if it were empty.
        assert!(count < 4 * DISK_MEGABYTES, "the disks never were full");
        let refused = client.put(format!("large-{count:04}").as_bytes(), &value).err()?;
        let is_full = |id: &usize| disk_state(cluster, *id) == Some(DiskState::Full);
        let (full, said) = ((1..=3).filter(is_full).count(), refused.to_string());
        match refused.outcome() {
            Outcome::NotApplied if full == 3 && said.contains("is full") => Some(Some(said)),
            Outcome::Unknown if full == 2 && !is_full(&cluster.leader()) => Some(None),
            _ => None,
        }
    })
}

#[test]
fn a_cluster_whose_disks_are_full_refuses_writes_reads_on_and_writes_again_by_itself() {
    let Some(OnSmallDisks { mut cluster, disks }) = start(3, &TOLD) else { return };
    put_all(&cluster, 0, 50);
    disks.iter().for_each(SmallDisk::fill);
    let said = put_until_refused(&cluster);
    assert!(said.as_ref().is_none_or(|said| said.contains("make room")), "{said:?}");
    for id in 1..=3 {
        assert!(cluster.is_running(id), "node {id} has ended");
    }
    assert_all_there(&cluster, 50);

    // Full nodes elect a leader that can read, and one that was killed on a full disk starts again.
    let leader = cluster.leader();
    cluster.kill(leader);
    let next = cluster.leader();
    assert_all_there(&cluster, 50);
    cluster.restart(leader);
    assert_all_there(&cluster, 50);

    disks.iter().for_each(SmallDisk::free);
    put_all(&cluster, 50, 100);
    for id in 1..=3 {
        wait_for("every node to have room", || {
            (disk_state(&cluster, id)? == DiskState::Fine).then_some(())
        });
        wait_for("every node to have everything", || {
            (cluster.applied(id)? == cluster.applied(next)?).then_some(())
        });
    }
    cluster.kill_all();
    cluster.start_all();
    assert_all_there(&cluster, 100);
    cluster.kill_all();
}

/// A node whose disk was full before the others' stayed behind, with room in its log that it did
/// not use. Their disks filled up as well, their leader was killed, and the next one, which needed
/// that node for a majority, served no reads until somebody made room.
#[test]
fn a_node_whose_disk_is_full_first_makes_a_majority_with_the_next_leader() {
    let Some(OnSmallDisks { mut cluster, disks }) = start(3, &TOLD) else { return };
    put_all(&cluster, 0, 50);
    let first = cluster.leader() % 3 + 1;
    disks[first - 1].fill();
    let mut client = cluster.client();
    wait_for("the first to be full", || {
        put_surely(&mut client, b"small", b"value");
        (disk_state(&cluster, first)? == DiskState::Full).then_some(())
    });
    // That is 3 MiB; some more follow until all are full.
    for number in 0..12 {
        put_surely(&mut client, format!("larger-{number:02}").as_bytes(), &vec![7; 256 << 10]);
    }
    disks.iter().for_each(SmallDisk::fill);
    put_until_refused(&cluster);
    let leader = cluster.leader();
    cluster.kill(leader);
    let next = cluster.leader();
    assert_all_there(&cluster, 50);
    wait_for("the first to have what the next leader has", || {
        (cluster.applied(first)? == cluster.applied(next)?).then_some(())
    });
    cluster.restart(leader);
    disks.iter().for_each(SmallDisk::free);
    put_all(&cluster, 50, 60);
    cluster.kill_all();
}

#[test]
fn leadership_and_writes_go_where_there_is_room() {
    let Some(OnSmallDisks { mut cluster, disks }) = start(3, &[]) else { return };
    put_all(&cluster, 0, 10);
    let full = cluster.leader();
    disks[full - 1].fill();
    let mut client = cluster.client();
    let value = vec![7; 128 << 10];
    let mut count = 0;
    wait_for("the node to know that its disk is full", || {
        // It does not know before it needs more; no client notices anything.
        put_surely(&mut client, format!("large-{count:03}").as_bytes(), &value);
        count += 1;
        assert!(count < 150, "the node must have needed its next segment");
        (disk_state(&cluster, full)? == DiskState::Full).then_some(())
    });
    let leader = wait_for("another to lead", || Some(cluster.leader()).filter(|id| *id != full));
    put_all(&cluster, 10, 20);
    assert!(cluster.is_running(full));
    disks[full - 1].free();
    wait_for("the node to catch up", || {
        (cluster.applied(full)? == cluster.applied(leader)?).then_some(())
    });
    assert_all_there(&cluster, 20);
    cluster.kill_all();
}

/// How often a node had no room for a snapshot, as far as it said so.
fn shortages(cluster: &Cluster, id: usize) -> usize {
    cluster.said(id).matches("there is no room for it in").count()
}

#[test]
fn a_snapshot_for_which_there_is_no_room_takes_nothing_and_comes_when_there_is_room() {
    let Some(OnSmallDisks { mut cluster, disks }) = start(3, &SHORT_LOG) else { return };
    put_many(&cluster, 0, 100);
    wait_until_equal(&cluster, 3);
    let behind = cluster.leader() % 3 + 1;
    let disk = &disks[behind - 1];
    let before = cluster.applied(behind).unwrap();
    cluster.kill(behind);
    put_many(&cluster, 100, MANY);
    let leader = cluster.leader();
    wait_for("the log to be cut", || is_log_cut(&cluster, leader).then_some(()));

    // There is no room at all, and then room for half of it.
    disk.fill();
    for (told, room_bytes) in [(1, 0), (2, 2 << 20)] {
        disk.free_some(room_bytes);
        cluster.restart(behind);
        wait_for("it to say why", || (shortages(&cluster, behind) >= told).then_some(()));
        wait_for("the sender to know", || (shortages(&cluster, leader) > 0).then_some(()));
        put_many(&cluster, MANY, MANY + 100);
        assert_eq!(cluster.applied(behind), Some(before), "it has what it had");
        assert!(cluster.is_running(behind));
        cluster.kill(behind);
    }
    cluster.restart(behind);
    disk.free();
    wait_for("the snapshot", || (installs(&cluster, behind) == 1).then_some(()));
    wait_until_equal(&cluster, 3);
    assert!(!is_receiving(&cluster, behind), "nothing is left over");
    // It can do what the others can.
    let leader = cluster.leader();
    cluster.kill(leader);
    assert_there(&cluster, (0..MANY).step_by(50));
    put_many(&cluster, MANY, MANY + 10);
}
