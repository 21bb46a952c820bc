//! What people who wait at a terminal are shown, and what programs are spared.

#[path = "../../kv-client/tests/fake/mod.rs"]
mod fake;

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use fake::{Fake, Play, Store};
use kv_proto::{BackupPiece, Call, Reply};
use kv_store::{Options, Position};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

/// Runs the program with its standard error on a terminal; returns what was shown there.
fn shown(server: &Fake, arguments: &[&str]) -> String {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("it is ours");
    unlockpt(&ours).expect("it is ours");
    let name = ptsname(&ours, Vec::new()).expect("it has a name");
    let theirs = File::options().read(true).write(true).open(OsStr::from_bytes(name.as_bytes()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-cli"));
    command.args(["--endpoints", &server.address, "--timeout", "20s"]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(theirs.expect("it can be opened"));
    let mut program = command.spawn().expect("the program starts");
    // The other end must be open nowhere but in the program: when that ends, so does reading.
    drop(command);
    let (mut screen, mut bytes, mut text) = (File::from(ours), [0; 4096], Vec::new());
    while let Ok(count @ 1..) = screen.read(&mut bytes) {
        text.extend_from_slice(&bytes[..count]);
    }
    assert_eq!(program.wait().expect("it was started").code(), Some(0));
    String::from_utf8(text).expect("it is text")
}

/// A server with a backup of so many pieces, which are all the same store's.
fn with_backup() -> Fake {
    let folder = TempDir::new().expect("a folder");
    let store = kv_store::Store::open(&folder.path().join("state"), &Options::default());
    let mut store = store.expect("it opens");
    store.skip(Position { term: 1, index: 1 }).expect("the disk works");
    let mut snapshot = store.snapshots().expect("a file").take().expect("the disk works");
    let next = || snapshot.next_piece().expect("the disk works");
    let pieces: Vec<_> = std::iter::from_fn(next).collect();
    Fake::single(move |call| {
        let Call::Backup(asked) = call else { return Play::Drop };
        let at = usize::try_from(asked.piece).expect("it is small");
        let is_last = at + 1 == pieces.len();
        let (done, total) = (asked.piece + 1, pieces.len() as u64);
        let bytes = pieces[at].as_slice().into();
        Play::Reply(Reply::Backup(BackupPiece { bytes, is_last, done, total }))
    })
}

#[test]
fn a_save_shows_a_bar_which_is_gone_at_the_end() {
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let server = with_backup();
    let text = shown(&server, &["snapshot", "save", &file("a")]);
    assert!(text.starts_with("\r[=") && text.contains('>') && text.contains("%  "), "{text:?}");
    assert!(text.ends_with("\r\x1b[K"), "{text:?}");
    let for_programs = shown(&server, &["snapshot", "save", &file("b"), "-o", "json"]);
    assert_eq!(for_programs, "");
}

#[test]
fn a_bench_shows_how_far_it_is_in_a_line_which_is_gone_at_the_end() {
    let store = Mutex::new(Store::default());
    let server = Fake::single(move |call| {
        if let Call::Write(_) = call {
            // So that all of it takes a second and a half at least.
            thread::sleep(Duration::from_millis(5));
        }
        store.lock().expect("no panic").call(call)
    });
    let bench = ["bench", "--connections=1", "--in-flight=1", "--total=300", "--keys=20"];
    let text = shown(&server, &bench);
    assert!(text.contains(" done of 300, ") && text.contains(" a second, 0 errors"), "{text:?}");
    assert!(text.ends_with("\r\x1b[2K"), "{text:?}");
    let for_programs = shown(&server, &[&bench[..], &["--workload=get", "-o=json"]].concat());
    assert_eq!(for_programs, "");
}
