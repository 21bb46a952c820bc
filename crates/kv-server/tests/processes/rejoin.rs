//! A node whose data directory is gone, and who is told so.

use std::fs;

use crate::node::{Cluster, refused, wait_for};
use crate::snapshots::{
    MANY, SHORT_LOG, assert_there, installs, is_log_cut, put_many, wait_until_equal, while_writing,
};

#[test]
fn a_wiped_node_is_rebuilt_while_writes_go_on_and_votes_again() {
    let mut cluster = Cluster::start_with(3, &SHORT_LOG);
    put_many(&cluster, 0, MANY);
    for wiped in [cluster.leader(), cluster.leader() % 3 + 1] {
        wait_for("the log to be cut", || is_log_cut(&cluster, wiped).then_some(()));
        let before = installs(&cluster, wiped);
        while_writing(&mut cluster, MANY, |cluster| {
            cluster.kill(wiped);
            fs::remove_dir_all(cluster.data(wiped)).unwrap();
            cluster.leader();
            cluster.restart_with(wiped, &["--rejoin"]);
            wait_for("a snapshot", || (installs(cluster, wiped) > before).then_some(()));
            wait_for("its vote", || cluster.said(wiped).contains("votes again").then_some(()));
        });
        wait_until_equal(&cluster, 3);
        // A majority with it, and without another.
        let other = wiped % 3 + 1;
        cluster.kill(other);
        assert_there(&cluster, (0..MANY).step_by(100));
        cluster.restart(other);
        wait_until_equal(&cluster, 3);
    }
}

#[test]
fn a_wiped_node_does_not_start_before_all_others_have_answered() {
    let mut cluster = Cluster::start(3);
    put_many(&cluster, 0, 50);
    let wiped = cluster.leader();
    let away = wiped % 3 + 1;
    cluster.kill(wiped);
    cluster.kill(away);
    fs::remove_dir_all(cluster.data(wiped)).unwrap();
    let (code, said) = refused(cluster.command(wiped).arg("--rejoin"));
    assert_eq!(code, Some(1), "{said}");
    let silent = format!("n{away} at {}", cluster.raft_address(away));
    assert!(said.contains(&silent) && said.contains("start the others first"), "{said}");
    // Forgetting the flag does not make it a new node.
    let (code, said) = refused(&mut cluster.command(wiped));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&silent), "{said}");
    cluster.restart(away);
    cluster.restart(wiped);
    wait_until_equal(&cluster, 3);
    assert_there(&cluster, 0..50);
}

#[test]
fn the_flag_changes_nothing_where_there_is_a_log() {
    let mut cluster = Cluster::start(3);
    put_many(&cluster, 0, 50);
    cluster.kill_all();
    for id in 1..=3 {
        cluster.restart_with(id, &["--rejoin"]);
    }
    assert_there(&cluster, 0..50);
}
