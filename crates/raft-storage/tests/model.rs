//! Random histories: writes, crashes with any subset of what was not synced, restarts and
//! compactions, one after the other on the same disk, against a log in memory.

mod common;

use common::{Random, SimDisk, at, config, filler, matches, noop, open, options};
use proptest::prelude::*;
use raft_core::{Entries, Entry, HardState, Index, NodeId, PersistId, Term, Write};
use raft_storage::{Log, MemoryLog, Options};

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A batch of this many writes.
    Append(usize),
    /// The process ends and starts again.
    Restart,
    /// The power goes after this many more changes.
    PowerOff(u64),
    /// Everything committed is removed as far as it goes.
    Compact,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..5_usize).prop_map(Step::Append),
        1 => Just(Step::Restart),
        3 => (0..12_u64).prop_map(Step::PowerOff),
        1 => Just(Step::Compact),
    ]
}

/// A write that may follow on what `log` holds: entries that continue or replace some, a new term
/// or a vote, or nothing but a commit index.
fn random_write(random: &mut Random, log: &MemoryLog) -> Write {
    let held = log.recovered();
    let mut hard_state = held.hard_state;
    match random.below(4) {
        0 => hard_state = HardState { term: hard_state.term.next(), vote: None, ..hard_state },
        1 if hard_state.vote.is_none() => hard_state.vote = Some(NodeId::new(random.next() % 3)),
        2 => hard_state.boots += 1,
        _ => hard_state.recovering = random.coin(),
    }
    // Entries are of the term of the node; a real leader of an older term never sends any.
    hard_state.term = hard_state.term.max(Term::new(1));
    let spare = held.last.index.since(held.commit);
    let back = if random.coin() { 0 } else { random.below(usize::try_from(spare).unwrap() + 1) };
    let term = hard_state.term.get();
    // Once in a while a snapshot takes the place of everything.
    let ahead = random.below(9) as u64;
    let reset = (random.below(10) == 0).then(|| at(term, held.commit.get() + ahead));
    let prev = reset.map_or(held.last.index.get() - back as u64, |start| start.index.get());
    let count = random.below(4) as u64;
    let entries: Entries = (1..=count).map(|nth| random_entry(random, term, prev + nth)).collect();
    let is_empty = count == 0 && reset.is_none();
    let last = if is_empty { held.last.index.get() } else { prev + count };
    let commit = Index::new((held.commit.get() + random.below(3) as u64).min(last));
    Write { id: PersistId::new(1), hard_state, commit, reset, entries }
}

fn empty_write(hard_state: HardState) -> Write {
    let (id, commit) = (PersistId::new(1), Index::ZERO);
    Write { id, hard_state, commit, reset: None, entries: Entries::default() }
}

fn random_entry(random: &mut Random, term: u64, index: u64) -> Entry {
    match random.below(8) {
        0 => noop(term, index),
        1 => config(term, index, &[1, 2, index]),
        2 => filler(term, index, random.below(3000)),
        _ => filler(term, index, random.below(500)),
    }
}

struct World {
    random: Random,
    disk: SimDisk,
    options: Options,
    log: Option<Log<SimDisk>>,
    /// What was acknowledged, and after each write of the batch under way.
    models: Vec<MemoryLog>,
}

impl World {
    fn new(seed: u64, sectors: usize) -> Self {
        let (disk, options) = (SimDisk::new(), options(sectors));
        let (log, _) = open(&disk, &options);
        Self { random: Random(seed), disk, options, log: Some(log), models: vec![MemoryLog::new()] }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Append(count) => self.append(*count),
            Step::Restart => self.log = None,
            Step::PowerOff(changes) => self.disk.power_off_at(self.disk.changes() + changes),
            Step::Compact => self.compact(),
        }
        if self.log.is_none() {
            self.restart();
        }
    }

    fn append(&mut self, count: usize) {
        let Some(log) = &mut self.log else { return };
        let mut batch = Vec::new();
        for _ in 0..count {
            let mut model = self.models[batch.len()].clone();
            let write = random_write(&mut self.random, &model);
            model.append(std::slice::from_ref(&write)).expect("it fits");
            self.models.push(model);
            batch.push(write);
        }
        match log.append(&batch) {
            Ok(()) => drop(self.models.drain(..count)),
            Err(_) => self.log = None,
        }
    }

    fn compact(&mut self) {
        let Some(log) = &mut self.log else { return };
        let upto = self.models[0].recovered().commit;
        match log.compact(upto) {
            Ok(()) => assert!(log.start().index <= upto),
            Err(_) => self.log = None,
        }
    }

    /// The power goes and comes back, perhaps more than once while the log is opened.
    fn restart(&mut self) {
        let random = &mut self.random;
        let names = random.below(self.disk.unsynced_names() + 1);
        let share = random.below(5);
        self.disk = self.disk.crash(|_| random.below(4) < share, names);
        if self.random.below(4) == 0 {
            let soon = self.disk.changes() + self.random.below(5) as u64;
            self.disk.power_off_at(soon);
        }
        let Ok((mut log, recovered)) = Log::open(self.disk.clone(), &self.options) else {
            return self.restart();
        };
        assert_eq!(recovered.damage, None, "a crash is not damage");
        let survived = self.models.iter().position(|model| {
            let mut model = model.clone();
            model.compact(recovered.start.index).expect("in memory");
            matches(&mut log, &recovered, &model)
        });
        let survived = survived.expect("all that was acknowledged, and a prefix of the rest");
        let mut model = self.models.swap_remove(survived);
        // A node goes on from the hard state that it is told, of which the witness may know more.
        let told = Write { commit: recovered.commit, ..empty_write(recovered.hard_state) };
        model.append(&[told]).expect("in memory");
        self.models = vec![model];
        self.log = Some(log);
    }
}

fn histories(count: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(histories(400))]

    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_else_appears(
        seed in any::<u64>(),
        sectors in 4..40_usize,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut world = World::new(seed, sectors);
        for step in &steps {
            world.run(step);
        }
        world.log = None;
        world.restart();
    }
}
