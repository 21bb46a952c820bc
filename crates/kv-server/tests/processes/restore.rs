//! From a backup to a new cluster, as a newcomer would do it.

use std::fs;
use std::path::{Path, PathBuf};

use kv_client::{BackupOptions, Client};
use kv_proto::{Range, RangeReply};

use crate::node::{Cluster, refused, run, server, wait_for};

/// Saves a backup of node `id`, without the command line.
fn save(cluster: &Cluster, id: usize, file: &Path) {
    let options = kv_client::Options { timeout: crate::node::PATIENCE };
    let client = Client::new([cluster.client_address(id)], options).unwrap();
    let pieces = client.backup(BackupOptions::default()).unwrap();
    let bytes: Vec<u8> = pieces.flat_map(|piece| piece.unwrap().bytes.to_vec()).collect();
    fs::write(file, bytes).unwrap();
}

/// Makes the data directory of node `id` of `cluster` from the snapshot in `file`.
fn restore(cluster: &Cluster, id: usize, file: &Path) -> (Option<i32>, String, String) {
    let mut command = server();
    command.args(["restore", "--node-id", &id.to_string(), "--cluster", &cluster.flag()]);
    run(command.arg("--snapshot").arg(file).arg("--data-dir").arg(cluster.data(id)))
}

fn everything(client: &mut Client) -> RangeReply {
    client.range(&Range::prefix(b"")).unwrap().reply
}

/// A cluster of one with some history, and a backup of it.
fn one_with_backup() -> (Cluster, PathBuf) {
    let cluster = Cluster::start(1);
    let mut client = cluster.client();
    for number in 0..50_u64 {
        client.put(format!("key/{}", number % 20).as_bytes(), &number.to_le_bytes()).unwrap();
    }
    client.delete(b"key/7").unwrap();
    let file = cluster.folder().join("backup.snap");
    save(&cluster, 1, &file);
    (cluster, file)
}

#[test]
fn a_backup_taken_under_load_becomes_a_cluster_of_three() {
    let old = Cluster::start(3);
    let mut writer = old.client();
    let file = old.folder().join("backup.snap");
    let last = std::thread::scope(|scope| {
        let mut last = 0_u64;
        let mut write = || {
            last += 1;
            writer.put(format!("key/{}", last % 100).as_bytes(), &last.to_le_bytes()).unwrap();
            last
        };
        while write() < 100 {}
        let saving = scope.spawn(|| save(&old, 2, &file));
        while !saving.is_finished() {
            write();
        }
        last
    });
    let (code, out, err) = run(server().args(["snapshot", "verify"]).arg(&file));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("is whole"), "{out}");

    let mut new = Cluster::unstarted(3);
    for id in 1..=3 {
        let (code, out, err) = restore(&new, id, &file);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        assert!(out.contains("start it with: kv-server --node-id"), "{out}");
    }
    new.start_all();
    new.leader();
    let mut client = new.client();
    let restored = everything(&mut client);
    assert_eq!((restored.count, restored.kvs.len()), (100, 100));
    for kv in &restored.kvs {
        let value = u64::from_le_bytes((*kv.value).try_into().unwrap());
        assert!(value <= last, "a value that was never written");
    }
    // It goes on, and all three have the same state.
    client.put(b"after", b"the restore").unwrap();
    wait_for("three equal states", || {
        let states: Vec<_> = (1..=3).map(|id| new.applied(id)).collect();
        (states[0].is_some() && states.iter().all(|state| *state == states[0])).then_some(())
    });
    // And it survives being killed, as any other.
    new.kill_all();
    new.start_all();
    assert_eq!(
        client.get(b"after").unwrap().reply.map(|kv| kv.value.to_vec()),
        Some(b"the restore".to_vec())
    );
}

#[test]
fn what_was_restored_is_what_was_saved_revisions_and_all() {
    let (old, file) = one_with_backup();
    let saved = everything(&mut old.client());
    let mut new = Cluster::unstarted(1);
    assert_eq!(restore(&new, 1, &file).0, Some(0));
    new.start_all();
    let restored = new.client().range(&Range::prefix(b"")).unwrap();
    assert_eq!((restored.header.revision.get(), &restored.reply), (52, &saved));
    let mut early = Range::key(b"key/7");
    early.options.revision = Some(kv_proto::Revision::new(9));
    assert_eq!(new.client().range(&early).unwrap().reply.count, 1, "the past came along");
}

