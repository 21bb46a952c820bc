//! [`Storage`]: a node's log thread. It works off one queue, syncs all writes that wait together,
//! and takes its time.
//!
//! Beside the log, which may be a real one, stand two models: `newest`, what the node has handed
//! over, and `durable`, what has been promised to survive. A real log is measured by the second one
//! at every restart.

use std::collections::VecDeque;
use std::time::Duration;

use raft_core::{Boot, Entry, HardState, Index, LogRead, PersistId, Position, ReadLog, Write};

use crate::coverage::{Coverage, Mark};
use crate::dice::Dice;
use crate::disk_log::DiskLog;
use crate::faults::Fault;
use crate::machine::Machine;
use crate::model::Model;
use crate::planted::{Blunder, Mistake};
use crate::scenario::{DiskTraits, MediumKind, Scenario};
use crate::violation::{Checked, Violation, check};

/// The log thread of one node, and what it keeps.
#[derive(Debug)]
pub(crate) struct Storage {
    /// What would survive a loss of power, as far as anybody was told.
    pub(crate) durable: Model,
    /// The same with every write that was handed over.
    pub(crate) newest: Model,
    /// What was durable before the log was damaged, and may have been acknowledged.
    lost: Vec<Position>,
    queue: VecDeque<Request>,
    job: Job,
    /// The number of the latest write of this start.
    last_write: PersistId,
    /// The real log; nothing but the models if there is none.
    log: Option<Box<DiskLog>>,
    dice: Dice,
    traits: DiskTraits,
    slowness: Duration,
    planted: Option<Mistake>,
}

#[derive(Debug)]
enum Request {
    Compact(Index),
    Write(Write),
    Read(ReadLog),
}

/// What the thread is at.
#[derive(Debug)]
enum Job {
    Nothing,
    Writing { batch: Vec<Write>, fails: bool },
    Reading(ReadLog),
    Compacting(Index),
}

/// What the thread has done.
#[derive(Debug)]
pub(crate) enum Done {
    Nothing,
    Persisted(PersistId),
    Read(LogRead),
    /// The disk refused: the process has to end.
    Failed,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With the power: what was not synced may be lost.
    PowerLoss,
    /// By itself: the system keeps what it was handed.
    Kill,
}

impl Storage {
    pub(crate) fn new(scenario: &Scenario, node: usize) -> Self {
        let if_on = |fault, per_mille| if scenario.faults.has(fault) { per_mille } else { 0 };
        let traits = DiskTraits {
            slow_per_mille: if_on(Fault::SlowDisks, scenario.disk.slow_per_mille),
            fail_per_mille: if_on(Fault::BadDisks, scenario.disk.fail_per_mille),
            ..scenario.disk
        };
        let log = || Box::new(DiskLog::new(scenario, node));
        Self {
            durable: Model::default(),
            newest: Model::default(),
            lost: Vec::new(),
            queue: VecDeque::new(),
            job: Job::Nothing,
            last_write: PersistId::ZERO,
            log: (scenario.medium == MediumKind::Disk).then(log),
            dice: Dice::new(scenario.seed, &format!("disk {node}")),
            traits,
            slowness: 10 * scenario.timing.election_max,
            planted: scenario.planted,
        }
    }

    /// Nothing fails any more, and everything takes its usual time.
    pub(crate) fn calm_down(&mut self) {
        self.traits.slow_per_mille = 0;
        self.traits.fail_per_mille = 0;
    }

    pub(crate) fn write(&mut self, write: Write) -> Checked {
        let is_next = write.id.get() == self.last_write.get() + 1;
        check(is_next, "writes are numbered one by one", || {
            format!("write {} after {}", write.id.get(), self.last_write.get())
        })?;
        self.last_write = write.id;
        self.newest.apply(&write)?;
        self.queue.push_back(Request::Write(write));
        Ok(())
    }

    /// The log may forget the entries up to `upto`, when there is time.
    pub(crate) fn compact(&mut self, upto: Index) {
        self.newest.compact(upto);
        self.queue.push_back(Request::Compact(upto));
    }

