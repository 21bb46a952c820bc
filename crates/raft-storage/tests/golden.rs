//! The bytes of a small log, committed. A change of the format fails here: it needs a new version
//! number, and a program that still reads this one.
//!
//! `UPDATE_GOLDEN=1 cargo test -p raft-storage --test golden` writes the files anew.

mod common;

use std::fmt::Write as _;
use std::path::PathBuf;

use common::{SimDisk, all_entries, command, config, model_of, noop, open, options, write};
use raft_core::{HardState, Index, Term, Write};
use raft_storage::Disk;

fn writes() -> Vec<Write> {
    vec![
        write(1, 0, vec![noop(1, 1), config(1, 2, &[1, 2, 3])]),
        write(1, 1, vec![command(1, 3, b"first"), command(1, 4, b"second")]),
        Write {
            hard_state: HardState { term: Term::new(2), vote: None, boots: 2, recovering: false },
            commit: Index::new(2),
            ..write(2, 0, vec![])
        },
        write_of_two_sectors(),
    ]
}

fn write_of_two_sectors() -> Write {
    let long: Vec<u8> = (0..=255).chain(0..=255).collect();
    let mut write = write(2, 3, vec![noop(2, 4), command(2, 5, &long)]);
    write.hard_state.boots = 2;
    write
}

/// The files that the writes make: three batches, the last one in a second segment.
fn log_of_writes() -> SimDisk {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options(4));
    let writes = writes();
    log.append(&writes[..2]).expect("written");
    for write in &writes[2..] {
        log.append(std::slice::from_ref(write)).expect("written");
    }
    disk
}

/// Sixteen bytes a line; lines of zeros are left out.
fn hex_dump(bytes: &[u8]) -> String {
    let mut out = format!("{} bytes; what is not shown is zero\n", bytes.len());
    for (nth, line) in bytes.chunks(16).enumerate() {
        if line.iter().any(|byte| *byte != 0) {
            let _ = write!(out, "{:04x} ", nth * 16);
            for byte in line {
                let _ = write!(out, " {byte:02x}");
            }
            out.push('\n');
        }
    }
    out
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn bytes_of(dump: &str) -> Vec<u8> {
    let mut lines = dump.lines();
    let size = lines.next().and_then(|line| line.split(' ').next()?.parse().ok());
    let mut bytes = vec![0; size.expect("the size comes first")];
    for line in lines {
        let mut fields = line.split_ascii_whitespace();
        let at = fields.next().and_then(|at| usize::from_str_radix(at, 16).ok()).expect("a place");
        for (place, field) in (at..).zip(fields) {
            bytes[place] = u8::from_str_radix(field, 16).expect("a byte");
        }
    }
    bytes
}

const FILES: [&str; 4] = ["meta", "witness", "00000001.log", "00000002.log"];

#[test]
fn the_bytes_of_a_small_log_are_what_they_have_always_been() {
    let disk = log_of_writes();
    for name in FILES {
        let dump = hex_dump(&disk.bytes(name));
        let path = golden(&format!("{name}.hex"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &dump).expect("written");
        }
        let expected = std::fs::read_to_string(&path).expect("the golden file is there");
        assert_eq!(dump, expected, "{name}: the format has changed");
    }
    assert_eq!(disk.snapshot().len(), FILES.len());
}

#[test]
fn a_log_of_version_1_is_read_as_it_was_written() {
    let disk = SimDisk::new();
    for name in FILES {
        let dump = std::fs::read_to_string(golden(&format!("{name}.hex"))).expect("it is there");
        disk.create(name).expect("made");
        disk.tamper(name, |bytes| *bytes = bytes_of(&dump));
    }
    let (mut log, recovered) = open(&disk, &options(4));
    assert_eq!(recovered, model_of(&writes()).recovered());
    let mut model = model_of(&writes());
    let expected = model.read(Index::new(1), Index::new(5), usize::MAX).expect("in memory");
    assert_eq!(all_entries(&mut log), expected.to_vec());
}
