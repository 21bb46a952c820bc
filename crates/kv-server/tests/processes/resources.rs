//! Clients that take all they can get: the node keeps what it needs itself.

use std::net::TcpStream;
use std::process::{Command, Stdio};

use kv_client::{Client, Options};
use kv_proto::{Call, Range, Request};
use tempfile::TempDir;

use crate::node::{ready, single, terminate};
use crate::stranger::Stranger;

/// Idle clients once took every file descriptor, and the log, which could not open its next file,
/// stopped the node.
#[test]
fn idle_clients_cannot_take_the_files_that_the_log_needs() {
    let folder = TempDir::new().unwrap();
    let (server, port) = single(folder.path());
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 200; exec \"$0\" \"$@\""])
        .arg(server.get_program())
        .args(server.get_args())
        .stderr(Stdio::null());
    let (mut child, _) = ready(&mut limited);
    let address = format!("127.0.0.1:{port}");
    let mut client = Client::new([address.clone()], Options::default()).unwrap();
    client.put(b"first", b"value").unwrap();
    let idle: Vec<_> = (0..300).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let value = vec![b'v'; 1 << 20];
    for number in 0..20_u32 {
        client.put(&number.to_le_bytes(), &value).unwrap();
    }
    drop(idle);
    assert!(terminate(&mut child, "-TERM").success());
}

/// One client asks for 100 ranges of 4 MiB and reads none: they are not encoded before it does.
/// The answer to another client comes behind them all, so by then they are where they wait.
#[test]
fn ranges_that_nobody_reads_take_no_memory() {
    let folder = TempDir::new().unwrap();
    let (mut server, port) = single(folder.path());
    let (mut child, _) = ready(&mut server);
    let address = format!("127.0.0.1:{port}");
    let mut client = Client::new([address.clone()], Options::default()).unwrap();
    let value = vec![b'v'; 1_000_000];
    for key in [b"a", b"b", b"c", b"d"] {
        client.put(key, &value).unwrap();
    }
    let mut glutton = Stranger::greeted(&address);
    let mut frames = Vec::new();
    for id in 0..100 {
        let call = Call::Range(Range::prefix(b""));
        Request { id, timeout_millis: 30_000, call }.write(&mut frames).unwrap();
    }
    glutton.say(&frames);
    for _ in 0..10 {
        client.put(b"e", b"behind them").unwrap();
    }
    let peak_bytes = peak_memory_bytes(child.id());
    assert!(peak_bytes < 200 << 20, "the server took {} MiB", peak_bytes >> 20);
    for _ in 0..100 {
        glutton.hear().expect("an answer, now that it listens");
    }
    assert!(terminate(&mut child, "-TERM").success());
}

/// The most memory that a process has had.
fn peak_memory_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
