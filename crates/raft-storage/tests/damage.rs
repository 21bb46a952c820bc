//! The medium changes what was acknowledged. It must be noticed, nothing may be truncated, and
//! nothing wrong may ever be read.

mod common;

use std::collections::BTreeSet;

use common::{
    SECTOR, SimDisk, all_entries, command, filler, matches, model_of, noop, open, options, write,
};
use raft_core::{Index, NodeId, Write};
use raft_storage::{BadSector, Damage, Fault, Log, OpenError, Options, ReadError, WriteError};

const FIRST: &str = "00000001.log";
const SECOND: &str = "00000002.log";

/// Four batches, each with its own writes; the third has two records, the last one two sectors.
fn batches() -> Vec<Vec<Write>> {
    vec![
        vec![write(1, 0, vec![noop(1, 1), command(1, 2, b"two")])],
        vec![write(2, 1, vec![])],
        vec![
            write(2, 2, vec![filler(2, 3, 900)]),
            write(2, 2, vec![command(2, 4, b"four"), command(2, 5, b"five")]),
        ],
        vec![write(2, 4, vec![filler(2, 6, 600)])],
    ]
}

fn written(options: &Options, batches: &[Vec<Write>]) -> SimDisk {
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, options);
    for batch in batches {
        log.append(batch).expect("written");
    }
    drop(log);
    disk
}

/// Opens a log that must be damaged, and holds it to the rules: what can be read is right, nothing
/// was changed, and nothing can be written.
fn damage_of(disk: &SimDisk, options: &Options, writes: &[Write]) -> Damage {
    let before = disk.snapshot();
    let (mut log, recovered) = open(disk, options);
    let damage = recovered.damage.clone().expect("the damage is noticed");
    let is_prefix =
        (0..=writes.len()).any(|count| matches(&mut log, &recovered, &model_of(&writes[..count])));
    assert!(is_prefix, "what lies before the damage is a prefix: {recovered:#?}");
    let refused = log.append(&[write(9, 0, vec![])]).expect_err("a damaged log takes no writes");
    assert!(matches!(refused, WriteError::Damaged(_)));
    log.compact(Index::new(1)).expect_err("a damaged log is not compacted");
    drop(log);
    assert_eq!(disk.snapshot(), before, "a damaged log is left exactly as it is");
    damage
}

#[test]
fn every_flipped_bit_of_a_log_is_damage_and_never_wrong_data() {
    let options = options(12);
    let good = written(&options, &batches());
    let writes: Vec<Write> = batches().concat();
    let disk = good.copy();
    for bit in 0..good.bytes(FIRST).len() * 8 {
        let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
        disk.tamper(FIRST, flip);
        let damage = damage_of(&disk, &options, &writes);
        let sector = bit / 8 / SECTOR * SECTOR;
        assert_eq!(
            (damage.file.as_str(), damage.offset_bytes),
            ("data/00000001.log", sector as u64)
        );
        disk.tamper(FIRST, flip);
    }
    assert_eq!(disk.snapshot(), good.snapshot());
}

#[test]
fn every_zeroed_sector_is_damage_except_in_the_last_batch_where_no_machine_can_tell() {
    let options = options(16);
    let good = written(&options, &batches());
    let writes: Vec<Write> = batches().concat();
    let mut undecidable = BTreeSet::new();
    let used = good.bytes(FIRST).chunks(SECTOR).rposition(|it| it.iter().any(|byte| *byte != 0));
    let used = used.expect("something was written") + 1;
    for sector in 0..used {
        let disk = good.copy();
        disk.tamper(FIRST, |bytes| bytes[sector * SECTOR..][..SECTOR].fill(0));
        let (mut log, recovered) = open(&disk.copy(), &options);
        if recovered.damage.is_some() {
            damage_of(&disk, &options, &writes);
        } else {
            let before_last = &writes[..writes.len() - 1];
            assert!(matches(&mut log, &recovered, &model_of(before_last)), "sector {sector}");
            undecidable.insert(sector);
        }
    }
    // The last batch is one record of two sectors.
    assert_eq!(undecidable, BTreeSet::from([used - 2, used - 1]));
}

