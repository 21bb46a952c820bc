//! One client's connection: bytes in, requests out; replies in, bytes out.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::time::Duration;

use kv_proto::{
    ClientHello, Error, MAX_HELLO_BYTES, OLDEST_PROTOCOL_VERSION, Part, Response, ServerHello,
    Welcome,
};
use log::{debug, trace};
use mio::net::TcpStream;
use wire::frame::{FrameError, FrameReader};

use super::Reply;
use super::bounds::reply_bytes;
use super::parse::{Refusal, parse};
use crate::replica::Request;

/// How long a new connection may take to say hello.
pub(super) const HELLO_PATIENCE: Duration = Duration::from_secs(10);

/// When so many bytes wait to be sent to a client, nothing more is read from it, and what comes for
/// it is not encoded yet.
const MAX_UNSENT_BYTES: usize = 8 << 20;

/// How often one connection is read before the others have their turn.
const READS_PER_TURN: usize = 8;

/// A send buffer that grew beyond this is given back when it is empty.
const KEPT_BUFFER_BYTES: usize = 256 << 10;

pub(super) struct Connection {
    id: usize,
    stream: TcpStream,
    peer: SocketAddr,
    reader: FrameReader,
    unsent: Vec<u8>,
    /// How much at the front of `unsent` was sent.
    sent: usize,
    /// Replies for which there is no room in `unsent`. Those that have the same large values share
    /// them.
    waiting: VecDeque<Reply>,
    waiting_bytes: usize,
    /// What the replies to the requests in flight may take at most.
    promised_bytes: usize,
    max_owed_bytes: usize,
    /// What of `unfetched_bytes` is in the sum over all connections.
    pub(super) counted_bytes: usize,
    in_flight: u32,
    max_in_flight: u32,
    /// Of the protocol, as it was agreed on.
    version: u16,
    stage: Stage,
    /// It was not read to the end, because it has too much waiting.
    is_paused: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not said hello.
    New,
    Open,
}

/// How reading a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing is left, or it must wait.
    Done,
    /// There may be more: the others first.
    More,
    /// It is over.
    Closed,
}

impl Connection {
    pub(super) fn new(
        id: usize,
        stream: TcpStream,
        peer: SocketAddr,
        max_owed_bytes: usize,
    ) -> Self {
        Self {
            id,
            stream,
            peer,
            reader: FrameReader::new(MAX_HELLO_BYTES),
            unsent: Vec::new(),
            sent: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            promised_bytes: 0,
            max_owed_bytes,
            counted_bytes: 0,
            in_flight: 0,
            max_in_flight: 0,
            version: OLDEST_PROTOCOL_VERSION,
            stage: Stage::New,
            is_paused: false,
        }
    }

    pub(super) fn is_new(&self) -> bool {
        self.stage == Stage::New
    }

    /// Takes in what has arrived. Requests that are in order are added to `requests`; others are
    /// answered at once.
    pub(super) fn read(&mut self, welcome: &Welcome, requests: &mut Vec<Request>) -> Reading {
        for _ in 0..READS_PER_TURN {
            if !self.take_frames(welcome, requests) {
                return Reading::Closed;
            }
            self.is_paused = self.is_saturated();
            if self.is_paused {
                return Reading::Done;
            }
            match self.reader.fill(&mut self.stream) {
                Ok(0) => return self.closed("it hung up"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Reading::Done,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.closed(&error.to_string()),
            }
        }
        Reading::More
    }

    fn closed(&self, why: &str) -> Reading {
        trace!("client {} is gone: {why}", self.peer);
        Reading::Closed
    }

    fn is_saturated(&self) -> bool {
        let has_much_waiting = !self.is_new() && self.in_flight >= self.max_in_flight;
        let is_owed_much = self.unfetched_bytes() + self.promised_bytes >= self.max_owed_bytes;
        has_much_waiting || is_owed_much || !self.has_room()
    }

    /// Takes whole frames as long as there is room for their answers; false if the connection
    /// cannot go on.
    fn take_frames(&mut self, welcome: &Welcome, requests: &mut Vec<Request>) -> bool {
        while !self.is_saturated() {
            let is_new = self.is_new();
            let outcome = match self.reader.next_frame() {
                Ok(None) => return true,
                Ok(Some(body)) if is_new => {
                    Frame::Hello(ClientHello::decode(body).and_then(|hello| hello.negotiate()))
                }
                Ok(Some(body)) => Frame::Request(parse(self.id, body, &welcome.limits)),
                Err(error) => Frame::Broken(self.explain(error)),
            };
            match outcome {
                Frame::Hello(Ok(version)) => self.open(version, welcome),
                Frame::Hello(Err(error)) => {
                    debug!("client {} was refused: {error}", self.peer);
                    self.say_hello(&ServerHello::Refused(error));
                    return false;
                }
                Frame::Request(Ok(request)) => {
                    self.in_flight += 1;
                    self.promised_bytes += request.client.most_reply_bytes;
                    requests.push(request);
                }
                Frame::Request(Err(Refusal { id: Some(id), error })) => {
                    self.write(&Response::Failed { id, error });
                }
                Frame::Request(Err(Refusal { id: None, error })) | Frame::Broken(error) => {
                    debug!("client {} is closed: {error}", self.peer);
                    self.say_goodbye(error);
                    return false;
                }
            }
        }
        true
    }

    fn explain(&self, error: FrameError) -> Error {
        match error {
            FrameError::TooLarge { announced, limit } => Error::TooLarge {
                part: Part::Request,
                size_bytes: u64::from(announced),
                limit_bytes: limit as u64,
            },
            FrameError::NotAFrame | FrameError::BadChecksum => {
                Error::malformed(format!("client {} sent {error}", self.peer))
            }
        }
    }

    fn open(&mut self, version: u16, welcome: &Welcome) {
        self.stage = Stage::Open;
        self.version = version;
        self.reader.set_max_body_bytes(welcome.limits.max_request_bytes as usize);
        self.max_in_flight = welcome.limits.max_in_flight;
        self.say_hello(&ServerHello::Welcome(Welcome { version, ..welcome.clone() }));
    }

    pub(super) fn say_hello(&mut self, hello: &ServerHello) {
        if let Err(error) = hello.write(&mut self.unsent) {
            debug!("no hello to client {}: {error}", self.peer);
        }
    }

    /// Says why the connection ends, in the form that the client can read at this stage.
    pub(super) fn say_goodbye(&mut self, error: Error) {
        match self.stage {
            Stage::New => self.say_hello(&ServerHello::Refused(error)),
            Stage::Open => self.write(&Response::Closing { error }),
        }
    }

    /// Adds a reply to what is to be sent.
    pub(super) fn reply(&mut self, reply: Reply) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.promised_bytes = self.promised_bytes.saturating_sub(reply.client.most_reply_bytes);
        if self.waiting.is_empty() && self.has_room() {
            return self.write_reply(reply);
        }
        self.waiting_bytes += reply_bytes(&reply);
        self.waiting.push_back(reply);
    }