    pub(crate) fn read(&mut self, request: ReadLog) {
        self.queue.push_back(Request::Read(request));
    }

    /// Whether this was durable until the log was damaged, and the node goes by that: it does not
    /// vote until it has it back.
    pub(crate) fn has_lost(&self, at: Position) -> bool {
        self.durable.hard_state.recovering && self.lost.contains(&at)
    }

    /// What was durable before the log was damaged, since the node was last whole.
    pub(crate) fn lost(&self) -> &[Position] {
        &self.lost
    }

    /// Whether there is a write that nobody was told of.
    pub(crate) fn is_writing(&self) -> bool {
        matches!(self.job, Job::Writing { .. })
    }

    /// Begins the next job, if one waits and none is under way; returns how long it takes.
    pub(crate) fn start(&mut self, coverage: &mut Coverage) -> Option<Duration> {
        if !matches!(self.job, Job::Nothing) {
            return None;
        }
        match self.queue.pop_front()? {
            Request::Compact(upto) => {
                self.job = Job::Compacting(upto);
                Some(self.dice.between(self.traits.sync_min, self.traits.sync_max))
            }
            Request::Read(read) => {
                self.job = Job::Reading(read);
                Some(self.dice.between(Duration::ZERO, self.traits.sync_min))
            }
            Request::Write(first) => Some(self.start_batch(first, coverage)),
        }
    }

    /// All writes up to the next read are synced together.
    fn start_batch(&mut self, first: Write, coverage: &mut Coverage) -> Duration {
        let mut batch = vec![first];
        let is_write = |request: &mut Request| matches!(request, Request::Write(_));
        while let Some(Request::Write(write)) = self.queue.pop_front_if(is_write) {
            batch.push(write);
        }
        let fails = self.dice.chance(self.traits.fail_per_mille);
        self.job = Job::Writing { batch, fails };
        let mut takes = self.dice.between(self.traits.sync_min, self.traits.sync_max);
        if self.dice.chance(self.traits.slow_per_mille) {
            coverage.reach(Mark::SlowSync);
            takes += self.slowness / 10 + self.dice.between(Duration::ZERO, self.slowness);
        }
        takes
    }

    /// Ends the job that is under way.
    pub(crate) fn finish(&mut self, coverage: &mut Coverage) -> Result<Done, Violation> {
        match std::mem::replace(&mut self.job, Job::Nothing) {
            Job::Nothing => Ok(Done::Nothing),
            Job::Reading(request) => self.answer(&request),
            Job::Compacting(upto) => {
                let cut = self.log.as_mut().map(|log| log.compact(upto)).transpose()?;
                self.durable.compact(cut.unwrap_or(upto));
                Ok(Done::Nothing)
            }
            Job::Writing { batch, fails: true } if self.has(Blunder::IgnoredSyncError) => {
                Ok(batch.last().map_or(Done::Nothing, |write| Done::Persisted(write.id)))
            }
            Job::Writing { batch, fails: true } => {
                coverage.reach(Mark::WriteFailed);
                self.job = Job::Writing { batch, fails: true };
                Ok(Done::Failed)
            }
            Job::Writing { batch, fails: false } => {
                if let Some(log) = &mut self.log {
                    log.append(&batch, coverage)?;
                }
                let is_early = self.has(Blunder::EarlyPersisted);
                let last =
                    batch.last().map(|write| if is_early { self.last_write } else { write.id });
                batch.iter().try_for_each(|write| self.durable.apply(write))?;
                if !self.durable.hard_state.recovering {
                    self.lost.clear();
                }
                Ok(last.map_or(Done::Nothing, Done::Persisted))
            }
        }
    }

    fn answer(&mut self, request: &ReadLog) -> Result<Done, Violation> {
        if self.has(Blunder::UnansweredRead) {
            return Ok(Done::Nothing);
        }
        // The queue is worked off in order: everything that was handed over before is durable.
        let entries = self.durable.read(request);
        if let Some(log) = &mut self.log {
            log.read(request, &entries)?;
        }
        let ReadLog { purpose, first, .. } = *request;
        Ok(Done::Read(LogRead { purpose, first, entries }))
    }

