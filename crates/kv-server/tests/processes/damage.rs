//! Disks that forget what they had acknowledged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::crashes::{assert_all_there, put_all};
use crate::node::{Cluster, refused, wait_for};
use crate::snapshots::{MANY, SHORT_LOG, installs, is_log_cut, put_many, wait_until_equal};

const WRITES: u32 = 200;

const SECTOR_BYTES: usize = 512;

/// What happens to a sector.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// A bit of this byte flips.
    Flip(usize),
    /// It is as if it had never been written.
    Zero,
    /// It shows what another one holds, which was written before it.
    Stale,
}

/// Flips a bit of the log, so many percent into what is written of it.
fn damage(data: &Path, percent: usize) {
    harm(data, percent, Harm::Flip(50));
}

/// Harms the sector of the log that lies so many percent into what is written of it.
fn harm(data: &Path, percent: usize, how: Harm) {
    let segment = data.join("00000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let used = bytes.chunks(SECTOR_BYTES).rposition(|it| it.iter().any(|byte| *byte != 0));
    let sector = used.unwrap() * percent / 100 * SECTOR_BYTES;
    let earlier = sector / 2 / SECTOR_BYTES * SECTOR_BYTES;
    let range = sector..sector + SECTOR_BYTES;
    match how {
        Harm::Flip(byte) => bytes[sector + byte] ^= 1,
        Harm::Zero => bytes[range].fill(0),
        Harm::Stale => bytes.copy_within(earlier..earlier + SECTOR_BYTES, sector),
    }
    fs::write(&segment, &bytes).unwrap();
}

/// Where, in percent of what is written, and how: contents of all kinds, and each field behind them
/// (`docs/format.md`). Of the very last sector, if it is zero, nobody can tell whether it was ever
/// written.
const HARMS: [(usize, Harm); 13] = [
    (0, Harm::Flip(50)),
    (0, Harm::Zero),
    (5, Harm::Flip(0)),
    (10, Harm::Flip(9)),
    (20, Harm::Zero),
    (30, Harm::Flip(16)),
    (40, Harm::Stale),
    (50, Harm::Flip(497)),
    (60, Harm::Zero),
    (70, Harm::Flip(500)),
    (80, Harm::Flip(504)),
    (90, Harm::Stale),
    (100, Harm::Flip(511)),
];

/// Three nodes. The third is stopped, 200 writes are acknowledged by the other two, both are
/// killed, and the log of the second is damaged. The second and the third have a majority, and a
/// part of the data: a second node that cut its log at the damage and went on would elect a leader
/// without the rest. They must wait for the first.
#[test]
fn two_nodes_of_which_one_is_damaged_do_not_serve_without_what_the_third_has() {
    for (percent, how) in HARMS {
        let mut cluster = Cluster::start(3);
        cluster.leader();
        cluster.kill(3);
        put_all(&cluster, 0, WRITES);
        cluster.kill(1);
        cluster.kill(2);
        harm(&cluster.data(2), percent, how);

        cluster.restart(2);
        cluster.restart(3);
        let mut client = cluster.impatient_client(Duration::from_millis(1500));
        let served = client.get(b"key-00000").map(|answer| answer.reply);
        assert!(served.is_err(), "{percent} %, {how:?}: served without the first node: {served:?}");

        cluster.restart(1);
        assert_all_there(&cluster, WRITES);
        let leader = cluster.leader();
        wait_for("the damaged node to have everything back", || {
            (cluster.applied(2)? == cluster.applied(leader)?).then_some(())
        });
        // It votes again: it takes part in a majority without the first.
        cluster.kill(1);
        put_all(&cluster, WRITES, WRITES + 1);
        assert_all_there(&cluster, WRITES + 1);
    }
}

/// The damaged node starts while the others go on: it is repaired, is killed in the middle of it,
/// and is repaired again.
#[test]
fn a_damaged_node_gets_its_log_back_while_the_others_go_on() {
    let mut cluster = Cluster::start(3);
    put_all(&cluster, 0, WRITES);
    let victim = cluster.leader();
    cluster.kill(victim);
    put_all(&cluster, WRITES, 2 * WRITES);
    for percent in [30, 70] {
        damage(&cluster.data(victim), percent);
        cluster.restart(victim);
        cluster.kill(victim);
    }
    let aside = fs::read_dir(cluster.data(victim)).unwrap();
    let names = aside.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert!(names.filter(|name| name.contains("damaged")).count() >= 2, "nothing is thrown away");
    cluster.restart(victim);
    let leader = cluster.leader();
    wait_for("the damaged node to have everything back", || {
        (cluster.applied(victim)? == cluster.applied(leader)?).then_some(())
    });
    cluster.kill(leader);
    assert_all_there(&cluster, 2 * WRITES);
}

/// People were once told to move the damaged state away and to start again, as if the log could
/// make it anew; when they had done so, the node refused to start without it.
#[test]
fn a_node_whose_state_is_damaged_and_whose_log_is_cut_says_at_once_what_it_takes() {
    let mut cluster = Cluster::start_with(3, &SHORT_LOG);
    put_many(&cluster, 0, MANY);
    let victim = cluster.leader();
    wait_for("the log to be cut", || is_log_cut(&cluster, victim).then_some(()));
    cluster.stop(victim);
    let state = cluster.data(victim).join("state.redb");
    let mut bytes = fs::read(&state).unwrap();
    // Something on every page of the database but its first.
    bytes.iter_mut().skip(4096 + 100).step_by(4096).for_each(|byte| *byte ^= 1);
    fs::write(&state, bytes).unwrap();
    let (code, said) = refused(&mut cluster.command(victim));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("state.redb is damaged") && said.contains("--rejoin"), "{said}");
    assert!(!said.contains("move it away"), "{said}");

    fs::rename(cluster.data(victim), cluster.folder().join("aside")).unwrap();
    cluster.restart_with(victim, &["--rejoin"]);
    wait_until_equal(&cluster, 3);
    assert!(installs(&cluster, victim) > 0, "the others have its state");
}

