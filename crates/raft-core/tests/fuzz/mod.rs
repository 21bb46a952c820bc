//! Whatever happens to a node, it neither panics nor breaks a rule of its own: lives that are read
//! from strings of bytes ([`life`]), by chance and from a corpus of those that led somewhere.
//!
//! The corpus lies in `tests/corpus`, one life in a file. `RAFT_GROW_CORPUS=100000 cargo test -p
//! raft-core --test raft grow` lives so many changed lives, and keeps those that reach something
//! new. `fuzz/` at the top of the repository reads the same lives with libFuzzer.

mod bytes;
mod life;
mod model;
mod planted;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use raft_core::{Action, Input, Raft};

use self::life::{Step, Subject, live};
use crate::cluster::show;
use crate::dice::Dice;

/// A longer life is cut.
const MAX_LENGTH: usize = 1200;
/// The corpus has no more lives.
const MAX_LIVES: usize = 300;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// The lives of the corpus by the names of their files.
fn lives() -> BTreeMap<String, Vec<u8>> {
    let folder = corpus().read_dir().expect("the folder of the corpus");
    let life = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read(path).expect("a life"))
    };
    folder.map(life).collect()
}

/// A name for what a step did, without any numbers.
fn kind_of(action: &Action) -> String {
    match action {
        Action::Send(message) => format!("Send{}", show::kind(&message.body)),
        Action::Persist(write) if write.entries.is_empty() => "PersistState".to_owned(),
        Action::Persist(_) => "Persist".to_owned(),
        Action::Apply(_) => "Apply".to_owned(),
        Action::ConfigChanged(cluster) if cluster.outgoing.is_some() => "Joint".to_owned(),
        Action::ConfigChanged(_) => "Members".to_owned(),
        Action::SendSnapshot(_) => "SendSnapshot".to_owned(),
        Action::InstallSnapshot(_) => "InstallSnapshot".to_owned(),
        Action::Compact(_) => "Compact".to_owned(),
        Action::ReadLog(_) | Action::Resolved(..) | Action::RoleChanged(_) | Action::Trace(_) => {
            let is_kept = |letter: &char| letter.is_ascii_alphabetic();
            format!("{action:?}").chars().filter(is_kept).collect()
        }
    }
}

fn kind_of_input(input: &Input) -> String {
    match input {
        Input::Message(message) => show::kind(&message.body).to_owned(),
        _ => format!("{input:?}").chars().take_while(char::is_ascii_alphabetic).collect(),
    }
}

/// What a life reached: each kind of input in each role with each kind of what it led to, and
/// each combination of those.
fn reached(step: Step<'_>, found: &mut BTreeSet<String>) {
    let from = format!("{:?} {}", step.was, kind_of_input(step.input));
    let kinds: BTreeSet<_> = step.actions.iter().map(kind_of).collect();
    let mut all = from.clone();
    for kind in kinds {
        found.insert(format!("{from} {kind}"));
        let _ = write!(all, " {kind}");
    }
    found.insert(format!("{all} {:?}", step.is));
}

/// Lives a life, and says what it reached.
fn follow(life: &[u8]) -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    live::<Raft>(life, |step| reached(step, &mut found))?;
    Ok(found)
}

