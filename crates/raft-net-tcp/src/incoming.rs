//! The accepting side: one thread accepts, one for each connection hears the greeting, then reads
//! messages and answers pings, or takes in a snapshot.

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use raft_core::{Message, NodeId};
use wire::frame::{FrameError, FrameReader};

use crate::arrivals::{MAX_GREETING, Ticket};
use crate::complaints::Cause;
use crate::event::{NetEvent, Refusal};
use crate::format::{self, FormatError, Packet};
use crate::handshake::{self, GreetingError, Hello, Purpose, Terms};
use crate::link::{Link, Shared};
use crate::snapshot;

/// How long nothing is accepted after the system refused to: it is short of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until the network stops, then waits for their threads to end.
pub(crate) fn run(shared: &Arc<Shared>, listener: &TcpListener) {
    // The threads of connections that were shut need a moment to end. Should they pile up, new
    // connections are closed until they have.
    let most_readers = 4 * MAX_GREETING + 4 * shared.links.len();
    let mut readers: Vec<JoinHandle<()>> = Vec::new();
    while !shared.is_stopped() {
        let accepted = listener.accept();
        readers.retain(|reader| !reader.is_finished());
        let started = match accepted {
            Ok(_) if readers.len() >= most_readers => {
                complain_of_crowd(shared);
                continue;
            }
            Ok((stream, remote)) => start_reader(shared, Arc::new(stream), remote),
            Err(error) => Err(error),
        };
        match started {
            Ok(reader) => readers.extend(reader),
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if shared.complains(None, Cause::System) {
                    log::warn!(
                        "cannot accept a connection: {error}; raise the limits on files and threads"
                    );
                }
                if !shared.is_stopped() {
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }
    for reader in readers {
        // A panic has been reported by the thread itself, and must not keep others from ending.
        let _ = reader.join();
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset};
    handshake::is_interruption(error) || matches!(error.kind(), ConnectionAborted | ConnectionReset)
}

fn start_reader(
    shared: &Arc<Shared>,
    stream: Arc<TcpStream>,
    remote: SocketAddr,
) -> io::Result<Option<JoinHandle<()>>> {
    let Some(admitted) = shared.arrivals.admit(&stream) else {
        return Ok(None);
    };
    if admitted.displaced {
        complain_of_crowd(shared);
    }
    let ticket = admitted.ticket;
    let theirs = Arc::clone(shared);
    let started = thread::Builder::new().name("raft-net-in".into()).spawn(move || {
        serve(&theirs, ticket, &stream, remote);
        theirs.arrivals.leave(ticket);
    });
    if started.is_err() {
        shared.arrivals.leave(ticket);
    }
    started.map(Some)
}

fn complain_of_crowd(shared: &Shared) {
    shared.connections_refused.add(1);
    if shared.complains(None, Cause::Crowd) {
        log::warn!(
            "more than {MAX_GREETING} connections have not said who they are: closing the oldest"
        );
    }
}

/// One connection from its first byte to its last.
fn serve(shared: &Shared, ticket: Ticket, stream: &TcpStream, remote: SocketAddr) {
    let mut frames = FrameReader::new(handshake::MAX_BODY_BYTES);
    let caller = match hear_greeting(shared, stream, &mut frames) {
        Ok((terms, Ok(hello))) => {
            let link = admit(shared, ticket, terms, stream, remote, hello);
            link.map(|link| (terms.purpose, link))
        }
        Ok((terms, Err(refusal))) => {
            turn_away(shared, None, terms, stream, remote, &refusal);
            None
        }
        Err(error) => {
            shared.connections_refused.add(1);
            if shared.complains(None, Cause::Stranger) {
                log::warn!("closed a connection from {remote}: {error}");
            }
            None
        }
    };
    match caller {
        Some((Purpose::Messages, link)) => {
            link.outbox.kick();
            let end = read_messages(shared, link, stream, &mut frames);
            report(shared, link.peer, remote, &end);
        }
        Some((Purpose::Snapshot, link)) => snapshot::receive(shared, link, stream, &mut frames),
        None => {}
    }
}

fn hear_greeting(
    shared: &Shared,
    stream: &TcpStream,
    frames: &mut FrameReader,
) -> Result<(Terms, Result<Hello, Refusal>), GreetingError> {
    let patience = shared.timing.handshake_timeout;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(patience))?;
    let body = handshake::read_frame(stream, frames, patience)?;
    handshake::read_hello(&body)
}

/// Lets the caller in, if it is a peer, and the one that it was.
fn admit<'a>(
    shared: &'a Shared,
    ticket: Ticket,
    terms: Terms,
    mut stream: &TcpStream,
    remote: SocketAddr,
    hello: Hello,
) -> Option<&'a Link> {
    let is_peer = |id| shared.links.contains_key(&id);
    let claimed = Some(NodeId::new(hello.from)).filter(|id| is_peer(*id));
    let met = shared.me.judge(&hello, is_peer).and_then(|peer| {
        let meeting = shared.acquaintances.meet(peer, hello.claim)?;
        Ok((peer, meeting))
    });
    let (peer, meeting) = match met {
        Ok(met) => met,
        Err(refusal) => {
            turn_away(shared, claimed, terms, stream, remote, &refusal);
            return None;
        }
    };
    let link = shared.links.get(&peer)?;
    // First the older connection goes, then the peer may begin to write on this one.
    let is_in = shared.arrivals.accept(ticket, peer, terms.purpose);
    drop(meeting);
    if !is_in {
        return None;
    }
    link.learn_client_address(handshake::told(hello.client_address));
    if let Err(error) = stream.write_all(&shared.me.acceptance(terms)) {
        log::debug!("could not answer the greeting of {peer} from {remote}: {error}");
        return None;
    }
    log::debug!("{peer} connected from {remote}, for {:?}", terms.purpose);
    Some(link)
}