#[test]
fn every_zeroed_run_of_sectors_that_spares_a_later_batch_is_damage() {
    let options = options(16);
    let good = written(&options, &batches());
    let writes: Vec<Write> = batches().concat();
    let last_batch = 7;
    for start in 0..last_batch {
        for end in start + 1..=last_batch {
            let disk = good.copy();
            disk.tamper(FIRST, |bytes| bytes[start * SECTOR..end * SECTOR].fill(0));
            damage_of(&disk, &options, &writes);
        }
    }
}

#[test]
fn swapped_sectors_are_damage_and_say_where_they_belong() {
    let options = options(16);
    let good = written(&options, &batches());
    let writes: Vec<Write> = batches().concat();
    for a in 0..9 {
        for b in a + 1..9 {
            let disk = good.copy();
            disk.tamper(FIRST, |bytes| {
                let (head, tail) = bytes.split_at_mut(b * SECTOR);
                head[a * SECTOR..][..SECTOR].swap_with_slice(&mut tail[..SECTOR]);
            });
            let damage = damage_of(&disk, &options, &writes);
            let sector = u32::try_from(b).expect("small");
            let misplaced = BadSector::Misplaced { segment: 1, sector };
            assert_eq!(damage.fault, Fault::Sector(misplaced), "{a} and {b}");
        }
    }
}

#[test]
fn a_sector_of_an_earlier_log_at_the_same_place_is_damage() {
    // The directory was emptied and a log made anew; one write of the new log got lost, and the
    // medium still shows what the old log had there.
    let options = options(16);
    let disk = written(&options, &batches());
    let old = disk.bytes(FIRST);
    for name in ["meta", "witness", FIRST] {
        raft_storage::Disk::remove(&disk, name).expect("removed");
    }
    let (mut log, _) = open(&disk, &options);
    for batch in batches() {
        log.append(&batch).expect("written");
    }
    drop(log);
    for sector in 0..9 {
        let mixed = disk.copy();
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        mixed.tamper(FIRST, |bytes| bytes[range.clone()].copy_from_slice(&old[range.clone()]));
        let damage = damage_of(&mixed, &options, &batches().concat());
        assert_eq!(damage.fault, Fault::Sector(BadSector::Checksum));
    }
}

#[test]
fn a_lost_write_that_leaves_a_stale_record_breaks_the_chain() {
    // A torn record is removed and another takes its place, but the disk loses both: it shows the
    // torn one again, whole. The record after it gives that away.
    let options = options(16);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    log.append(&[write(1, 0, vec![noop(1, 1)])]).expect("written");
    disk.fail_next_sync();
    log.append(&[write(1, 1, vec![command(1, 2, b"stale")])]).expect_err("the sync fails");
    drop(log);
    let stale = disk.bytes(FIRST);
    let disk = disk.crash(|_| false, 0);
    let (mut log, _) = open(&disk, &options);
    let mut writes = vec![write(1, 0, vec![noop(1, 1)])];
    for n in 2..4 {
        writes.push(write(2, 1, vec![command(2, n, b"new")]));
        log.append(&writes[writes.len() - 1..]).expect("written");
    }
    drop(log);
    disk.tamper(FIRST, |bytes| bytes[2 * SECTOR..3 * SECTOR].copy_from_slice(&stale[1024..1536]));
    // Nothing tells the stale record from one of ours, until the next one does.
    writes.insert(1, write(1, 1, vec![command(1, 2, b"stale")]));
    let damage = damage_of(&disk, &options, &writes[..2]);
    let rule = "it does not continue the record before it";
    assert_eq!((damage.offset_bytes, damage.fault), (3 * 512, Fault::Record { rule }));
}

