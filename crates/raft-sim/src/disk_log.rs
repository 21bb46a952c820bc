//! [`DiskLog`]: a real log on a simulated disk, which has to agree with the model at every restart.
//!
//! What it is held to when a process starts:
//!
//! 1. Everything that was acknowledged is there, and of the batch that was under way a prefix.
//! 2. A crash is not damage. Where a `harm` was done, the log may say that it is damaged; then it
//!    is repaired, and what is left is what it held at some earlier time, with its latest term and
//!    vote, and with the mark of one that recovers.
//! 3. A harm that the log does not speak of has taken nothing away: rule 1 holds.
//! 4. A log that is ruined, so that nothing could be repaired, is refused with a sentence, and
//!    every byte of it stays as it is: if the file that is missing comes back, rule 1 holds.

use raft_core::{Entries, HardState, Index, NodeId, ReadLog, Write};
use raft_storage::{Log, META_FILE, OpenError, Options, ReadError, Recovered, RepairError, repair};

use crate::coverage::{Coverage, Mark};
use crate::dice::Dice;
use crate::disk::{Extent, SimDisk};
use crate::harm::{self, Harm};
use crate::model::Model;
use crate::planted::Blunder;
#[cfg(feature = "planted-bugs")]
use crate::planted::Mistake;
use crate::ruin::{self, Ruin};
use crate::scenario::Scenario;
use crate::storage::End;
use crate::violation::{Checked, Violation, check};

/// With which change to the disk a process ends that is writing: before the first one, with the
/// write, with the sync, or with some step on the way to the next segment. Two changes come before
/// that where term or vote is new.
const LAST_CHANGES: [u64; 8] = [0, 1, 1, 2, 3, 3, 4, 5];

/// The same for a process that opens its log, and for one that repairs it first.
const CHANGES_OF_AN_OPENING: u64 = 5;
const CHANGES_OF_A_REPAIR: u64 = 25;

/// How often opening the log is cut short, in a thousand times, if it may be.
const CUT_SHORT_PER_MILLE: u64 = 100;

/// How often harm is more than can be repaired, in a thousand times.
const RUINED_PER_MILLE: u64 = 150;

/// The same if the log was harmed.
const REPAIR_CUT_SHORT_PER_MILLE: u64 = 400;

/// A real log.
#[derive(Debug)]
pub(crate) struct DiskLog {
    disk: SimDisk,
    options: Options,
    /// None while the process is down.
    log: Option<Log<SimDisk>>,
    /// Every batch that is durable, since the log was made.
    history: Vec<Write>,
    /// The batch that was being written when the process ended.
    untold: Vec<Write>,
    /// The last hard state that was acknowledged, and every one that was written since. They have a
    /// file of their own, which may get further than the log, and may come to nothing after all.
    hard_states: Vec<HardState>,
    /// What was written since the last batch but one was acknowledged: no later one proves it.
    fresh: Vec<Extent>,
    /// What was written when entries were last replaced by others.
    replacing: Vec<Extent>,
    /// The last entry that was written.
    last: Index,
    /// Up to here the log was found to hold what it should, and no sector of that has been written
    /// since. Nothing but harm changes a sector that is not written.
    seen: Index,
    /// What comes after this was in the last batch, which an opening writes again.
    before_last: Index,
    /// Harm was done to the files, and no process has got through since.
    is_harmed: bool,
    /// The harm was more than can be repaired.
    ruin: Option<Ruin>,
    /// Decides when it is.
    ruin_dice: Dice,
    /// The node has refused to start, and will always do.
    is_lost: bool,
}

impl DiskLog {
    pub(crate) fn new(scenario: &Scenario, node: usize) -> Self {
        let id = NodeId::new(node as u64 + 1);
        let options = Options {
            segment_bytes: scenario.disk.segment_bytes,
            reserve_bytes: 0,
            background: false,
            #[cfg(feature = "planted-bugs")]
            planted: planted(scenario),
            ..Options::new(id, scenario.seed, "simulated")
        };
        let disk = SimDisk::new(scenario.seed ^ (id.get() << 32));
        disk.omit_syncs(scenario.has(Blunder::NoFileSync), scenario.has(Blunder::NoDirectorySync));
        Self {
            disk,
            options,
            log: None,
            history: Vec::new(),
            untold: Vec::new(),
            hard_states: vec![HardState::default()],
            fresh: Vec::new(),
            replacing: Vec::new(),
            last: Index::ZERO,
            seen: Index::ZERO,
            before_last: Index::ZERO,
            is_harmed: false,
            ruin: None,
            ruin_dice: Dice::new(scenario.seed, &format!("ruin {node}")),
            is_lost: false,
        }
    }

