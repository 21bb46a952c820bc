//! [`Spares`]: what is made ahead of use, and what is known of the room for more.

use std::collections::VecDeque;
use std::io;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::disk::{Access, Disk, DiskFile};
use crate::room::is_full;
use crate::sector::offset_bytes;
use crate::segment::file_name;
use crate::spare::{Hurry, RESERVE_FILE, Ready, make, make_of, make_reserve};

/// The next segment and the reserve, made ahead on a thread of its own, or when they are asked for.
///
/// Invariants:
/// 1. At most one thing is being made, and never one that is there.
/// 2. The reserve is touched only if there was no room for a segment, or for compaction.
/// 3. Unless the disk is known to be full, what is missing is asked for at the next occasion; if it
///    is, only [`Spares::look_for_room`] tries again.
/// 4. Retired segments are no part of the log, and durable. There are at most [`MAX_RETIRED`], and
///    none on a disk that is known to be full.
#[derive(Debug)]
pub(crate) struct Spares<D: Disk> {
    disk: D,
    /// How many sectors a segment has unless it needs more.
    segment_sectors: u32,
    /// How many the reserve has; 0 for none.
    reserve_sectors: u32,
    ready: Option<Ready<D::File>>,
    reserve: Option<D::File>,
    /// The segment that will be needed next, once the one before it is half full.
    wanted: Option<u32>,
    asked: Option<Job>,
    /// Segments to be used again under another number, the oldest first.
    retired: VecDeque<u32>,
    is_short: bool,
    worker: Option<Worker<D::File>>,
}

/// How many segments that were cut off wait to be used again.
const MAX_RETIRED: usize = 4;

/// Something to make.
#[derive(Clone, Copy, Debug)]
enum Job {
    /// A segment of this number; of a retired one, if there is one.
    Segment { number: u32, of: Option<u32> },
    /// The reserve.
    Reserve,
}

/// What was made.
#[derive(Debug)]
enum Made<F> {
    Segment(Ready<F>),
    Reserve(F),
}

/// What was found when the log was opened.
#[derive(Debug)]
pub(crate) struct Found<F> {
    pub(crate) ready: Option<Ready<F>>,
    pub(crate) reserve: Option<F>,
}

#[derive(Debug)]
struct Worker<F> {
    /// `None` once the worker is to end.
    jobs: Option<Sender<Job>>,
    /// Set while the log waits for what is being made.
    hurry: Hurry,
    made: Receiver<io::Result<Made<F>>>,
    thread: Option<JoinHandle<()>>,
}

impl<D: Disk> Spares<D> {
    /// Makes segments and a reserve of so many sectors, beginning with what was `found`.
    pub(crate) fn new(
        disk: D,
        segment_sectors: u32,
        reserve_sectors: u32,
        found: Found<D::File>,
        in_background: bool,
    ) -> io::Result<Self> {
        let worker = if in_background {
            Some(start_worker(&disk, segment_sectors, reserve_sectors)?)
        } else {
            None
        };
        let Found { ready, reserve } = found;
        let (wanted, asked, retired, is_short) = (None, None, VecDeque::new(), false);
        let mut spares = Self {
            disk,
            segment_sectors,
            reserve_sectors,
            ready,
            reserve,
            wanted,
            asked,
            retired,
            is_short,
            worker,
        };
        spares.make_what_is_missing(true)?;
        Ok(spares)
    }

    /// Segment `number` will be needed. It is made in the background.
    pub(crate) fn ask(&mut self, number: u32) {
        self.wanted = Some(number);
        if self.worker.is_some() && !self.is_short && self.collect(false).is_ok() {
            self.order();
        }
    }

