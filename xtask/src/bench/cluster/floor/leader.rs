//! The leader: it takes requests, passes them on, and answers when two of three have them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use flags::whole;
use rustix::event::{PollFd, PollFlags, poll};

use super::frames::{self, ANSWER_BYTES, HEADER_BYTES, MAX_VALUE_BYTES};
use super::node::{self, Node};
use super::queue::Queue;

/// How much is read from one client before the next has its turn.
const READ_BYTES: usize = 256 << 10;

/// A batch that has become so long is passed on.
const BATCH_BYTES: usize = 1 << 20;

/// What the leader has to know.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub node: node::Options,
    /// Its two followers, HOST:PORT
    #[arg(long, value_delimiter = ',', required = true)]
    pub followers: Vec<SocketAddr>,
    /// How many clients connect
    #[arg(long, value_parser = whole(1_usize..=10_000))]
    pub connections: usize,
    /// The length of every value
    #[arg(long, value_parser = whole(1_usize..=MAX_VALUE_BYTES))]
    pub value_bytes: usize,
}

/// So many bytes are synced in the file of this node: the leader is 0.
struct Synced {
    node: usize,
    position: u64,
}

/// The requests of a batch: where it ends, and whose they are.
struct Waiting {
    position: u64,
    /// Client, and how many of its requests.
    requests: Vec<(usize, usize)>,
}

/// Leads until the first client goes.
pub(super) fn run(listener: &TcpListener, options: &Options) -> io::Result<()> {
    let connect = |it: &SocketAddr| {
        let follower = TcpStream::connect(it)?;
        follower.set_nodelay(true)?;
        Ok(follower)
    };
    let followers = options.followers.iter().map(connect).collect::<io::Result<Vec<_>>>()?;
    let node = Node::new(&options.node, node::UNLOGGED_BYTES)?;
    let accept = |_| {
        let (client, _) = listener.accept()?;
        client.set_nodelay(true)?;
        Ok(client)
    };
    let clients = (0..options.connections).map(accept).collect::<io::Result<Vec<_>>>()?;
    let (synced, is_synced) = channel();
    let (waiting, waits) = channel();
    thread::scope(|scope| {
        for (number, follower) in (1..).zip(&followers) {
            let synced = synced.clone();
            scope.spawn(move || hear(follower, number, &synced));
        }
        let (clients, followers) = (&clients, &followers);
        scope.spawn(move || answer(clients, &is_synced, &waits));
        let request_bytes = frames::request_bytes(options.value_bytes);
        let inlet = Inlet { clients, followers, waiting, request_bytes };
        let tell = move |position| {
            // Nobody listens any more when the clients have gone.
            let _ = synced.send(Synced { node: 0, position });
            Ok(())
        };
        let led = node.run(|unlogged| inlet.run(unlogged), tell);
        for follower in followers {
            // It ends when it has synced everything. This fails if it has gone already.
            let _ = follower.shutdown(Shutdown::Write);
        }
        led
    })
}

/// Listens to a follower until it goes.
fn hear(mut follower: &TcpStream, node: usize, synced: &Sender<Synced>) {
    while let Ok(position) = frames::read_acknowledgement(&mut follower) {
        if synced.send(Synced { node, position }).is_err() {
            return;
        }
    }
}

/// Applies, if there were anything to apply: answers what two of three have.
fn answer(clients: &[TcpStream], is_synced: &Receiver<Synced>, waits: &Receiver<Waiting>) {
    let mut positions = [0; 3];
    let mut waiting = VecDeque::new();
    let mut counts = vec![0; clients.len()];
    while let Ok(synced) = is_synced.recv() {
        positions[synced.node] = synced.position;
        for Synced { node, position } in is_synced.try_iter() {
            positions[node] = position;
        }
        let mut sorted = positions;
        sorted.sort_unstable();
        let [_, committed, _] = sorted;
        waiting.extend(waits.try_iter());
        while let Some(Waiting { requests, .. }) =
            waiting.pop_front_if(|it: &mut Waiting| it.position <= committed)
        {
            for (client, count) in requests {
                counts[client] += count;
            }
        }
        for (mut client, count) in clients.iter().zip(&mut counts) {
            let answers = vec![3; std::mem::take(count) * ANSWER_BYTES];
            // A client that has gone needs no answer.
            if !answers.is_empty() && client.write_all(&answers).is_err() {
                let _ = client.shutdown(Shutdown::Both);
            }
        }
    }
}

/// The thread for clients.
struct Inlet<'a> {
    clients: &'a [TcpStream],
    followers: &'a [TcpStream],
    waiting: Sender<Waiting>,
    request_bytes: usize,
}

impl Inlet<'_> {
    fn run(self, unlogged: &Queue) -> io::Result<()> {
        let mut position = 0;
        let listens = |it| PollFd::new(it, PollFlags::IN);
        let mut ready: Vec<PollFd<'_>> = self.clients.iter().map(listens).collect();
        let mut partial = vec![Vec::new(); self.clients.len()];
        let mut piece = vec![0; READ_BYTES];
        loop {
            poll(&mut ready, None)?;
            let mut batch = vec![0; HEADER_BYTES];
            let mut requests = Vec::new();
            for (client, fd) in ready.iter().enumerate() {
                if fd.revents().is_empty() || batch.len() >= BATCH_BYTES {
                    continue;
                }
                let mut stream = &self.clients[client];
                let read = match stream.read(&mut piece) {
                    Ok(0) => return Ok(()),
                    // It went while an answer was on its way.
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                    read => read?,
                };
                let count = self.collect(&mut partial[client], &piece[..read], &mut batch);
                requests.extend((count > 0).then_some((client, count)));
            }
            if !requests.is_empty() {
                position += batch.len() as u64;
                self.pass_on(batch, Waiting { position, requests }, unlogged)?;
            }
        }
    }

    /// Whole requests go into the batch, and how many there are; the rest stays.
    fn collect(&self, partial: &mut Vec<u8>, piece: &[u8], batch: &mut Vec<u8>) -> usize {
        let count = (partial.len() + piece.len()) / self.request_bytes;
        if count == 0 {
            partial.extend_from_slice(piece);
            return 0;
        }
        let (whole, rest) = piece.split_at(count * self.request_bytes - partial.len());
        batch.append(partial);
        batch.extend_from_slice(whole);
        partial.extend_from_slice(rest);
        count
    }

    fn pass_on(&self, mut batch: Vec<u8>, waiting: Waiting, unlogged: &Queue) -> io::Result<()> {
        frames::seal(&mut batch);
        // Before anybody can have it: whoever has it synced finds whose it is.
        let is_heard = self.waiting.send(waiting).is_ok();
        for mut follower in self.followers {
            follower.write_all(&batch)?;
        }
        if is_heard && unlogged.push(Arc::new(batch)) {
            return Ok(());
        }
        Err(io::Error::other("the log is not written any more"))
    }
}