    /// Whether nobody can start this node again.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether harm was done that nobody has found yet.
    pub(crate) fn is_harmed(&self) -> bool {
        self.is_harmed
    }

    /// Makes a batch durable.
    pub(crate) fn append(&mut self, batch: &[Write], coverage: &mut Coverage) -> Checked {
        let Some(log) = &mut self.log else { return Ok(()) };
        let files = self.disk.file_count();
        log.append(batch).map_err(|error| Violation {
            rule: "a sound log takes every write",
            detail: error.to_string(),
        })?;
        if self.disk.file_count() > files {
            coverage.reach(Mark::SegmentRolled);
        }
        if let Some(last) = batch.last() {
            self.hard_states.clear();
            self.hard_states.push(last.hard_state);
        }
        self.note(batch);
        self.history.extend_from_slice(batch);
        self.fresh = self.disk.take_written();
        if self.replaces(batch) {
            self.replacing.clone_from(&self.fresh);
        }
        Ok(())
    }

    /// Whether this batch writes entries in the place of others.
    fn replaces(&mut self, batch: &[Write]) -> bool {
        let mut replaces = false;
        for write in batch {
            if let (Some(first), Some(last)) =
                (write.entries.first(), write.entries.last_position())
            {
                replaces |= first.at.index <= self.last;
                self.last = last.index;
            }
        }
        replaces
    }

    /// Takes note of what has to be looked at again after this.
    fn note(&mut self, batch: &[Write]) {
        let firsts = batch.iter().filter_map(|write| write.entries.first());
        let starts = batch.iter().filter_map(|write| write.reset);
        let before = firsts.map(|entry| entry.at.index.prev()).chain(starts.map(|at| at.index));
        if let Some(before) = before.min() {
            self.before_last = before;
            self.seen = self.seen.min(before);
        }
    }

    /// Forgets the entries up to `upto`, or only so many as are easily forgotten; returns where the
    /// log begins then.
    pub(crate) fn compact(&mut self, upto: Index) -> Result<Index, Violation> {
        let Some(log) = &mut self.log else { return Ok(upto) };
        let rule = "a sound log can be cut";
        log.compact(upto).map_err(|error| Violation { rule, detail: error.to_string() })?;
        Ok(log.start().index.min(upto))
    }

    /// Reads back, and compares with what should be there.
    pub(crate) fn read(&mut self, request: &ReadLog, expected: &Entries) -> Checked {
        let Some(log) = &mut self.log else { return Ok(()) };
        let rule = "what is read is what was written";
        let entries = match log.read(request.first, request.last, request.max_bytes) {
            Ok(entries) => entries,
            Err(ReadError::NotInLog { .. }) => Entries::empty(),
            Err(error) => return Err(Violation { rule, detail: error.to_string() }),
        };
        check(entries == *expected, rule, || {
            format!("{request:?} is answered with {entries:?} for {expected:?}")
        })
    }

    /// The process ends while it writes `batch`: any prefix of it may become durable.
    pub(crate) fn stop(&mut self, batch: Vec<Write>, end: End, dice: &mut Dice) {
        if let (Some(log), false) = (&mut self.log, batch.is_empty()) {
            self.disk.stop_after(dice.pick(&LAST_CHANGES));
            // Whether it says so or not: nobody is left to be told.
            let _ = log.append(&batch);
        }
        self.note(&batch);
        self.untold = batch;
        self.end_process(end, dice);
    }

    fn end_process(&mut self, end: End, dice: &mut Dice) {
        self.log = None;
        self.fresh.append(&mut self.disk.take_written());
        if end == End::PowerLoss {
            self.disk.lose_power(dice);
        }
        self.disk.restart();
    }

