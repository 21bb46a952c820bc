//! A client that says what a test likes, byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use kv_proto::{Call, ClientHello, Command, Put, Request, Response, ServerHello};
use wire::frame::FrameReader;

use crate::node::PATIENCE;

/// A connection on which a test says what it likes.
pub(crate) struct Stranger {
    stream: TcpStream,
    reader: FrameReader,
}

impl Stranger {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, reader: FrameReader::new(16 << 20) }
    }

    /// A connection that has said hello as it should.
    pub(crate) fn greeted(address: &str) -> Self {
        let mut stranger = Self::connect(address);
        let mut hello = Vec::new();
        ClientHello::default().write(&mut hello).unwrap();
        stranger.say(&hello);
        let welcome = ServerHello::decode(&stranger.hear().expect("a welcome")).unwrap();
        assert!(matches!(welcome, ServerHello::Welcome(_)));
        stranger
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        // The server may hang up while it is being talked to.
        let _ = self.stream.write_all(bytes);
    }

    /// The next frame; `None` when the server has hung up.
    pub(crate) fn hear(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(body) = self.reader.next_frame().unwrap() {
                return Some(body.to_vec());
            }
            match self.reader.fill(&mut self.stream) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("the server neither answered nor hung up: {error}"),
            }
        }
    }

    pub(crate) fn assert_hung_up(mut self, said: &str) {
        while self.hear().is_some() {}
        let mut rest = [0];
        assert!(matches!(self.stream.read(&mut rest), Ok(0) | Err(_)), "{said}");
    }

    /// The connection once more, for another thread to write to.
    pub(crate) fn second_hand(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// Puts `key` = `value`, and waits for the answer.
    pub(crate) fn put(&mut self, id: u64, key: &[u8], value: &[u8]) -> Response {
        let mut frame = Vec::new();
        write_put(&mut frame, id, key, value);
        self.say(&frame);
        Response::decode(&self.hear().expect("an answer")).unwrap()
    }
}

/// Appends the request to put `key` = `value`.
pub(crate) fn write_put(frames: &mut Vec<u8>, id: u64, key: &[u8], value: &[u8]) {
    let mut command = Vec::new();
    Command::Put(Put::new(key, value)).encode(&mut command).unwrap();
    let call = Call::Write(&command);
    Request { id, timeout_millis: 30_000, call }.write(frames).unwrap();
}
