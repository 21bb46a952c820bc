//! Bad input: a clear sentence that names the value, an exit code other than zero, no panic, and
//! nothing lost.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kv_client::{Client, Options};
use tempfile::TempDir;

use crate::node::{free_ports, ready, refused, server, single, terminate};

/// The server with these flags, and a data directory in `folder`.
fn with_flags(folder: &Path, flags: &[&str]) -> Command {
    let mut command = server();
    command.arg("--data-dir").arg(folder.join("data")).args(flags);
    command
}

#[test]
fn flags_that_do_not_fit_are_named_with_their_values_and_exit_2() {
    let folder = TempDir::new().unwrap();
    let cases: [(&[&str], &[&str]); 10] = [
        (&["--frobnicate"], &["--frobnicate"]),
        (&["--node-id", "x"], &["--node-id", "'x'"]),
        (&["--bind", "nowhere"], &["nowhere", "HOST:PORT"]),
        (&["--heartbeat-interval", "soon"], &["soon", "50ms"]),
        (&["--heartbeat-interval", "80ms"], &["80ms", "150ms", "--heartbeat-interval"]),
        (&["--election-timeout-min", "300ms"], &["300ms", "--election-timeout-max"]),
        (&["--node-id", "3", "--cluster", "a:1,b:2"], &["--node-id 3", "1, 2"]),
        (&["--cluster", "1=a:1,1=b:2"], &["1", "twice"]),
        (&["--cluster", "a:1,a:1"], &["a:1", "same address"]),
        (
            &["--client-port-offset", "1", "--cluster", "127.0.0.1:8080,127.0.0.1:8081"],
            &["127.0.0.1:8081", "overlaps"],
        ),
    ];
    for (flags, words) in cases {
        let (code, said) = refused(&mut with_flags(folder.path(), flags));
        assert_eq!(code, Some(2), "{flags:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{flags:?} does not say {word}: {said}");
        }
    }
    assert!(!folder.path().join("data").exists(), "a refused server made a data directory");
}

#[test]
fn a_port_in_use_is_named() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let free = format!("127.0.0.1:{}", free_ports(1)[0]);
    for flags in
        [["--bind", &free, "--client-bind", &taken], ["--bind", &taken, "--client-bind", &free]]
    {
        let (code, said) = refused(&mut with_flags(folder.path(), &flags));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&taken) && said.contains("another process uses"), "{said}");
        assert!(!folder.path().join("data").exists(), "it opened its data before it could serve");
    }
}

/// A server that could not write its complaint once panicked, and exited with another code.
#[test]
fn a_refusal_that_nobody_can_read_still_has_its_exit_code() {
    let folder = TempDir::new().unwrap();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = with_flags(folder.path(), &["--heartbeat-interval", "80ms"]);
    assert_eq!(command.stderr(full).status().unwrap().code(), Some(2));
}

