//! The receiving end: one thread for a connection. What came of the snapshot outlives it.

use std::fmt;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use raft_core::Message;
use wire::frame::{FrameError, FrameReader};

use super::SnapshotSink;
use super::berth::{Claim, Kept};
use super::frames::{self, Answer, Said};
use crate::complaints::Cause;
use crate::format::FormatError;
use crate::handshake;
use crate::link::{Link, Shared};

/// Takes in what the peer has to offer on this connection, behind the greeting.
pub(crate) fn receive(shared: &Shared, link: &Link, stream: &TcpStream, frames: &mut FrameReader) {
    let peer = link.peer;
    match (Reception { shared, link, stream, frames }).run() {
        Ok(()) => log::debug!("took in what {peer} had to send"),
        Err(end @ (End::Garbage(_) | End::NotTaken(_)))
            if shared.complains(Some(peer), Cause::SnapshotReceived) =>
        {
            log::warn!("the snapshot that {peer} sends is not taken: {end}");
        }
        Err(end) => log::debug!("the snapshot that {peer} sends is interrupted: {end}"),
    }
}

/// Why a connection is over.
enum End {
    /// It broke: the system said so, the other side closed it, or nothing came for too long.
    Broken(String),
    /// What came makes no sense.
    Garbage(String),
    /// This node has no use for the snapshot.
    NotTaken(String),
}

struct Reception<'a> {
    shared: &'a Shared,
    link: &'a Link,
    stream: &'a TcpStream,
    frames: &'a mut FrameReader,
}

impl Reception<'_> {
    fn run(mut self) -> Result<(), End> {
        let patience = self.shared.snapshots.patience;
        self.stream.set_read_timeout(Some(patience))?;
        self.stream.set_write_timeout(Some(patience))?;
        let (id, message) = self.hear_offer()?;
        let link = self.link;
        let Some((claim, kept)) = link.berth.claim(id, self.shared.timing.handshake_timeout) else {
            return Err(End::Broken("the connection before is still busy".to_owned()));
        };
        let mut sink = match kept {
            Some(Kept::Done) => {
                claim.keep_done(id);
                return self.answer(&Answer::Done);
            }
            Some(Kept::Part(sink)) => sink,
            None => self.open(message)?,
        };
        let largest = self.shared.snapshots.max_piece_bytes + frames::PIECE_OVERHEAD_BYTES;
        self.frames.set_max_body_bytes(largest);
        match self.take_pieces(&mut *sink) {
            Ok(()) => self.finish(claim, id, sink),
            Err(End::NotTaken(sentence)) => Err(self.refuse(sentence)),
            Err(End::Garbage(what)) => Err(End::Garbage(what)),
            Err(broken) => {
                claim.keep_part(id, sink, patience);
                Err(broken)
            }
        }
    }

    fn hear_offer(&mut self) -> Result<(u64, Message), End> {
        self.frames.set_max_body_bytes(frames::MAX_OFFER_BYTES);
        match frames::read_said(&self.next_body()?)? {
            Said::Offer { id, message }
                if message.from == self.link.peer && message.to == self.shared.me.node_id =>
            {
                Ok((id, message))
            }
            _ => Err(End::Garbage("it does not begin with an offer in its own name".to_owned())),
        }
    }

    fn open(&mut self, message: Message) -> Result<Box<dyn SnapshotSink>, End> {
        let opened = match self.shared.receiver.get() {
            Some(receiver) => receiver(message),
            None => Err("this node takes no snapshots".to_owned()),
        };
        opened.map_err(|sentence| self.refuse(sentence))
    }

    /// Hands over piece after piece, and says each time which one is due.
    fn take_pieces(&mut self, sink: &mut dyn SnapshotSink) -> Result<(), End> {
        loop {
            let due = sink.next_piece();
            self.answer(&Answer::Next { piece: due })?;
            match frames::read_said(&self.next_body()?)? {
                Said::Piece { number, bytes } if number == due => {
                    self.link.counters.received_bytes.add(bytes.len());
                    sink.take(bytes).map_err(End::NotTaken)?;
                }
                Said::End { pieces } if pieces == due => return Ok(()),
                Said::Piece { number, .. } | Said::End { pieces: number } => {
                    let what = format!("piece {due} is due, and {number} came");
                    return Err(End::Garbage(what));
                }
                Said::Offer { .. } => {
                    return Err(End::Garbage("a second offer".to_owned()));
                }
            }
        }
    }

    /// Lets the sink do what the snapshot is for, and asks the sender for patience meanwhile.
    fn finish(
        &mut self,
        claim: Claim<'_>,
        id: u64,
        sink: Box<dyn SnapshotSink>,
    ) -> Result<(), End> {
        let asks_again = self.shared.snapshots.patience / 4;
        let patience = Answer::Next { piece: sink.next_piece() };
        let shared = self.shared;
        let outcome = thread::scope(|scope| {
            let (tell, outcome) = channel();
            let work = move || {
                // It waits for this, unless it has panicked.
                let _ = tell.send(sink.finish(&|| shared.is_stopped()));
            };
            let name = "raft-net-snap".to_owned();
            if let Err(error) = thread::Builder::new().name(name).spawn_scoped(scope, work) {
                return Err(format!("the system starts no thread: {error}"));
            }
            loop {
                match outcome.recv_timeout(asks_again) {
                    Ok(outcome) => return outcome,
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err("the snapshot could not be taken in".to_owned());
                    }
                    // A sender that is gone asks again on its next connection.
                    Err(RecvTimeoutError::Timeout) => drop(self.answer(&patience)),
                }
            }
        });
        match outcome {
            Ok(()) => {
                claim.keep_done(id);
                self.answer(&Answer::Done)
            }
            Err(sentence) => Err(self.refuse(sentence)),
        }
    }

    /// Tells both sides why not.
    fn refuse(&mut self, sentence: String) -> End {
        match self.answer(&frames::refusal(&sentence)) {
            Ok(()) => End::NotTaken(sentence),
            Err(broken) => broken,
        }
    }

    fn answer(&mut self, answer: &Answer) -> Result<(), End> {
        let frame = frames::answer(answer).map_err(|error| End::Garbage(error.to_string()))?;
        let mut stream = self.stream;
        Ok(stream.write_all(&frame)?)
    }

    /// Waits until a whole frame is there; returns its body.
    fn next_body(&mut self) -> Result<Vec<u8>, End> {
        let mut stream = self.stream;
        loop {
            if let Some(body) = self.frames.next_frame()? {
                return Ok(body.to_vec());
            }
            match self.frames.fill(&mut stream) {
                Ok(0) => return Err(End::Broken("it was closed".to_owned())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if handshake::is_interruption(&error) => {
                    let wait = self.shared.snapshots.patience;
                    return Err(End::Broken(format!("nothing came for {wait:?}")));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
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
            Self::Broken(why) | Self::Garbage(why) | Self::NotTaken(why) => f.write_str(why),
        }
    }
}
