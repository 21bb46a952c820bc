//! The sending end: a snapshot from the first attempt to connect to the outcome.

use std::fmt;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use raft_core::{Message, Position};
use wire::frame::FrameReader;

use super::departures::Trip;
use super::frames::{self, Answer};
use super::pace::Pace;
use super::{MAX_UNCONFIRMED, SnapshotSource};
use crate::backoff::Backoff;
use crate::complaints::Cause;
use crate::event::NetEvent;
use crate::handshake::{self, GreetingError, Purpose};
use crate::link::{Link, Shared};
use crate::outgoing::{Called, NotCalled, call};

/// One snapshot, from the start to the outcome.
pub(super) fn travel(
    shared: &Shared,
    trip: &Trip,
    message: &Message,
    at: Position,
    source: Box<dyn SnapshotSource>,
) {
    let to = message.to;
    let Some(link) = shared.links.get(&to) else { return };
    let started = Instant::now();
    log::info!("sends {to} a snapshot that ends at index {}", at.index);
    let outcome = Sending::new(shared, link, trip, message, source).run();
    let (pieces, bytes, took) = (trip.pieces.get(), trip.bytes.get(), started.elapsed());
    let amount = format!("{pieces} pieces, {bytes} bytes, in {took:.1?}");
    match &outcome {
        Ok(()) => log::info!("{to} has the snapshot that ends at index {}: {amount}", at.index),
        Err(Failure::Cancelled) => {
            log::info!("the snapshot for {to} is not needed any more, after {amount}");
        }
        Err(failure) if shared.complains(Some(to), Cause::SnapshotSent) => {
            log::warn!(
                "{to} does not have the snapshot that ends at index {}, after {amount}: {failure}; \
                 another is sent if it needs one",
                at.index
            );
        }
        Err(_) => {}
    }
    if let Err(Failure::Final(_)) = &outcome {
        // Whoever is told sends the next one at once, and that would fare no better yet.
        trip.pause(shared.timing.backoff_max);
    }
    shared.emit(NetEvent::SnapshotSent { to, arrived: outcome.is_ok().then_some(at) });
}

/// Why a snapshot did not arrive.
enum Failure {
    /// Nobody wants it to arrive any more.
    Cancelled,
    /// The connection is gone, and may come again.
    Broken(String),
    /// To try again would not help.
    Final(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => write!(f, "it was given up"),
            // It may be the other side's sentence: it must not forge lines of a log.
            Self::Broken(why) | Self::Final(why) => write!(f, "{}", why.escape_debug()),
        }
    }
}

fn broken(error: impl fmt::Display) -> Failure {
    Failure::Broken(error.to_string())
}

struct Sending<'a> {
    shared: &'a Shared,
    link: &'a Link,
    trip: &'a Trip,
    message: &'a Message,
    source: Box<dyn SnapshotSource>,
    /// The name of this snapshot, by which a later connection goes on with it.
    id: u64,
    pace: Pace,
    /// How many pieces the source has been asked for.
    known: u64,
    /// When the receiver last said that it goes on.
    well_at: Instant,
}

impl<'a> Sending<'a> {
    fn new(
        shared: &'a Shared,
        link: &'a Link,
        trip: &'a Trip,
        message: &'a Message,
        source: Box<dyn SnapshotSource>,
    ) -> Self {
        use std::hash::{BuildHasher, RandomState};
        let well_at = Instant::now();
        let pace = Pace::new(shared.snapshots.max_bytes_per_second, well_at);
        let id = RandomState::new().hash_one(message.to);
        Self { shared, link, trip, message, source, id, pace, known: 0, well_at }
    }

    /// Tries until it has arrived, or there was no progress for too long.
    fn run(mut self) -> Result<(), Failure> {
        let timing = &self.shared.timing;
        let mut backoff = Backoff::new(timing.backoff_min, timing.backoff_max);
        loop {
            let well_at = self.well_at;
            let ended = self.attempt();
            self.trip.plug.release();
            let why = match ended {
                _ if self.trip.is_cancelled() => return Err(Failure::Cancelled),
                Err(Failure::Broken(why)) => why,
                other => return other,
            };
            if self.well_at > well_at {
                backoff.reset();
            }
            if self.well_at.elapsed() >= self.shared.snapshots.patience {
                return Err(Failure::Broken(why));
            }
            log::debug!("the snapshot for {} is interrupted: {why}; going on", self.link.peer);
            if !self.trip.pause(backoff.next_wait()) {
                return Err(Failure::Cancelled);
            }
        }
    }