#[test]
fn a_stale_sector_within_a_record_does_not_belong_to_it() {
    // As before, but of two sectors only the second is the stale one: both are intact and in their
    // places, and do not belong together.
    let options = options(16);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    disk.fail_next_sync();
    log.append(&[write(1, 0, vec![filler(1, 1, 700)])]).expect_err("the sync fails");
    drop(log);
    let stale = disk.bytes(FIRST);
    let disk = disk.crash(|_| false, 0);
    let (mut log, _) = open(&disk, &options);
    log.append(&[write(2, 0, vec![filler(2, 1, 700)])]).expect("written");
    drop(log);
    disk.tamper(FIRST, |bytes| bytes[2 * SECTOR..3 * SECTOR].copy_from_slice(&stale[1024..1536]));
    let damage = damage_of(&disk, &options, &[]);
    let rule = "its sectors do not belong together";
    assert_eq!((damage.offset_bytes, damage.fault), (512, Fault::Record { rule }));
}

/// Writes enough to fill three small segments and begin a fourth.
fn four_segments() -> (SimDisk, Options, Vec<Write>) {
    let options = options(5);
    let batches: Vec<Vec<Write>> =
        (1..=14).map(|n| vec![write(1, n - 1, vec![filler(1, n, 200)])]).collect();
    let disk = written(&options, &batches);
    let segments = disk.snapshot().into_keys().filter(|name| name.starts_with("0000"));
    assert_eq!(segments.count(), 4);
    (disk, options, batches.concat())
}

#[test]
fn every_sector_of_a_log_of_many_segments_may_be_zeroed() {
    let (good, options, writes) = four_segments();
    for number in 1..=4 {
        let name = format!("0000000{number}.log");
        for sector in 0..5 {
            let disk = good.copy();
            disk.tamper(&name, |bytes| bytes[sector * SECTOR..][..SECTOR].fill(0));
            let is_last_batch = number == 4 && sector == 2;
            let was_unwritten = number == 4 && sector > 2;
            if is_last_batch || was_unwritten {
                let (mut log, recovered) = open(&disk, &options);
                let count = writes.len() - usize::from(is_last_batch);
                assert!(matches(&mut log, &recovered, &model_of(&writes[..count])));
            } else {
                damage_of(&disk, &options, &writes);
            }
        }
    }
}

#[test]
fn a_whole_segment_gone_back_to_unwritten_is_damage() {
    let (good, options, writes) = four_segments();
    for name in [FIRST, SECOND] {
        let disk = good.copy();
        disk.tamper(name, |bytes| bytes.fill(0));
        damage_of(&disk, &options, &writes);
    }
}

#[test]
fn anything_written_behind_a_torn_batch_in_a_later_segment_is_damage() {
    // Of a record at the end of the first segment one sector is gone. All that is left of the
    // second segment is the last sector of its only record: it says nothing of earlier ones, but a
    // segment is never begun before the one in front of it is synced.
    let options = options(4);
    let batches = [1, 2].map(|n| vec![write(1, 0, vec![filler(1, n, 700)])]);
    let disk = written(&options, &batches);
    disk.tamper(FIRST, |bytes| bytes[2 * SECTOR..3 * SECTOR].fill(0));
    disk.tamper(SECOND, |bytes| bytes[..2 * SECTOR].fill(0));
    let damage = damage_of(&disk, &options, &batches.concat());
    assert_eq!((damage.file.as_str(), damage.fault), ("data/00000002.log", Fault::BehindTheEnd));
}

#[test]
fn a_missing_segment_is_damage_and_is_named() {
    let (good, options, writes) = four_segments();
    for number in 1..=3 {
        let disk = good.copy();
        raft_storage::Disk::remove(&disk, &format!("0000000{number}.log")).expect("removed");
        let damage = damage_of(&disk, &options, &writes);
        assert_eq!(damage.fault, Fault::MissingFile);
        assert_eq!(damage.file, format!("data/0000000{number}.log"));
    }
    let empty = written(&options, &[]);
    raft_storage::Disk::remove(&empty, FIRST).expect("removed");
    assert_eq!(damage_of(&empty, &options, &[]).fault, Fault::MissingFile);
}

