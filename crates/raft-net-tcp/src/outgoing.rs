//! The writer thread of a peer: dials, greets, writes what waits in the outbox, pings; and begins
//! again when the connection breaks.

use std::fmt;
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use raft_core::{Message, NodeId};
use wire::frame::{FrameError, FrameReader};

use crate::backoff::Backoff;
use crate::complaints::Cause;
use crate::event::{NetEvent, Refusal, RefusalCode};
use crate::format::{self, FormatError, Packet};
use crate::handshake::{self, Answer, GreetingError, Purpose, Terms, Welcome};
use crate::link::{Link, Plug, Shared};
use crate::outbox::Woken;

/// How many of the addresses that a host name stands for are tried.
const MAX_ADDRESSES: usize = 4;

/// The largest body of a frame that answers a ping.
const MAX_PONG_BYTES: usize = 64;

/// How often the socket is read for answers to pings before something is written again.
const MAX_READS: usize = 4;

/// What the buffer keeps of its memory from one write to the next, in bytes.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// Keeps a connection to the peer until the network stops.
pub(crate) fn run(shared: &Shared, link: &Link) {
    let timing = &shared.timing;
    let mut backoff = Backoff::new(timing.backoff_min, timing.backoff_max);
    loop {
        link.outbox.forget_kick();
        let end = attempt(shared, link);
        link.plug.release();
        link.counters.connected.store(false, Ordering::Relaxed);
        match &end {
            End::Lost { was_well: true, .. } => backoff.reset(),
            End::Refused(_) | End::NotWanted(_) => backoff.be_patient(),
            End::Lost { .. } | End::NotReached(_) => {}
        }
        report(shared, link, &end);
        if !link.outbox.pause(timing.backoff_min / 2, backoff.next_wait()) {
            return;
        }
    }
}

/// How an attempt to have a connection ended.
enum End {
    /// There never was one.
    NotReached(GreetingError),
    /// The peer does not want one.
    Refused(Refusal),
    /// This node does not want one.
    NotWanted(Refusal),
    /// There was one.
    Lost {
        why: Break,
        /// The peer had answered a ping.
        was_well: bool,
    },
}

fn attempt(shared: &Shared, link: &Link) -> End {
    match call(shared, link, Purpose::Messages, &link.plug) {
        Ok(Called { stream, frames, client_address }) => {
            welcome(shared, link, client_address);
            link.outbox.open(&stream);
            let mut writer = Writer::new(shared, link, &stream, frames);
            let why = writer.talk();
            let was_well = writer.was_answered;
            End::Lost { why, was_well }
        }
        Err(NotCalled::Refused(refusal)) => End::Refused(refusal),
        Err(NotCalled::NotWanted(refusal)) => End::NotWanted(refusal),
        Err(NotCalled::NotReached(error)) => End::NotReached(error),
    }
}

/// A connection on which this node may write.
pub(crate) struct Called {
    pub(crate) stream: Arc<TcpStream>,
    /// What the peer says from here on.
    pub(crate) frames: FrameReader,
    /// Where clients reach the peer, if it told.
    pub(crate) client_address: Option<String>,
}

/// Why there is no connection.
pub(crate) enum NotCalled {
    /// The peer was not reached, or does not speak the protocol.
    NotReached(GreetingError),
    /// The peer does not want one.
    Refused(Refusal),
    /// It is not the peer that it was: nothing is said to it.
    NotWanted(Refusal),
}

impl From<GreetingError> for NotCalled {
    fn from(error: GreetingError) -> Self {
        Self::NotReached(error)
    }
}

/// Connects to the peer, greets it in the newest version that it knows as well, and makes sure that
/// it is the one that was met before. `plug` can end the connection.
pub(crate) fn call(
    shared: &Shared,
    link: &Link,
    purpose: Purpose,
    plug: &Plug,
) -> Result<Called, NotCalled> {
    let mut terms = Terms::newest(purpose);
    loop {
        let stream = dial(shared, link, plug)?;
        let mut frames = FrameReader::new(handshake::MAX_BODY_BYTES);
        match greet(shared, link.peer, terms, &stream, &mut frames)? {
            Answer::Welcome(Welcome { client_address, claim }) => {
                shared.acquaintances.meet(link.peer, claim).map_err(NotCalled::NotWanted)?;
                return Ok(Called { stream, frames, client_address });
            }
            Answer::Refused(refusal) => return Err(NotCalled::Refused(refusal)),
            // Each one is older than the one before.
            Answer::CallAgainIn(version) => terms.version = version,
        }
    }
}

