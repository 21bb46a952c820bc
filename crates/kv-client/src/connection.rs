//! One socket to one node, with any number of requests in flight.
//!
//! 1. A request is *sent* once [`flush`](Connection::flush) returned `Ok`. After any error of
//!    `flush`, the last request queued was not received whole, and never will be.
//! 2. After an error other than a time-out of [`receive`](Connection::receive), the connection is
//!    of no more use.
//! 3. On a connection that [does not wait](Connection::set_nonblocking), only
//!    [`try_flush`](Connection::try_flush) and [`try_receive`](Connection::try_receive) are used:
//!    one thread can then serve many, and wait for all of them at once.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use kv_proto::{
    Call, ClientHello, FrameReader, HEADER_BYTES, MAX_HELLO_BYTES, Part, Request, Response,
    ServerHello, Welcome,
};

use crate::deadline::Deadline;
use crate::resolve;

/// A connection after its handshake.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: TcpStream,
    frames: FrameReader,
    /// Requests that were queued and not yet written.
    out: Vec<u8>,
    welcome: Welcome,
    next_id: u64,
}

impl Connection {
    /// Connects to `address` (`HOST:PORT`) and shakes hands.
    ///
    /// # Errors
    ///
    /// [`ConnectionError`]; nothing but the handshake was sent.
    pub fn open(address: &str, deadline: &Deadline) -> Result<Self, ConnectionError> {
        let stream = connect(address, deadline)?;
        stream.set_nodelay(true)?;
        let mut frames = FrameReader::new(MAX_HELLO_BYTES);
        let mut out = Vec::new();
        ClientHello::default().write(&mut out).map_err(ConnectionError::Refused)?;
        write_all(&stream, &mut out, deadline)?;
        let hello = read_frame(&stream, &mut frames, deadline, ServerHello::decode)?;
        let welcome = match hello {
            ServerHello::Welcome(welcome) => welcome,
            ServerHello::Refused(error) => return Err(ConnectionError::Refused(error)),
        };
        frames.set_max_body_bytes(welcome.limits.max_response_frame_bytes());
        Ok(Self { address: address.into(), stream, frames, out, welcome, next_id: 1 })
    }

    /// Where it leads, as it was given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the server said about itself.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Queues a request and returns its id. Nothing is written before
    /// [`flush`](Self::flush), so that many requests share one write. The caller keeps the number
    /// of unanswered requests within [`Limits::max_in_flight`](kv_proto::Limits).
    ///
    /// # Errors
    ///
    /// [`ConnectionError::Refused`] if the request is larger than the server takes; the connection
    /// can go on.
    pub fn send(&mut self, call: Call<'_>, deadline: &Deadline) -> Result<u64, ConnectionError> {
        let id = self.next_id;
        let start = self.out.len();
        let request = Request { id, timeout_millis: deadline.remaining_millis(), call };
        request.write(&mut self.out).map_err(|error| ConnectionError::Refused(error.into()))?;
        let size_bytes = (self.out.len() - start - HEADER_BYTES) as u64;
        let limit_bytes = u64::from(self.welcome.limits.max_request_bytes);
        if size_bytes > limit_bytes {
            self.out.truncate(start);
            let part = Part::Request;
            let error = kv_proto::Error::TooLarge { part, size_bytes, limit_bytes };
            return Err(ConnectionError::Refused(error));
        }
        self.next_id += 1;
        Ok(id)
    }

    /// Writes every queued request.
    ///
    /// # Errors
    ///
    /// See the first rule of this module.
    pub fn flush(&mut self, deadline: &Deadline) -> Result<(), ConnectionError> {
        let written = write_all(&self.stream, &mut self.out, deadline);
        if written.is_err() {
            // The rest of a frame that was begun must never follow.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        written
    }

    /// Waits for the next answer, to whichever request it is.
    ///
    /// # Errors
    ///
    /// [`ConnectionError::TimedOut`] after which the wait can go on, or another, after which it
    /// cannot.
    pub fn receive(&mut self, deadline: &Deadline) -> Result<Response, ConnectionError> {
        read_frame(&self.stream, &mut self.frames, deadline, Response::decode)
    }

    /// The next answer, if it has already been read from the socket along with an earlier one.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive), but never a time-out.
    pub fn receive_buffered(&mut self) -> Result<Option<Response>, ConnectionError> {
        next_frame(&mut self.frames, Response::decode)
    }

    /// Never waits again: from here on the connection is for those who wait for many at once, by
    /// its file descriptor.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    pub fn set_nonblocking(&mut self) -> Result<(), ConnectionError> {
        Ok(self.stream.set_nonblocking(true)?)
    }

