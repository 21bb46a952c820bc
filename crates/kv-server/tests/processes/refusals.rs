//! Bad input: a clear sentence that names the value, an exit code other than zero, no panic, and
//! nothing lost.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
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

/// A server's data directory, with one key in it, left by a server that has stopped.
fn used_directory(folder: &Path, raft_port: u16) {
    let client_port = free_ports(1)[0];
    let mut command = server();
    command
        .args(["--bind", &format!("127.0.0.1:{raft_port}")])
        .args(["--client-bind", &format!("127.0.0.1:{client_port}")])
        .arg("--data-dir")
        .arg(folder)
        .stderr(Stdio::null());
    let (mut child, _) = ready(&mut command);
    let mut client = Client::new([format!("127.0.0.1:{client_port}")], Options::default()).unwrap();
    client.put(b"key", b"value").unwrap();
    assert!(terminate(&mut child, "-TERM").success());
}

#[test]
fn a_directory_of_another_node_or_cluster_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let port = free_ports(1)[0];
    used_directory(&data, port);
    let before = contents(&data);
    let own = format!("127.0.0.1:{port}");
    let cases = [
        (vec!["--bind", "127.0.0.1:7999"], "127.0.0.1:7999"),
        (vec!["--node-id", "2", "--bind", &own], "founded as"),
    ];
    for (flags, word) in cases {
        let (code, said) = refused(&mut with_flags(folder.path(), &flags));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(word) && said.contains(&own), "{said}");
        assert_eq!(contents(&data), before, "the directory was changed");
    }
}

#[test]
fn a_directory_of_another_format_version_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let port = free_ports(1)[0];
    used_directory(&data, port);
    // Whatever the file says, it is not what this version wrote.
    let meta = data.join("meta");
    let mut bytes = fs::read(&meta).unwrap();
    bytes[8] ^= 0xff;
    fs::write(&meta, &bytes).unwrap();
    let before = contents(&data);
    let bind = format!("127.0.0.1:{port}");
    let (code, said) = refused(&mut with_flags(folder.path(), &["--bind", &bind]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("meta"), "{said}");
    assert_eq!(contents(&data), before, "the directory was changed");
}

#[test]
fn a_damaged_log_is_refused_with_the_command_to_look_at_it_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let port = free_ports(1)[0];
    used_directory(&data, port);
    let segment = data.join("00000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[1024 + 100] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let before = contents(&data);
    let bind = format!("127.0.0.1:{port}");
    let (code, said) = refused(&mut with_flags(folder.path(), &["--bind", &bind]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("00000001.log is damaged at byte 1024"), "{said}");
    assert!(said.contains("kv-server log inspect"), "{said}");
    assert_eq!(contents(&data), before, "the directory was changed");

    let inspected = server().args(["log", "inspect"]).arg(&data).output().unwrap();
    let printed = String::from_utf8_lossy(&inspected.stdout);
    assert!(printed.contains("DAMAGE"), "{printed}");
}

#[test]
fn a_damaged_state_file_is_refused_and_made_anew_from_the_log_without_it() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let port = free_ports(1)[0];
    used_directory(&data, port);
    let state = data.join("state.redb");
    let mut bytes = fs::read(&state).unwrap();
    let copies: Vec<_> =
        (0..bytes.len()).filter(|place| bytes[*place..].starts_with(b"value")).collect();
    assert!(!copies.is_empty(), "the value is in the file");
    for place in copies {
        bytes[place] ^= 1;
    }
    fs::write(&state, &bytes).unwrap();
    let bind = format!("127.0.0.1:{port}");
    let (code, said) = refused(&mut with_flags(folder.path(), &["--bind", &bind]));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("state.redb is damaged"), "{said}");
    assert!(said.contains("move it away and start again"), "{said}");

    fs::rename(&state, data.join("state.redb.damaged")).unwrap();
    let client_port = free_ports(1)[0];
    let mut command = with_flags(folder.path(), &["--bind", &bind]);
    command.args(["--client-bind", &format!("127.0.0.1:{client_port}")]).stderr(Stdio::null());
    let (mut child, _) = ready(&mut command);
    let mut client = Client::new([format!("127.0.0.1:{client_port}")], Options::default()).unwrap();
    let found = client.get(b"key").unwrap().reply.expect("the log had it");
    assert_eq!(*found.value, *b"value");
    assert!(terminate(&mut child, "-TERM").success());
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
