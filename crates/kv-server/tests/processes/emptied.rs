//! A directory that was emptied, and a node that is started on it as if nothing had happened.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::node::{Cluster, refused, wait_for};
use crate::snapshots::{assert_there, is_there, put_many, wait_until_equal};

/// Under these the nodes tell what happens, which is how a test knows that two of them have met.
const TALKATIVE: [&str; 1] = ["--verbose"];

/// How many writes are acknowledged in each story.
const WRITES: u32 = 50;

/// Waits until every node has met every other one.
fn wait_until_met(cluster: &Cluster) {
    for id in 1..=3 {
        for other in (1..=3).filter(|other| *other != id) {
            let met = format!("connected to n{other} at");
            wait_for("all to meet", || cluster.said(id).contains(&met).then_some(()));
        }
    }
}

/// Three nodes that have met, of which the third misses what the first two acknowledged. Then all
/// of them are down, and what the second one had is gone.
fn three_of_which_one_is_emptied() -> Cluster {
    let mut cluster = Cluster::start_with(3, &TALKATIVE);
    wait_until_met(&cluster);
    cluster.kill(3);
    put_many(&cluster, 0, WRITES);
    cluster.kill_all();
    fs::remove_dir_all(cluster.data(2)).unwrap();
    cluster
}

/// Node 2 voted for node 3, of which it did not know any more that it lacks what node 2 itself had
/// acknowledged together with node 1; and the two served without it.
#[test]
fn what_an_emptied_node_had_acknowledged_is_never_missing() {
    let mut cluster = three_of_which_one_is_emptied();
    cluster.restart(3);
    cluster.spawn(2);
    let mut client = cluster.impatient_client(Duration::from_secs(1));
    wait_for("the emptied node to stop", || {
        let found = is_there(&mut client, 0);
        assert_ne!(found, Some(false), "an acknowledged write is gone");
        (!cluster.is_running(2)).then_some(())
    });
    cluster.restart(1);
    assert_there(&cluster, 0..WRITES);
}

/// What node `id` said when it stopped by itself.
fn stopped(cluster: &mut Cluster, id: usize) -> String {
    assert_eq!(cluster.wait_for_end(id).code(), Some(1), "{}", cluster.said(id));
    let said = cluster.said(id);
    assert!(!said.contains("panicked"), "{said}");
    // Both others refuse it at the same moment. The second reason was once begun, and cut off by
    // the end of the process: "kv-server: " was its last word.
    let last_word = said.lines().next_back().unwrap_or_default();
    assert!(last_word.starts_with("kv-server: n"), "{said}");
    last_word.to_owned()
}

#[test]
fn an_emptied_node_stops_with_a_sentence_and_comes_back_with_the_flag_again_and_again() {
    let mut cluster = three_of_which_one_is_emptied();
    cluster.restart(3);
    for round in 0..2 {
        cluster.spawn(2);
        let said = stopped(&mut cluster, 2);
        assert!(said.starts_with("kv-server: n"), "{said}");
        let dir = cluster.data(2).display().to_string();
        for part in ["refuses this node", "may have acknowledged there", &dir, "--rejoin"] {
            assert!(said.contains(part), "{said}");
        }
        if round == 0 {
            cluster.restart(1);
        }
        // The directory that was made in vain is in the way.
        fs::remove_dir_all(cluster.data(2)).unwrap();
        cluster.restart_with(2, &["--rejoin"]);
        wait_until_equal(&cluster, 3);
        assert_there(&cluster, 0..WRITES);
        // It counts again: with it and without another, there is a majority.
        wait_for("its vote", || {
            (cluster.said(2).matches("votes again").count() > round).then_some(())
        });
        cluster.kill(3);
        assert_there(&cluster, 0..WRITES);
        cluster.restart(3);
        wait_until_equal(&cluster, 3);
        cluster.kill(2);
        // Emptied by halves: what is left of the directory does not make it another node.
        let peers = fs::read(cluster.data(2).join("peers")).unwrap();
        fs::remove_dir_all(cluster.data(2)).unwrap();
        if round == 1 {
            fs::create_dir(cluster.data(2)).unwrap();
            fs::write(cluster.data(2).join("peers"), peers).unwrap();
        }
    }
    let (code, said) = refused(cluster.command(2).stderr(Stdio::piped()));
    assert_eq!(code, Some(1));
    assert!(said.contains("belongs to another log") && said.contains("--rejoin"), "{said}");
}