    /// Writes what the socket takes of the queued requests; `false` if some of them are left, to
    /// be tried again when it takes more.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush), but never a time-out.
    pub fn try_flush(&mut self) -> Result<bool, ConnectionError> {
        while !self.out.is_empty() {
            match (&self.stream).write(&self.out) {
                Ok(0) => return Err(ConnectionError::Lost(CLOSED.into())),
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// The next answer, if one has arrived; `None` when the socket has been read empty.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive), but never a time-out.
    pub fn try_receive(&mut self) -> Result<Option<Response>, ConnectionError> {
        loop {
            if let Some(response) = self.receive_buffered()? {
                return Ok(Some(response));
            }
            match self.frames.fill(&mut Interruptible(&self.stream)) {
                Ok(0) => return Err(ConnectionError::Lost(CLOSED.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the server has not closed the connection, as far as can be told without asking it.
    pub(crate) fn is_open(&mut self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return false;
        }
        let is_open = self.drain();
        is_open && self.stream.set_nonblocking(false).is_ok()
    }

    /// Reads what has arrived, up to a bound; `false` at the end of the stream.
    fn drain(&mut self) -> bool {
        for _ in 0..MAX_IDLE_READS {
            match self.frames.fill(&mut &self.stream) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        // A server that says so much without being asked is not one to stay with.
        false
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The most reads of what a server sent while nothing was asked.
const MAX_IDLE_READS: usize = 16;

fn connect(address: &str, deadline: &Deadline) -> Result<TcpStream, ConnectionError> {
    let resolved = resolve::resolve(address, deadline).map_err(ConnectionError::Unreachable)?;
    let mut last = ConnectionError::TimedOut;
    for socket_address in resolved {
        let Some(left) = deadline.remaining() else { break };
        match TcpStream::connect_timeout(&socket_address, left) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                last = ConnectionError::TimedOut;
            }
            Err(error) => last = ConnectionError::Unreachable(plain(&error)),
        }
    }
    Err(last)
}

/// Writes all of `out` and empties it, also if it fails.
fn write_all(
    mut stream: &TcpStream,
    out: &mut Vec<u8>,
    deadline: &Deadline,
) -> Result<(), ConnectionError> {
    let mut written = 0;
    let result = loop {
        if written == out.len() {
            break Ok(());
        }
        let Some(left) = deadline.remaining() else { break Err(ConnectionError::TimedOut) };
        match stream.set_write_timeout(Some(left)).and_then(|()| stream.write(&out[written..])) {
            Ok(0) => break Err(ConnectionError::Lost(CLOSED.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error.into()),
        }
    };
    out.clear();
    out.shrink_to(64 << 10);
    result
}

/// Reads until there is a whole frame.
fn read_frame<T>(
    stream: &TcpStream,
    frames: &mut FrameReader,
    deadline: &Deadline,
    decode: fn(&[u8]) -> Result<T, kv_proto::Error>,
) -> Result<T, ConnectionError> {
    loop {
        if let Some(decoded) = next_frame(frames, decode)? {
            return Ok(decoded);
        }
        let left = deadline.remaining().ok_or(ConnectionError::TimedOut)?;
        stream.set_read_timeout(Some(left))?;
        match frames.fill(&mut Interruptible(stream)) {
            Ok(0) => return Err(ConnectionError::Lost(CLOSED.into())),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn next_frame<T>(
    frames: &mut FrameReader,
    decode: fn(&[u8]) -> Result<T, kv_proto::Error>,
) -> Result<Option<T>, ConnectionError> {
    match frames.next_frame() {
        Ok(None) => Ok(None),
        Ok(Some(body)) => match decode(body) {
            Ok(decoded) => Ok(Some(decoded)),
            Err(error) => Err(ConnectionError::Foreign(error.to_string())),
        },
        Err(error) => Err(ConnectionError::Foreign(error.to_string())),
    }
}

/// A stream that begins again when a signal interrupts it.
struct Interruptible<'a>(&'a TcpStream);

impl Read for Interruptible<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

const CLOSED: &str = "the server closed the connection";

/// Why a connection did not come about, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionError {
    /// There is nobody at the address, or no way to it.
    Unreachable(String),
    /// The server will have nothing to do with it, and said why; or the request is too large.
    Refused(kv_proto::Error),
    /// It was there and broke.
    Lost(String),
    /// Whoever is there does not speak this protocol, or not correctly.
    Foreign(String),
    /// The deadline passed.
    TimedOut,
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Lost(plain(&error)),
        }
    }
}

/// The error in words, without the number the system has for it.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or(&text);
    words.to_lowercase()
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) | Self::Lost(reason) => f.write_str(reason),
            Self::Refused(error) => error.fmt(f),
            Self::Foreign(reason) => write!(
                f,
                "what answers there is not this store ({reason}): is it the client address?"
            ),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for ConnectionError {}