/// A node of the old cluster that is started again must not take part in the new one, although the
/// addresses are the same: its log has another past.
#[test]
fn a_restored_cluster_with_the_old_addresses_is_another_cluster() {
    let mut cluster = Cluster::start(3);
    let mut client = cluster.client();
    client.put(b"a", b"1").unwrap();
    let file = cluster.folder().join("backup.snap");
    save(&cluster, 1, &file);
    client.put(b"a", b"2, which the backup lacks").unwrap();
    cluster.kill_all();
    for id in 1..=2 {
        fs::rename(cluster.data(id), cluster.folder().join(format!("old-{id}"))).unwrap();
        assert_eq!(restore(&cluster, id, &file).0, Some(0));
    }
    cluster.start_all();
    let restored = cluster.client();
    let names = |id| restored.status(&cluster.client_address(id)).unwrap().header.cluster_id;
    assert_eq!(names(1), names(2));
    assert_ne!(names(1), names(3), "node 3 still belongs to the old one");
    let mut client = Client::new(
        [cluster.client_address(1), cluster.client_address(2)],
        kv_client::Options { timeout: crate::node::PATIENCE },
    )
    .unwrap();
    assert_eq!(client.get(b"a").unwrap().reply.map(|kv| kv.value.to_vec()), Some(b"1".to_vec()));

    // A new disk for node 3, which is told the name of the cluster.
    let name = format!("{:016x}", names(1));
    cluster.kill(3);
    fs::rename(cluster.data(3), cluster.folder().join("old-3")).unwrap();
    let mut cluster = cluster.with_flags(&["--rejoin", "--cluster-id", &name]);
    cluster.restart(3);
    wait_for("node 3 to get everything from the others", || {
        let (own, others) = (cluster.applied(3)?, cluster.applied(1)?);
        (own == others).then_some(())
    });
}

#[test]
fn a_snapshot_that_is_damaged_is_refused_where_it_is_damaged_and_nothing_is_made_of_it() {
    let (_old, file) = one_with_backup();
    let whole = fs::read(&file).unwrap();
    let new = Cluster::unstarted(1);
    let middle = whole.len() / 2;
    let mut flipped = whole.clone();
    flipped[middle] ^= 4;
    let cases = [
        (flipped, "is damaged at byte"),
        (whole[..middle].to_vec(), "ends within the piece at byte"),
        (b"this is not a snapshot at all".to_vec(), "backup.snap is no snapshot"),
        (Vec::new(), "ends at byte 0, before piece 0"),
    ];
    for (bytes, expected) in cases {
        fs::write(&file, bytes).unwrap();
        let verified = run(server().args(["snapshot", "verify"]).arg(&file));
        for (code, out, err) in [verified, restore(&new, 1, &file)] {
            assert_eq!((code, out.as_str()), (Some(1), ""));
            assert!(err.contains(expected) && err.contains("another backup"), "{err}");
            assert_eq!(err.lines().count(), 1, "{err}");
        }
        assert!(!new.data(1).exists());
    }
}

#[test]
fn a_directory_that_is_not_empty_is_never_restored_into() {
    let (old, file) = one_with_backup();
    let before = old.applied(1);
    let (code, out, err) = restore(&old, 1, &file);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("is not empty") && err.contains("--data-dir"), "{err}");
    assert_eq!(old.applied(1), before);
    let (code, _, err) = run(server()
        .args(["restore", "--node-id", "9", "--cluster", "a:1,b:2"])
        .arg("--snapshot")
        .arg(&file));
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--node-id 9"), "{err}");
}

/// The power may go while files are made, or while they are moved up. A server that started there
/// would be an empty node, or one of a cluster by another name.
#[test]
fn no_server_starts_where_a_restore_was_interrupted() {
    let (_old, file) = one_with_backup();
    let new = Cluster::unstarted(1);
    assert_eq!(restore(&new, 1, &file).0, Some(0));
    let dir = new.data(1);
    fs::create_dir(dir.join("restoring")).unwrap();
    fs::rename(dir.join("meta"), dir.join("restoring").join("meta")).unwrap();
    let (code, said) = refused(server().arg("--data-dir").arg(&dir));
    assert_eq!(code, Some(1));
    assert!(said.contains("begun and not finished") && said.contains("restore"), "{said}");
    let (code, _, err) = restore(&new, 1, &file);
    assert_eq!(code, Some(1));
    assert!(err.contains("remove it, and try again"), "{err}");
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(restore(&new, 1, &file).0, Some(0));
}

#[test]
fn a_log_is_verified_in_one_sentence_or_its_damage_is_named() {
    let (mut cluster, _) = one_with_backup();
    cluster.stop(1);
    let dir = cluster.data(1);
    let verify = || run(server().args(["log", "verify"]).arg(&dir));
    let (code, out, err) = verify();
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("is whole") && out.contains("52 entries"), "{out}");
    assert_eq!(out.lines().count(), 1, "{out}");
    let segment = dir.join("00000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[4 * 512 + 100] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let (code, out, err) = verify();
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("DAMAGED") && err.contains("00000001.log"), "{out} {err}");
    let (code, _, err) = run(server().args(["log", "verify"]).arg(dir.join("nowhere")));
    assert_eq!(code, Some(1));
    assert!(err.contains("nowhere"), "{err}");
}
