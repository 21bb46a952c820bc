//! The clients: each connection keeps so many requests waiting, and sends another for every answer.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use flags::whole;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::frames::{self, ANSWER_BYTES, MAX_VALUE_BYTES};
use super::tally::Tally;

/// How much is read from one connection at once: more answers than it waits for.
const READ_BYTES: usize = 64 << 10;

/// How long the leader may be silent.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

/// What to ask.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Who takes the requests, HOST:PORT
    #[arg(long)]
    pub leader: SocketAddr,
    /// How many connections to make
    #[arg(long, value_parser = whole(1_usize..=10_000))]
    pub connections: usize,
    /// Requests that each connection keeps waiting
    #[arg(long, value_parser = whole(1_usize..=1000))]
    pub in_flight: usize,
    /// The length of every value
    #[arg(long, value_parser = whole(1_usize..=MAX_VALUE_BYTES))]
    pub value_bytes: usize,
    /// How long to measure, after a second to warm up
    #[arg(long, value_parser = whole(1_u64..=3600))]
    pub seconds: u64,
}

/// A connection, and when each request that waits was sent.
struct Client {
    stream: TcpStream,
    sent: VecDeque<Instant>,
    /// Of an answer that has not come in full.
    partial_bytes: usize,
}

/// As many as one connection keeps waiting.
struct Requests {
    bytes: Vec<u8>,
    each_bytes: usize,
}

/// Asks until the time is over.
pub(super) fn run(options: &Options) -> io::Result<Tally> {
    let each_bytes = frames::request_bytes(options.value_bytes);
    let requests = Requests { bytes: vec![1; each_bytes * options.in_flight], each_bytes };
    let mut clients = Vec::new();
    for _ in 0..options.connections {
        let stream = TcpStream::connect(options.leader)?;
        stream.set_nodelay(true)?;
        clients.push(Client { stream, sent: VecDeque::new(), partial_bytes: 0 });
    }
    // The polled streams stay where they are, while the clients change.
    let streams: Vec<TcpStream> =
        clients.iter().map(|it| it.stream.try_clone()).collect::<io::Result<_>>()?;
    let mut ready: Vec<PollFd<'_>> =
        streams.iter().map(|it| PollFd::new(it, PollFlags::IN)).collect();
    // Until the first answer, the nodes may still be making their files.
    let mut piece = vec![0; READ_BYTES];
    (&streams[0]).write_all(&requests.bytes[..each_bytes])?;
    (&streams[0]).read_exact(&mut piece[..ANSWER_BYTES])?;
    let mut tally = Tally::new(Instant::now() + Duration::from_secs(1), options.seconds);
    for client in &mut clients {
        client.send(&requests, options.in_flight)?;
    }
    while !tally.is_over(Instant::now()) {
        if poll(&mut ready, Some(&PATIENCE))? == 0 {
            return Err(io::Error::other("the leader answers no more"));
        }
        for (fd, client) in ready.iter().zip(&mut clients) {
            if fd.revents().is_empty() {
                continue;
            }
            let answers = client.receive(&mut piece, &mut tally)?;
            client.send(&requests, answers)?;
        }
    }
    Ok(tally)
}

impl Client {
    fn send(&mut self, requests: &Requests, count: usize) -> io::Result<()> {
        self.sent.extend(std::iter::repeat_n(Instant::now(), count));
        self.stream.write_all(&requests.bytes[..count * requests.each_bytes])
    }

    /// What has come, and how many answers that is.
    fn receive(&mut self, piece: &mut [u8], tally: &mut Tally) -> io::Result<usize> {
        let read = self.stream.read(piece)?;
        if read == 0 {
            return Err(io::Error::other("the leader has gone"));
        }
        let bytes = self.partial_bytes + read;
        self.partial_bytes = bytes % ANSWER_BYTES;
        let now = Instant::now();
        for _ in 0..bytes / ANSWER_BYTES {
            let sent = self.sent.pop_front();
            let sent = sent.ok_or_else(|| io::Error::other("an answer to no request"))?;
            tally.count(now, now - sent, 1);
        }
        Ok(bytes / ANSWER_BYTES)
    }
}