    /// The process ends, whatever it was at.
    pub(crate) fn stop(&mut self, end: End) -> Checked {
        self.queue.clear();
        self.last_write = PersistId::ZERO;
        let batch = match std::mem::replace(&mut self.job, Job::Nothing) {
            Job::Writing { batch, .. } => batch,
            Job::Nothing | Job::Reading(_) | Job::Compacting(_) => Vec::new(),
        };
        if self.has(Blunder::SplitWrite)
            && let Some(write) = batch.first()
        {
            self.durable.apply_half(write);
            return Ok(());
        }
        if let Some(log) = &mut self.log {
            log.stop(batch, end, &mut self.dice);
            return Ok(());
        }
        let survive = self.dice.place(batch.len() + 1);
        batch[..survive].iter().try_for_each(|write| self.durable.apply(write))
    }

    /// Damages the log somewhere; whether it did. A model loses what comes after some entry, files
    /// suffer whatever files do.
    pub(crate) fn damage(&mut self, coverage: &mut Coverage) -> bool {
        if let Some(log) = &mut self.log {
            return log.harm(&self.durable, &mut self.dice, coverage);
        }
        let entries = self.durable.entries().len();
        // Mostly near the end: what is further back is known to everybody.
        let lost = if self.dice.coin() { entries.min(8) } else { entries };
        let kept = entries - self.dice.place(lost + 1);
        let before = self.durable.entries().to_vec();
        self.durable.damage(self.durable.start().index.plus(kept as u64));
        self.miss(&before);
        if let (Some(first), true) = (before.get(kept), self.has(Blunder::DamagedRecordKept)) {
            self.durable.keep_damaged(first);
        }
        true
    }

    /// Takes note of what is missing of that which was durable before.
    fn miss(&mut self, before: &[Entry]) {
        let is_missing = |at: &Position| !self.durable.holds(*at);
        let start = self.durable.start().index;
        let after = before.iter().map(|entry| entry.at).filter(|at| at.index > start);
        self.lost.extend(after.filter(is_missing));
    }

    /// Whether its files were damaged, and nobody has found out yet.
    pub(crate) fn is_harmed(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.is_harmed())
    }

    /// Whether its files are damaged so that nobody can start the node again.
    pub(crate) fn is_lost(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.is_lost())
    }

    /// The process starts again: what the node is told, unless it is cut short, too.
    pub(crate) fn restart(
        &mut self,
        state: &Machine,
        may_fail: bool,
        coverage: &mut Coverage,
    ) -> Result<Option<Boot>, Violation> {
        if let Some(log) = &mut self.log {
            let before = log.is_harmed().then(|| self.durable.entries().to_vec());
            if !log.open(&mut self.durable, may_fail, &mut self.dice, coverage)? {
                return Ok(None);
            }
            self.miss(&before.unwrap_or_default());
        }
        if let Some(Mistake::Driver(blunder)) = self.planted {
            self.forget(blunder, state.applied.index);
        }
        self.newest = self.durable.clone();
        let mut boot = self.durable.boot(state);
        if self.has(Blunder::CommittedOnRestart) {
            boot.commit = boot.last.index;
        }
        if self.has(Blunder::ForgottenMembers) {
            boot.configs.clear();
        }
        Ok(Some(boot))
    }

    fn has(&self, blunder: Blunder) -> bool {
        self.planted == Some(Mistake::Driver(blunder))
    }

    /// What a restart forgets by this mistake.
    fn forget(&mut self, blunder: Blunder, applied: Index) {
        let last = self.durable.last();
        let HardState { term, vote, boots, recovering } = &mut self.durable.hard_state;
        match blunder {
            Blunder::ForgottenVote => *vote = None,
            Blunder::VoteDamaged if *recovering => *vote = None,
            Blunder::DamageUnmarked => *recovering = false,
            Blunder::ForgottenTerm => {
                (*term, *vote) = (last.term, None);
            }
            Blunder::ForgottenStarts => *boots = 0,
            Blunder::LostTail => self.durable.forget_last_entry(applied),
            _ => {}
        }
    }
}
