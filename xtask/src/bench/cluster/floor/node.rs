//! What every node does: it writes its log, and its state behind it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::file::Ring;
use super::queue::{Batch, Queue};

/// The most that waits for the log: more than any shape of load keeps in flight.
pub(super) const UNLOGGED_BYTES: usize = 96 << 20;

/// When the state is written, and how much of it may be unwritten: as the store of our nodes.
const STATE_BYTES: usize = 4 << 20;
const STATE_PAUSE: Duration = Duration::from_millis(500);
const UNWRITTEN_BYTES: usize = 16 << 20;

/// The files of a node.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "files")]
pub struct Options {
    /// A file for the log, which is not there yet
    #[arg(long)]
    pub log: PathBuf,
    /// A file for the state, which is not there yet; without it, nothing is written twice
    #[arg(long)]
    pub state: Option<PathBuf>,
}

/// The files, and what waits for them.
#[derive(Debug)]
pub(super) struct Node {
    unlogged: Queue,
    unwritten: Queue,
    log: Ring,
    state: Option<Ring>,
}

impl Node {
    /// Makes its files. What comes waits while `unlogged_bytes` or more wait for the log.
    pub(super) fn new(options: &Options, unlogged_bytes: usize) -> io::Result<Self> {
        Ok(Self {
            unlogged: Queue::new(unlogged_bytes),
            unwritten: Queue::new(UNWRITTEN_BYTES),
            log: Ring::new(&options.log)?,
            state: options.state.as_deref().map(Ring::new).transpose()?,
        })
    }

    /// Runs `listen`, which brings batches, beside the threads of the files, until it ends; `tell`
    /// hears how many bytes are synced each time.
    pub(super) fn run(
        self,
        listen: impl FnOnce(&Queue) -> io::Result<()>,
        mut tell: impl FnMut(u64) -> io::Result<()> + Send,
    ) -> io::Result<()> {
        let Self { unlogged, unwritten, mut log, state } = self;
        let (unlogged, unwritten) = (&unlogged, &unwritten);
        let behind = state.is_some().then_some(unwritten);
        thread::scope(|scope| {
            let log = scope.spawn(move || {
                let kept = keep(&mut log, unlogged, behind, &mut tell);
                // Whoever waits for either learns that nothing comes.
                unlogged.close();
                unwritten.close();
                kept
            });
            let state = state.map(|mut state| {
                scope.spawn(move || {
                    let written = write_behind(&mut state, unwritten);
                    unwritten.close();
                    written
                })
            });
            let listened = listen(unlogged);
            unlogged.close();
            let ended = |thread: thread::ScopedJoinHandle<'_, io::Result<()>>| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
            };
            let (log, state) = (ended(log), state.map_or(Ok(()), ended));
            listened.and(log).and(state)
        })
    }
}

fn keep(
    log: &mut Ring,
    unlogged: &Queue,
    unwritten: Option<&Queue>,
    tell: &mut impl FnMut(u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut synced_bytes = 0;
    while let Some(batches) = unlogged.take(1, Duration::ZERO) {
        log.write(&as_bytes(&batches))?;
        synced_bytes += batches.iter().map(|it| it.len() as u64).sum::<u64>();
        tell(synced_bytes)?;
        let Some(unwritten) = unwritten else { continue };
        if !batches.into_iter().all(|batch| unwritten.push(batch)) {
            return Err(io::Error::other("the state is not written any more"));
        }
    }
    Ok(())
}

fn write_behind(state: &mut Ring, unwritten: &Queue) -> io::Result<()> {
    while let Some(batches) = unwritten.take(STATE_BYTES, STATE_PAUSE) {
        state.write(&as_bytes(&batches))?;
    }
    Ok(())
}

fn as_bytes(batches: &[Batch]) -> Vec<&[u8]> {
    batches.iter().map(|batch| Arc::as_ref(batch).as_slice()).collect()
}