    /// Whether there was no room for something that is still missing.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short
    }

    /// How many sectors are ready, the reserve among them.
    pub(crate) fn sectors(&self) -> u32 {
        let ready = self.ready.as_ref().map_or(0, |ready| ready.sectors);
        ready + self.reserve.as_ref().map_or(0, |_| self.reserve_sectors)
    }

    /// How many sectors the reserve should have.
    pub(crate) fn reserve_sectors(&self) -> u32 {
        self.reserve_sectors
    }

    /// Tries again to make what there was no room for.
    pub(crate) fn look_for_room(&mut self) {
        if self.is_short {
            // What else may be wrong with the disk is told when the log needs it.
            let _ = self.make_what_is_missing(false);
        }
    }

    /// Segment `number` with at least `min_sectors`. Waits for it only if it was not ready. On a
    /// full disk the reserve takes its place.
    pub(crate) fn take(&mut self, number: u32, min_sectors: u32) -> io::Result<Ready<D::File>> {
        // A failure over there is met here again, if it is still one.
        let _ = self.collect(true);
        self.wanted = None;
        match self.ready.take() {
            Some(ready) if ready.number == number && ready.sectors >= min_sectors => {
                return Ok(ready);
            }
            // One for later: what is wanted takes the place of a segment that was never begun.
            Some(ready) if ready.number > number => self.ready = Some(ready),
            // Not what is wanted, or not made: it is made here and now.
            Some(_) | None => {}
        }
        let of = self.retired.pop_front_if(|_| min_sectors <= self.segment_sectors);
        let sectors = self.segment_sectors.max(min_sectors);
        // The log waits. Without a worker it always does, and then zeros are worth it.
        let hurry = if self.worker.is_some() { Hurry::already() } else { Hurry::default() };
        match make_segment(&self.disk, number, sectors, of, &hurry) {
            Ok(ready) => {
                self.is_short &= self.missing().is_some();
                Ok(ready)
            }
            Err(error) if is_full(&error) => {
                self.note_full(&error)?;
                let reserve = self.take_reserve(number, min_sectors)?;
                self.wanted = if reserve.is_none() { Some(number) } else { None };
                reserve.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes note of an error that says that the disk is full.
    fn note_full(&mut self, error: &io::Error) -> io::Result<()> {
        if !is_full(error) {
            return Ok(());
        }
        self.is_short = true;
        self.free_retired()
    }

    fn take_reserve(
        &mut self,
        number: u32,
        min_sectors: u32,
    ) -> io::Result<Option<Ready<D::File>>> {
        let sectors = self.reserve_sectors;
        let Some(file) = self.reserve.take_if(|_| sectors >= min_sectors) else { return Ok(None) };
        self.disk.rename(RESERVE_FILE, &file_name(number))?;
        self.disk.sync_directory()?;
        Ok(Some(Ready { number, sectors, file }))
    }

    /// Keeps a segment that is no part of the log any more, to use it again; `false` if there are
    /// enough of them, or if it has another size. Its file is the caller's to remove then.
    pub(crate) fn retire(&mut self, number: u32) -> io::Result<bool> {
        if self.is_short || self.retired.len() >= MAX_RETIRED {
            return Ok(false);
        }
        let size_bytes = self.disk.open(&file_name(number), Access::Read)?.size_bytes()?;
        let is_usual = size_bytes == offset_bytes(self.segment_sectors);
        if is_usual {
            self.retired.push_back(number);
        }
        Ok(is_usual)
    }

    /// Gives the room of what waits to be used again back to the disk.
    pub(crate) fn free_retired(&mut self) -> io::Result<()> {
        while let Some(number) = self.retired.pop_front() {
            self.disk.remove(&file_name(number))?;
        }
        Ok(())
    }

    /// Gives the room of the reserve back to the disk; `false` if there is none.
    pub(crate) fn give_up_reserve(&mut self) -> io::Result<bool> {
        if self.reserve.take().is_none() {
            return Ok(false);
        }
        self.is_short = true;
        self.disk.remove(RESERVE_FILE)?;
        self.disk.sync_directory()?;
        Ok(true)
    }

    /// What is not there and should be. The reserve comes first: it can become any segment.
    fn missing(&self) -> Option<Job> {
        if self.reserve.is_none() && self.reserve_sectors > 0 {
            return Some(Job::Reserve);
        }
        let number = self.wanted.filter(|_| self.ready.is_none())?;
        Some(Job::Segment { number, of: self.retired.front().copied() })
    }

    /// A job is given out: what it uses up is no longer here.
    fn give_out(&mut self, job: Job) {
        if let Job::Segment { of: Some(_), .. } = job {
            self.retired.pop_front();
        }
    }

    /// Has the worker make what is missing, or makes the reserve here and now.
    fn make_what_is_missing(&mut self, is_first: bool) -> io::Result<()> {
        if self.worker.is_some() {
            self.collect(false)?;
            self.order();
            return Ok(());
        }
        while let Some(job) = self.missing() {
            self.give_out(job);
            let (segment, reserve) = (self.segment_sectors, self.reserve_sectors);
            let made = carry_out(&self.disk, job, segment, reserve, &Hurry::default());
            match self.keep(made) {
                Err(error) if is_full(&error) || !is_first => return Ok(()),
                kept => kept?,
            }
        }
        Ok(())
    }

    /// Gives the worker its next job, if it has none.
    fn order(&mut self) {
        let jobs = self.worker.as_ref().and_then(|worker| worker.jobs.as_ref());
        let (None, Some(jobs), Some(job)) = (self.asked, jobs, self.missing()) else { return };
        // At most one is under way, and the channel holds one: it is never full.
        if jobs.try_send(job).is_ok() {
            self.asked = Some(job);
            self.give_out(job);
        }
    }

    /// Takes what the worker has made; waits for it if `waits`.
    fn collect(&mut self, waits: bool) -> io::Result<()> {
        let (Some(_), Some(worker)) = (self.asked, &self.worker) else { return Ok(()) };
        worker.hurry.set(waits);
        let made = if waits { worker.made.recv().ok() } else { worker.made.try_recv().ok() };
        worker.hurry.set(false);
        let Some(made) = made else { return Ok(()) };
        self.asked = None;
        self.keep(made)
    }

    fn keep(&mut self, made: io::Result<Made<D::File>>) -> io::Result<()> {
        match made {
            Ok(Made::Segment(ready)) => self.ready = Some(ready),
            Ok(Made::Reserve(file)) => self.reserve = Some(file),
            Err(error) => {
                self.note_full(&error)?;
                return Err(error);
            }
        }
        self.is_short &= self.missing().is_some();
        Ok(())
    }
}

fn carry_out<D: Disk>(
    disk: &D,
    job: Job,
    segment_sectors: u32,
    reserve_sectors: u32,
    hurry: &Hurry,
) -> io::Result<Made<D::File>> {
    match job {
        Job::Segment { number, of } => {
            make_segment(disk, number, segment_sectors, of, hurry).map(Made::Segment)
        }
        Job::Reserve => make_reserve(disk, reserve_sectors, hurry).map(Made::Reserve),
    }
}

fn make_segment<D: Disk>(
    disk: &D,
    number: u32,
    sectors: u32,
    of: Option<u32>,
    hurry: &Hurry,
) -> io::Result<Ready<D::File>> {
    match of {
        Some(old) => make_of(disk, number, sectors, old),
        None => make(disk, number, sectors, hurry),
    }
}

fn start_worker<D: Disk>(
    disk: &D,
    segment_sectors: u32,
    reserve_sectors: u32,
) -> io::Result<Worker<D::File>> {
    let (jobs, asked) = bounded(1);
    let (done, made) = bounded(1);
    let hurry = Hurry::default();
    let waits = hurry.clone();
    let disk = disk.clone();
    let work = move || {
        for job in asked {
            let made = carry_out(&disk, job, segment_sectors, reserve_sectors, &waits);
            if let Err(error) = &made {
                warn_unless_full(&disk, job, error);
            }
            if done.send(made).is_err() {
                break;
            }
        }
    };
    let thread = thread::Builder::new().name("log-spare".into()).spawn(work)?;
    Ok(Worker { jobs: Some(jobs), hurry, made, thread: Some(thread) })
}

fn warn_unless_full<D: Disk>(disk: &D, job: Job, error: &io::Error) {
    let path = match job {
        Job::Segment { number, .. } => disk.path(&file_name(number)),
        Job::Reserve => disk.path(RESERVE_FILE),
    };
    // Of a full disk the log tells, once.
    if !is_full(error) {
        log::warn!("cannot make {path} ahead of use: {error}; will try when it is needed");
    }
}

impl<F> Drop for Worker<F> {
    /// Waits for the thread: it must not touch the directory once the lock is released.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed; there is nothing left to tidy up here.
            let _ = thread.join();
        }
    }
}