/// Connects to the first address of the peer that answers. `plug` can end the connection.
fn dial(shared: &Shared, link: &Link, plug: &Plug) -> Result<Arc<TcpStream>, GreetingError> {
    let nowhere = io::Error::new(io::ErrorKind::NotFound, "its host name has no address");
    let mut failure = GreetingError::Io(nowhere);
    for address in link.address.to_socket_addrs()?.take(MAX_ADDRESSES) {
        match TcpStream::connect_timeout(&address, shared.timing.connect_timeout) {
            Ok(stream) => {
                let stream = Arc::new(stream);
                stream.set_nodelay(true)?;
                if !plug.hold(&stream) {
                    return Err(GreetingError::Closed);
                }
                return Ok(stream);
            }
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

/// Says who this node is, and what the connection is for; returns what the peer answers.
fn greet(
    shared: &Shared,
    peer: NodeId,
    terms: Terms,
    stream: &TcpStream,
    frames: &mut FrameReader,
) -> Result<Answer, GreetingError> {
    let patience = shared.timing.handshake_timeout;
    stream.set_write_timeout(Some(patience))?;
    (&*stream).write_all(&shared.me.hello(terms, peer))?;
    let body = handshake::read_frame(stream, frames, patience)?;
    let answer = handshake::read_answer(terms, &body)?;
    stream.set_write_timeout(Some(shared.timing.silence_timeout))?;
    Ok(answer)
}

fn welcome(shared: &Shared, link: &Link, client_address: Option<String>) {
    let peer = link.peer;
    log::info!("connected to {peer} at {}", link.address);
    link.counters.connects.add(1);
    link.counters.connected.store(true, Ordering::Relaxed);
    link.learn_client_address(client_address.clone());
    shared.forget_complaints(peer);
    shared.emit(NetEvent::Connected { peer, client_address });
}

/// Says in the log how a connection ended, and to the owner what was lost with it.
fn report(shared: &Shared, link: &Link, end: &End) {
    let (peer, address) = (link.peer, &link.address);
    let discarded = link.outbox.discard();
    link.counters.dropped_unreachable.add(discarded);
    match end {
        End::NotReached(error) if shared.complains(Some(peer), Cause::Dial) => {
            log::info!("cannot connect to {peer} at {address}: {error}; still trying");
        }
        End::Refused(refusal) => report_refusal(shared, link, refusal),
        End::NotWanted(why) if shared.complains(Some(peer), Cause::NotWanted(why.code)) => {
            log::warn!("does not talk to {peer} at {address}: {why}; still trying");
        }
        End::Lost { why, .. } if shared.complains(Some(peer), Cause::Lost) => {
            log::warn!("lost the connection to {peer} at {address}: {why}; connecting again");
        }
        _ => {}
    }
    if discarded > 0 || matches!(end, End::Lost { .. }) {
        shared.emit(NetEvent::Unreachable(peer));
    }
}

fn report_refusal(shared: &Shared, link: &Link, refusal: &Refusal) {
    let (peer, address) = (link.peer, &link.address);
    let is_due = shared.complains(Some(peer), Cause::RefusedByPeer(refusal.code));
    // The owner should stop for this one: it must not get lost among others, and nobody is to
    // think that another attempt will mend it.
    let should_stop = refusal.code == RefusalCode::Directory;
    if is_due {
        let outlook = if should_stop { "" } else { "; still trying" };
        log::warn!("{peer} at {address} refused this node: {refusal}{outlook}");
    }
    if is_due || should_stop {
        let refusal = refusal.clone();
        shared.emit(NetEvent::PeerRefused { peer, refusal });
    }
}

/// Why a connection is over.
enum Break {
    /// The system said so.
    Io(io::Error),
    /// The other side closed it.
    Closed,
    /// The other side read nothing for this long.
    NotReading(Duration),
    /// The other side answered nothing for this long.
    Silent(Duration),
    /// The other side sent what does not belong there.
    Garbage(String),
    /// This node stops.
    Stopped,
}

/// An open connection, seen from its writing end.
struct Writer<'a> {
    shared: &'a Shared,
    link: &'a Link,
    stream: &'a TcpStream,
    /// Where the answers to pings come in.
    frames: FrameReader,
    batch: Vec<Message>,
    buffer: Vec<u8>,
    next_ping: Instant,
    unanswered_pings: u32,
    was_answered: bool,
}

impl<'a> Writer<'a> {
    fn new(
        shared: &'a Shared,
        link: &'a Link,
        stream: &'a TcpStream,
        mut frames: FrameReader,
    ) -> Self {
        frames.set_max_body_bytes(MAX_PONG_BYTES);
        Self {
            shared,
            link,
            stream,
            frames,
            batch: Vec::new(),
            buffer: Vec::new(),
            next_ping: Instant::now(),
            unanswered_pings: 0,
            was_answered: false,
        }
    }

    /// Writes until the connection breaks.
    fn talk(&mut self) -> Break {
        loop {
            match self.link.outbox.take(self.next_ping, &mut self.buffer, &mut self.batch) {
                Woken::Stopped => return Break::Stopped,
                Woken::ToWrite { lost_entries: true } => self.tell_of_lost_entries(),
                Woken::ToWrite { .. } => {}
            }
            let messages = self.encode_batch();
            if let Err(why) = self.ping_if_due().and_then(|()| self.write_buffer()) {
                self.link.counters.dropped_unreachable.add(messages);
                return why;
            }
            self.link.counters.sent_messages.add(messages);
        }
    }

    fn tell_of_lost_entries(&self) {
        let peer = self.link.peer;
        if self.shared.complains(Some(peer), Cause::QueueFull) {
            log::warn!("{peer} reads too slowly: its queue is full, messages to it are dropped");
        }
        self.shared.emit(NetEvent::Unreachable(peer));
    }

    /// Moves the batch into the buffer, as one frame; returns how many messages that were.
    fn encode_batch(&mut self) -> usize {
        let messages = self.batch.len();
        if messages == 0 {
            return 0;
        }
        let encoded = format::encode_messages(&mut self.buffer, &self.batch);
        self.batch.clear();
        let Err(error) = encoded else {
            return messages;
        };
        self.link.counters.dropped_unsendable.add(messages);
        complain_unsendable(self.shared, self.link, &error);
        self.shared.emit(NetEvent::Unreachable(self.link.peer));
        0
    }

    fn ping_if_due(&mut self) -> Result<(), Break> {
        let now = Instant::now();
        if now >= self.next_ping {
            self.listen_for_answers()?;
            format::encode_ping(&mut self.buffer)?;
            self.next_ping = now + self.shared.timing.keepalive_interval;
        }
        Ok(())
    }

    /// One write for everything in the buffer. It lasts as long as the other side goes on reading.
    fn write_buffer(&mut self) -> Result<(), Break> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.stream.write_all(&self.buffer).map_err(|error| {
            if handshake::is_interruption(&error) {
                Break::NotReading(self.shared.timing.silence_timeout)
            } else {
                Break::Io(error)
            }
        })?;
        self.link.counters.sent_bytes.add(self.buffer.len());
        self.link.counters.sent_writes.add(1);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        Ok(())
    }

    /// Reads the answers to the pings so far without waiting for any; gives the connection up if
    /// too many are missing.
    fn listen_for_answers(&mut self) -> Result<(), Break> {
        self.stream.set_nonblocking(true)?;
        let answered = self.read_answers();
        self.stream.set_nonblocking(false)?;
        if answered? {
            self.was_answered = true;
            self.unanswered_pings = 0;
        } else if self.unanswered_pings >= self.shared.timing.pings_in_silence() {
            return Err(Break::Silent(self.shared.timing.silence_timeout));
        }
        self.unanswered_pings += 1;
        Ok(())
    }

    fn read_answers(&mut self) -> Result<bool, Break> {
        let mut answered = false;
        for _ in 0..MAX_READS {
            while let Some(body) = self.frames.next_frame()? {
                match format::decode(body)? {
                    Packet::Pong => answered = true,
                    Packet::Ping | Packet::Messages(_) => {
                        return Err(Break::Garbage("something else than an answer".into()));
                    }
                }
            }
            match self.frames.fill(&mut self.stream) {
                Ok(0) => return Err(Break::Closed),
                Ok(_) => {}
                Err(error) if handshake::is_interruption(&error) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(answered)
    }
}

/// Says that a message can never be sent. It is this node's own mistake, or a limit of its own.
pub(crate) fn complain_unsendable(shared: &Shared, link: &Link, why: &dyn fmt::Display) {
    if shared.complains(Some(link.peer), Cause::Unsendable) {
        log::error!("a message to {} cannot be sent and is dropped: {why}", link.peer);
    }
}

impl From<io::Error> for Break {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FrameError> for Break {
    fn from(error: FrameError) -> Self {
        Self::Garbage(error.to_string())
    }
}

impl From<FormatError> for Break {
    fn from(error: FormatError) -> Self {
        Self::Garbage(error.to_string())
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Closed => write!(f, "the other side closed it"),
            Self::NotReading(wait) => write!(f, "the other side read nothing for {wait:?}"),
            Self::Silent(wait) => write!(f, "no answer to a ping for {wait:?}"),
            Self::Garbage(what) => write!(f, "the other side sent no answer to a ping: {what}"),
            Self::Stopped => write!(f, "this node stops"),
        }
    }
}
