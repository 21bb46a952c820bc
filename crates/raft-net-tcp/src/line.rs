//! [`Line`]: the socket to a peer, for a sender that finds the writer thread asleep.
//!
//! To wake a thread so that it writes fifty bytes costs more than to write them: on a busy machine
//! as much again as the whole way to the other side. So who sends a message to a peer for which
//! nothing waits hands it to the system by itself, as far as that can be done without waiting.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use raft_core::Message;

use crate::format;

/// Larger messages are left to the writer, in bytes: copying them would hold up the sender.
const MAX_BYTES: usize = 64 << 10;

/// What the buffer keeps of its memory from one message to the next, in bytes.
const BUFFER_KEPT_BYTES: usize = 4 << 10;

/// An open connection that nobody else is writing to.
#[derive(Debug)]
pub(crate) struct Line {
    stream: Arc<TcpStream>,
    buffer: Vec<u8>,
}

/// How much of a message the system has taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// All of it: so many bytes.
    All(usize),
    /// Its beginning, of so many bytes. The rest must be what is written next.
    Part(usize, Vec<u8>),
    /// None of it.
    Nothing,
}

impl Line {
    pub(crate) fn new(stream: Arc<TcpStream>) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Writes a message that takes `bytes` on the wire, if that needs no waiting. What goes wrong
    /// is left for the writer to meet.
    pub(crate) fn write(&mut self, message: &Message, bytes: usize) -> Written {
        if bytes > MAX_BYTES {
            return Written::Nothing;
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        let frame = format::encode_messages(&mut self.buffer, std::slice::from_ref(message));
        match frame.map(|()| write_now(&self.stream, &self.buffer)) {
            Ok(Ok(count)) if count == self.buffer.len() => Written::All(count),
            Ok(Ok(count)) if count > 0 => Written::Part(count, self.buffer.split_off(count)),
            Ok(Ok(_) | Err(_)) | Err(_) => Written::Nothing,
        }
    }
}

/// Hands `bytes` to the system without waiting for room; returns how many it took.
#[cfg(unix)]
fn write_now(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    use rustix::net::{SendFlags, send};
    Ok(send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

#[cfg(not(unix))]
fn write_now(_stream: &TcpStream, _bytes: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