    /// Does harm to the files, while no process runs; whether there was anything to be harmed.
    /// Nobody but the witness knows of a node whose log has not been written since its repair that
    /// it recovers: then it is left alone. And what was harmed is found before it is harmed again:
    /// a log and a witness that are both damaged cannot be repaired.
    pub(crate) fn harm(
        &mut self,
        durable: &Model,
        dice: &mut Dice,
        coverage: &mut Coverage,
    ) -> bool {
        if self.is_harmed {
            return false;
        }
        let may_hit_witness = !durable.hard_state.recovering;
        if self.ruin_dice.chance(RUINED_PER_MILLE) {
            let dice = &mut self.ruin_dice;
            self.ruin = ruin::strike(&self.disk, &self.fresh, may_hit_witness, dice);
        }
        let mark = match &self.ruin {
            Some(ruin) => Some(ruin.mark()),
            None => harm::strike(&self.disk, &self.fresh, &self.replacing, may_hit_witness, dice)
                .map(Harm::mark),
        };
        if let Some(mark) = mark {
            coverage.reach(mark);
            (self.is_harmed, self.seen) = (true, Index::ZERO);
        }
        mark.is_some()
    }

    /// The process starts; whether it got through. What is found becomes `durable`.
    pub(crate) fn open(
        &mut self,
        durable: &mut Model,
        may_fail: bool,
        dice: &mut Dice,
        coverage: &mut Coverage,
    ) -> Result<bool, Violation> {
        if let Some(ruin) = self.ruin.take()
            && self.is_refused(ruin)?
        {
            coverage.reach(Mark::StartRefused);
            return Ok(false);
        }
        let (often, changes) = if self.is_harmed {
            (REPAIR_CUT_SHORT_PER_MILLE, CHANGES_OF_A_REPAIR)
        } else {
            (CUT_SHORT_PER_MILLE, CHANGES_OF_AN_OPENING)
        };
        let is_cut_short = may_fail && dice.chance(often);
        if is_cut_short {
            self.disk.stop_after(dice.below(changes));
        }
        match self.open_sound() {
            Err(_) if is_cut_short => {
                let is_repair = self.is_harmed;
                coverage.reach(if is_repair {
                    Mark::RepairCutShort
                } else {
                    Mark::RestartCutShort
                });
                let end = if dice.coin() { End::PowerLoss } else { End::Kill };
                self.end_process(end, dice);
                Ok(false)
            }
            Err(detail) => Err(Violation { rule: "a log opens after every crash", detail }),
            Ok((log, recovered)) => {
                self.disk.restart();
                self.log = Some(log);
                self.settle(durable, &recovered, coverage)?;
                self.is_harmed = false;
                Ok(true)
            }
        }
    }

    /// Whether the node refuses to start on its log, as one that is ruined is. A log that has lost
    /// nothing may start; that it has not is seen then.
    fn is_refused(&mut self, ruin: Ruin) -> Result<bool, Violation> {
        let before = self.disk.content();
        let refusal = match Log::open(self.disk.clone(), &self.options) {
            Ok((_, recovered)) if recovered.damage.is_none() => return Ok(false),
            Ok((log, _)) => {
                drop(log);
                repair(&self.disk, &self.options).map(drop)
            }
            Err(error) => Err(RepairError::Open(error)),
        };
        let is_right = match (&refusal, &ruin) {
            (Err(RepairError::Open(error)), Ruin::Meta { .. }) => {
                matches!(error, OpenError::DamagedMeta { .. } | OpenError::MissingMeta { .. })
            }
            (Err(RepairError::HardStateLost { .. }), Ruin::LogAndWitness) => true,
            _ => false,
        };
        let rule = "a log that cannot be repaired is refused, and left as it is";
        let after = self.disk.content();
        check(is_right && before == after, rule, || format!("{ruin:?} leads to {refusal:?}"))?;
        match ruin {
            Ruin::Meta { copy } => {
                self.disk.put(META_FILE, copy);
                self.is_harmed = false;
            }
            Ruin::LogAndWitness => self.is_lost = true,
        }
        Ok(true)
    }

    /// Opens the log; one that is damaged, and may be, is repaired first.
    fn open_sound(&self) -> Result<(Log<SimDisk>, Recovered), String> {
        let open =
            || Log::open(self.disk.clone(), &self.options).map_err(|error| error.to_string());
        let (log, recovered) = open()?;
        if !self.is_harmed || recovered.damage.is_none() {
            return Ok((log, recovered));
        }
        // It holds the lock.
        drop(log);
        repair(&self.disk, &self.options).map_err(|error| error.to_string())?;
        open()
    }