#[test]
fn segments_that_changed_places_or_sizes_are_damage() {
    let (good, options, writes) = four_segments();
    let disk = good.copy();
    let (first, second) = (disk.bytes(FIRST), disk.bytes(SECOND));
    disk.tamper(FIRST, |bytes| *bytes = second);
    disk.tamper(SECOND, |bytes| *bytes = first);
    let damage = damage_of(&disk, &options, &writes);
    let misplaced = BadSector::Misplaced { segment: 2, sector: 0 };
    assert_eq!(damage.fault, Fault::Sector(misplaced));

    for grown in [SECTOR, 1] {
        let disk = good.copy();
        disk.tamper(SECOND, |bytes| bytes.resize(bytes.len() + grown, 0));
        let size_bytes = (5 * SECTOR + grown) as u64;
        assert_eq!(damage_of(&disk, &options, &writes).fault, Fault::WrongSize { size_bytes });
    }
}

#[test]
fn damage_that_happens_while_the_log_is_open_is_an_error_when_it_is_read() {
    let options = options(16);
    let disk = SimDisk::new();
    let (mut log, _) = open(&disk, &options);
    for batch in batches() {
        log.append(&batch).expect("written");
    }
    assert_eq!(all_entries(&mut log).len(), 6);
    disk.tamper(FIRST, |bytes| bytes[4 * SECTOR + 9] ^= 1);
    let read =
        |log: &mut Log<SimDisk>, index| log.read(Index::new(index), Index::new(index), usize::MAX);
    assert!(matches!(read(&mut log, 3), Err(ReadError::Damaged(_))));
    assert!(read(&mut log, 4).is_ok(), "the others are not touched");
    disk.tamper(FIRST, |bytes| bytes[7 * SECTOR..].fill(0));
    assert!(matches!(read(&mut log, 6), Err(ReadError::Damaged(_))));
}

#[test]
fn a_damaged_or_missing_meta_file_is_refused() {
    let options = options(16);
    let good = written(&options, &batches());
    for bit in 0..good.bytes("meta").len() * 8 {
        let disk = good.copy();
        disk.tamper("meta", |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        let refused = Log::open(disk, &options).expect_err("the flip is noticed");
        assert!(matches!(refused, OpenError::DamagedMeta { .. }), "bit {bit}: {refused}");
    }
    raft_storage::Disk::remove(&good, "meta").expect("removed");
    let refused = Log::open(good.copy(), &options).expect_err("never a new log over an old one");
    assert!(matches!(refused, OpenError::MissingMeta { .. }), "{refused}");
}

#[test]
fn a_directory_of_another_node_or_cluster_is_refused_in_words() {
    let mine = options(16);
    let disk = written(&mine, &batches());
    let other_node = Options { node_id: NodeId::new(2), ..mine.clone() };
    let refused = Log::open(disk.clone(), &other_node).expect_err("another node");
    assert_eq!(
        refused.to_string(),
        "data belongs to node n1, not to node n2: start it as n1, or give n2 a directory of its own"
    );
    let other_cluster = Options { cluster_id: 78, description: "1=z:1".into(), ..mine.clone() };
    let refused = Log::open(disk.clone(), &other_cluster).expect_err("another cluster");
    assert_eq!(
        refused.to_string(),
        "data belongs to the cluster founded as '1=a:1,2=b:2,3=c:3', not to '1=z:1': start with \
         the members it was founded with, or give this node a directory of its own"
    );
    let (_log, _) = open(&disk, &mine);
    let refused = Log::open(disk.clone(), &mine).expect_err("it is open");
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
}