    fn write_reply(&mut self, reply: Reply) {
        let id = reply.client.request;
        self.write(&match reply.result {
            Ok((header, reply)) => {
                Response::Done { id, header, reply: reply.for_version(self.version) }
            }
            Err(error) => Response::Failed { id, error: error.for_version(self.version) },
        });
    }

    fn write(&mut self, response: &Response) {
        let Err(error) = response.write(&mut self.unsent) else { return };
        let (Response::Done { id, .. } | Response::Failed { id, .. }) = response else { return };
        let error = Error::Internal { reason: format!("the answer cannot be sent: {error}") };
        if let Err(error) = (Response::Failed { id: *id, error }).write(&mut self.unsent) {
            debug!("no answer to client {}: {error}", self.peer);
        }
    }

    /// Encodes what waits, as far as there is room.
    fn encode_waiting(&mut self) {
        // Moved only when most of it was sent, so that the work stays in step with what is sent.
        if self.sent >= KEPT_BUFFER_BYTES && self.sent >= self.unsent_bytes() {
            self.unsent.drain(..self.sent);
            self.sent = 0;
        }
        while self.has_room()
            && let Some(reply) = self.waiting.pop_front()
        {
            self.waiting_bytes -= reply_bytes(&reply);
            self.write_reply(reply);
        }
    }

    fn unsent_bytes(&self) -> usize {
        self.unsent.len() - self.sent
    }

    /// What waits for the client to fetch it, in bytes.
    pub(super) fn unfetched_bytes(&self) -> usize {
        self.unsent_bytes() + self.waiting_bytes
    }

    fn has_room(&self) -> bool {
        self.unsent_bytes() < MAX_UNSENT_BYTES
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.unsent_bytes() > 0 || !self.waiting.is_empty()
    }

    /// The memory that requests on their way take, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.reader.held_bytes()
    }

    /// Whether there is room again for what was left unread.
    pub(super) fn may_go_on(&self) -> bool {
        self.is_paused && !self.is_saturated()
    }

    /// Sends what the socket takes; false if the connection is over.
    pub(super) fn send(&mut self) -> bool {
        loop {
            self.encode_waiting();
            if !self.has_unsent() {
                break;
            }
            match self.stream.write(&self.unsent[self.sent..]) {
                Ok(0) => return false,
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.closed(&error.to_string());
                    return false;
                }
            }
        }
        self.sent = 0;
        if self.unsent.capacity() > KEPT_BUFFER_BYTES {
            self.unsent = Vec::new();
        } else {
            self.unsent.clear();
        }
        true
    }
}

enum Frame {
    Hello(Result<u16, Error>),
    Request(Result<Request, Refusal>),
    Broken(Error),
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A client that is refused should be able to read why: the end of the stream is sent
        // before the socket is closed.
        if let Err(error) = self.stream.shutdown(std::net::Shutdown::Write)
            && error.kind() != io::ErrorKind::NotConnected
        {
            debug!("client {} was not closed in order: {error}", self.peer);
        }
    }
}
