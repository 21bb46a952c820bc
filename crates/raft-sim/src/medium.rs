//! [`Medium`]: what a log thread writes to: nothing but the model, or a real log on a simulated
//! disk, which has to agree with the model at every restart.

use raft_core::{Entries, HardState, Index, NodeId, ReadLog, Write};
use raft_storage::{Log, Options, ReadError, Recovered};

use crate::coverage::{Coverage, Mark};
use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::model::Model;
use crate::planted::Blunder;
use crate::scenario::{MediumKind, Scenario};
use crate::storage::End;
use crate::violation::{Checked, Violation, check};

/// With which change to the disk a process ends that is writing: before the first one, with the
/// write, with the sync, or with some step on the way to the next segment. Two changes come before
/// that where term or vote is new.
const LAST_CHANGES: [u64; 8] = [0, 1, 1, 2, 3, 3, 4, 5];

/// The same for a process that opens its log.
const CHANGES_OF_AN_OPENING: u64 = 5;

/// How often opening the log is cut short, in a thousand times, if it may be.
const CUT_SHORT_PER_MILLE: u64 = 100;

#[derive(Debug)]
pub(crate) enum Medium {
    Memory,
    Disk(Box<DiskLog>),
}

/// A real log.
#[derive(Debug)]
pub(crate) struct DiskLog {
    disk: SimDisk,
    options: Options,
    /// None while the process is down.
    log: Option<Log<SimDisk>>,
    /// The batch that was being written when the process ended.
    untold: Vec<Write>,
    /// The last hard state that was acknowledged, and every one that was written since. They have a
    /// file of their own, which may get further than the log, and may come to nothing after all.
    hard_states: Vec<HardState>,
}

impl Medium {
    pub(crate) fn new(scenario: &Scenario, node: usize) -> Self {
        match scenario.medium {
            MediumKind::Memory => Self::Memory,
            MediumKind::Disk => {
                let id = NodeId::new(node as u64 + 1);
                let options = Options {
                    segment_bytes: scenario.disk.segment_bytes,
                    reserve_bytes: 0,
                    background: false,
                    ..Options::new(id, scenario.seed, "simulated")
                };
                let disk = SimDisk::new(scenario.seed ^ (id.get() << 32));
                disk.omit_syncs(
                    scenario.has(Blunder::NoFileSync),
                    scenario.has(Blunder::NoDirectorySync),
                );
                Self::Disk(Box::new(DiskLog {
                    disk,
                    options,
                    log: None,
                    untold: Vec::new(),
                    hard_states: vec![HardState::default()],
                }))
            }
        }
    }

    /// Whether there is nothing but the model.
    pub(crate) fn is_model(&self) -> bool {
        matches!(self, Self::Memory)
    }

    /// Makes a batch durable.
    pub(crate) fn append(&mut self, batch: &[Write], coverage: &mut Coverage) -> Checked {
        let Self::Disk(disk_log) = self else { return Ok(()) };
        let Some(log) = &mut disk_log.log else { return Ok(()) };
        let files = disk_log.disk.file_count();
        let appended = log.append(batch);
        if disk_log.disk.file_count() > files {
            coverage.reach(Mark::SegmentRolled);
        }
        if let (Ok(()), Some(last)) = (&appended, batch.last()) {
            disk_log.hard_states = vec![last.hard_state];
        }
        appended.map_err(|error| Violation {
            rule: "a sound log takes every write",
            detail: error.to_string(),
        })
    }

    /// Forgets the entries up to `upto`, or only so many as are easily forgotten; returns where the
    /// log begins then.
    pub(crate) fn compact(&mut self, upto: Index) -> Result<Index, Violation> {
        let Self::Disk(disk_log) = self else { return Ok(upto) };
        let Some(log) = &mut disk_log.log else { return Ok(upto) };
        let rule = "a sound log can be cut";
        log.compact(upto).map_err(|error| Violation { rule, detail: error.to_string() })?;
        Ok(log.start().index.min(upto))
    }

    /// Reads back, and compares with what should be there.
    pub(crate) fn read(
        &mut self,
        request: &ReadLog,
        expected: &Entries,
    ) -> Result<Entries, Violation> {
        let Self::Disk(disk_log) = self else { return Ok(expected.clone()) };
        let Some(log) = &mut disk_log.log else { return Ok(expected.clone()) };
        let rule = "what is read is what was written";
        let entries = match log.read(request.first, request.last, request.max_bytes) {
            Ok(entries) => entries,
            Err(ReadError::NotInLog { .. }) => Entries::empty(),
            Err(error) => return Err(Violation { rule, detail: error.to_string() }),
        };
        check(entries == *expected, rule, || {
            format!("{request:?} is answered with {entries:?} for {expected:?}")
        })?;
        Ok(entries)
    }

