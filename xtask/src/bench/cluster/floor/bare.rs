//! The disk without anybody who asks: as many bytes, written and synced by three nodes at a time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use flags::whole;

use super::frames::{self, HEADER_BYTES, MAX_VALUE_BYTES};
use super::node::{Node, Options as Files};
use super::tally::Tally;

/// What to write.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where the files are to be, none of which is there yet
    #[arg(long)]
    pub folder: PathBuf,
    /// Write all of it a second time, behind
    #[arg(long)]
    pub state: bool,
    /// How many requests are written with one sync
    #[arg(long, value_parser = whole(1_usize..=1_000_000))]
    pub together: usize,
    /// The length of every value
    #[arg(long, value_parser = whole(1_usize..=MAX_VALUE_BYTES))]
    pub value_bytes: usize,
    /// How long to measure, after a second to warm up
    #[arg(long, value_parser = whole(1_u64..=3600))]
    pub seconds: u64,
}

/// How many nodes write.
const NODES: usize = 3;

/// Writes until the time is over: what the slowest node has synced in its log.
pub(super) fn run(options: &Options) -> io::Result<Tally> {
    let path = |what: &str, node: usize| options.folder.join(format!("{what}-{node}"));
    let open = |node| {
        let state = options.state.then(|| path("state", node));
        // One batch waits while another is synced.
        Node::new(&Files { log: path("log", node), state }, 1)
    };
    let nodes = (0..NODES).map(open).collect::<io::Result<Vec<_>>>()?;
    let starts = Instant::now() + Duration::from_secs(1);
    thread::scope(|scope| {
        let start = |node| scope.spawn(move || write(node, starts, options));
        let threads: Vec<_> = nodes.into_iter().map(start).collect();
        let panicked = |_| Err(io::Error::other("a node panicked"));
        let ended = threads.into_iter().map(|it| it.join().unwrap_or_else(panicked));
        let tallies = ended.collect::<io::Result<Vec<_>>>()?;
        let slowest = tallies.into_iter().min_by_key(Tally::done);
        slowest.ok_or_else(|| io::Error::other("there is no node"))
    })
}

fn write(node: Node, starts: Instant, options: &Options) -> io::Result<Tally> {
    let request_bytes = frames::request_bytes(options.value_bytes);
    let batch = Arc::new(vec![7; HEADER_BYTES + request_bytes * options.together]);
    let mut tally = Tally::new(starts, options.seconds);
    let ends = starts + Duration::from_secs(options.seconds);
    let mut since = Instant::now();
    node.run(
        |unlogged| {
            while Instant::now() < ends && unlogged.push(Arc::clone(&batch)) {}
            Ok(())
        },
        |_| {
            let now = Instant::now();
            tally.count(now, now - since, options.together);
            since = now;
            Ok(())
        },
    )?;
    Ok(tally)
}