#[test]
fn a_second_server_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let folder = TempDir::new().unwrap();
    let (mut command, port) = single(folder.path());
    let (mut first, _) = ready(&mut command);
    let (code, said) = refused(single(folder.path()).0.arg("--verbose"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    let mut client = Client::new([format!("127.0.0.1:{port}")], Options::default()).unwrap();
    client.put(b"still", b"here").unwrap();
    assert!(terminate(&mut first, "-TERM").success());
}

/// What a server has left that has stopped, with one key in it.
struct Used {
    folder: TempDir,
    raft_address: String,
}

impl Used {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let used = Self { folder, raft_address: format!("127.0.0.1:{}", free_ports(1)[0]) };
        used.serve(|client| _ = client.put(b"key", b"value").unwrap());
        used
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts a server on it, and stops it when a client has had its say.
    fn serve(&self, ask: impl FnOnce(&mut Client)) {
        let clients = format!("127.0.0.1:{}", free_ports(1)[0]);
        let flags = ["--bind", &self.raft_address, "--client-bind", &clients];
        let mut command = with_flags(self.folder.path(), &flags);
        let (mut child, _) = ready(command.stderr(Stdio::null()));
        ask(&mut Client::new([clients], Options::default()).unwrap());
        assert!(terminate(&mut child, "-TERM").success());
    }

    /// What a server with these flags says that refuses to start on it.
    fn refusal_with(&self, flags: &[&str]) -> String {
        let (code, said) = refused(&mut with_flags(self.folder.path(), flags));
        assert_eq!(code, Some(1), "{said}");
        said
    }

    /// What the server says that refuses to start on it.
    fn refusal(&self) -> String {
        self.refusal_with(&["--bind", &self.raft_address])
    }

    /// Changes one of its files.
    fn spoil(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let file = self.data().join(file);
        let mut bytes = fs::read(&file).unwrap();
        change(&mut bytes);
        fs::write(&file, bytes).unwrap();
    }
}

#[test]
fn a_directory_of_another_node_or_cluster_is_refused_and_left_alone() {
    let used = Used::new();
    let before = contents(&used.data());
    let own = used.raft_address.as_str();
    let cases: [(&[&str], &str); 2] = [
        (&["--bind", "127.0.0.1:7999"], "127.0.0.1:7999"),
        (&["--node-id", "2", "--bind", own], "founded as"),
    ];
    for (flags, word) in cases {
        let said = used.refusal_with(flags);
        assert!(said.contains(word) && said.contains(own), "{said}");
        assert_eq!(contents(&used.data()), before, "the directory was changed");
    }
}

#[test]
fn a_directory_of_another_format_version_is_refused_and_left_alone() {
    let used = Used::new();
    // Whatever the file says, it is not what this version wrote.
    used.spoil("meta", |bytes| bytes[8] ^= 0xff);
    let before = contents(&used.data());
    let said = used.refusal();
    assert!(said.contains("meta"), "{said}");
    assert_eq!(contents(&used.data()), before, "the directory was changed");
}

#[test]
fn a_damaged_log_is_refused_with_the_command_to_look_at_it_and_left_alone() {
    let used = Used::new();
    used.spoil("00000001.log", |bytes| bytes[1024 + 100] ^= 1);
    let before = contents(&used.data());
    let said = used.refusal();
    assert!(said.contains("00000001.log is damaged at byte 1024"), "{said}");
    assert!(said.contains("kv-server log inspect"), "{said}");
    assert_eq!(contents(&used.data()), before, "the directory was changed");

    let inspected = server().args(["log", "inspect"]).arg(used.data()).output().unwrap();
    let printed = String::from_utf8_lossy(&inspected.stdout);
    assert!(printed.contains("DAMAGE"), "{printed}");
}

#[test]
fn a_damaged_state_file_is_refused_and_made_anew_from_the_log_without_it() {
    let used = Used::new();
    used.spoil("state.redb", |bytes| {
        let copies: Vec<_> =
            (0..bytes.len()).filter(|place| bytes[*place..].starts_with(b"value")).collect();
        assert!(!copies.is_empty(), "the value is in the file");
        for place in copies {
            bytes[place] ^= 1;
        }
    });
    let said = used.refusal();
    assert!(said.contains("state.redb is damaged"), "{said}");
    assert!(said.contains("move it away and start again"), "{said}");

    let state = used.data().join("state.redb");
    fs::rename(&state, state.with_extension("damaged")).unwrap();
    used.serve(|client| {
        let found = client.get(b"key").unwrap().reply.expect("the log had it");
        assert_eq!(*found.value, *b"value");
    });
}

#[test]
fn a_place_that_is_no_directory_or_cannot_be_written_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("data");
    fs::write(&file, "not a directory").unwrap();
    let bind = format!("127.0.0.1:{}", free_ports(1)[0]);
    let (code, said) = refused(&mut with_flags(folder.path(), &["--bind", &bind]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("data"), "{said}");

    let sealed = folder.path().join("sealed");
    fs::create_dir(&sealed).unwrap();
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(sealed.join("probe"), "").is_ok() {
        return println!("this user may write anywhere: the second half has nothing to test");
    }
    let (code, said) = refused(&mut with_flags(&sealed, &["--bind", &bind]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("sealed"), "{said}");
}

#[test]
fn either_signal_stops_it_with_exit_0() {
    for signal in ["-TERM", "-INT"] {
        let folder = TempDir::new().unwrap();
        let (mut child, line) = ready(&mut single(folder.path()).0);
        assert!(line.starts_with("kv-server: node 1 ready: raft 127.0.0.1:"), "{line}");
        assert_eq!(terminate(&mut child, signal).code(), Some(0), "{signal}");
    }
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}