    /// The process ends while it writes `batch`: any prefix of it may become durable.
    pub(crate) fn stop(
        &mut self,
        batch: Vec<Write>,
        end: End,
        durable: &mut Model,
        dice: &mut Dice,
    ) -> Checked {
        match self {
            Self::Memory => {
                let survive = dice.place(batch.len() + 1);
                batch[..survive].iter().try_for_each(|write| durable.apply(write))
            }
            Self::Disk(disk_log) => {
                disk_log.stop(batch, end, dice);
                Ok(())
            }
        }
    }

    /// The process starts; whether it got through. What is found becomes `durable`.
    pub(crate) fn restart(
        &mut self,
        durable: &mut Model,
        may_fail: bool,
        dice: &mut Dice,
        coverage: &mut Coverage,
    ) -> Result<bool, Violation> {
        match self {
            Self::Memory => Ok(true),
            Self::Disk(disk_log) => disk_log.open(durable, may_fail, dice, coverage),
        }
    }
}

impl DiskLog {
    fn stop(&mut self, batch: Vec<Write>, end: End, dice: &mut Dice) {
        if let (Some(log), false) = (&mut self.log, batch.is_empty()) {
            self.disk.stop_after(dice.pick(&LAST_CHANGES));
            // Whether it says so or not: nobody is left to be told.
            let _ = log.append(&batch);
        }
        self.untold = batch;
        self.end_process(end, dice);
    }

    fn end_process(&mut self, end: End, dice: &mut Dice) {
        self.log = None;
        if end == End::PowerLoss {
            self.disk.lose_power(dice);
        }
        self.disk.restart();
    }

    fn open(
        &mut self,
        durable: &mut Model,
        may_fail: bool,
        dice: &mut Dice,
        coverage: &mut Coverage,
    ) -> Result<bool, Violation> {
        let is_cut_short = may_fail && dice.chance(CUT_SHORT_PER_MILLE);
        if is_cut_short {
            self.disk.stop_after(dice.below(CHANGES_OF_AN_OPENING));
        }
        let opened = Log::open(self.disk.clone(), &self.options);
        match opened {
            Err(_) if is_cut_short => {
                coverage.reach(Mark::RestartCutShort);
                let end = if dice.coin() { End::PowerLoss } else { End::Kill };
                self.end_process(end, dice);
                Ok(false)
            }
            Err(error) => {
                let detail = error.to_string();
                Err(Violation { rule: "a log opens after every crash", detail })
            }
            Ok((log, recovered)) => {
                self.disk.restart();
                self.log = Some(log);
                self.settle(durable, &recovered, coverage)?;
                Ok(true)
            }
        }
    }

    /// Holds what was recovered to the promise: everything that was acknowledged, and of the batch
    /// that was under way a prefix.
    fn settle(
        &mut self,
        durable: &mut Model,
        recovered: &Recovered,
        coverage: &mut Coverage,
    ) -> Checked {
        check(recovered.damage.is_none(), "a crash is not damage", || format!("{recovered:?}"))?;
        if recovered.torn.is_some() {
            coverage.reach(Mark::TornWrite);
        }
        let entries = self.entries(recovered)?;
        let untold = std::mem::take(&mut self.untold);
        self.hard_states.extend(untold.iter().map(|write| write.hard_state));
        let mut survivors = untold.into_iter();
        let is_known = self.hard_states.contains(&recovered.hard_state);
        while !is_known || !is_same_log(durable, recovered, &entries) {
            let Some(write) = survivors.next() else {
                return Err(Violation {
                    rule: "what was acknowledged survives, and nothing that was never written",
                    detail: format!("{recovered:?} for a log that ended at {}", durable.last()),
                });
            };
            durable.apply(&write)?;
            coverage.reach(Mark::UntoldWriteSurvived);
        }
        durable.hard_state = recovered.hard_state;
        Ok(())
    }

    fn entries(&mut self, recovered: &Recovered) -> Result<Entries, Violation> {
        let Some(log) = &mut self.log else { return Ok(Entries::empty()) };
        if recovered.last == recovered.start {
            return Ok(Entries::empty());
        }
        let first = recovered.start.index.next();
        log.read(first, recovered.last.index, usize::MAX).map_err(|error| Violation {
            rule: "what was recovered can be read",
            detail: error.to_string(),
        })
    }
}

fn is_same_log(model: &Model, recovered: &Recovered, entries: &Entries) -> bool {
    // What was cut off may be there still.
    let first = entries.iter().position(|entry| entry.at.index > model.start().index);
    model.commit == recovered.commit
        && model.last() == recovered.last
        && recovered.start.index <= model.start().index
        && model.entries() == &entries[first.unwrap_or(entries.len())..]
}
