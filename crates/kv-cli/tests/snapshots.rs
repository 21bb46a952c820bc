//! `snapshot save`, against a server that sends whole backups, and against those that do not.

#[path = "../../kv-client/tests/fake/mod.rs"]
mod fake;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use fake::{Fake, Play};
use kv_proto::{BackupPiece, Call, Command as Write, Put, Reply};
use kv_store::{Options, Position, Store, snapshot};
use tempfile::TempDir;

/// The pieces of a store with so many keys.
fn pieces(keys: u64) -> Vec<Vec<u8>> {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("state");
    let mut store = Store::open(&path, &Options::default()).expect("it opens");
    for index in 1..=keys {
        let mut bytes = Vec::new();
        let key = format!("key/{index}");
        let put = Write::Put(Put::new(key.as_bytes(), b"value"));
        put.encode(&mut bytes).expect("the key is short");
        store.apply(Position { term: 1, index }, &bytes).expect("the disk works");
    }
    let mut snapshot = store.snapshots().expect("a file").take().expect("the disk works");
    let mut pieces = Vec::new();
    while let Some(piece) = snapshot.next_piece().expect("the disk works") {
        pieces.push(piece);
    }
    pieces
}

/// A server that sends these pieces.
fn sends(pieces: Vec<Vec<u8>>) -> Fake {
    Fake::single(move |call| {
        let Call::Backup(asked) = call else { return Play::Drop };
        let number = usize::try_from(asked.piece).expect("it is small");
        let Some(bytes) = pieces.get(number) else {
            return Play::Fail(kv_proto::Error::malformed("there is no such piece"));
        };
        let (done, total) = (asked.piece, pieces.len() as u64);
        let is_last = asked.piece + 1 == total;
        let bytes = bytes.as_slice().into();
        Play::Reply(Reply::Backup(BackupPiece { bytes, is_last, done, total }))
    })
}

fn save(server: &Fake, file: &Path, more: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-cli"));
    command.args(["--endpoints", &server.address, "snapshot", "save"]).arg(file).args(more);
    let Output { status, stdout, stderr } = command.output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    (status.code().expect("it was not killed"), text(stdout), text(stderr))
}

fn names(folder: &TempDir) -> Vec<String> {
    let items = fs::read_dir(folder.path()).expect("it is there");
    let name = |item: std::io::Result<fs::DirEntry>| item.expect("readable").file_name();
    items.map(|item| name(item).into_string().expect("it is text")).collect()
}

#[test]
fn a_backup_is_one_file_that_verifies_and_what_it_holds_is_told() {
    let (folder, whole) = (TempDir::new().expect("a folder"), pieces(5));
    let file = folder.path().join("backup.snap");
    let (code, out, err) = save(&sends(whole.clone()), &file, &[]);
    assert_eq!((code, err.as_str()), (0, ""), "quiet where there is no terminal");
    assert_eq!(names(&folder), ["backup.snap"]);
    let bytes = fs::read(&file).expect("it is there");
    assert_eq!(bytes, whole.concat());
    let summary = snapshot::verify(&mut bytes.as_slice()).expect("it is whole");
    let expected =
        format!("revision 6, index 5 of term 1, 5 records, digest {:016x}\n", summary.state_digest);
    assert!(out.ends_with(&expected) && out.contains(&format!("{} bytes", bytes.len())), "{out}");
}

/// The data directories of nodes are private, and a backup of them was for everybody to read.
#[cfg(unix)]
#[test]
fn nobody_else_can_read_a_backup() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("backup.snap");
    assert_eq!(save(&sends(pieces(5)), &file, &[]).0, 0);
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o077, 0, "mode {mode:o}");
}

#[test]
fn for_programs_it_is_one_object() {
    let folder = TempDir::new().expect("a folder");
    let (code, out, err) = save(&sends(pieces(5)), &folder.path().join("a"), &["-o", "json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let told: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(
        (&told["revision"], &told["index"], &told["records"]),
        (&6.into(), &5.into(), &5.into())
    );
}

#[test]
fn a_file_that_is_there_is_replaced_only_if_that_was_asked_for() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("backup.snap");
    fs::write(&file, "last year's").expect("it can be written");
    let server = sends(pieces(5));
    let (code, _, err) = save(&server, &file, &[]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("backup.snap") && err.contains("--force"), "{err}");
    assert_eq!(fs::read(&file).expect("it is there"), b"last year's");
    assert_eq!(save(&server, &file, &["--force"]).0, 0);
    assert!(snapshot::verify(&mut fs::File::open(&file).expect("it is there")).is_ok());
}

/// A second save to the same name once wrote into the file of the first, and what a killed one had
/// left was overwritten without a word.
#[test]
fn what_another_save_writes_is_left_alone() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("b");
    let others =
        || (1..10).map(|number| if number == 1 { String::new() } else { format!("-{number}") });
    fs::write(folder.path().join("b.partial"), "of another").expect("it can be written");
    let server = sends(pieces(5));
    let (code, _, err) = save(&server, &file, &[]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("b.partial is there") && err.contains("writes"), "{err}");
    assert!(err.contains("b.partial-2") && err.contains("Remove"), "{err}");
    assert_eq!(names(&folder), ["b", "b.partial"]);
    assert_eq!(fs::read(folder.path().join("b.partial")).expect("it is there"), b"of another");

    for other in others() {
        fs::write(folder.path().join(format!("b.partial{other}")), "").expect("it can be written");
    }
    let (code, _, err) = save(&server, &file, &["--force"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("b.partial and 8 more") && err.contains("remove"), "{err}");
    assert_eq!(names(&folder).len(), 10);
}

/// A backup that is broken on the way must not be believed to be one, and must not take the place
/// of a good one.
/// With `--force`, all of it was once fetched before it was told that the disk might have no room.
#[test]
fn a_directory_is_never_replaced() {
    let folder = TempDir::new().expect("a folder");
    let (code, _, err) = save(&sends(pieces(5)), folder.path(), &["--force"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("is a directory"), "{err}");
    assert!(names(&folder).is_empty());
}

#[test]
fn of_a_backup_that_is_damaged_on_the_way_nothing_is_left() {
    let whole = pieces(2_000);
    let mut flipped = whole.clone();
    *flipped[1].last_mut().expect("it is not empty") ^= 1;
    let cut = whole[..whole.len() - 1].to_vec();
    let mut swapped = whole.clone();
    swapped.swap(0, 1);
    for (name, wrong) in [("flipped", flipped), ("cut", cut), ("swapped", swapped)] {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("backup.snap");
        fs::write(&file, "a good one").expect("it can be written");
        let (code, out, err) = save(&sends(wrong), &file, &["--force"]);
        assert_eq!((code, out.as_str()), (4, ""), "{name}: {err}");
        assert!(err.contains("no whole snapshot") && err.contains("piece"), "{name}: {err}");
        assert_eq!(names(&folder), ["backup.snap"], "{name}");
        assert_eq!(fs::read(&file).expect("it is there"), b"a good one", "{name}");
    }
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let (code, _, err) = save(&sends(pieces(1)), Path::new("/nowhere/at/all/backup"), &[]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("/nowhere/at/all/backup.partial"), "{err}");
}
