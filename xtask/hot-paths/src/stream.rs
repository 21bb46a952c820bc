//! What arrives on a socket, over and over.

use kv_proto::FrameReader;

/// More than any frame here has.
const MAX_BODY_BYTES: usize = 1 << 20;

/// A stream on which the same frame comes again and again.
#[derive(Debug)]
pub(crate) struct Stream {
    frame: Vec<u8>,
    reader: FrameReader,
}

impl Stream {
    /// One of this frame, as it is sent.
    pub(crate) fn of(frame: Vec<u8>) -> Self {
        Self { frame, reader: FrameReader::new(MAX_BODY_BYTES) }
    }

    /// Reads the frame once more; returns its body.
    pub(crate) fn next_body(&mut self) -> &[u8] {
        let mut arriving = self.frame.as_slice();
        while !arriving.is_empty() {
            self.reader.fill(&mut arriving).expect("it is in memory");
        }
        self.reader.next_frame().expect("it is a frame").expect("all of it has arrived")
    }
}
