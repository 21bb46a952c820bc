//! What a person sees of a log.

mod common;

use common::{SimDisk, command, filler, noop, open, options, write};
use raft_storage::inspect::{InspectError, inspect};
use raft_storage::{identity, verify};

fn disk() -> SimDisk {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options(6));
    log.append(&[write(1, 0, vec![noop(1, 1)]), write(1, 0, vec![command(1, 2, b"two")])])
        .expect("written");
    log.append(&[write(3, 1, vec![])]).expect("written");
    log.append(&[write(3, 2, vec![filler(3, 3, 600), noop(3, 4)])]).expect("written");
    disk
}

fn print(disk: &SimDisk) -> String {
    let mut out = Vec::new();
    inspect(disk, &mut out).expect("it can be read");
    String::from_utf8(out).expect("text")
}

#[test]
fn a_sound_log_is_a_line_a_record_and_a_summary() {
    let expected = "\
log of node n1 in cluster 000000000000004d, founded as '1=a:1,2=b:2,3=c:3'

00000001.log: 3072 bytes, begun after record 0 and entry 0/0
      byte    record   durable            entries   terms    term    vote    commit    bytes
       512         1         0                  1     0>1       1      n1         0       12
      1024         2         0                  2       1       1      n1         0       19
      1536         3         2                  -       1       3      n1         1        0
      2048         4         3                3-4     1>3       3      n1         2      628

4 records, 4 entries after 0/0 up to 3/4 (term/index), term 3, vote n1, 1 start, commit 2: sound
";
    assert_eq!(print(&disk()), expected);
}

/// "1 entries", it once said.
#[test]
fn one_of_each_is_told_in_the_singular() {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options(6));
    log.append(&[write(1, 0, vec![noop(1, 1)])]).expect("written");
    let summary = "1 record, 1 entry after 0/0 up to 1/1 (term/index), term 1, vote n1, 1 start, ";
    assert!(print(&disk).contains(summary), "{}", print(&disk));
}

#[test]
fn damage_is_marked_with_what_is_left_behind_it() {
    let disk = disk();
    let before = disk.snapshot();
    disk.tamper("00000001.log", |bytes| bytes[1500] ^= 4);
    let printed = print(&disk);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines[5],
        "DAMAGE: data/00000001.log is damaged at byte 1024: the checksum of this sector does not \
         match its contents"
    );
    assert!(lines[6].starts_with("      1536         3         2"), "{}", lines[6]);
    assert!(lines[6].ends_with("intact, behind the damage, 00000001.log"), "{}", lines[6]);
    assert!(lines[7].starts_with("      2048         4"), "{}", lines[7]);
    assert!(lines[9].ends_with("DAMAGED; the figures are those before the damage"), "{}", lines[9]);
    disk.tamper("00000001.log", |bytes| bytes[1500] ^= 4);
    assert_eq!(disk.snapshot(), before, "inspecting changes nothing");
}

#[test]
fn a_write_that_was_cut_short_is_shown_as_such() {
    let disk = disk();
    disk.tamper("00000001.log", |bytes| bytes[2560..].fill(0));
    let printed = print(&disk);
    assert!(printed.contains("\n      2048  a write that was cut short, 512 bytes"), "{printed}");
    assert!(printed.ends_with(": sound\n"), "{printed}");
}

#[test]
fn a_directory_without_a_log_is_named() {
    let refused = inspect(&SimDisk::new(), &mut Vec::new()).expect_err("nothing there");
    assert!(matches!(refused, InspectError::NoLog { .. }));
    let expected = "there is no log: data/meta does not exist; name the directory of a log";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn verifying_counts_what_inspecting_prints_and_changes_nothing() {
    let disk = disk();
    let before = disk.snapshot();
    let whose = identity(&disk).expect("it can be read").expect("there is a log");
    assert_eq!((whose.node_id.get(), whose.cluster_id), (1, 0x4d));
    assert_eq!(whose.description, "1=a:1,2=b:2,3=c:3");
    let sound = verify(&disk).expect("it can be read");
    assert_eq!((sound.identity, sound.segments, sound.records), (whose, 1, 4));
    assert_eq!((sound.recovered.last.index.get(), sound.recovered.damage), (4, None));
    assert_eq!(disk.snapshot(), before);
    disk.tamper("00000001.log", |bytes| bytes[1500] ^= 4);
    let damaged = verify(&disk).expect("it can be read");
    assert_eq!(damaged.records, 1, "those before the damage");
    let damage = damaged.recovered.damage.expect("it is found").to_string();
    assert!(damage.contains("00000001.log is damaged at byte 1024"), "{damage}");
}

#[test]
fn where_there_is_no_log_there_is_nothing_to_verify() {
    let disk = SimDisk::new();
    assert_eq!(identity(&disk).expect("it can be read"), None);
    assert!(matches!(verify(&disk), Err(InspectError::NoLog { .. })));
}