#[test]
fn a_state_that_is_gone_is_made_anew_while_all_of_the_log_is_there() {
    let mut cluster = Cluster::start(1);
    put_all(&cluster, 0, WRITES);
    cluster.stop(1);
    fs::remove_file(cluster.data(1).join("state.redb")).unwrap();
    cluster.restart(1);
    assert_all_there(&cluster, WRITES);
}

/// Every file of a directory, and what it holds.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// What cannot be repaired is refused, and left as it is. The others go on, and the node comes back
/// with the file that it lacked, or without anything.
#[test]
fn a_node_that_has_lost_too_much_says_what_to_do_and_changes_nothing() {
    let mut cluster = Cluster::start(3);
    put_all(&cluster, 0, WRITES);
    let victim = cluster.leader();
    let data = cluster.data(victim);
    cluster.stop(victim);
    let (meta, witness) = (data.join("meta"), data.join("witness"));
    let right = fs::read(&meta).unwrap();
    for (lost, what) in [(false, "meta is damaged"), (true, "meta is missing")] {
        fs::write(&meta, &right[..40]).unwrap();
        if lost {
            fs::remove_file(&meta).unwrap();
        }
        let before = content(&data);
        let (code, said) = refused(&mut cluster.command(victim));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(what) && said.contains("Put the right file back"), "{said}");
        assert_eq!(content(&data), before, "nothing was changed");
        put_all(&cluster, WRITES, WRITES + 10);
    }
    fs::write(&meta, &right).unwrap();
    cluster.restart(victim);
    cluster.stop(victim);

    damage(&data, 50);
    fs::remove_file(&witness).unwrap();
    let before = content(&data);
    let (code, said) = refused(&mut cluster.command(victim));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("witness is missing") && said.contains("--rejoin"), "{said}");
    assert_eq!(content(&data), before, "nothing was changed");
    put_all(&cluster, WRITES + 10, WRITES + 20);
    fs::rename(&data, cluster.folder().join("aside")).unwrap();
    cluster.restart_with(victim, &["--rejoin"]);
    let leader = cluster.leader();
    wait_for("the node to have everything back", || {
        (cluster.applied(victim)? == cluster.applied(leader)?).then_some(())
    });
    assert_all_there(&cluster, WRITES + 20);
}