    /// Holds what was recovered to the promise.
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
        let is_known = self.knows(recovered.hard_state);
        let mut survivors = untold.into_iter();
        while !is_known || !is_same_log(durable, recovered, &entries, self.seen) {
            let Some(write) = survivors.next() else {
                return self.settle_for_less(durable, recovered, &entries, coverage);
            };
            durable.apply(&write)?;
            self.history.push(write);
            coverage.reach(Mark::UntoldWriteSurvived);
        }
        durable.hard_state = recovered.hard_state;
        self.seen = recovered.last.index.min(self.before_last);
        Ok(())
    }

    /// What was acknowledged is not all there: harm was done, and the node knows that it recovers.
    fn settle_for_less(
        &mut self,
        durable: &mut Model,
        recovered: &Recovered,
        entries: &Entries,
        coverage: &mut Coverage,
    ) -> Checked {
        let is_excused = self.is_harmed && recovered.hard_state.recovering;
        let left = self.writes_left(recovered, entries)?;
        let is_known = self.knows(recovered.hard_state);
        let Some(left) = left.filter(|_| is_excused && is_known) else {
            return Err(Violation {
                rule: "what was acknowledged survives, and nothing that was never written",
                detail: format!("{recovered:?} for a log that ended at {}", durable.last()),
            });
        };
        coverage.reach(Mark::LogRepaired);
        self.history.truncate(left);
        *durable = Model::default();
        self.history.iter().try_for_each(|write| durable.apply(write))?;
        durable.compact(recovered.start.index);
        durable.commit = recovered.commit;
        durable.hard_state = recovered.hard_state;
        Ok(())
    }

    /// After how many of all its writes the log was what is left of it now, if it ever was.
    fn writes_left(
        &self,
        recovered: &Recovered,
        entries: &Entries,
    ) -> Result<Option<usize>, Violation> {
        let mut model = Model::default();
        let mut left = is_rest(&model, recovered, entries).then_some(0);
        for (count, write) in (1..).zip(&self.history) {
            model.apply(write)?;
            if is_rest(&model, recovered, entries) {
                left = Some(count);
            }
        }
        Ok(left)
    }

    /// Whether the latest hard state is this one. A recovery may end in the one of two places where
    /// it is told, and go on in the other.
    fn knows(&self, found: HardState) -> bool {
        let is_same =
            |known: &HardState| HardState { recovering: found.recovering, ..*known } == found;
        let mut told = self.hard_states.iter().map(|known| known.recovering);
        let may_recover =
            self.is_harmed && found.recovering || told.any(|told| told == found.recovering);
        may_recover && self.hard_states.iter().any(is_same)
    }

    /// The entries after those that were `seen`.
    fn entries(&mut self, recovered: &Recovered) -> Result<Entries, Violation> {
        let Some(log) = &mut self.log else { return Ok(Entries::empty()) };
        let first = recovered.start.index.max(self.seen).next();
        if first > recovered.last.index {
            return Ok(Entries::empty());
        }
        log.read(first, recovered.last.index, usize::MAX).map_err(|error| Violation {
            rule: "what was recovered can be read",
            detail: error.to_string(),
        })
    }
}

/// The mistake of the log that is to be made.
#[cfg(feature = "planted-bugs")]
fn planted(scenario: &Scenario) -> Option<raft_storage::planted::Bug> {
    match scenario.planted {
        Some(Mistake::Log(bug)) => Some(bug),
        _ => None,
    }
}

/// Whether the log holds what the model does, where `entries` are those that were not seen before;
/// what was cut off may be there still.
fn is_same_log(model: &Model, recovered: &Recovered, entries: &Entries, seen: Index) -> bool {
    let start = model.start().index;
    let first = entries.iter().position(|entry| entry.at.index > start);
    model.commit == recovered.commit
        && model.last() == recovered.last
        && recovered.start.index <= start
        && model.entries_after(start.max(seen)) == &entries[first.unwrap_or(entries.len())..]
}

/// The same where the log was cut, and the model never was.
fn is_rest(model: &Model, recovered: &Recovered, entries: &Entries) -> bool {
    let start = recovered.start;
    model.commit.max(start.index) == recovered.commit
        && model.last() == recovered.last
        && model.position(start.index) == Some(start)
        && model.entries_after(start.index) == &entries[..]
}