#[test]
fn the_lost_directory_is_refused_when_it_comes_back_after_another_took_its_place() {
    let mut cluster = Cluster::start_with(3, &TALKATIVE);
    wait_until_met(&cluster);
    put_many(&cluster, 0, WRITES);
    cluster.kill(2);
    let (lost, new) = (cluster.folder().join("lost"), cluster.folder().join("new"));
    fs::rename(cluster.data(2), &lost).unwrap();
    cluster.restart_with(2, &["--rejoin"]);
    wait_until_equal(&cluster, 3);
    cluster.kill(2);
    fs::rename(cluster.data(2), &new).unwrap();
    fs::rename(&lost, cluster.data(2)).unwrap();
    cluster.spawn(2);
    let said = stopped(&mut cluster, 2);
    assert!(said.contains("refuses this node"), "{said}");
    // Nor does the flag help: it has a log, which is the wrong one.
    let (code, said) = refused(cluster.command(2).arg("--rejoin").stderr(Stdio::piped()));
    assert_eq!(code, Some(1));
    assert!(said.contains("refuses this node"), "{said}");
    // Both others keep it out, also when they were started again.
    cluster.kill(1);
    cluster.kill(3);
    cluster.restart(1);
    cluster.restart(3);
    cluster.spawn(2);
    stopped(&mut cluster, 2);
    fs::remove_dir_all(cluster.data(2)).unwrap();
    fs::rename(&new, cluster.data(2)).unwrap();
    cluster.restart(2);
    wait_until_equal(&cluster, 3);
    assert_there(&cluster, 0..WRITES);
}

/// All of them are started at once, as after a loss of power, and one disk was replaced.
#[test]
fn started_together_with_all_others_an_emptied_node_stops_and_they_go_on() {
    let mut cluster = three_of_which_one_is_emptied();
    for id in 1..=3 {
        cluster.spawn(id);
    }
    stopped(&mut cluster, 2);
    assert_there(&cluster, 0..WRITES);
    assert!(cluster.is_running(1) && cluster.is_running(3));
}

/// The others were not emptied, but it is the only one that runs: nothing can be said about it
/// then, and nothing is served either.
#[test]
fn alone_an_emptied_node_serves_nothing_until_it_is_found_out() {
    let mut cluster = three_of_which_one_is_emptied();
    cluster.restart(2);
    let mut client = cluster.impatient_client(Duration::from_secs(1));
    assert_eq!(is_there(&mut client, 0), None);
    cluster.restart(1);
    stopped(&mut cluster, 2);
}

/// It may be mistaken about the name of the cluster, and is told the right one at the next start.
#[test]
fn a_rejoining_that_was_refused_leaves_nothing_that_is_in_the_way_of_the_next() {
    let mut cluster = Cluster::start_with(3, &TALKATIVE);
    wait_until_met(&cluster);
    put_many(&cluster, 0, WRITES);
    cluster.kill(2);
    fs::remove_dir_all(cluster.data(2)).unwrap();
    let mut mistaken = cluster.command(2);
    mistaken.args(["--rejoin", "--cluster-id", "bad"]).stderr(Stdio::piped());
    let (code, said) = refused(&mut mistaken);
    assert_eq!(code, Some(1));
    assert!(said.contains("is of cluster 0xbad"), "{said}");
    cluster.restart_with(2, &["--rejoin"]);
    wait_until_equal(&cluster, 3);
}

#[test]
fn a_node_whose_file_of_peers_is_damaged_does_not_start_and_is_told_what_to_do() {
    let mut cluster = Cluster::start_with(3, &TALKATIVE);
    wait_until_met(&cluster);
    put_many(&cluster, 0, WRITES);
    cluster.kill(1);
    let file = cluster.data(1).join("peers");
    let mut bytes = fs::read(&file).unwrap();
    bytes[40] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (code, said) = refused(cluster.command(1).stderr(Stdio::piped()));
    assert_eq!(code, Some(1));
    assert!(said.contains("peers is damaged") && said.contains("remove it"), "{said}");
    fs::remove_file(&file).unwrap();
    cluster.restart(1);
    wait_until_equal(&cluster, 3);
    wait_for("the file to be made again", || file.exists().then_some(()));
}