    /// One connection.
    fn attempt(&mut self) -> Result<(), Failure> {
        let patience = self.shared.snapshots.patience;
        let called = call(self.shared, self.link, Purpose::Snapshot, &self.trip.plug);
        let Called { stream, mut frames, .. } = called.map_err(not_called)?;
        stream.set_read_timeout(Some(patience)).map_err(broken)?;
        stream.set_write_timeout(Some(patience)).map_err(broken)?;
        frames.set_max_body_bytes(frames::MAX_ANSWER_BYTES);
        self.converse(&mut Talk { stream: &stream, frames, patience })
    }

    fn converse(&mut self, talk: &mut Talk<'_>) -> Result<(), Failure> {
        let mut buffer = Vec::new();
        frames::offer(&mut buffer, self.id, self.message).map_err(final_)?;
        self.write(talk, &buffer)?;
        let Some(mut confirmed) = self.next_answer(talk)? else { return Ok(()) };
        if confirmed > self.known {
            return Err(Failure::Final(format!("it asks for piece {confirmed}, out of order")));
        }
        let mut next = confirmed;
        loop {
            while next - confirmed >= MAX_UNCONFIRMED {
                let answer = self.next_answer(talk)?;
                confirmed = in_order(answer, confirmed, next)?;
            }
            let Some(piece) = self.source.piece(next).map_err(Failure::Final)? else { break };
            self.known = self.known.max(next + 1);
            let limit = self.shared.snapshots.max_piece_bytes;
            if piece.len() > limit {
                let size = piece.len();
                let why = format!("piece {next} has {size} bytes, above the limit of {limit}");
                return Err(Failure::Final(why));
            }
            buffer.clear();
            frames::piece(&mut buffer, next, &piece).map_err(final_)?;
            self.write(talk, &buffer)?;
            self.trip.pieces.add(1);
            next += 1;
        }
        buffer.clear();
        frames::end(&mut buffer, next).map_err(final_)?;
        self.write(talk, &buffer)?;
        while let Some(answer) = self.next_answer(talk)? {
            confirmed = in_order(Some(answer), confirmed, next)?;
        }
        Ok(())
    }

    /// Writes no faster than it may.
    fn write(&mut self, talk: &Talk<'_>, bytes: &[u8]) -> Result<(), Failure> {
        let mut stream = talk.stream;
        for slice in bytes.chunks(self.pace.slice_bytes()) {
            if !self.trip.pause(self.pace.wait(Instant::now())) {
                return Err(Failure::Cancelled);
            }
            stream.write_all(slice).map_err(|error| talk.broke(&error))?;
            self.pace.goes(slice.len(), Instant::now());
            self.trip.bytes.add(slice.len());
        }
        Ok(())
    }

    /// The piece that the receiver asks for; `None` when it is done.
    fn next_answer(&mut self, talk: &mut Talk<'_>) -> Result<Option<u64>, Failure> {
        let answer = talk.answer()?;
        self.well_at = Instant::now();
        match answer {
            Answer::Next { piece } => Ok(Some(piece)),
            Answer::Done => Ok(None),
            Answer::Refused { sentence } => Err(Failure::Final(sentence)),
        }
    }
}

fn not_called(why: NotCalled) -> Failure {
    match why {
        NotCalled::Refused(refusal) | NotCalled::NotWanted(refusal) => {
            Failure::Final(refusal.sentence)
        }
        NotCalled::NotReached(GreetingError::Closed) => {
            broken("it closed the connection instead of greeting: does its release know snapshots?")
        }
        NotCalled::NotReached(error) => broken(error),
    }
}

fn final_(error: impl fmt::Display) -> Failure {
    Failure::Final(error.to_string())
}

/// What the receiver confirms must have been sent, and not be taken back.
fn in_order(answer: Option<u64>, confirmed: u64, next: u64) -> Result<u64, Failure> {
    match answer {
        Some(piece) if (confirmed..=next).contains(&piece) => Ok(piece),
        Some(piece) => Err(Failure::Broken(format!("it asks for piece {piece}, out of order"))),
        None => Err(Failure::Broken("it says to be done before the end".to_owned())),
    }
}

/// An open connection.
struct Talk<'a> {
    stream: &'a TcpStream,
    frames: FrameReader,
    patience: Duration,
}

impl Talk<'_> {
    fn broke(&self, error: &std::io::Error) -> Failure {
        if handshake::is_interruption(error) {
            return Failure::Broken(format!("it stood still for {:?}", self.patience));
        }
        broken(error)
    }

    fn answer(&mut self) -> Result<Answer, Failure> {
        loop {
            if let Some(body) = self.frames.next_frame().map_err(broken)? {
                return frames::read_answer(body).map_err(broken);
            }
            match self.frames.fill(&mut self.stream) {
                Ok(0) => return Err(broken("it closed the connection")),
                Ok(_) => {}
                Err(error) => return Err(self.broke(&error)),
            }
        }
    }
}