/// The same, and tells the life if it does not end well.
fn ends_well(life: &[u8]) -> Result<(), String> {
    live::<Raft>(life, |_| {}).map_err(|why| {
        let mut told = String::new();
        let _ = live::<Raft>(life, |step| {
            let _ = writeln!(told, "{:?}", step.input);
            for action in step.actions {
                let _ = writeln!(told, "    {}", show::action(action));
            }
        });
        format!("{told}{why}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_life_breaks_a_node(life in vec(any::<u8>(), 0..MAX_LENGTH)) {
        if let Err(told) = ends_well(&life) {
            return Err(TestCaseError::fail(told));
        }
    }
}

#[test]
fn every_life_of_the_corpus_ends_well() {
    let mut found = BTreeSet::new();
    for (name, life) in lives() {
        match follow(&life) {
            Ok(reached) => found.extend(reached),
            Err(why) => panic!("{name}: {why}"),
        }
    }
    println!("{} kinds of steps", found.len());
    assert!(found.len() > 500, "the corpus no longer leads anywhere: {}", found.len());
}

#[test]
fn the_corpus_meets_every_input_and_every_message_and_says_every_message() {
    let mut found = BTreeSet::new();
    for life in lives().values() {
        let watch = |step: Step<'_>| {
            found.insert(kind_of_input(step.input));
            found.extend(step.actions.iter().map(kind_of));
        };
        live::<Raft>(life, watch).expect("every life of the corpus ends well");
    }
    let messages = [
        "PreVote",
        "PreVoteReply",
        "Vote",
        "VoteReply",
        "Append",
        "Appended",
        "AppendRejected",
        "Heartbeat",
        "HeartbeatReply",
        "ReadIndex",
        "ReadIndexReply",
        "TimeoutNow",
        "TransferVote",
        "Recover",
        "RecoverReply",
    ];
    let others = [
        "Wake",
        "Propose",
        "ChangeConfig",
        "TransferLeadership",
        "Campaign",
        "Read",
        "Persisted",
        "LogRead",
        "Unreachable",
        "Snapshot",
        "SnapshotSent",
        "SnapshotInstalled",
        "SendSnapshot",
        "InstallSnapshot",
        "Compact",
        "Joint",
        "Apply",
        "ReadLogReadLogpurposeApplyfirstIndexlastIndexmaxbytes",
    ];
    let said = messages.map(|kind| format!("Send{kind}"));
    for name in messages.iter().chain(&others).map(ToString::to_string).chain(said) {
        assert!(found.contains(&name), "{name} is not among {found:?}");
    }
}

/// Lives changed lives and keeps those that reach something new; does nothing unless asked to.
#[test]
fn grow_the_corpus() {
    let setting = std::env::var("RAFT_GROW_CORPUS").ok();
    let Some(tries) = setting.and_then(|tries| tries.parse::<u64>().ok()) else { return };
    let mut dice = Dice::new(tries);
    let mut kept: Vec<(Vec<u8>, BTreeSet<String>)> = Vec::new();
    let mut known = BTreeSet::new();
    let mut keep = |life: Vec<u8>, kept: &mut Vec<_>| {
        let found = follow(&life).unwrap_or_else(|why| panic!("{life:?}: {why}"));
        if !found.is_subset(&known) {
            known.extend(found.iter().cloned());
            kept.push((life, found));
        }
    };
    for life in lives().into_values() {
        keep(life, &mut kept);
    }
    for _ in 0..tries {
        let life = changed(&kept, &mut dice);
        keep(life, &mut kept);
    }
    write_corpus(&fewest(kept));
}

/// A new life, or a known one with a few changes.
fn changed(kept: &[(Vec<u8>, BTreeSet<String>)], dice: &mut Dice) -> Vec<u8> {
    let byte = |dice: &mut Dice| u8::try_from(dice.below(256)).unwrap_or(0);
    let place = |dice: &mut Dice, length: usize| {
        usize::try_from(dice.below(length.max(1) as u64)).expect("a place")
    };
    if kept.is_empty() || dice.below(50) == 0 {
        let length = place(dice, MAX_LENGTH);
        return (0..length).map(|_| byte(dice)).collect();
    }
    let mut life = kept[place(dice, kept.len())].0.clone();
    for _ in 0..=dice.below(6) {
        let at = place(dice, life.len());
        match dice.below(6) {
            0 if at < life.len() => life[at] = byte(dice),
            1 => life.insert(at.min(life.len()), byte(dice)),
            2 if at < life.len() => drop(life.remove(at)),
            3 => life.truncate(at),
            4 => {
                let other = &kept[place(dice, kept.len())].0;
                let from = place(dice, other.len());
                life.truncate(at);
                life.extend(&other[from..]);
            }
            _ => (0..20).for_each(|_| life.push(byte(dice))),
        }
    }
    life.truncate(MAX_LENGTH);
    life
}

/// As few of them as reach everything, the short ones first; no more than the corpus may have.
fn fewest(mut kept: Vec<(Vec<u8>, BTreeSet<String>)>) -> Vec<Vec<u8>> {
    let mut chosen = Vec::new();
    let mut known = BTreeSet::new();
    while !kept.is_empty() && chosen.len() < MAX_LIVES {
        let news = |found: &BTreeSet<String>| found.difference(&known).count();
        kept.retain(|(_, found)| news(found) > 0);
        let worth = |(life, found): &(Vec<u8>, _)| 1000 * news(found) / (life.len() + 50);
        let Some(best) = (0..kept.len()).max_by_key(|at| worth(&kept[*at])) else { break };
        let (life, found) = kept.swap_remove(best);
        known.extend(found);
        chosen.push(life);
    }
    println!("{} lives, {} kinds of steps", chosen.len(), known.len());
    chosen
}

fn write_corpus(lives: &[Vec<u8>]) {
    let folder = corpus();
    std::fs::remove_dir_all(&folder).expect("the old corpus goes");
    std::fs::create_dir(&folder).expect("a folder for the new one");
    for (number, life) in lives.iter().enumerate() {
        std::fs::write(folder.join(format!("life-{number:04}")), life).expect("a life is kept");
    }
}

/// How many lives it takes until a mistake is noticed.
fn lives_to_find<S: Subject>(dice: &mut Dice) -> Option<usize> {
    let known: Vec<_> = lives().into_values().map(|life| (life, BTreeSet::new())).collect();
    (1..=2000).find(|_| {
        let life = changed(&known, dice);
        let ends_well = catch_unwind(AssertUnwindSafe(|| live::<S>(&life, |_| {})));
        !matches!(ends_well, Ok(Ok(())))
    })
}

#[test]
fn mistakes_that_are_planted_are_found() {
    let mut dice = Dice::new(1);
    let found = [
        ("it forgets its vote", lives_to_find::<planted::ForgetsItsVote>(&mut dice)),
        ("it speaks too early", lives_to_find::<planted::SpeaksTooEarly>(&mut dice)),
        ("it answers twice", lives_to_find::<planted::AnswersTwice>(&mut dice)),
        ("it skips an entry", lives_to_find::<planted::SkipsAnEntry>(&mut dice)),
        ("it goes back in commit", lives_to_find::<planted::GoesBackInCommit>(&mut dice)),
        ("it panics at a refusal", lives_to_find::<planted::PanicsAtARefusal>(&mut dice)),
        ("it vouches for nothing", lives_to_find::<planted::AcknowledgesWhatItLacks>(&mut dice)),
        ("it writes twice", lives_to_find::<planted::WritesTwice>(&mut dice)),
    ];
    println!("{found:?}");
    for (mistake, lives) in found {
        assert!(lives.is_some(), "nobody noticed: {mistake}");
    }
}