fn turn_away(
    shared: &Shared,
    claimed: Option<NodeId>,
    terms: Terms,
    mut stream: &TcpStream,
    remote: SocketAddr,
    refusal: &Refusal,
) {
    shared.connections_refused.add(1);
    if shared.complains(claimed, Cause::Refused(refusal.code)) {
        log::warn!("refused a connection from {remote}: {refusal}");
    }
    if let Err(error) = stream.write_all(&handshake::refusal_frame(terms, refusal)) {
        log::debug!("could not tell {remote} why it was refused: {error}");
    }
}

/// Why a connection is over.
enum End {
    /// The system said so.
    Io(io::Error),
    /// The other side closed it, or a newer connection of the same peer took its place.
    Closed,
    /// Nothing arrived for this long.
    Silent(Duration),
    /// What arrived was no message.
    Garbage(String),
}

/// Hands out messages until the connection breaks.
fn read_messages(
    shared: &Shared,
    link: &Link,
    mut stream: &TcpStream,
    frames: &mut FrameReader,
) -> End {
    let silence = shared.timing.silence_timeout;
    let set_up = stream
        .set_read_timeout(Some(silence))
        .and_then(|()| stream.set_write_timeout(Some(silence)));
    if let Err(error) = set_up {
        return End::Io(error);
    }
    frames.set_max_body_bytes(shared.limits.max_frame_bytes);
    let mut pong = Vec::new();
    loop {
        // What came together with the greeting is there already.
        let answered = hand_out(shared, link, frames).and_then(|pinged| {
            if pinged {
                pong.clear();
                format::encode_pong(&mut pong)?;
                stream.write_all(&pong)?;
            }
            Ok(())
        });
        if let Err(end) = answered {
            return end;
        }
        match frames.fill(&mut stream) {
            Ok(0) => return End::Closed,
            Ok(count) => link.counters.received_bytes.add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if handshake::is_interruption(&error) => return End::Silent(silence),
            Err(error) => return End::Io(error),
        }
    }
}

/// Hands out every message that has arrived as a whole; returns whether a ping was among them.
fn hand_out(shared: &Shared, link: &Link, frames: &mut FrameReader) -> Result<bool, End> {
    let mut pinged = false;
    while let Some(body) = frames.next_frame()? {
        match format::decode(body)? {
            Packet::Messages(messages) => {
                for message in messages {
                    hand_out_one(shared, link, message);
                }
            }
            Packet::Ping => pinged = true,
            Packet::Pong => return Err(End::Garbage("an answer without a question".into())),
        }
    }
    Ok(pinged)
}

fn hand_out_one(shared: &Shared, link: &Link, message: Message) {
    let (from, to) = (message.from, message.to);
    if from == link.peer && to == shared.me.node_id {
        link.counters.received_messages.add(1);
        shared.emit(NetEvent::Message(message));
        return;
    }
    link.counters.dropped_spoofed.add(1);
    if shared.complains(Some(link.peer), Cause::Spoofed) {
        log::warn!(
            "{} sent a message from {from} to {to}: dropped, it speaks for itself and to this node",
            link.peer
        );
    }
}

fn report(shared: &Shared, peer: NodeId, remote: SocketAddr, end: &End) {
    match end {
        End::Garbage(_) if shared.complains(Some(peer), Cause::Garbage) => {
            log::warn!("closed the connection of {peer} from {remote}: {end}");
        }
        End::Silent(_) if shared.complains(Some(peer), Cause::Lost) => {
            log::warn!("closed the connection of {peer} from {remote}: {end}");
        }
        _ => log::debug!("the connection of {peer} from {remote} is over: {end}"),
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FrameError> for End {
    fn from(error: FrameError) -> Self {
        Self::Garbage(error.to_string())
    }
}

impl From<FormatError> for End {
    fn from(error: FormatError) -> Self {
        Self::Garbage(error.to_string())
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Closed => write!(f, "it was closed"),
            Self::Silent(wait) => write!(f, "nothing arrived for {wait:?}"),
            Self::Garbage(what) => write!(f, "what arrived is no message: {what}"),
        }
    }
}
