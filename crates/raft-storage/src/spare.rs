//! Segments made ahead of use, so that no sync pays for allocation.
//!
//! A segment is written full of zeros, synced, given its name, and only then used. Writing zeros
//! is what makes later syncs cheap: on ext4, `fdatasync` of 4 KiB in such a file takes two thirds
//! of the time that it takes at the end of a growing one. Space that was only reserved
//! (`posix_fallocate`) is hardly better than the latter, because its blocks have to be marked as
//! written at their first sync. `examples/sync_cost.rs` measures it.

use std::io;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::disk::{Disk, DiskFile};
use crate::sector::{SECTOR_BYTES, offset_bytes};
use crate::segment::{file_name, new_file_name};

/// How much is written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A segment that is ready for use: durable, under its name, full of zeros.
#[derive(Debug)]
pub(crate) struct Ready<F> {
    pub(crate) number: u32,
    pub(crate) sectors: u32,
    pub(crate) file: F,
}

/// Makes segment `number`, durable and full of zeros, in place of one that was never used.
pub(crate) fn make<D: Disk>(disk: &D, number: u32, sectors: u32) -> io::Result<Ready<D::File>> {
    make_with(disk, number, sectors, |_| Ok(()))
}

/// [`make`], with what `begin` writes over the zeros. One that is there is replaced in one step.
pub(crate) fn make_with<D: Disk>(
    disk: &D,
    number: u32,
    sectors: u32,
    begin: impl FnOnce(&D::File) -> io::Result<()>,
) -> io::Result<Ready<D::File>> {
    let new_name = new_file_name(number);
    let file = disk.create(&new_name)?;
    let zeros = vec![0; CHUNK_BYTES.min(sectors as usize * SECTOR_BYTES)];
    let size_bytes = offset_bytes(sectors);
    let mut written = 0;
    while written < size_bytes {
        let now = zeros.len().min(usize::try_from(size_bytes - written).unwrap_or(usize::MAX));
        file.write_at(&zeros[..now], written)?;
        written += now as u64;
    }
    begin(&file)?;
    file.sync()?;
    disk.rename(&new_name, &file_name(number))?;
    disk.sync_directory()?;
    Ok(Ready { number, sectors, file })
}

/// Makes at most one segment ahead: on a thread of its own, or when it is asked for.
#[derive(Debug)]
pub(crate) struct Spares<D: Disk> {
    disk: D,
    sectors: u32,
    state: State<D::File>,
    worker: Option<Worker<D::File>>,
}

#[derive(Debug)]
enum State<F> {
    None,
    Asked,
    Ready(Ready<F>),
}

#[derive(Debug)]
struct Worker<F> {
    /// `None` once the worker is to end.
    numbers: Option<Sender<u32>>,
    ready: Receiver<io::Result<Ready<F>>>,
    thread: Option<JoinHandle<()>>,
}

impl<D: Disk> Spares<D> {
    /// Makes segments of this many sectors; `ready` is one found when the log was opened.
    pub(crate) fn new(
        disk: D,
        sectors: u32,
        ready: Option<Ready<D::File>>,
        in_background: bool,
    ) -> io::Result<Self> {
        let worker = if in_background { Some(start_worker(disk.clone(), sectors)?) } else { None };
        let state = ready.map_or(State::None, State::Ready);
        Ok(Self { disk, sectors, state, worker })
    }

    /// Has segment `number` made in the background, unless one is made or ready.
    pub(crate) fn ask(&mut self, number: u32) {
        let Some(numbers) = self.worker.as_ref().and_then(|worker| worker.numbers.as_ref()) else {
            return;
        };
        // At most one is under way, and the channel holds one: it is never full.
        if matches!(self.state, State::None) && numbers.try_send(number).is_ok() {
            self.state = State::Asked;
        }
    }

    /// Segment `number` with at least `min_sectors`. Waits for it only if it was not ready.
    pub(crate) fn take(&mut self, number: u32, min_sectors: u32) -> io::Result<Ready<D::File>> {
        let ready = match (std::mem::replace(&mut self.state, State::None), &self.worker) {
            (State::Asked, Some(worker)) => worker.ready.recv().ok(),
            (State::Ready(ready), _) => Some(Ok(ready)),
            (State::Asked | State::None, _) => None,
        };
        match ready {
            Some(Ok(ready)) if ready.number == number && ready.sectors >= min_sectors => {
                return Ok(ready);
            }
            // One for later: what is wanted takes the place of a segment that was never begun.
            Some(Ok(ready)) if ready.number > number => self.state = State::Ready(ready),
            // Not what is wanted, or not made: it is made here and now.
            Some(_) | None => {}
        }
        make(&self.disk, number, self.sectors.max(min_sectors))
    }
}

fn start_worker<D: Disk>(disk: D, sectors: u32) -> io::Result<Worker<D::File>> {
    let (numbers, asked) = bounded(1);
    let (done, ready) = bounded(1);
    let work = move || {
        for number in asked {
            let made = make(&disk, number, sectors);
            if let Err(error) = &made {
                let path = disk.path(&file_name(number));
                log::warn!("cannot make {path} ahead of use: {error}; will try when it is needed");
            }
            if done.send(made).is_err() {
                break;
            }
        }
    };
    let thread = thread::Builder::new().name("log-spare".into()).spawn(work)?;
    Ok(Worker { numbers: Some(numbers), ready, thread: Some(thread) })
}

impl<F> Drop for Worker<F> {
    /// Waits for the thread: it must not touch the directory once the lock is released.
    fn drop(&mut self) {
        self.numbers = None;
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed; there is nothing left to tidy up here.
            let _ = thread.join();
        }
    }
}
